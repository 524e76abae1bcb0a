"""Largest and smallest elements of float32 arrays and their places, along rows that lie together in memory.

Rows of finite numbers are compared as they are. In others floats are compared as whole numbers in the same order, with NaN
above all. The smallest are the largest with their signs turned.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference import reduce as reference
from ..lanes.simd import LANES, add, at_least, fma, load, multiply, splat, store
from ..lanes.simd_math import where_less
from ..lanes.spans import FLOAT32, flat
from ..lanes.vector_math import bits_float, float_bits
from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for
from .reduce import plan

_PIECE = 1 << 16  # floats that one thread looks at at a time
_f, _i = np.float32, np.int32
_ZERO, _TOP, _LEAST, _SIZE = _f(0.0), _i(0x7FFFFFFF), _i(-0x80000000), _i(0x7FFFFFFF)


@njit(**EXACT)
def _largest_finite(x: Any, sign: Any, lanes: Any) -> Any:
    """The largest of ``sign * x``, or NaN where not all are finite; ``lanes`` is working memory (80,)."""
    signs, zero, best, clean = splat(sign), splat(_ZERO), splat(_f(-np.inf)), splat(_ZERO)
    other, pure = best, clean
    whole = x.size // (2 * LANES) * (2 * LANES)
    for j in range(0, whole, 2 * LANES):
        v, w = multiply(load(x, j), signs), multiply(load(x, j + LANES), signs)
        best, clean = at_least(best, v), fma(v, zero, clean)
        other, pure = at_least(other, w), fma(w, zero, pure)
    store(lanes, 0, at_least(best, other))
    store(lanes, LANES, add(clean, pure))
    top, bad = _f(-np.inf), _ZERO
    for j in range(LANES):
        top, bad = max(top, lanes[j]), bad + lanes[LANES + j]
    rest = x[whole:]
    for j in range(rest.size):
        v = rest[j] * sign
        top, bad = v if v > top else top, bad + v * _ZERO
    return top if bad == _ZERO else _f(np.nan)


@njit(**EXACT)
def _key(x: Any) -> Any:
    """A whole number that grows with x; the largest of all for NaN."""
    bits = float_bits(x)
    return _TOP if x != x else _i(bits ^ _i(_i(bits >> _i(31)) & _SIZE))


@njit(**EXACT)
def _largest(x: Any, sign: Any, lanes: Any) -> Any:
    """The largest of ``sign * x``, NaN where there is one."""
    top = _largest_finite(x, sign, lanes)
    if top == top:
        return top
    best = _LEAST
    for j in range(x.size):
        best = max(best, _key(x[j] * sign))
    return bits_float(_i(best ^ _i(_i(best >> _i(31)) & _SIZE)))


@njit(**EXACT)
def _place_finite(x: Any, sign: Any, lanes: Any) -> Any:
    """Where the largest of ``sign * x`` first stands, or -1 where not all are finite; below 2**24 elements."""
    signs, zero, step, clean = splat(sign), splat(_ZERO), splat(_f(2 * LANES)), splat(_ZERO)
    best, place, here = splat(_f(-np.inf)), splat(_ZERO), splat(_ZERO)
    other, spot = best, place
    whole = x.size // (2 * LANES) * (2 * LANES)
    for j in range(0, whole, 2 * LANES):
        v, w = multiply(load(x, j), signs), multiply(load(x, j + LANES), signs)
        place, best, clean = where_less(best, v, here, place), at_least(best, v), fma(v, zero, clean)
        spot, other, clean = where_less(other, w, here, spot), at_least(other, w), fma(w, zero, clean)
        here = add(here, step)
    for n, v in enumerate((best, other, place, spot, clean)):
        store(lanes, n * LANES, v)
    top, at, bad = _f(-np.inf), 0, _ZERO
    for j in range(2 * LANES):
        v, i = lanes[j], int(lanes[2 * LANES + j]) + j
        if (v > top) | ((v == top) & (i < at)):
            top, at = v, i
    for j in range(LANES):
        bad += lanes[4 * LANES + j]
    for j in range(whole, x.size):
        v = x[j] * sign
        if v > top:
            top, at = v, j
        bad += v * _ZERO
    return at if bad == _ZERO else -1


@njit(**EXACT)
def _place(x: Any, sign: Any, lanes: Any) -> Any:
    """Where the largest of ``sign * x``, or a NaN, first stands."""
    if x.size < 1 << 24:
        at = _place_finite(x, sign, lanes)
        if at >= 0:
            return at
    top = _largest(x, sign, lanes) * sign
    for j in range(x.size):
        if (x[j] == top) | ((x[j] != x[j]) & (top != top)):
            return j
    return 0


@njit(**EXACT)
def _some_extremes(t: Any, x: Any, inner: Any, sign: Any, parts: Any) -> None:
    lanes = np.empty(5 * LANES, np.float32)
    pieces = (inner + _PIECE - 1) // _PIECE
    many = max(1, _PIECE // inner)
    for n in range(t * many, min((t + 1) * many, parts.size)):
        start = n // pieces * inner + n % pieces * _PIECE
        parts[n] = _largest(x[start : min(start + _PIECE, (n // pieces + 1) * inner)], sign, lanes)


@njit(**EXACT)
def _extremes(x: Any, inner: Any, sign: Any, out: Any) -> None:
    """out (rows,) = the extreme of each row of ``inner`` floats."""
    pieces = (inner + _PIECE - 1) // _PIECE
    many = max(1, _PIECE // inner)
    parts = np.empty(out.size * pieces, np.float32)
    parallel_for(_some_extremes, (parts.size + many - 1) // many, (x, inner, sign, parts))
    for row in range(out.size):
        best = parts[row * pieces]
        for p in range(row * pieces + 1, (row + 1) * pieces):
            best = parts[p] if (parts[p] > best) | (parts[p] != parts[p]) else best
        out[row] = best * sign


@njit(**EXACT)
def _some_places(t: Any, x: Any, inner: Any, sign: Any, out: Any) -> None:
    lanes = np.empty(5 * LANES, np.float32)
    many = max(1, _PIECE // inner)
    for row in range(t * many, min((t + 1) * many, out.size)):
        out[row] = _place(x[row * inner : (row + 1) * inner], sign, lanes)


@njit(**EXACT)
def _places(x: Any, inner: Any, sign: Any, out: Any) -> None:
    """out (rows,) = where in each row of ``inner`` floats its extreme first stands."""
    many = max(1, _PIECE // inner)
    parallel_for(_some_places, (out.size + many - 1) // many, (x, inner, sign, out))


def _along_rows(x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
    """How the array is reduced; None where the reference must do it."""
    if x.dtype != FLOAT32 or not x.size:
        return None
    way = plan(x.shape, x.strides, axes, keepdim)
    if way is None or way.middle or way.size[0] > 1 or not x.transpose(way.order).flags.c_contiguous:
        return None
    return way


def _extreme(x: Any, axes: tuple[int, ...], keepdim: bool, sign: float) -> Any:
    way = _along_rows(x, axes, keepdim)
    if way is None:
        return None
    out = np.empty(way.shape, FLOAT32)
    _extremes(flat(x.transpose(way.order)), way.size[2], _f(sign), out.ravel())
    return out.transpose(way.back)


def _argument(x: Any, axis: int, sign: float) -> Any:
    way = _along_rows(x, (axis,), False)
    if way is None:
        return None
    out = np.empty(way.shape, np.int64)
    _places(flat(x.transpose(way.order)), way.size[2], _f(sign), out.ravel())
    return out.transpose(way.back)


def amax(x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
    """As the reference."""
    found = _extreme(x, axes, keepdim, 1.0)
    return reference.amax(x, axes, keepdim) if found is None else found


def amin(x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
    """As the reference."""
    found = _extreme(x, axes, keepdim, -1.0)
    return reference.amin(x, axes, keepdim) if found is None else found


def argmax(x: Any, axis: int) -> Any:
    """As the reference."""
    found = _argument(x, axis, 1.0)
    return reference.argmax(x, axis) if found is None else found


def argmin(x: Any, axis: int) -> Any:
    """As the reference."""
    found = _argument(x, axis, -1.0)
    return reference.argmin(x, axis) if found is None else found
