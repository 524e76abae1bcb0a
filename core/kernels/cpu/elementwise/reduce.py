"""Sums and means of float32 arrays: blocks are added in vectors, blocks' sums in float64, in an order fixed by the shape.

An array whose reduced dimensions lie together in memory is taken as three: either the outer and the inner are reduced, or
the middle one. A kept row's bits depend on that row alone. Anything else goes to the reference.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from ...reference import reduce as reference
from ..lanes.simd import LANES, add, fma, load, splat, subtract
from ..lanes.spans import FLOAT32, flat
from ..lanes.wide import accumulate, total
from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for
from . import arithmetic

_BLOCK = 32 * 4 * LANES  # floats of a row that are added in float32
_PIECE = 1 << 16  # floats of rows that one thread adds at a time
_PANEL = 1 << 18  # and of columns
_COLUMNS = 4096  # at most so many of them
_SUMS = 256  # columns whose pieces one thread adds up
_GROUP = 8  # rows that are added in float32
_f = np.float32
_ZERO = _f(0.0)


@njit(**EXACT)
def _row_sum(x: Any, first: Any, last: Any) -> Any:
    """The sum of x[first:last]."""
    result, i = 0.0, first
    while i + 4 * LANES <= last:
        a, b, c, d = load(x, i), load(x, i + LANES), load(x, i + 2 * LANES), load(x, i + 3 * LANES)
        end = min(i + _BLOCK, last)
        i += 4 * LANES
        while i + 4 * LANES <= end:
            a, b = add(a, load(x, i)), add(b, load(x, i + LANES))
            c, d = add(c, load(x, i + 2 * LANES)), add(d, load(x, i + 3 * LANES))
            i += 4 * LANES
        result += total(add(add(a, b), add(c, d)))
    while i + LANES <= last:
        result += total(load(x, i))
        i += LANES
    rest = x[i:last]
    for j in range(rest.size):
        result += np.float64(rest[j])
    return result


@njit(**EXACT)
def _some_rows(t: Any, x: Any, size: Any, parts: Any) -> None:
    """Pieces of rows: parts[outer * pieces + piece, kept]."""
    outer, kept, inner = size
    pieces = (inner + _PIECE - 1) // _PIECE
    many = max(1, _PIECE // inner)
    n = t * many
    piece, row = n % pieces, n // pieces
    o, k = row // kept, row % kept
    for _ in range(n, min(n + many, outer * kept * pieces)):
        start = (o * kept + k) * inner
        value = _row_sum(x, start + piece * _PIECE, min(start + inner, start + (piece + 1) * _PIECE))
        parts[o * pieces + piece, k] = value
        piece += 1
        if piece == pieces:
            piece, k = 0, k + 1
        if k == kept:
            k, o = 0, o + 1


@njit(**EXACT)
def sum_rows(x: Any, size: Any, count: Any, out: Any) -> None:
    """out (kept,) = x (outer, kept, inner) summed over the outer and the inner dimension, divided by ``count``."""
    outer, kept, inner = size
    pieces = (inner + _PIECE - 1) // _PIECE
    parts = np.empty((outer * pieces, kept))
    many = max(1, _PIECE // inner)
    parallel_for(_some_rows, (outer * kept * pieces + many - 1) // many, (x, size, parts))
    _finish(parts, 0, len(parts), count, out)


@njit(**EXACT)
def _finish(parts: Any, first: Any, last: Any, count: Any, out: Any) -> None:
    """out = parts[first:last], added in order, divided by ``count``."""
    sums = parts[first]
    for p in range(first + 1, last):
        more = parts[p]
        for k in range(sums.size):
            sums[k] += more[k]
    for k in range(out.size):
        out[k] = _f(sums[k] / count)


@njit(**EXACT)
def _row_squares(x: Any, first: Any, last: Any, mean: Any) -> Any:
    """The sum over x[first:last] of the squares of the distance to ``mean``."""
    result, i, middle = 0.0, first, splat(mean)
    while i + 4 * LANES <= last:
        a, b, c, d = splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO)
        end = min(i + _BLOCK, last)
        while i + 4 * LANES <= end:
            p, q = subtract(load(x, i), middle), subtract(load(x, i + LANES), middle)
            r, s = subtract(load(x, i + 2 * LANES), middle), subtract(load(x, i + 3 * LANES), middle)
            a, b, c, d = fma(p, p, a), fma(q, q, b), fma(r, r, c), fma(s, s, d)
            i += 4 * LANES
        result += total(add(add(a, b), add(c, d)))
    rest = x[i:last]
    for j in range(rest.size):
        distance = np.float64(rest[j]) - np.float64(mean)
        result += distance * distance
    return result


@njit(**EXACT)
def _some_variances(t: Any, x: Any, inner: Any, freedom: Any, out: Any) -> None:
    many = max(1, _PIECE // inner)
    for row in range(t * many, min((t + 1) * many, out.size)):
        first, last = row * inner, (row + 1) * inner
        mean = _f(_row_sum(x, first, last) / inner)
        out[row] = _f(_row_squares(x, first, last, mean) / freedom)


@njit(**EXACT)
def row_variances(x: Any, inner: Any, freedom: Any, out: Any) -> None:
    """out (rows,) = the squares of the distances to the mean in rows of ``inner``, divided by ``freedom``."""
    many = max(1, _PIECE // inner)
    parallel_for(_some_variances, (out.size + many - 1) // many, (x, inner, freedom, out))


@njit(**EXACT)
def _add_rows(x: Any, start: Any, rows: Any, step: Any, sums: Any) -> None:
    """sums += ``rows`` rows of x, ``step`` apart, from ``start`` on."""
    whole = sums.size // LANES * LANES
    r = 0
    while r + _GROUP <= rows:
        at = start + r * step
        for c in range(0, whole, LANES):
            i = at + c
            a = add(add(load(x, i), load(x, i + step)), add(load(x, i + 2 * step), load(x, i + 3 * step)))
            i += 4 * step
            b = add(add(load(x, i), load(x, i + step)), add(load(x, i + 2 * step), load(x, i + 3 * step)))
            accumulate(sums, c, add(a, b))
        r += _GROUP
    for n in range(r, rows):
        for c in range(0, whole, LANES):
            accumulate(sums, c, load(x, start + n * step + c))
    for c in range(whole, sums.size):
        for n in range(rows):
            sums[c] += np.float64(x[start + n * step + c])


@njit(**EXACT)
def _some_columns(t: Any, x: Any, size: Any, rows: Any, parts: Any) -> None:
    """One tile: parts[outer * pieces + piece, some columns]."""
    _, middle, inner = size
    across, pieces = (inner + _COLUMNS - 1) // _COLUMNS, (middle + rows - 1) // rows
    left, part = t % across * _COLUMNS, t // across
    top = part % pieces * rows
    sums = parts[part, left : min(inner, left + _COLUMNS)]
    sums[:] = 0.0
    _add_rows(x, (part // pieces * middle + top) * inner + left, min(rows, middle - top), inner, sums)


@njit(**EXACT)
def _end_columns(t: Any, parts: Any, pieces: Any, count: Any, out: Any) -> None:
    inner = parts.shape[1]
    across = (inner + _SUMS - 1) // _SUMS
    a, left = t // across, t % across * _SUMS
    right = min(inner, left + _SUMS)
    _finish(parts[:, left:right], a * pieces, (a + 1) * pieces, count, out[a * inner + left : a * inner + right])


@njit(**EXACT)
def sum_columns(x: Any, size: Any, count: Any, out: Any) -> None:
    """out (outer * inner,) = x (outer, middle, inner) summed over the middle dimension, divided by ``count``."""
    outer, middle, inner = size
    rows = max(_GROUP, _PANEL // min(inner, _COLUMNS) // _GROUP * _GROUP)
    pieces = (middle + rows - 1) // rows
    parts = np.empty((outer * pieces, inner))
    parallel_for(_some_columns, len(parts) * ((inner + _COLUMNS - 1) // _COLUMNS), (x, size, rows, parts))
    parallel_for(_end_columns, outer * ((inner + _SUMS - 1) // _SUMS), (parts, pieces, count, out))


class Plan(NamedTuple):
    """How an array is reduced over some of its dimensions."""

    order: tuple[int, ...]
    """Its dimensions as they lie in memory."""
    middle: bool
    """Whether the middle dimension is reduced, and not the others."""
    size: tuple[int, int, int]
    terms: int
    """Elements for each one of the result."""
    shape: tuple[int, ...]
    """Of the result, in memory."""
    back: tuple[int, ...]
    """What puts the result's dimensions into their order."""


