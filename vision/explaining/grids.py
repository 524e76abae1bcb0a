"""Where in a picture a model looks, as numbers on the grid of its last features.

* **grad-cam** (Selvaraju et al., "Grad-CAM", arXiv:1610.02391): what speaks for a class. The channels of a layer, each weighted
  by the mean gradient of the class's score with respect to it; what speaks against is left out.
* **attention**: how much the last layer of a vision transformer looks at each patch, where it makes what the head reads.
* **rollout** (Abnar and Zuidema, arXiv:2005.00928): the same through all layers, each of which keeps half of what came in.
* **components**: the first three principal components of the features, as red, green and blue: like parts get like colours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core import autograd
from ...core.errors import ArgumentError, did_you_mean
from ...core.nn import Model
from ...core.ops.attention import watch_attention
from ...core.tensor import Tensor

METHODS = ("grad-cam", "attention", "rollout", "components")
Array = np.ndarray[Any, Any]
_NORM = re.compile(r"blocks\.\d+\.norm1|vision_model\.encoder\.layers\.\d+\.layer_norm1")


def usual_method(model: Model) -> str:
    """What shows most of a model: its classes where it has some, else its attention, else its features."""
    if classes_of(model):
        return "grad-cam"
    return "attention" if hasattr(_tower(model), "patch_size") and not _channels_last(model) else "components"


def classes_of(model: Model) -> int:
    """How many classes a model tells apart; 0 for features alone."""
    config = model.config
    return int(getattr(config, "num_classes", 0) or (getattr(config, "num_labels", 0) if hasattr(model, "classifier") else 0))


def grad_cam(model: Model, x: Tensor, number: int | None = None, layer: str | None = None) -> tuple[Array, int, float]:
    """What in one picture speaks for a class.

    Args:
        model: with a classifier; in eval mode.
        x: (1, C, H, W).
        number: of the class; the likeliest unless given.
        layer: name of the module whose result is weighted; by default the map before pooling, or in a vision transformer the norm
            of the patches that the last attention reads.

    Returns:
        (rows, columns) float32 from 0 to 1, the class's number and its probability. All 0 where nothing speaks for it.

    Raises:
        ArgumentError: no such class, or a layer whose result is no map.
    """
    with autograd.enable_grad():
        x = x.detach().requires_grad_()
        layer = _last_norm(model) if layer is None else layer
        if layer is None:
            found = model.forward_features(x)
            logits = model.forward_head(found)
        else:
            logits, seen = model.forward_intermediates(x, names=[layer])
            found = _only(seen, layer)
        number = int(logits.detach().numpy()[0].argmax()) if number is None else number
        if not 0 <= number < logits.shape[1]:
            raise ArgumentError(
                f"class {number}", why=f"the model has classes 0 to {logits.shape[1] - 1}", fix="choose one of them"
            )
        gradient: Any = autograd.grad(logits[0, number], [found])[0]
    values, slopes = (as_map(model, t.detach().float().cpu().numpy(), x.shape) for t in (found, gradient))
    heat = np.maximum((values * slopes.mean((0, 1))).sum(-1), 0)
    probabilities = logits.detach().float().softmax(-1).cpu().numpy()[0]
    return _scaled(heat, low=0.0), number, float(probabilities[number])


def attention(model: Model, x: Tensor, rolled: bool = False) -> Array:
    """How much a vision transformer looks at each patch of one picture, (1, C, H, W) -> (rows, columns) from 0 to 1.

    Args:
        model: a vision transformer whose attention sees the whole picture.
        x: the picture.
        rolled: through all layers rather than in the last one.

    Raises:
        ArgumentError: a model without attention over the whole picture.
    """
    rows, columns = _grid(model, x.shape)
    with autograd.no_grad(), watch_attention() as seen:
        tokens = model.forward_features(x).shape[1]
    if not seen or any(w.shape[-2:] != (tokens, tokens) or len(w) != 1 for w in seen):
        raise ArgumentError(
            f"the attention of {type(model).__name__} is not over the whole picture",
            why="it is computed in windows, or there is none",
            fix="use grad-cam or components",
        )
    heads = [np.asarray(Tensor(w).float().cpu().numpy(), np.float64)[0] for w in seen]
    weights = rollout(heads) if rolled else heads[-1].mean(0)
    before = tokens - rows * columns
    pooled = "avg" if hasattr(model, "skipped") else getattr(model.config, "global_pool", "token")  # CLIP's classifiers skip it
    reads_token = before > 0 and pooled != "avg"
    looking = weights[0, before:] if reads_token else weights[before:, before:].mean(0)
    return _scaled(looking.reshape(rows, columns))


def rollout(weights: Sequence[Array]) -> Array:
    """The weights of several layers, (heads, T, T) each, through all of them: (T, T), rows of sum 1.

    Example:
        >>> rollout([np.array([[[0.0, 1.0], [0.0, 1.0]]])]).tolist()
        [[0.5, 0.5], [0.0, 1.0]]
    """
    through = np.eye(weights[0].shape[-1])
    for layer in weights:
        mixed = (layer.mean(0) + np.eye(layer.shape[-1])) / 2
        through = mixed / mixed.sum(-1, keepdims=True) @ through
    return through


def features(model: Model, x: Tensor, layer: str | None = None) -> Array:
    """The features of one picture on their grid: (1, C, H, W) -> (rows, columns, D) float32.

    Raises:
        ArgumentError: a layer whose result is no map.
    """
    with autograd.no_grad():
        if layer is None:
            found = model.forward_features(x)
        else:
            found = _only(model.forward_intermediates(x, names=[layer])[1], layer)
    return as_map(model, found.float().cpu().numpy(), x.shape)


def components(maps: Sequence[Array]) -> list[Array]:
    """The first three principal components of all maps (rows, columns, D) together: (rows, columns, 3) each, from 0 to 1.

    Each component's largest weight is positive, so that the same maps always get the same colours.

    Raises:
        ArgumentError: features fewer than three wide.
    """
    width = maps[0].shape[-1]
    if width < 3:
        raise ArgumentError(f"features {width} wide", why="three components need three", fix="name another layer")
    everything = np.concatenate([m.reshape(-1, width) for m in maps]).astype(np.float64)
    everything = everything - everything.mean(0)
    _, vectors = np.linalg.eigh(everything.T @ everything)
    axes = vectors[:, ::-1][:, :3]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), range(3)])
    placed = everything @ axes
    low, high = np.percentile(placed, [1, 99], axis=0)  # a few outliers would leave all else grey
    colours = np.clip((placed - low) / np.where(high > low, high - low, 1.0), 0, 1).astype(np.float32)
    ends = np.cumsum([m.shape[0] * m.shape[1] for m in maps])[:-1]
    return [part.reshape(*m.shape[:2], 3) for part, m in zip(np.split(colours, ends), maps, strict=True)]


def as_map(model: Model, found: Array, shape: tuple[int, ...]) -> Array:
    """What a layer made of one picture of ``shape`` (1, C, H, W), on its grid: (rows, columns, D).

    Raises:
        ArgumentError: it is neither a map (1, D, rows, columns) nor tokens (1, T, D).
    """
    if found.ndim == 4:
        return found[0] if _channels_last(model) else found[0].transpose(1, 2, 0)
    rows, columns = _grid(model, shape) if found.ndim == 3 else (0, 0)
    if not rows or found.shape[1] < rows * columns:
        raise ArgumentError(
            f"a result of shape {found.shape}", why="it is no map of the picture", fix="name a layer before the pooling"
        )
    return found[0, -rows * columns :].reshape(rows, columns, -1)


def _grid(model: Model, shape: tuple[int, ...]) -> tuple[int, int]:
    """Patches down and across, in a model that cuts pictures into them."""
    patch = getattr(_tower(model), "patch_size", None)
    if not isinstance(patch, int):
        raise ArgumentError(
            f"{type(model).__name__} has no patches", fix="use grad-cam or components, or name a layer with a map"
        )
    return shape[2] // patch, shape[3] // patch


def _tower(model: Model) -> Any:
    """The settings of the part that sees pictures, in a model that also reads texts."""
    return getattr(model.config, "vision_config", None) or model.config


def _channels_last(model: Model) -> bool:
    return bool(getattr(model, "channels_last", False))


def _last_norm(model: Model) -> str | None:
    """What the last attention of a vision transformer reads: what comes after it at the patches the head may never see."""
    found = [name for name, _ in model.named_modules() if _NORM.fullmatch(name)]
    return found[-1] if found else None


def _only(seen: dict[str, Any], layer: str) -> Tensor:
    if len(seen) != 1:
        raise ArgumentError(f"{layer!r} fits {len(seen)} layers", fix=did_you_mean(layer, seen) or "name one of them")
    return next(iter(seen.values()))


def _scaled(grid: Array, low: float | None = None) -> Array:
    """From 0 to 1; all 0 where there is nothing to tell apart."""
    low = float(grid.min()) if low is None else low
    high = float(grid.max())
    return ((grid - low) / (high - low) if high > low else np.zeros_like(grid)).astype(np.float32)
