"""Bytes to planes of numbers by tables, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for


@njit(**EXACT)
def _three(x: Any, table: Any, y: Any) -> None:
    red, green, blue = table[0], table[1], table[2]
    first, second, third = y[0], y[1], y[2]
    at = 0
    for i in range(first.size):
        first[i], second[i], third[i] = red[x[at]], green[x[at + 1]], blue[x[at + 2]]
        at += 3


@njit(**EXACT)
def _picture(n: Any, x: Any, table: Any, y: Any) -> None:
    channels = len(table)
    if channels == 3:
        _three(x[n], table, y[n])
        return
    for c in range(channels):
        for i in range(y.shape[2]):
            y[n, c, i] = table[c, x[n, i * channels + c]]


@njit(**EXACT)
def _pictures(x: Any, table: Any, y: Any) -> None:
    if len(x) == 1:  # a loader's threads take pictures one by one
        _picture(0, x, table, y)
    else:
        parallel_for(_picture, len(x), (x, table, y))


def look_up_planes(x: Any, table: np.ndarray[Any, Any]) -> Any:
    """As the reference."""
    n, height, width, channels = x.shape
    y = np.empty((n, channels, height * width), table.dtype)
    if y.size:
        _pictures(np.ascontiguousarray(x).reshape(n, -1), np.ascontiguousarray(table), y)
    return y.reshape(n, channels, height, width)
