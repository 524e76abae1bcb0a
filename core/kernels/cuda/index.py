"""Adding at computed places: ``index.cu``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...devices import cupy
from ..reference import index as reference
from .running.launching import blocks_for, contiguous, launch, suffix
from .running.parts import wide

_CHUNK, _THREADS = 32, 128  # sorted places that a thread goes through, as in the source


def add_at(shape: tuple[int, ...], dtype: Any, index: Any, values: Any) -> Any:
    if suffix(values) is None or values.dtype != np.dtype(dtype):
        return reference.add_at(shape, dtype, index, values)
    places, values = reference._flat(shape, index, values)
    return add_rows(math.prod(shape), places, values[:, None]).reshape(shape)


def add_rows(count: int, rows: Any, values: Any) -> Any:
    if suffix(values) is None or not values.size:
        return reference.add_rows(count, rows, values)
    xp = cupy()
    order = xp.argsort(rows, kind="stable").astype(np.int64, copy=False)
    rows, values = rows[order].astype(np.int64, copy=False), contiguous(values)
    out, columns = xp.zeros((count, *values.shape[1:]), values.dtype), values.size // rows.size
    width = 16 // values.dtype.itemsize
    packed = columns % width == 0 and values.data.ptr % 16 == 0
    kind, chunks = ("packs" if packed else "singles") + f"_{suffix(values)}", blocks_for(rows.size, _CHUNK)
    parts = xp.empty((chunks, 2, columns), wide(values))
    grid, runs = blocks_for(chunks * columns // (width if packed else 1), _THREADS), (rows, order, np.int64(rows.size))
    launch("index", f"add_chunk_{kind}", grid, _THREADS, *runs, values, out, parts, np.int64(columns))
    if chunks > 1:
        launch("index", f"add_runs_{kind}", grid, _THREADS, *runs, parts, out, np.int64(columns))
    return out
