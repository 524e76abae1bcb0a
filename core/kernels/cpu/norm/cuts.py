"""What ``channels`` has, with a rectifier behind the norm: results are cut off at 0 and, for relu6, at 6.

The gradient passes where the result lay between the cuts. The result is computed again for it, by the same instructions, and
not read: memory is what these loops wait for. ``top`` is the upper cut; NaN, which nothing exceeds, where there is none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..lanes.pointers import floats
from ..running.compiled import EXACT, SUMS, njit
from .channels import CHUNK, fold

_f = np.float32
_ZERO = _f(0.0)
TOPS = {"none": 0.0, "relu": np.nan, "relu6": 6.0}
"""The upper cut of each activation; 0 stands for no activation."""


@njit(**EXACT)
def _cut(v: Any, top: Any) -> Any:
    v = _ZERO if v < _ZERO else v
    return top if v > top else v


@njit(**EXACT)
def _gate(g: Any, v: Any, top: Any) -> Any:
    return g if (v > _ZERO) & (not (v >= top)) else _ZERO


# ---- planes


@njit(**EXACT)
def plane_scale_cut(x: Any, count: Any, mean: Any, scale: Any, shift: Any, top: Any, out: Any) -> None:
    """out = (x - mean) * scale + shift, cut off."""
    xs, y = floats(x, count), floats(out, count)
    for i in range(xs.size):
        y[i] = _cut((xs[i] - mean) * scale + shift, top)


@njit(**SUMS)
def plane_along_cut(grad: Any, x: Any, count: Any, mean: Any, scale: Any, shift: Any, top: Any) -> Any:
    """The sums of the gradient that passes, and of it times the distance of x to ``mean``."""
    totals: Any = 0.0, 0.0
    for start in range(0, count, CHUNK):
        many = min(CHUNK, count - start)
        g, xs, plain, along = floats(grad + 4 * start, many), floats(x + 4 * start, many), _ZERO, _ZERO
        for i in range(xs.size):
            d = xs[i] - mean
            v = _gate(g[i], d * scale + shift, top)
            plain += v
            along += v * d
        totals = totals[0] + plain, totals[1] + along
    return totals


@njit(**EXACT)
def plane_combine_cut(
    grad: Any, x: Any, count: Any, mean: Any, scale: Any, shift: Any, top: Any, slope: Any, rest: Any, out: Any
) -> None:
    """out = (the gradient that passes) * scale + (x - mean) * slope + rest."""
    g, xs, y = floats(grad, count), floats(x, count), floats(out, count)
    for i in range(xs.size):
        d = xs[i] - mean
        y[i] = _gate(g[i], d * scale + shift, top) * scale + d * slope + rest


# ---- stretches of rows: ``numbers`` (K, stretch) are mean, scale, shift, slope and rest


@njit(**EXACT)
def rows_scale_cut(x: Any, count: Any, stretch: Any, numbers: Any, top: Any, out: Any) -> None:
    """out = (x - mean) * scale + shift, cut off."""
    m, s, b = floats(numbers, stretch), floats(numbers + 4 * stretch, stretch), floats(numbers + 8 * stretch, stretch)
    for start in range(0, count, stretch):
        many = min(stretch, count - start)
        xs, y = floats(x + 4 * start, many), floats(out + 4 * start, many)
        for c in range(xs.size):
            y[c] = _cut((xs[c] - m[c]) * s[c] + b[c], top)


@njit(**EXACT)
def rows_along_cut(
    grad: Any, x: Any, count: Any, channels: Any, stretch: Any, numbers: Any, top: Any, plain: Any, along: Any
) -> None:
    """Sums of the gradient that passes, and of it times the distance of x to the mean, (C,) each."""
    m, s, b = floats(numbers, stretch), floats(numbers + 4 * stretch, stretch), floats(numbers + 8 * stretch, stretch)
    sums, products, start = np.zeros(stretch, _f), np.zeros(stretch, _f), 0
    while start + 2 * stretch <= count:
        g, h = floats(grad + 4 * start, stretch), floats(grad + 4 * (start + stretch), stretch)
        xs, zs = floats(x + 4 * start, stretch), floats(x + 4 * (start + stretch), stretch)
        for c in range(xs.size):
            d, e = xs[c] - m[c], zs[c] - m[c]
            v, w = _gate(g[c], d * s[c] + b[c], top), _gate(h[c], e * s[c] + b[c], top)
            sums[c] += v + w
            products[c] += v * d + w * e
        start += 2 * stretch
    while start < count:
        many = min(stretch, count - start)
        g, xs = floats(grad + 4 * start, many), floats(x + 4 * start, many)
        for c in range(xs.size):
            d = xs[c] - m[c]
            v = _gate(g[c], d * s[c] + b[c], top)
            sums[c] += v
            products[c] += v * d
        start += stretch
    fold(sums, channels, _f(1.0), plain)
    fold(products, channels, _f(1.0), along)


@njit(**EXACT)
def rows_combine_cut(grad: Any, x: Any, count: Any, stretch: Any, numbers: Any, top: Any, out: Any) -> None:
    """out = (the gradient that passes) * scale + (x - mean) * slope + rest."""
    m, s, b = floats(numbers, stretch), floats(numbers + 4 * stretch, stretch), floats(numbers + 8 * stretch, stretch)
    k, t = floats(numbers + 12 * stretch, stretch), floats(numbers + 16 * stretch, stretch)
    for start in range(0, count, stretch):
        many = min(stretch, count - start)
        g, xs, y = floats(grad + 4 * start, many), floats(x + 4 * start, many), floats(out + 4 * start, many)
        for c in range(xs.size):
            d = xs[c] - m[c]
            y[c] = _gate(g[c], d * s[c] + b[c], top) * s[c] + d * k[c] + t[c]
