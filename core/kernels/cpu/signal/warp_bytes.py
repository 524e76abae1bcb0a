"""Pictures of bytes under affine and perspective maps, with the reference's arithmetic: no multiply-add is fused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from ..running.compiled import any_layout, njit
from ..running.parallel import parallel_for

_PLAIN: dict[str, Any] = {"error_model": "numpy", "cache": True, "nogil": True}
_WAYS = {"nearest": 0, "bilinear": 1, "bicubic": 2}


@njit(**_PLAIN)
def _cubic(a: Any, b: Any, c: Any, e: Any, d: Any) -> Any:
    return b + d * ((-a + c) + d * ((2 * (a - b) + c - e) + d * (-a + b - c + e)))


@njit(**_PLAIN)
def _cut(value: Any) -> Any:
    return np.uint8(min(max(value, 0.0), 255.0))


@njit(**_PLAIN)
def _linear(x: Any, high: Any, wide: Any, channels: Any, across: Any, down: Any, y: Any, at: Any) -> None:
    column, row = math.floor(across), math.floor(down)
    dx, dy = across - column, down - row
    left, right = max(column, 0) * channels, min(column + 1, wide - 1) * channels
    top, bottom = max(row, 0) * wide * channels, min(row + 1, high - 1) * wide * channels
    for c in range(channels):
        a, b = np.float64(x[top + left + c]), np.float64(x[top + right + c])
        e, f = np.float64(x[bottom + left + c]), np.float64(x[bottom + right + c])
        upper, lower = a + (b - a) * dx, e + (f - e) * dx
        y[at + c] = _cut(upper + (lower - upper) * dy)


@njit(**_PLAIN)
def _line(x: Any, first: Any, columns: Any, d: Any) -> Any:
    a, b, c, e = x[first + columns[0]], x[first + columns[1]], x[first + columns[2]], x[first + columns[3]]
    return _cubic(np.float64(a), np.float64(b), np.float64(c), np.float64(e), d)


@njit(**_PLAIN)
def _bicubic(x: Any, high: Any, wide: Any, channels: Any, across: Any, down: Any, y: Any, at: Any) -> None:
    column, row = math.floor(across), math.floor(down)
    dx, dy = across - column, down - row
    last, step = wide - 1, wide * channels
    p, q = min(max(column - 1, 0), last) * channels, min(max(column, 0), last) * channels
    r, s = min(max(column + 1, 0), last) * channels, min(max(column + 2, 0), last) * channels
    i, j = min(max(row - 1, 0), high - 1) * step, min(max(row, 0), high - 1) * step
    k, m = min(max(row + 1, 0), high - 1) * step, min(max(row + 2, 0), high - 1) * step
    for c in range(channels):
        columns = (p + c, q + c, r + c, s + c)
        above, here = _line(x, i, columns, dx), _line(x, j, columns, dx)
        below, last_line = _line(x, k, columns, dx), _line(x, m, columns, dx)
        y[at + c] = _cut(_cubic(above, here, below, last_line, dy))


@njit(**_PLAIN)
def _near(x: Any, high: Any, wide: Any, whole: Any, fill: Any, y: Any, size: Any) -> None:
    channels, at = len(fill), 0
    for v in range(size[0]):
        across, down = whole[1] * v + whole[2], whole[4] * v + whole[5]
        for _ in range(size[1]):
            column, row = across >> 16, down >> 16
            if 0 <= column < wide and 0 <= row < high:
                place = (row * wide + column) * channels
                for c in range(channels):
                    y[at + c] = x[place + c]
            else:
                for c in range(channels):
                    y[at + c] = fill[c]
            across += whole[0]
            down += whole[3]
            at += channels


@njit(**_PLAIN)
def _warped(x: Any, high: Any, wide: Any, numbers: Any, way: Any, fill: Any, y: Any, size: Any) -> None:
    a, b, c, d, e, f, g, h = numbers
    channels, at = len(fill), 0
    for v in range(size[0]):
        q = v + 0.5
        for u in range(size[1]):
            p = u + 0.5
            across, down = a * p + b * q + c, d * p + e * q + f
            if g != 0.0 or h != 0.0:
                below = g * p + h * q + 1.0
                across, down = across / below, down / below
            if not (0.0 <= across < wide and 0.0 <= down < high):
                for k in range(channels):
                    y[at + k] = fill[k]
            elif way == 0:
                place = (int(down) * wide + int(across)) * channels
                for k in range(channels):
                    y[at + k] = x[place + k]
            elif way == 1:
                _linear(x, high, wide, channels, across - 0.5, down - 0.5, y, at)
            else:
                _bicubic(x, high, wide, channels, across - 0.5, down - 0.5, y, at)
            at += channels


@njit(**_PLAIN)
def _warp(n: Any, x: Any, high: Any, wide: Any, numbers: Any, whole: Any, way: Any, fill: Any, y: Any, size: Any) -> None:
    if way == 0 and numbers[n, 6] == 0.0 and numbers[n, 7] == 0.0:
        _near(x[n], high, wide, whole[n], fill, y[n], size)
    else:
        _warped(x[n], high, wide, numbers[n], way, fill, y[n], size)


_BYTES, _NUMBERS = any_layout(2, types.uint8, order="C"), any_layout(2, types.float64, order="C")
_WHOLE, _FILL = any_layout(2, types.int64, order="C"), any_layout(1, types.uint8, order="C")
_SIZE, _OUT = types.UniTuple(types.int64, 2), any_layout(2, types.uint8, order="C", writable=True)
_i = types.int64


@njit(signatures=[types.void(_BYTES, _i, _i, _NUMBERS, _WHOLE, _i, _FILL, _OUT, _SIZE)], **_PLAIN)
def _pictures(x: Any, high: Any, wide: Any, numbers: Any, whole: Any, way: Any, fill: Any, y: Any, size: Any) -> None:
    if len(x) == 1:  # a loader's threads take pictures one by one
        _warp(0, x, high, wide, numbers, whole, way, fill, y, size)
    else:
        parallel_for(_warp, len(x), (x, high, wide, numbers, whole, way, fill, y, size))


def warp_bytes(x: Any, coefficients: np.ndarray[Any, Any], size: tuple[int, int], interpolation: str, fill: Any) -> Any:
    """As the reference."""
    numbers = np.ascontiguousarray(coefficients, np.float64)
    a, b, c, d, e, f = numbers[:, :6].T
    fixed = np.stack([a, b, c + a * 0.5 + b * 0.5, d, e, f + d * 0.5 + e * 0.5], axis=1)
    whole = np.floor(fixed * 65536.0 + 0.5).astype(np.int64)
    n, high, wide, channels = x.shape
    y = np.empty((n, size[0] * size[1] * channels), np.uint8)
    if y.size:
        flat, outside = np.ascontiguousarray(x).reshape(n, -1), np.ascontiguousarray(fill, np.uint8)
        _pictures(flat, high, wide, numbers, whole, _WAYS[interpolation], outside, y, size)
    return y.reshape(n, *size, channels)
