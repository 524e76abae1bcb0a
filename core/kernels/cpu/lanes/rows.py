"""Arrays as compiled code takes them row by row, and sums over tiles of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for
from .pointers import floats
from .vector_math import ready

TILE = 1 << 14
"""Elements of a tile: what two threads take turns at, and what stays in a core's cache from one pass to the next."""
NONE = np.empty(0, np.float32)
"""Stands for an array that is not there, so that compiled code has one version."""

_FLOAT32 = np.dtype(np.float32)
_WIDTH = 64  # columns that one task adds up


def all_float32(x: Any, y: Any = None, z: Any = None) -> bool:
    """Whether the arrays that are there are float32."""
    return x.dtype == _FLOAT32 and (y is None or y.dtype == _FLOAT32) and (z is None or z.dtype == _FLOAT32)


def as_rows(x: Any) -> Any:
    """(..., D) as (R, D) in C order and writable, a copy only where it must be."""
    flags = x.flags
    return (x if flags.c_contiguous and flags.behaved else ready(x)).reshape(-1, x.shape[-1])


def spread_rows(x: Any) -> tuple[Any, int]:
    """The same, and the bytes from one row to the next: 0 where all rows are one, as in the gradient of a sum."""
    if not x.flags.c_contiguous and x.ndim > 1 and not any(x.strides[:-1]):
        return np.array(x[(0,) * (x.ndim - 1)]).reshape(1, -1), 0
    return as_rows(x), 4 * x.shape[-1]


def vector(x: Any) -> Any:
    """(D,) as kernels want it; of no length where there is none."""
    return NONE if x is None else ready(x)


@njit(**EXACT)
def _add_columns(i: Any, parts: Any, step: Any, count: Any, width: Any, out: Any) -> None:
    first = i * _WIDTH
    totals = np.zeros(_WIDTH)
    for p in range(count):
        part = floats(parts + p * step + 4 * first, min(_WIDTH, width - first))
        for c in range(part.size):
            totals[c] += part[c]
    sums = floats(out + 4 * first, min(_WIDTH, width - first))
    for c in range(sums.size):
        sums[c] = totals[c]


@njit(**EXACT)
def add_up(parts: Any, step: Any, count: Any, width: Any, out: Any) -> None:
    """out (width,) = the sum of ``count`` parts (width,), ``step`` bytes apart, in their order, in float64. Addresses."""
    parallel_for(_add_columns, (width + _WIDTH - 1) // _WIDTH, (parts, step, count, width, out))
