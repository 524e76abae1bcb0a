"""Kernels on pictures of bytes, (N, H, W, C) uint8. Whole numbers only: every backend gives the same bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...devices import module_of

__all__ = ["look_up_planes", "resample_bytes", "warp_bytes"]

SHIFT = 22  # weights are multiples of 2**-22: 255 times their sum has room in 32 bits


@dataclass(frozen=True, eq=False)
class Taps:
    """``out[i] = sum over t below count[i] of weight[i, t] * x[start[i] + t]`` along a side, rounded once.

    Attributes:
        start, count: (M, L) int64; M is 1 where all pictures have the same, else their number.
        weight: (M, L, T) int32, in units of 2**-22.
    """

    start: np.ndarray[Any, Any]
    count: np.ndarray[Any, Any]
    weight: np.ndarray[Any, Any]


def look_up_planes(x: Any, table: np.ndarray[Any, Any]) -> Any:
    """Each channel's bytes replaced by what stands at their place in its table, and the channels put before the pixels.

    Args:
        x: (N, H, W, C) uint8.
        table: (C, 256) float32 or float64.

    Returns:
        (N, C, H, W) of the table's dtype.
    """
    xp = module_of(x)
    table = xp.asarray(table)
    places = x.astype(np.int32)  # CuPy counts places in their own dtype
    return xp.stack([xp.take(table[c], places[..., c]) for c in range(x.shape[3])], axis=1)


def resample_bytes(x: Any, rows: Taps | None, columns: Taps | None, rows_first: bool = False, channels: int | None = None) -> Any:
    """Each side combined for itself; in between the result is rounded to bytes, as Pillow does.

    Args:
        x: (N, H, W, C) uint8.
        rows: of the result, from rows of x; None leaves them as they are.
        columns: likewise.
        rows_first: which side is combined first.
        channels: how many of the C, from the first on, are wanted; all if left out.

    Returns:
        (N, rows, columns, channels) uint8.
    """
    x = x[..., :channels]
    if rows is not None and rows_first:
        x = _along(x, rows)
    if columns is not None:
        x = module_of(x).moveaxis(_along(module_of(x).moveaxis(x, 2, 1), columns), 1, 2)
    return x if rows is None or rows_first else _along(x, rows)


def _along(x: Any, taps: Taps) -> Any:
    """(N, S, ...) -> (N, L, ...)."""
    xp = module_of(x)
    sums = xp.full((x.shape[0], taps.start.shape[1], *x.shape[2:]), 1 << (SHIFT - 1), np.int32)
    for t in range(taps.weight.shape[2]):
        place = np.minimum(taps.start + t, x.shape[1] - 1)  # beyond a row's count the weight is 0
        weight = xp.asarray(taps.weight[:, :, t]).reshape(*place.shape, *[1] * (x.ndim - 2))
        if len(place) == 1:
            values = xp.take(x, xp.asarray(place[0]), axis=1)
        else:
            values = x[xp.arange(len(x))[:, None], xp.asarray(place)]
        sums += values * weight
    return (sums >> SHIFT).clip(0, 255).astype(np.uint8)


def warp_bytes(x: Any, coefficients: np.ndarray[Any, Any], size: tuple[int, int], interpolation: str, fill: Any) -> Any:
    """Each pixel of the result from where it lies in x, in Pillow's arithmetic (``Geometry.c``); what lies outside is ``fill``.

    Args:
        x: (N, H, W, C) uint8.
        coefficients: (N, 8) float64, a to h: (u, v) of the result is at ((a u + b v + c) / (g u + h v + 1),
            (d u + e v + f) / (g u + h v + 1)) in x, both counted from the corner, so that the first pixel's middle is 0.5.
        size: height and width of the result.
        interpolation: "nearest", "bilinear" or "bicubic".
        fill: (C,) uint8.
    """
    xp = module_of(x)
    out = xp.empty((len(x), *size, x.shape[3]), np.uint8)
    out[:] = xp.asarray(fill)
    for n, numbers in enumerate(coefficients):
        if interpolation == "nearest" and not numbers[6:].any():
            column, row = _nearest(numbers, size, xp)
        else:
            across, down = _places(numbers, size, xp)
            if interpolation != "nearest":
                inside = (across >= 0) & (across < x.shape[2]) & (down >= 0) & (down < x.shape[1])
                values = _between(x[n], across - 0.5, down - 0.5, cubic=interpolation == "bicubic")
                out[n] = xp.where(inside[:, :, None], values, out[n])
                continue
            column, row = xp.floor(across).astype(np.int64), xp.floor(down).astype(np.int64)
        inside = (column >= 0) & (column < x.shape[2]) & (row >= 0) & (row < x.shape[1])
        values = x[n][row.clip(0, x.shape[1] - 1), column.clip(0, x.shape[2] - 1)]
        out[n] = xp.where(inside[:, :, None], values, out[n])
    return out


def _places(numbers: Any, size: tuple[int, int], xp: Any) -> tuple[Any, Any]:
    a, b, c, d, e, f, g, h = (float(v) for v in numbers)
    u, v = (xp.arange(size[1]) + 0.5)[None], (xp.arange(size[0]) + 0.5)[:, None]
    across, down = a * u + b * v + c, d * u + e * v + f
    if g or h:
        below = g * u + h * v + 1
        across, down = across / below, down / below
    return across, down


def _nearest(numbers: Any, size: tuple[int, int], xp: Any) -> tuple[Any, Any]:
    """Columns and rows under an affine map, in units of 2**-16 as Pillow counts them."""
    a, b, c, d, e, f = (float(v) for v in numbers[:6])
    whole = [int(np.floor(v * 65536.0 + 0.5)) for v in (a, b, c + a * 0.5 + b * 0.5, d, e, f + d * 0.5 + e * 0.5)]
    u, v = xp.arange(size[1])[None], xp.arange(size[0])[:, None]
    return (whole[0] * u + whole[1] * v + whole[2]) >> 16, (whole[3] * u + whole[4] * v + whole[5]) >> 16


def _between(x: Any, across: Any, down: Any, cubic: bool) -> Any:
    """(H, W, C) at places between its pixels; beyond the edge pixels repeat."""
    xp = module_of(x)
    left, top = xp.floor(across).astype(np.int64), xp.floor(down).astype(np.int64)
    dx, dy = (across - left)[..., None], (down - top)[..., None]
    rows, columns, first = x.shape[0] - 1, x.shape[1] - 1, -1 if cubic else 0
    lines = []
    for r in range(first, first + (4 if cubic else 2)):
        row = (top + r).clip(0, rows)
        points = [x[row, (left + k).clip(0, columns)].astype(np.float64) for k in range(first, first + (4 if cubic else 2))]
        lines.append(_cubic(points, dx) if cubic else points[0] + (points[1] - points[0]) * dx)
    values = _cubic(lines, dy) if cubic else lines[0] + (lines[1] - lines[0]) * dy
    return values.clip(0, 255).astype(np.uint8)


def _cubic(points: list[Any], d: Any) -> Any:
    a, b, c, e = points
    return b + d * ((-a + c) + d * ((2 * (a - b) + c - e) + d * (-a + b - c + e)))
