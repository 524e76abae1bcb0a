"""Matrix products in float64: for checks and statistics, not for speed, but with bits that depend on nothing but the sums.

Each element is one chain of fused multiply-adds in the order of k, so a row gives the same result alone and in a batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from ..running.compiled import EXACT, any_layout, njit
from ..running.parallel import parallel_for

_ROWS, _COLUMNS = 64, 512  # of a task
_UNROLLED = 8  # terms that are added while an element is in a register

_CUBE = any_layout(3, dtype=types.float64)


@njit(**EXACT)
def _tile(t: Any, a: Any, b: Any, c: Any, left: Any, right: Any, down: Any, wide: Any) -> None:
    product, top, first = t // wide // down, t // wide % down * _ROWS, t % wide * _COLUMNS
    rows, depth = a.shape[1:]
    last, bottom = min(first + _COLUMNS, b.shape[2]), min(top + _ROWS, rows)
    x, y = a[left[product]], b[right[product], :, first:last]
    for i in range(top, bottom):
        c[product, i, first:last] = 0.0
    for k in range(0, depth, _UNROLLED):
        for i in range(top, bottom):
            _add_terms(c[product, i, first:last], x[i, k : k + _UNROLLED], y[k : k + _UNROLLED])


@njit(**EXACT)
def _add_terms(out: Any, x: Any, y: Any) -> None:
    """out += x @ y, in order."""
    if x.size == 8:  # _UNROLLED, written out
        x0, x1, x2, x3, x4, x5, x6, x7 = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
        y0, y1, y2, y3, y4, y5, y6, y7 = y[0], y[1], y[2], y[3], y[4], y[5], y[6], y[7]
        for j in range(out.size):
            v = x1 * y1[j] + (x0 * y0[j] + out[j])
            v = x3 * y3[j] + (x2 * y2[j] + v)
            v = x5 * y5[j] + (x4 * y4[j] + v)
            out[j] = x7 * y7[j] + (x6 * y6[j] + v)
    else:
        for k in range(x.size):
            value, row = x[k], y[k]
            for j in range(out.size):
                out[j] = value * row[j] + out[j]


_C3 = types.Array(types.float64, 3, "C")
_PLACES = types.Array(types.int64, 1, "C")


@njit(signatures=[types.void(_CUBE, types.Array(types.float64, 3, "C", readonly=True), _C3, _PLACES, _PLACES)], **EXACT)
def _multiply(a: Any, b: Any, c: Any, left: Any, right: Any) -> None:
    """c[i] = a[left[i]] @ b[right[i]]."""
    down, wide = (a.shape[1] + _ROWS - 1) // _ROWS, (b.shape[2] + _COLUMNS - 1) // _COLUMNS
    parallel_for(_tile, len(left) * down * wide, (a, b, c, left, right, down, wide))


def multiply64(a: Any, b: Any) -> Any:
    """(..., M, K) @ (..., K, N) as ``np.matmul``, of real numbers whose common type is float64."""
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        return np.matmul(a, b)  # an error to raise
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = np.empty((*batch, a.shape[-2], b.shape[-1]))
    if not out.size or not a.size:
        return np.zeros_like(out)
    flat = []
    for x in (a, b):
        places = np.broadcast_to(np.arange(int(np.prod(x.shape[:-2]))).reshape(x.shape[:-2]), batch).copy()
        flat += [_plain(x).reshape(-1, *x.shape[-2:]), places.reshape(-1)]
    x, left, y, right = flat
    _multiply(x, np.ascontiguousarray(y), out.reshape(-1, *out.shape[-2:]), left, right)
    return out


def _plain(x: Any) -> Any:
    return np.array(x, np.float64) if x.dtype != np.float64 or not x.flags.aligned else x
