"""Bytes to planes of numbers by tables, in one pass, whatever the strides: mirrored pictures too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from ..running.compiled import EXACT, any_layout, njit
from ..running.parallel import parallel_for


@njit(**EXACT)
def _three(x: Any, table: Any, y: Any) -> None:
    red, green, blue = table[0], table[1], table[2]
    for i in range(x.shape[0]):
        row, first, second, third = x[i], y[0, i], y[1, i], y[2, i]
        for j in range(x.shape[1]):
            first[j], second[j], third[j] = red[row[j, 0]], green[row[j, 1]], blue[row[j, 2]]


@njit(**EXACT)
def _picture(n: Any, x: Any, table: Any, y: Any) -> None:
    if len(table) == 3:
        _three(x[n], table, y[n])
        return
    for c in range(len(table)):
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                y[n, c, i, j] = table[c, x[n, i, j, c]]


_SIGNATURES = [
    types.void(any_layout(4, types.uint8), any_layout(2, kind, order="C"), any_layout(4, kind, order="C", writable=True))
    for kind in (types.float32, types.float64)
]


@njit(signatures=_SIGNATURES, **EXACT)
def _pictures(x: Any, table: Any, y: Any) -> None:
    if len(x) == 1:  # a loader's threads take pictures one by one
        _picture(0, x, table, y)
    else:
        parallel_for(_picture, len(x), (x, table, y))


def look_up_planes(x: Any, table: np.ndarray[Any, Any]) -> Any:
    """As the reference."""
    n, height, width, channels = x.shape
    y = np.empty((n, channels, height, width), table.dtype)
    if y.size:
        _pictures(x, np.ascontiguousarray(table), y)
    return y
