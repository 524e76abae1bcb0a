"""Statistics, sums and maps over the channels of (N, C, ...), for norms whose numbers belong to channels.

Two orders of memory are read where they lie. Channels side by side: a flat run of floats in which channel numbers repeat; it is
taken in stretches of several rows, so that loops are long where there are few channels. C order: planes of one channel.
Tiles are cut by shape; what is found in them is put together in float64, in the tiles' order.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..lanes.pointers import floats
from ..lanes.rows import TILE
from ..lanes.vector_math import ready
from ..running.compiled import EXACT, SUMS, njit

_f = np.float32
_ZERO = _f(0.0)
_STRETCH = 512  # floats from which a loop is long
CHUNK = 8192  # floats that are summed in float32


class Channels(NamedTuple):
    """(N, C, ...) as compiled code takes it.

    Attributes:
        size: all floats.
        channels: C.
        places: floats of one plane; 0 where channels lie side by side.
        tile: floats of a tile: whole stretches, or whole planes.
        stretch: floats taken at a time, a multiple of C; of planes, C.
        tiles: how many tiles there are.
        parts: (parts, C) partial results there are: one a tile, or one a sample.
    """

    size: int
    channels: int
    places: int
    tile: int
    stretch: int
    tiles: int
    parts: int


def channels_of(x: Any) -> tuple[Any, Channels]:
    """The memory of (N, C, ...) in one dimension, and how it is read; a copy only of other orders than the two."""
    samples, channels, places = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    if is_last(x):
        stretch = stretch_of(channels)
        tile = stretch * max(1, 2 * TILE // stretch)
        tiles = -(-x.size // tile)
        return flat(x, True), Channels(x.size, channels, 0, tile, stretch, tiles, tiles)
    tile = places * max(1, 2 * TILE // places)
    return flat(x, False), Channels(x.size, channels, places, tile, channels, -(-x.size // tile), samples)


def stretch_of(channels: int) -> int:
    """Floats of a stretch."""
    return channels * max(1, _STRETCH // channels)


def is_last(x: Any) -> bool:
    """Whether the channels lie side by side."""
    if x.ndim == 2 or x.size == x.shape[0] * x.shape[1]:
        return True
    return not x.flags.c_contiguous and _moved(x).flags.c_contiguous


def flat(x: Any, last: bool) -> Any:
    """In one dimension, in the order that is asked for."""
    return ready(_moved(x) if last else x).reshape(-1)


def _moved(x: Any) -> Any:
    return x.transpose(0, *range(2, x.ndim), 1)


def empty(x: Any, last: bool) -> Any:
    """A new array of the shape of x, in one of the two orders."""
    if not last:
        return np.empty(x.shape, _f)
    return np.empty((x.shape[0], *x.shape[2:], x.shape[1]), _f).transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


# ---- one plane


@njit(**SUMS)
def plane_sum(x: Any, count: Any) -> Any:
    """The sum of floats at an address, in float64 beyond some thousands."""
    total: Any = 0.0
    for start in range(0, count, CHUNK):
        xs, part = floats(x + 4 * start, min(CHUNK, count - start)), _ZERO
        for i in range(xs.size):
            part += xs[i]
        total += part
    return total


@njit(**SUMS)
def plane_squares(x: Any, count: Any, mean: Any) -> Any:
    """The sum of squared distances to ``mean``."""
    total: Any = 0.0
    for start in range(0, count, CHUNK):
        xs, part = floats(x + 4 * start, min(CHUNK, count - start)), _ZERO
        for i in range(xs.size):
            d = xs[i] - mean
            part += d * d
        total += part
    return total


@njit(**SUMS)
def plane_along(grad: Any, x: Any, count: Any, mean: Any) -> Any:
    """The sums of grad and of grad times the distance of x to ``mean``."""
    totals: Any = 0.0, 0.0
    for start in range(0, count, CHUNK):
        many = min(CHUNK, count - start)
        g, xs, plain, along = floats(grad + 4 * start, many), floats(x + 4 * start, many), _ZERO, _ZERO
        for i in range(xs.size):
            plain += g[i]
            along += g[i] * (xs[i] - mean)
        totals = totals[0] + plain, totals[1] + along
    return totals


@njit(**EXACT)
def plane_scale(x: Any, count: Any, mean: Any, scale: Any, shift: Any, out: Any) -> None:
    """out = (x - mean) * scale + shift."""
    xs, y = floats(x, count), floats(out, count)
    for i in range(xs.size):
        y[i] = (xs[i] - mean) * scale + shift


@njit(**EXACT)
def plane_combine(grad: Any, x: Any, count: Any, mean: Any, scale: Any, slope: Any, shift: Any, out: Any) -> None:
    """out = grad * scale + (x - mean) * slope + shift."""
    g, xs, y = floats(grad, count), floats(x, count), floats(out, count)
    for i in range(xs.size):
        y[i] = g[i] * scale + (xs[i] - mean) * slope + shift


# ---- stretches of rows


@njit(**EXACT)
def repeat(numbers: Any, channels: Any, stretch: Any, out: Any) -> None:
    """(C,) again and again, ``stretch`` floats long."""
    a = floats(numbers, channels)
    for start in range(0, stretch, channels):
        b = floats(out + 4 * start, channels)
        for c in range(b.size):
            b[c] = a[c]


@njit(**EXACT)
def fold(long: Any, channels: Any, factor: Any, out: Any) -> None:
    """out (C,) = the sum over the rows of a stretch, times ``factor``."""
    y = floats(out, channels)
    for c in range(y.size):
        y[c] = long[c]
    for start in range(channels, long.size, channels):
        row = long[start : start + channels]
        for c in range(y.size):
            y[c] += row[c]
    for c in range(y.size):
        y[c] *= factor


@njit(**EXACT)
def _add_rows(x: Any, count: Any, sums: Any) -> None:
    """Add up stretches, four at a time: the sums are then read and written once for four of them."""
    stretch, start = sums.size, 0
    while start + 4 * stretch <= count:
        a, b = floats(x + 4 * start, stretch), floats(x + 4 * (start + stretch), stretch)
        c, d = floats(x + 4 * (start + 2 * stretch), stretch), floats(x + 4 * (start + 3 * stretch), stretch)
        for i in range(a.size):
            sums[i] += (a[i] + b[i]) + (c[i] + d[i])
        start += 4 * stretch
    while start < count:
        a = floats(x + 4 * start, min(stretch, count - start))
        for i in range(a.size):
            sums[i] += a[i]
        start += stretch


@njit(**EXACT)
def _add_squares(x: Any, count: Any, means: Any, sums: Any) -> None:
    """The same of the squared distances to ``means``."""
    stretch, start = sums.size, 0
    while start + 4 * stretch <= count:
        a, b = floats(x + 4 * start, stretch), floats(x + 4 * (start + stretch), stretch)
        c, d = floats(x + 4 * (start + 2 * stretch), stretch), floats(x + 4 * (start + 3 * stretch), stretch)
        for i in range(a.size):
            m = means[i]
            p, q, r, s = a[i] - m, b[i] - m, c[i] - m, d[i] - m
            sums[i] += (p * p + q * q) + (r * r + s * s)
        start += 4 * stretch
    while start < count:
        a = floats(x + 4 * start, min(stretch, count - start))
        for i in range(a.size):
            p = a[i] - means[i]
            sums[i] += p * p
        start += stretch


@njit(**EXACT)
def rows_statistics(x: Any, count: Any, channels: Any, stretch: Any, mean: Any, squares: Any) -> None:
    """Mean and sum of squared distances of each channel, (C,) each, of ``count`` floats."""
    sums, means = np.zeros(stretch, _f), np.empty(stretch, _f)
    _add_rows(x, count, sums)
    fold(sums, channels, _f(1.0) / _f(count // channels), mean)
    repeat(mean, channels, stretch, means.ctypes.data)
    for c in range(sums.size):
        sums[c] = _ZERO
    _add_squares(x, count, means, sums)
    fold(sums, channels, _f(1.0), squares)


@njit(**EXACT)
def rows_along(grad: Any, x: Any, count: Any, channels: Any, stretch: Any, means: Any, plain: Any, along: Any) -> None:
    """Sums of grad and of grad times the distance of x to ``means`` (a stretch), (C,) each."""
    sums, products, center, start = np.zeros(stretch, _f), np.zeros(stretch, _f), floats(means, stretch), 0
    while start + 2 * stretch <= count:
        g, h = floats(grad + 4 * start, stretch), floats(grad + 4 * (start + stretch), stretch)
        a, b = floats(x + 4 * start, stretch), floats(x + 4 * (start + stretch), stretch)
        for c in range(a.size):
            m = center[c]
            sums[c] += g[c] + h[c]
            products[c] += g[c] * (a[c] - m) + h[c] * (b[c] - m)
        start += 2 * stretch
    while start < count:
        many = min(stretch, count - start)
        g, a = floats(grad + 4 * start, many), floats(x + 4 * start, many)
        for c in range(a.size):
            sums[c] += g[c]
            products[c] += g[c] * (a[c] - center[c])
        start += stretch
    fold(sums, channels, _f(1.0), plain)
    fold(products, channels, _f(1.0), along)


@njit(**EXACT)
def rows_scale(x: Any, count: Any, stretch: Any, means: Any, scales: Any, shifts: Any, out: Any) -> None:
    """out = (x - mean) * scale + shift; the numbers of a stretch each."""
    m, s, b = floats(means, stretch), floats(scales, stretch), floats(shifts, stretch)
    for start in range(0, count, stretch):
        many = min(stretch, count - start)
        xs, y = floats(x + 4 * start, many), floats(out + 4 * start, many)
        for c in range(xs.size):
            y[c] = (xs[c] - m[c]) * s[c] + b[c]


@njit(**EXACT)
def rows_combine(
    grad: Any, x: Any, count: Any, stretch: Any, means: Any, scales: Any, slopes: Any, shifts: Any, out: Any
) -> None:
    """out = grad * scale + (x - mean) * slope + shift; the numbers of a stretch each."""
    m, s, t, b = floats(means, stretch), floats(scales, stretch), floats(slopes, stretch), floats(shifts, stretch)
    for start in range(0, count, stretch):
        many = min(stretch, count - start)
        g, xs, y = floats(grad + 4 * start, many), floats(x + 4 * start, many), floats(out + 4 * start, many)
        for c in range(xs.size):
            y[c] = g[c] * s[c] + (xs[c] - m[c]) * t[c] + b[c]
