"""Rows of float32 tables: copied from computed places, and added at them, each sum in the order of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference import index as reference
from ..lanes.pointers import floats
from ..lanes.spans import FLOAT32, flat
from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for

_SPAN = 1 << 15  # floats of a table or a result that one thread writes at a time


@njit(**EXACT)
def _copy_some(t: Any, table: Any, step: Any, rows: Any, width: Any, out: Any) -> None:
    many = max(1, _SPAN // width)
    for n in range(t * many, min((t + 1) * many, rows.size)):
        x, y = floats(table + rows[n] * step, width), out[n * width : (n + 1) * width]
        for c in range(y.size):
            y[c] = x[c]


@njit(**EXACT)
def _copy(table: Any, step: Any, rows: Any, width: Any, out: Any) -> None:
    """out (rows, width) = rows of a table at an address, ``step`` bytes apart."""
    many = max(1, _SPAN // width)
    parallel_for(_copy_some, (rows.size + many - 1) // many, (table, step, rows, width, out))


@njit(**EXACT)
def _by_part(rows: Any, shift: Any, parts: Any) -> Any:
    """(order, ends): the places of ``rows``, part by part of 2**shift rows of the table, in their order within a part."""
    ends = np.zeros(parts + 1, np.int64)
    for n in range(rows.size):
        ends[(rows[n] >> shift) + 1] += 1
    for p in range(parts):
        ends[p + 1] += ends[p]
    order = np.empty(rows.size, np.int64)
    for n in range(rows.size):
        p = rows[n] >> shift
        order[ends[p]] = n
        ends[p] += 1
    return order, ends


@njit(**EXACT)
def _add_some(t: Any, rows: Any, order: Any, ends: Any, values: Any, shift: Any, width: Any, out: Any) -> None:
    out[(t << shift) * width : ((t + 1) << shift) * width] = np.float32(0.0)
    for i in range(ends[t - 1] if t else 0, ends[t]):
        n = order[i]
        x, y = values[n * width : (n + 1) * width], out[rows[n] * width : (rows[n] + 1) * width]
        for c in range(y.size):
            y[c] += x[c]


@njit(**EXACT)
def _add(rows: Any, values: Any, shift: Any, width: Any, out: Any) -> None:
    """out (table, width) = the sums of the values (rows, width) sent to each row, 0 where there are none."""
    parts = ((out.size // width - 1) >> shift) + 1
    order, ends = _by_part(rows, shift, parts)
    parallel_for(_add_some, parts, (rows, order, ends, values, shift, width, out))


def _outside(rows: Any, count: int) -> bool:
    """Whether a row is not in the table; the kernels check nothing."""
    return bool(rows.size) and bool(rows.min() < 0 or rows.max() >= count)


def take_rows(table: Any, rows: Any) -> Any:
    """As the reference."""
    if table.dtype != FLOAT32 or table.ndim != 2 or not rows.size or not table.shape[1]:
        return reference.take_rows(table, rows)
    if table.strides[1] != 4 or not table.flags.aligned or _outside(rows, len(table)):
        return reference.take_rows(table, rows)
    out = np.empty((*rows.shape, table.shape[1]), FLOAT32)
    _copy(table.ctypes.data, table.strides[0], flat(rows.astype(np.int64, copy=False)), table.shape[1], out.ravel())
    return out


def add_rows(count: int, rows: Any, values: Any) -> Any:
    """As the reference."""
    if values.dtype != FLOAT32 or values.ndim != 2 or not values.shape[1] or not count or _outside(rows, count):
        return reference.add_rows(count, rows, values)
    width = values.shape[1]
    out = np.empty((count, width), FLOAT32)
    shift = max(0, (_SPAN // width).bit_length() - 1)
    _add(flat(rows.astype(np.int64, copy=False)), flat(values), shift, width, out.ravel())
    return out
