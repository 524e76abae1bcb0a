"""Cross entropy over class numbers: ``loss.cu``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...devices import cupy
from ..reference import loss as reference
from .running.launching import blocks_for, contiguous, launch, suffix
from .running.parts import PARTS, wide
from .running.teams import of_rows

_THREADS = 256


def cross_entropy(x: Any, target: Any, weight: Any, smoothing: float) -> tuple[Any, Any, Any]:
    dtype = _fitting(x, target, weight)
    if dtype is None:
        return reference.cross_entropy(x, target, weight, smoothing)
    x, target, weight = map(contiguous, (x, target, weight))
    (rows, n), xp = x.shape, cupy()
    loss, row_weight, kept = xp.empty(rows, wide(x)), xp.empty(rows, wide(x)), xp.empty((rows, 2), wide(x))
    given = (x, target, weight, float(smoothing), loss, row_weight, kept, np.int64(rows), n)
    team, grid, block = of_rows(rows, n)
    launch("loss", f"cross_entropy_{team}_{dtype}", grid, block, *given)
    return loss, row_weight, kept


def cross_entropy_backward(grad: Any, x: Any, kept: Any, target: Any, weight: Any, smoothing: float) -> Any:
    dtype = _fitting(x, target, weight)
    if dtype is None or kept.dtype != wide(x):
        return reference.cross_entropy_backward(grad, x, kept, target, weight, smoothing)
    grad, x, kept, target, weight = map(contiguous, (grad.astype(kept.dtype, copy=False), x, kept, target, weight))
    (rows, n), gx = x.shape, cupy().empty(x.shape, x.dtype)
    given = (grad, x, kept, target, weight, float(smoothing), _spread(weight, smoothing), gx, np.int64(rows), n)
    team, grid, block = of_rows(rows, n)
    launch("loss", f"cross_entropy_backward_{team}_{dtype}", grid, block, *given)
    return gx


def cross_entropy_step(x: Any, target: Any, weight: Any, smoothing: float, mean: bool) -> tuple[Any, Any, Any, Any, Any]:
    dtype = _fitting(x, target, weight)
    if dtype is None:
        return reference.cross_entropy_step(x, target, weight, smoothing, mean)
    x, target, weight = map(contiguous, (x, target, weight))
    (rows, n), xp, kind = x.shape, cupy(), wide(x)
    row_weight, parts = xp.empty(rows, kind), xp.empty(min(blocks_for(rows, _THREADS), PARTS), kind)
    launch("loss", f"row_weights_{dtype}", parts.size, _THREADS, target, weight, row_weight, parts, np.int64(rows))
    factor = xp.empty((), kind) if mean else xp.ones((), kind)
    if mean:
        launch("loss", f"one_over_{dtype}", 1, _THREADS, parts, parts.size, factor)
    each, kept, gx = xp.empty(rows, kind), xp.empty((rows, 2), kind), xp.empty(x.shape, x.dtype)
    given = (x, target, weight, float(smoothing), _spread(weight, smoothing), factor, each, kept, gx, np.int64(rows), n)
    team, grid, block = of_rows(rows, n)
    launch("loss", f"cross_entropy_step_{team}_{dtype}", grid, block, *given)
    loss = xp.empty((), x.dtype)
    launch("loss", f"sum_of_{dtype}", parts.size, _THREADS, each, parts, np.int64(rows))
    launch("loss", f"sum_times_{dtype}", 1, _THREADS, parts, parts.size, factor, loss)
    return loss, row_weight, factor, kept, gx


def scale_unless_one(x: Any, factor: Any) -> None:
    dtype = suffix(x)
    if dtype is None or not x.flags.c_contiguous:
        return reference.scale_unless_one(x, factor)
    each = _THREADS * 16 // x.dtype.itemsize
    launch(
        "loss",
        f"scale_unless_one_{dtype}",
        min(blocks_for(x.size, each), 4 * PARTS),
        _THREADS,
        x,
        factor.astype(wide(x), copy=False),
        np.int64(x.size),
    )


def _fitting(x: Any, target: Any, weight: Any) -> str | None:
    return suffix(x, weight) if x.size and target.dtype == np.int64 else None


def _spread(weight: Any, smoothing: float) -> Any:
    """The sum of the classes' weights, where it is needed."""
    return weight.astype(wide(weight), copy=False).sum() if weight is not None and smoothing else None
