"""Rows added at computed places in float32: threads take columns, so every sum keeps the order of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..reference import index as reference
from .compiled import njit
from .threads import run_tiles
from .vector_math import EXACT, ready

_COLUMNS = 64


@njit(**EXACT)
def _add(rows: Any, values: Any, low: Any, high: Any, out: Any) -> None:
    for n in range(rows.size):
        r = rows[n]
        for c in range(low, high):
            out[r, c] += values[n, c]


def add_rows(count: int, rows: Any, values: Any) -> Any:
    """As the reference."""
    if values.dtype != np.float32 or values.ndim != 2:
        return reference.add_rows(count, rows, values)
    if rows.size and (rows.min() < 0 or rows.max() >= count):  # the kernel below checks nothing
        return reference.add_rows(count, rows, values)
    out = np.zeros((count, values.shape[1]), np.float32)
    places, values = ready(rows.astype(np.int64, copy=False)), ready(values)
    if places.size:
        run_tiles(lambda lo, hi: _add(places, values, lo, hi, out), values.shape[1], _COLUMNS)
    return out