@functools.lru_cache(maxsize=1024)
def plan(shape: tuple[int, ...], strides: tuple[int, ...], axes: tuple[int, ...], keepdim: bool) -> Plan | None:
    """How to reduce a dense array; None where its reduced dimensions lie too far apart, or there is nothing to add."""
    order = tuple(sorted(range(len(shape)), key=lambda i: -strides[i]))
    runs: list[list[int]] = []  # [reduced, elements], neighbours of one kind together
    for i in order:
        if shape[i] != 1 and runs and runs[-1][0] == (i in axes):
            runs[-1][1] *= shape[i]
        elif shape[i] != 1:
            runs.append([i in axes, shape[i]])
    reduced = [r for r, _ in runs]
    kept = tuple(i for i in order if i not in axes or keepdim)
    result = tuple(1 if i in axes else shape[i] for i in kept)
    back = tuple(int(i) for i in np.argsort(kept))
    count = math.prod(shape[i] for i in axes)
    sizes = [n for _, n in runs]
    if reduced in ([True], [False, True], [True, False, True]):
        size = [1] * (3 - len(sizes)) + sizes
        return Plan(order, False, (size[0], size[1], size[2]), count, result, back)
    if reduced in ([True, False], [False, True, False]):
        size = [1] * (3 - len(sizes)) + sizes
        return Plan(order, True, (size[0], size[1], size[2]), count, result, back)
    return None


