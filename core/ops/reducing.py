"""What the losses share: reductions, and checks of shapes and labels."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np

from ..devices import check_same
from ..errors import ArgumentError, IndexRangeError, ShapeError
from ..tensor import Tensor
from ..tracing import tells_later
from .operands import require_tensors


def check_reduction(what: str, reduction: str, known: tuple[str, ...] = ("mean", "sum", "none")) -> None:
    """Raise an ArgumentError for a reduction that is not known."""
    if reduction not in known:
        raise ArgumentError(f"{what}: reduction={reduction!r}", fix=f"use one of {', '.join(map(repr, known))}")


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """The mean, the sum, or all of it."""
    return loss if reduction == "none" else loss.sum() if reduction == "sum" else loss.mean()


def same_shape(what: str, input: Tensor, target: Tensor, broadcast: bool = False) -> None:
    """Raise a ShapeError where the shapes differ; with ``broadcast`` only warn where they broadcast, as torch does."""
    require_tensors(what, input=input, target=target)
    check_same(what, input=input, target=target)
    if input.shape == target.shape:
        return
    fix = "reshape one of them, e.g. squeeze(1) a prediction of shape (N, 1)"
    if broadcast:
        try:
            together = np.broadcast_shapes(input.shape, target.shape)
        except ValueError:
            pass
        else:
            warnings.warn(
                f"{what}: input {input.shape} and target {target.shape} are broadcast to {together}, "
                f"which compares every element with many: most likely a mistake. Remedy: {fix}.",
                stacklevel=4,
            )
            return
    raise ShapeError(f"{what}: input {input.shape}, target {target.shape}", why="they are compared element by element", fix=fix)


def check_labels(what: str, target: Tensor, classes: int, ignore_index: int) -> Any:
    """The labels as int64, ignored ones as -1.

    Raises:
        IndexRangeError: a label outside 0..classes-1, named with its sample.
    """
    labels = target.array
    outside = functools.partial(_outside, labels, classes, ignore_index)
    if labels.size and tells_later(lambda: outside().any(), f"{what}: a label outside {classes} classes"):
        return target._module.where(outside() | (labels == ignore_index), -1, labels).astype(np.int64)
    if labels.size and not 0 <= ignore_index < classes and labels.min() >= 0 and labels.max() < classes:
        return labels.astype(np.int64, copy=False)
    ignored = labels == ignore_index
    bad = outside()
    if bool(bad.any()):
        place = tuple(int(i[0]) for i in target._module.nonzero(target._module.atleast_1d(bad)))
        label = int(labels[place] if labels.ndim else labels)
        spot = f"sample {place[0]}" + (f" (position {place})" if len(place) > 1 else "")
        raise IndexRangeError(
            f"{what}: label {label} of {spot}, there are {classes} classes",
            why=f"labels run from 0 to {classes - 1}",
            fix=f"check the head's width and the labels, or pass ignore_index={label} to leave such samples out",
        )
    return target._module.where(ignored, -1, labels).astype(np.int64)


def _outside(labels: Any, classes: int, ignore_index: int) -> Any:
    return ((labels < 0) | (labels >= classes)) & (labels != ignore_index)
