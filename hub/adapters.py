"""Adapters as files of a model: a folder or repository in PEFT's layout, which holds what was learnt and names its base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core.errors import CheckpointError
from ..core.nn import peft
from .files import WEIGHTS, Files
from .registry import Architecture

if TYPE_CHECKING:
    from ..core.nn import Module

_HEADS = ("classifier", "classifier.out_proj", "score", "fc", "head", "head.fc")  # as the layouts that are read call them
_TASKS = {"SEQ_CLS": "text-classification", "TOKEN_CLS": "token-classification", "FEATURE_EXTRACTION": "sentence-embedding"}


def is_adapter(files: Mapping[str, Any]) -> bool:
    """Whether files are an adapter without its base's weights.

    Example:
        >>> is_adapter({"adapter_config.json": "a", "adapter_model.safetensors": "b"})
        True
        >>> is_adapter({"adapter_config.json": "a", "model.safetensors": "b"})
        False
    """
    return peft.CONFIG in files and not any(name in files for name in WEIGHTS)


def base_of(files: Files) -> str:
    """The name of the model that an adapter belongs to.

    Raises:
        MissingFileError: the adapter's weights are not there.
        CheckpointError: it is no LoRA, or says of no base.
    """
    files.require(peft.WEIGHTS, "load the adapter")
    config = peft.read_config(files[peft.CONFIG].parent)
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise CheckpointError(
            f"{files.origin}: {peft.CONFIG} names no base model",
            why="an adapter is the difference to another model's weights",
            fix="load the base by name, and then nyala.nn.lora.load(pipeline.model, FOLDER)",
        )
    return base


def together(adapter: Files, base: Files) -> Files:
    """The base's files with the adapter's over them: what a loader of the whole model needs."""
    paths = {**dict(base), **dict(adapter)}
    hashes = {**base.hashes, **adapter.hashes}
    return Files(paths, origin=f"{adapter.origin} on {base.origin}", revision=adapter.revision, hashes=hashes)


def classes_of(files: Files) -> int | None:
    """How many classes the adapter's own head has; None where it has none."""
    from ..core import checkpoint

    arrays = checkpoint.load_file(files[peft.WEIGHTS])
    heads = (arrays.get(f"base_model.model.{name}.weight") for name in _HEADS)
    return next((int(a.shape[0]) for a in heads if a is not None and a.ndim == 2), None)


def task_of(files: Files) -> str | None:
    """The task that PEFT's configuration names, in our words; None where it says none."""
    return _TASKS.get(str(peft.read_config(files[peft.CONFIG].parent).get("task_type")))


def merge(model: Module, architecture: Architecture, files: Files) -> None:
    """Puts the adapter's numbers into the weights of ``model``, which stays a plain model.

    Raises:
        CheckpointError: it does not fit.
    """
    from ..core.nn import lora

    names, parts = published_paths(model, architecture), published_parts(model, architecture)
    lora.load(model, files[peft.CONFIG].parent, names=names, parts=parts).merge().detach()


def published_paths(model: Module, architecture: Architecture) -> dict[str, str]:
    """Our module path -> published module path, for every module whose parameters are published as they are.

    One whose weights are published in another shape is left out: no adapter can be named there.
    """
    arrays, published = _both(model, architecture)
    theirs = {id(array): name for name, array in published.items()}
    found: dict[str, str] = {}
    for name, array in arrays.items():
        other = theirs.get(id(array), "")
        path, _, last = name.rpartition(".")
        if path and other.rpartition(".")[2] == last:
            found[path] = other.rpartition(".")[0]
    return found


def published_parts(model: Module, architecture: Architecture) -> dict[str, list[tuple[str, int]]]:
    """Our module path -> published path and rows of each part, for modules whose weight is published as several matrices that lie
    in it one below the other, such as a fused ``qkv`` of transformers' query, key and value."""
    arrays, published = _both(model, architecture)
    own = {id(array) for array in arrays.values()}
    pieces = {name: array for name, array in published.items() if id(array) not in own and array.ndim == 2 and array.size}
    found: dict[str, list[tuple[str, int]]] = {}
    for name, array in arrays.items():
        path, _, last = name.rpartition(".")
        if last != "weight" or array.ndim != 2:
            continue
        inside = [(_at(one), other) for other, one in pieces.items() if one.shape[1] == array.shape[1] and _within(one, array)]
        parts = [(other.removesuffix(".weight"), len(pieces[other])) for _, other in sorted(inside)]
        if len(parts) > 1 and sum(rows for _, rows in parts) == len(array) and all(n.endswith(".weight") for _, n in inside):
            found[path] = parts
    return found


def _both(model: Module, architecture: Architecture) -> tuple[dict[str, Any], dict[str, Any]]:
    """The model's arrays by our names, and as they are published."""
    arrays = {name: t.numpy() for name, t in model.state_dict().items() if ".lora_" not in name}
    return arrays, architecture.key_map(architecture.export_config(model), list(arrays)).to_published(arrays)


def _at(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def _within(part: Any, whole: Any) -> bool:
    return bool(_at(whole) <= _at(part) and _at(part) + part.nbytes <= _at(whole) + whole.nbytes)