def _reduced(x: Any, axes: tuple[int, ...], keepdim: bool, mean: bool) -> Any:
    """The sum or mean; None where the reference must compute it."""
    if x.dtype != FLOAT32 or not x.size:
        return None
    way = plan(x.shape, x.strides, axes, keepdim)
    if way is None:
        return None
    if not x.flags.c_contiguous:
        x = x.transpose(way.order)
        if not x.flags.c_contiguous:
            return None
    out = np.empty(way.shape, FLOAT32)
    (sum_columns if way.middle else sum_rows)(flat(x), way.size, way.terms if mean else 1, out.ravel())
    return out.transpose(way.back)


def var(x: Any, axes: tuple[int, ...], keepdim: bool, correction: float) -> Any:
    """As the reference."""
    count = math.prod(x.shape[i] for i in axes)
    if x.dtype != FLOAT32 or not x.size or count <= correction:
        return reference.var(x, axes, keepdim, correction)
    way = plan(x.shape, x.strides, axes, keepdim)
    if way is None or way.middle or way.size[0] > 1 or not x.transpose(way.order).flags.c_contiguous:
        centred = arithmetic.subtract(x, mean(x, axes, True))
        squares = arithmetic.multiply(centred, centred)
        return np.asarray(sum(squares, axes, keepdim) / _f(count - correction))
    out = np.empty(way.shape, FLOAT32)
    row_variances(flat(x.transpose(way.order)), way.size[2], float(count - correction), out.ravel())
    return out.transpose(way.back)


def sum(x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
    """As the reference."""
    found = _reduced(x, axes, keepdim, False)
    return reference.sum(x, axes, keepdim) if found is None else found


def mean(x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
    """As the reference."""
    found = _reduced(x, axes, keepdim, True)
    return reference.mean(x, axes, keepdim) if found is None else found
