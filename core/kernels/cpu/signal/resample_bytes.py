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
def _columns(x: Any, pitch: Any, channels: Any, start: Any, count: Any, weight: Any, low: Any, high: Any) -> Any:
    """Rows ``low`` to ``high`` of x (H, W * pitch) with their columns combined; both sides of the result are filled up to 16s."""
    length = len(start)
    left, right = start.min(), (start + count).max()
    wide = ((right - left) * pitch + LANES - 1) // LANES * LANES
    out_wide = (length * channels + LANES - 1) // LANES * LANES
    lines, columns = np.empty((LANES, wide), np.uint8), np.empty((wide, LANES), np.uint8)
    sums = np.empty((out_wide, LANES), np.uint8)
    out = np.empty(((high - low + LANES - 1) // LANES * LANES, out_wide), np.uint8)
    source, target = columns.ctypes.data, sums.ctypes.data
    for y in range(0, high - low, LANES):
        _turned(x, low + y, left * pitch, lines, columns)
        for i in range(length):
            for c in range(channels):
                place, total = source + ((start[i] - left) * pitch + c) * LANES, same(_HALF)
                for t in range(count[i]):
                    total = add_weighted(total, weight[i, t], place + t * pitch * LANES)
                store_bytes(target + (i * channels + c) * LANES, total, _SHIFT)
        for j in range(0, out_wide, LANES):
            turn(target + j * LANES, LANES, out.ctypes.data + y * out_wide + j, out_wide)
    hold(columns)
    hold(sums)
    return out


@njit(**EXACT)
def _row(first: Any, step: Any, weight: Any, count: Any, y: Any) -> None:
    """y (width,), at least 16 long, from rows that lie ``step`` bytes apart."""
    width = len(y)
    for j in range(0, width, LANES):
        place, total = min(j, width - LANES), same(_HALF)  # the last vector begins before the others have ended
        for t in range(count):
            total = add_weighted(total, weight[t], first + t * step + place)
        store_bytes(y.ctypes.data + place, total, _SHIFT)


@njit(**EXACT)
def _rows(x: Any, low: Any, start: Any, count: Any, weight: Any, y: Any) -> None:
    """y (L, width) from rows of x, whose first is row ``low`` of the picture."""
    for i in range(len(start)):
        first = start[i] - low
        if y.shape[1] >= LANES:
            _row(x.ctypes.data + first * x.strides[0], x.strides[0], weight[i], count[i], y[i])
            continue
        for j in range(y.shape[1]):
            total = _HALF
            for t in range(count[i]):
                total += weight[i, t] * np.int32(x[first + t, j])
            y[i, j] = min(max(total >> _SHIFT, np.int32(0)), np.int32(255))


@njit(**EXACT)
def _columns_then_rows(x: Any, pitch: Any, channels: Any, rows: Any, columns: Any, y: Any) -> None:
    low, high = rows[0].min(), (rows[0] + rows[1]).max()
    lines = _columns(x, pitch, channels, columns[0], columns[1], columns[2], low, high)
    _rows(lines, low, rows[0], rows[1], rows[2], y)
    hold(lines)


@njit(**EXACT)
def _rows_then_columns(x: Any, pitch: Any, channels: Any, rows: Any, columns: Any, y: Any) -> None:
    left, right = columns[0].min(), (columns[0] + columns[1]).max()
    lines = np.empty((len(rows[0]), (right - left) * pitch), np.uint8)
    _rows(x[:, left * pitch : right * pitch], 0, rows[0], rows[1], rows[2], lines)
    made = _columns(lines, pitch, channels, columns[0] - left, columns[1], columns[2], 0, len(lines))
    y[:] = made[: y.shape[0], : y.shape[1]]


@njit(**EXACT)
def _picture(n: Any, x: Any, pitch: Any, channels: Any, rows: Any, columns: Any, rows_first: Any, y: Any) -> None:
    down, across = min(n, len(rows[0]) - 1), min(n, len(columns[0]) - 1)
    rows, columns = (rows[0][down], rows[1][down], rows[2][down]), (columns[0][across], columns[1][across], columns[2][across])
    if len(columns[0]) == 0:
        _rows(x[n], 0, rows[0], rows[1], rows[2], y[n])
    elif len(rows[0]) == 0:
        lines = _columns(x[n], pitch, channels, columns[0], columns[1], columns[2], 0, x.shape[1])
        y[n] = lines[: y.shape[1], : y.shape[2]]
    elif rows_first:
        _rows_then_columns(x[n], pitch, channels, rows, columns, y[n])
    else:
        _columns_then_rows(x[n], pitch, channels, rows, columns, y[n])


_BYTES, _NUMBERS = any_layout(3, types.uint8, order="C"), any_layout(2, types.int64, order="C")
_TABLE = types.Tuple([_NUMBERS, _NUMBERS, any_layout(3, types.int32, order="C")])
_OUT = any_layout(3, types.uint8, order="C", writable=True)


@njit(signatures=[types.void(_BYTES, types.int64, types.int64, _TABLE, _TABLE, types.boolean, _OUT)], **EXACT)
def _pictures(x: Any, pitch: Any, channels: Any, rows: Any, columns: Any, rows_first: Any, y: Any) -> None:
    if len(x) == 1:  # a loader's threads take pictures one by one
        _picture(0, x, pitch, channels, rows, columns, rows_first, y)
    else:
        parallel_for(_picture, len(x), (x, pitch, channels, rows, columns, rows_first, y))


def _table(taps: Taps | None) -> tuple[Any, ...]:
    if taps is None:
        nothing = np.zeros((1, 0), np.int64)
        return nothing, nothing, np.zeros((1, 0, 0), np.int32)
    return tuple(map(np.ascontiguousarray, (taps.start, taps.count, taps.weight)))


def resample_bytes(x: Any, rows: Taps | None, columns: Taps | None, rows_first: bool = False, channels: int | None = None) -> Any:
    """As the reference."""
    channels = x.shape[3] if channels is None else channels
    if columns is None:  # nothing takes the others out on the way
        x = x[..., :channels]
    if rows is None and columns is None:
        return x
    n, height, width, pitch = x.shape
    size = height if rows is None else rows.start.shape[1], width if columns is None else columns.start.shape[1]
    y = np.empty((n, size[0], size[1] * channels), np.uint8)
    if y.size:
        flat = np.ascontiguousarray(x).reshape(n, height, width * pitch)
        _pictures(flat, pitch, channels, _table(rows), _table(columns), rows_first, y)
    return y.reshape(n, *size, channels)
