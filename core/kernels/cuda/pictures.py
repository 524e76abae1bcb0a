"""Pictures of bytes resized, and looked up in tables: ``pictures.cu``, with the reference's bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...devices import cupy
from ..reference import pictures as reference
from ..reference.pictures import Taps
from .running.launching import blocks_for, contiguous, launch

_THREADS = 256


def look_up_planes(x: Any, table: np.ndarray[Any, Any]) -> Any:
    kind = {"float32": "f32", "float64": "f64"}.get(table.dtype.name)
    if kind is None or x.dtype != np.uint8 or not x.size:
        return reference.look_up_planes(x, table)
    n, height, width, channels = x.shape
    y = cupy().empty((n, channels, height, width), table.dtype)
    sizes = (channels, np.int64(height * width), np.int64(y.size))
    arrays = (contiguous(x), cupy().asarray(np.ascontiguousarray(table)), y)
    launch("pictures", f"look_up_{kind}", blocks_for(y.size, _THREADS), _THREADS, *arrays, *sizes)
    return y


def resample_bytes(x: Any, rows: Taps | None, columns: Taps | None, rows_first: bool = False, channels: int | None = None) -> Any:
    x = contiguous(x[..., :channels])
    sides = [(rows, 1), (columns, 2)] if rows_first else [(columns, 2), (rows, 1)]
    for taps, axis in sides:
        if taps is not None:
            x = _along(x, taps, axis)
    return x


def _along(x: Any, taps: Taps, axis: int) -> Any:
    """(N, H, W, C) with ``axis``, 1 or 2, combined; pictures count for rows of theirs where it is the columns."""
    length, width = taps.start.shape[1], taps.weight.shape[2]
    y = cupy().empty((*x.shape[:axis], length, *x.shape[axis + 1 :]), np.uint8)
    before = x.shape[1] if axis == 2 else 1
    tables = [_for_each(table, before) for table in (taps.start, taps.count, taps.weight)]
    sizes = (len(tables[0]), x.shape[axis], length, width, np.int64(math.prod(x.shape[axis + 1 :])), np.int64(y.size))
    launch("pictures", "along", blocks_for(y.size, _THREADS), _THREADS, x, y, *map(cupy().asarray, tables), *sizes)
    return y


def _for_each(table: np.ndarray[Any, Any], before: int) -> np.ndarray[Any, Any]:
    """Tables of each picture repeated for its ``before`` rows; one of all pictures as it is."""
    return np.ascontiguousarray(table if len(table) == 1 or before == 1 else table.repeat(before, 0))
