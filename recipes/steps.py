"""One update of the weights: forward and backward over the accumulated batches, then clip, then step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..core import random
from ..core.create import from_numpy
from ..core.errors import NumericError
from ..core.nn import Module
from ..core.nn import functional as F
from ..core.optim import Optimizer, clip_grads_with_norm_, get_total_norm
from ..core.tensor import Tensor
from . import freezing, mixing
from .batches import Batch
from .evaluate import apply, logits_of
from .schema import Train


@dataclass(frozen=True)
class Outcome:
    """What one update found: mean loss over its samples, how many, how many right, and the gradient's norm before clipping."""

    loss: float
    samples: int
    correct: int
    grad_norm: float


def update(
    model: Module, optimizers: Sequence[Optimizer], parts: Sequence[Batch], recipe: Train, classes: int, key: tuple[int, int]
) -> Outcome:
    """Makes one update from ``parts``, normalised over all their samples: how they are cut does not change it.

    Args:
        model: in training mode.
        optimizers: step together.
        parts: the batches to accumulate.
        recipe: the ``[train]`` table.
        classes: K.
        key: (seed, step): what dropout and mixing draw by.

    Raises:
        NumericError: a loss or gradient that is not finite, with the step and the samples; no weight was changed by it.
        GradError: a trainable parameter that got no gradient.
    """
    total = sum(len(part) for part in parts)
    loss, correct = 0.0, 0
    for optimizer in optimizers:
        optimizer.zero_grad()
    with random.step_scope(*key):
        for number, part in enumerate(parts):
            inputs, targets = mix(part, recipe, classes, (*key, number))
            logits = logits_of(apply(model, inputs))
            part_loss = F.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing, reduction="sum") / total
            _check_finite(part_loss.item(), "the loss", key[1], [part])
            part_loss.backward()
            loss += part_loss.item()
            correct += int((logits.detach().numpy().argmax(1) == part.labels).sum())
    freezing.check_gradients(model)
    norm = clip(model, recipe.clip_norm)
    _check_finite(norm, "the gradient's norm", key[1], parts)
    for optimizer in optimizers:
        optimizer.step()
    return Outcome(loss, total, correct, norm)


def mix(part: Batch, recipe: Train, classes: int, key: tuple[int, ...]) -> tuple[Any, Tensor]:
    """The inputs and targets of a batch, blended where the recipe says so."""
    if not recipe.mixup and not recipe.cutmix:
        return part.inputs, from_numpy(part.labels)
    blend, alpha = (mixing.mixup, recipe.mixup) if recipe.mixup else (mixing.cutmix, recipe.cutmix)
    images, targets = blend(part.inputs.numpy(), mixing.one_hot(part.labels, classes), alpha, *key)
    return from_numpy(images), from_numpy(targets)


def clip(model: Module, limit: float | None) -> float:
    """The norm of all gradients together; with a limit, the gradients are scaled down to it."""
    norm = get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    if limit is not None:
        clip_grads_with_norm_(model.parameters(), limit, norm)
    return float(norm.item())


def _check_finite(value: float, what: str, step: int, parts: Sequence[Batch]) -> None:
    if math.isfinite(value):
        return
    samples = [int(i) for part in parts for i in part.indices]
    shown = ", ".join(map(str, samples[:16])) + (", ..." if len(samples) > 16 else "")
    raise NumericError(
        f"{what} is {value} in step {step + 1}, samples {shown} of the training part",
        why="going on would fill the weights with it; the newest checkpoint is from before this step",
        fix="lower optim.lr, set train.clip_norm, add schedule.warmup, or look at these samples",
    )
