"""Recursive filters: each value from those before it, many stretches of a signal at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...devices import module_of

__all__ = ["all_pole"]

_LONGEST = 2048  # values of a stretch


def all_pole(x: Any, a: Sequence[float]) -> Any:
    """y[n] = x[n] - a[0] y[n - 1] - a[1] y[n - 2] - ..., along the last dimension, in float64; x's dtype comes out.

    The signal is cut into stretches. All are filtered at once as if silence came before them; then what each leaves behind is
    carried to the next, and what that rings on with is added. Where it is cut depends on the length alone, so a row of a batch
    gives the bits that it gives alone.
    """
    xp, order, length = module_of(x), len(a), x.shape[-1]
    if not order or not x.size:
        return x.copy()
    size = min(_LONGEST, max(order, 1 << math.ceil(math.log2(math.sqrt(length) + 1))))
    count = -(-length // size)
    rows = x.size // length
    y = xp.zeros((rows, count * size), "float64")
    y[:, :length] = x.reshape(rows, length)
    y = xp.ascontiguousarray(y.reshape(rows, count, size).transpose(2, 1, 0))  # (place, stretch, row)
    for i in range(1, size):
        for k in range(1, min(order, i) + 1):
            y[i] -= a[k - 1] * y[i - k]
    if count > 1:
        ringing = _ringing(a, size)
        for b in range(1, count):
            _carry(y[:, b], y[size - order :, b - 1], ringing, slice(size - order, size))
        body = y[: size - order]
        for k in range(order):
            body[:, 1:] += xp.asarray(ringing[: size - order, k])[:, None, None] * y[size - 1 - k, :-1]
    return y.transpose(2, 1, 0).reshape(rows, -1)[:, :length].reshape(x.shape).astype(x.dtype)


def _carry(stretch: Any, before: Any, ringing: Any, places: slice) -> None:
    """Add to some places of a stretch what the last values (order, rows) ``before`` it make there."""
    order = len(before)
    for i in range(*places.indices(len(stretch))):
        for k in range(order):
            stretch[i] += float(ringing[i, k]) * before[order - 1 - k]


def _ringing(a: Sequence[float], size: int) -> np.ndarray[Any, Any]:
    """(size, order): value i of a stretch of zeros, where the k-th last value before it was 1 and the other last ones 0."""
    order = len(a)
    past = np.zeros((size + order, order))
    past[:order] = np.eye(order)[::-1]  # row order - 1 - k: the k-th last
    for i in range(order, size + order):
        for k in range(1, order + 1):
            past[i] -= a[k - 1] * past[i - k]
    return past[order:]
