"""cross_entropy over class numbers in float32: one pass for the largest logit, one for the sum, one for the gradient.

Log-probabilities are never written: a row leaves its largest logit and the logarithm of its sum of exponentials.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference import loss as reference
from ..lanes.pointers import floats
from ..lanes.rows import TILE, as_rows, vector
from ..lanes.vector_math import fexp, flog, ready, suits
from ..running.compiled import EXACT, SUMS, njit
from ..running.parallel import parallel_for
from .softmax import row_sum_of_exponentials, row_top

_f = np.float32
_ZERO, _ONE = _f(0.0), _f(1.0)


@njit(**SUMS)
def _spread(x: Any, width: Any, top: Any, weight: Any) -> Any:
    """The sum of the distances below the largest logit, each times its class's weight."""
    row, total = floats(x, width), _ZERO
    if weight:
        w = floats(weight, width)
        for c in range(row.size):
            total += (row[c] - top) * w[c]
    else:
        for c in range(row.size):
            total += row[c] - top
    return total


@njit(**EXACT)
def _forward_tile(
    t: Any, x: Any, size: Any, target: Any, weight: Any, whole: Any, smoothing: Any, loss: Any, factors: Any, kept: Any
) -> None:
    """``whole``: the sum of all classes' weights. ``smoothing``: its share, and the rest of the target's."""
    rows, width, tile = size
    for r in range(t * tile, min(rows, (t + 1) * tile)):
        place, label = x + 4 * width * r, target[r]
        top = row_top(place, width)
        rest = flog(row_sum_of_exponentials(place, width, top))
        floats(kept + 8 * r, 2)[0] = top
        floats(kept + 8 * r, 2)[1] = rest
        factor, value = _ZERO, _ZERO
        if label >= 0:
            factor = floats(weight, width)[label] if weight else _ONE
            value = (rest - (floats(place, width)[label] - top)) * factor * smoothing[1]
            if smoothing[0]:
                value += (whole * rest - _spread(place, width, top, weight)) * smoothing[0]
        floats(loss + 4 * r, 1)[0] = value
        floats(factors + 4 * r, 1)[0] = factor


@njit(**EXACT)
def _sum_of(weight: Any, width: Any) -> Any:
    total = 0.0
    for c in range(weight.size):
        total += weight[c]
    return _f(total if weight.size else width)


@njit(**EXACT)
def _forward(x: Any, target: Any, weight: Any, smoothing: Any, loss: Any, factors: Any, kept: Any) -> None:
    rows, width = x.shape
    tile = max(1, TILE // width)
    given = (
        x.ctypes.data, (rows, width, tile), target, weight.ctypes.data if weight.size else 0, _sum_of(weight, width),
        (_f(smoothing / width), _f(1.0 - smoothing)), loss.ctypes.data, factors.ctypes.data, kept.ctypes.data,
    )  # fmt: skip
    parallel_for(_forward_tile, (rows + tile - 1) // tile, given)


def cross_entropy(x: Any, target: Any, weight: Any, smoothing: float) -> tuple[Any, Any, Any]:
    """As the reference."""
    if not suits(x, weight) or not x.size:
        return reference.cross_entropy(x, target, weight, smoothing)
    rows = len(x)
    loss, factors, kept = np.empty(rows, _f), np.empty(rows, _f), np.empty((rows, 2), _f)
    _forward(as_rows(x), ready(target.astype(np.int64, copy=False)), vector(weight), float(smoothing), loss, factors, kept)
    return loss, factors, kept


@njit(**EXACT)
def _backward_tile(
    t: Any, grad: Any, x: Any, size: Any, kept: Any, target: Any, weight: Any, whole: Any, smoothing: Any, out: Any
) -> None:
    rows, width, tile = size
    for r in range(t * tile, min(rows, (t + 1) * tile)):
        row, gx, label = floats(x + 4 * width * r, width), floats(out + 4 * width * r, width), target[r]
        if label < 0:
            for c in range(gx.size):
                gx[c] = _ZERO
            continue
        top, rest = floats(kept + 8 * r, 2)[0], floats(kept + 8 * r, 2)[1]
        g, own = grad[r], (floats(weight, width)[label] if weight else _ONE) * smoothing[1]
        total, share = (own + whole * smoothing[0]) * g, smoothing[0] * g
        if smoothing[0] and weight:
            w = floats(weight, width)
            for c in range(gx.size):
                gx[c] = fexp((row[c] - top) - rest) * total - w[c] * share
        else:
            for c in range(gx.size):
                gx[c] = fexp((row[c] - top) - rest) * total - share
        gx[label] -= own * g


@njit(**EXACT)
def _backward(grad: Any, x: Any, kept: Any, target: Any, weight: Any, smoothing: Any, out: Any) -> None:
    rows, width = x.shape
    tile = max(1, TILE // width)
    given = (
        grad, x.ctypes.data, (rows, width, tile), kept.ctypes.data, target, weight.ctypes.data if weight.size else 0,
        _sum_of(weight, width), (_f(smoothing / width), _f(1.0 - smoothing)), out.ctypes.data,
    )  # fmt: skip
    parallel_for(_backward_tile, (rows + tile - 1) // tile, given)


def cross_entropy_backward(grad: Any, x: Any, kept: Any, target: Any, weight: Any, smoothing: float) -> Any:
    """As the reference."""
    if not suits(grad, x, kept, weight) or not x.size:
        return reference.cross_entropy_backward(grad, x, kept, target, weight, smoothing)
    out = np.empty(x.shape, _f)
    labels = ready(target.astype(np.int64, copy=False))
    _backward(ready(grad), as_rows(x), kept, labels, vector(weight), float(smoothing), out)
    return out
