"""Resizing of pictures of bytes, with the reference's whole numbers.

Rows are combined in vectors along them. Before that columns are combined, in vectors across 16 rows, which are turned over
before and after.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from ...reference.pictures import SHIFT, Taps
from ..lanes.octets import LANES, add_weighted, same, store_bytes, turn
from ..lanes.pointers import hold
from ..running.compiled import EXACT, any_layout, njit
from ..running.parallel import parallel_for

_HALF = np.int32(1 << (SHIFT - 1))
_SHIFT = np.int32(SHIFT)


@njit(**EXACT)
def _turned(x: Any, first: Any, left: Any, lines: Any, columns: Any) -> None:
    """16 rows of x (H, W * C) from ``first`` on, as columns (width, 16); the last row stands for those below it."""
    width = min(lines.shape[1], x.shape[1] - left)
    for r in range(LANES):
        lines[r, :width] = x[min(first + r, x.shape[0] - 1), left : left + width]
    for j in range(0, lines.shape[1], LANES):
        turn(lines.ctypes.data + j, lines.shape[1], columns.ctypes.data + LANES * j, LANES)
    hold(lines)
    hold(columns)


@njit(**EXACT)
def _columns(x: Any, channels: Any, start: Any, count: Any, weight: Any, low: Any, high: Any) -> Any:
    """Rows ``low`` to ``high`` of x (H, W * C) with their columns combined; both sides of the result are filled up to 16s."""
    length = len(start)
    left, right = start.min(), (start + count).max()
    wide = ((right - left) * channels + LANES - 1) // LANES * LANES
    out_wide = (length * channels + LANES - 1) // LANES * LANES
    lines, columns = np.empty((LANES, wide), np.uint8), np.empty((wide, LANES), np.uint8)
    sums = np.empty((out_wide, LANES), np.uint8)
    out = np.empty(((high - low + LANES - 1) // LANES * LANES, out_wide), np.uint8)
    source, target = columns.ctypes.data, sums.ctypes.data
    for y in range(0, high - low, LANES):
        _turned(x, low + y, left * channels, lines, columns)
        for i in range(length):
            for c in range(channels):
                place, total = source + ((start[i] - left) * channels + c) * LANES, same(_HALF)
                for t in range(count[i]):
                    total = add_weighted(total, weight[i, t], place + t * channels * LANES)
                store_bytes(target + (i * channels + c) * LANES, total, _SHIFT)
        for j in range(0, out_wide, LANES):
            turn(target + j * LANES, LANES, out.ctypes.data + y * out_wide + j, out_wide)
    hold(columns)
    hold(sums)
    return out


@njit(**EXACT)
def _rows(x: Any, low: Any, start: Any, count: Any, weight: Any, y: Any) -> None:
    """y (L, width) from rows of x, whose first is row ``low`` of the picture."""
    width = y.shape[1]
    sums = np.empty(width, np.int32)
    for i in range(len(start)):
        sums[:] = _HALF
        for t in range(count[i]):
            row, number = x[start[i] - low + t], weight[i, t]
            for j in range(width):
                sums[j] += number * np.int32(row[j])
        out = y[i]
        for j in range(width):
            out[j] = min(max(sums[j] >> _SHIFT, np.int32(0)), np.int32(255))


@njit(**EXACT)
def _columns_then_rows(x: Any, channels: Any, rows: Any, columns: Any, y: Any) -> None:
    low, high = rows[0].min(), (rows[0] + rows[1]).max()
    lines = _columns(x, channels, columns[0], columns[1], columns[2], low, high)
    _rows(lines, low, rows[0], rows[1], rows[2], y)


@njit(**EXACT)
def _rows_then_columns(x: Any, channels: Any, rows: Any, columns: Any, y: Any) -> None:
    left, right = columns[0].min(), (columns[0] + columns[1]).max()
    lines = np.empty((len(rows[0]), (right - left) * channels), np.uint8)
    _rows(x[:, left * channels : right * channels], 0, rows[0], rows[1], rows[2], lines)
    y[:] = _columns(lines, channels, columns[0] - left, columns[1], columns[2], 0, len(lines))[: y.shape[0], : y.shape[1]]


@njit(**EXACT)
def _picture(n: Any, x: Any, channels: Any, rows: Any, columns: Any, rows_first: Any, y: Any) -> None:
    down, across = min(n, len(rows[0]) - 1), min(n, len(columns[0]) - 1)
    rows, columns = (rows[0][down], rows[1][down], rows[2][down]), (columns[0][across], columns[1][across], columns[2][across])
    if len(columns[0]) == 0:
        _rows(x[n], 0, rows[0], rows[1], rows[2], y[n])
    elif len(rows[0]) == 0:
        lines = _columns(x[n], channels, columns[0], columns[1], columns[2], 0, x.shape[1])
        y[n] = lines[: y.shape[1], : y.shape[2]]
    elif rows_first:
        _rows_then_columns(x[n], channels, rows, columns, y[n])
    else:
        _columns_then_rows(x[n], channels, rows, columns, y[n])


_BYTES, _NUMBERS = any_layout(3, types.uint8, order="C"), any_layout(2, types.int64, order="C")
_TABLE = types.Tuple([_NUMBERS, _NUMBERS, any_layout(3, types.int32, order="C")])
_OUT = any_layout(3, types.uint8, order="C", writable=True)


@njit(signatures=[types.void(_BYTES, types.int64, _TABLE, _TABLE, types.boolean, _OUT)], **EXACT)
def _pictures(x: Any, channels: Any, rows: Any, columns: Any, rows_first: Any, y: Any) -> None:
    if len(x) == 1:  # a loader's threads take pictures one by one
        _picture(0, x, channels, rows, columns, rows_first, y)
    else:
        parallel_for(_picture, len(x), (x, channels, rows, columns, rows_first, y))


def _table(taps: Taps | None) -> tuple[Any, ...]:
    if taps is None:
        nothing = np.zeros((1, 0), np.int64)
        return nothing, nothing, np.zeros((1, 0, 0), np.int32)
    return tuple(map(np.ascontiguousarray, (taps.start, taps.count, taps.weight)))


def resample_bytes(x: Any, rows: Taps | None, columns: Taps | None, rows_first: bool = False) -> Any:
    """As the reference."""
    if rows is None and columns is None:
        return x
    n, height, width, channels = x.shape
    size = height if rows is None else rows.start.shape[1], width if columns is None else columns.start.shape[1]
    y = np.empty((n, size[0], size[1] * channels), np.uint8)
    if y.size:
        flat = np.ascontiguousarray(x).reshape(n, height, width * channels)
        _pictures(flat, channels, _table(rows), _table(columns), rows_first, y)
    return y.reshape(n, *size, channels)
