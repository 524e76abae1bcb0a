"""Sums, differences, products, quotients and extremes of large float32 arrays on the pool, NumPy's own for the rest.

Each is one operation as IEEE 754 has it, so which of the two computed it cannot be seen in the bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...reference import elementwise as reference
from ..lanes.spans import FLOAT32, INLINE, SPAN, flat, made_of, memory_order, one_number
from ..running.compiled import njit
from ..running.parallel import parallel_for

_LARGE = 1 << 16  # elements from which a second thread pays
_SHORT = 16  # rows below this are left to NumPy

_function: Any = None  # each kernel has its own
_body: Any = None


def _rows(t: Any, whole: Any, part: Any, out: Any, width: Any, period: Any, rowwise: Any) -> None:
    """One tile of ``_all_rows``."""
    across = (width + SPAN - 1) // SPAN
    rows = max(1, SPAN // width)
    top, left = t // across * rows, t % across * SPAN
    right = min(width, left + SPAN)
    for r in range(top, min(top + rows, out.size // width)):
        x, y = whole[r * width + left : r * width + right], out[r * width + left : r * width + right]
        if rowwise:
            z = part[r % period * width + left : r % period * width + right]
            for i in range(y.size):
                y[i] = _function(x[i], z[i])
        else:
            s = part[r % period]
            for i in range(y.size):
                y[i] = _function(x[i], s)


def _all_rows(whole: Any, part: Any, out: Any, width: Any, period: Any, rowwise: Any) -> None:
    """out[r] = function(whole[r], part[r % period]) for rows of ``width``; ``part`` has rows too, or one number for each."""
    across = (width + SPAN - 1) // SPAN
    rows = max(1, SPAN // width)
    tiles = across * ((out.size // width + rows - 1) // rows)
    parallel_for(_body, tiles, (whole, part, out, width, period, rowwise))


@njit(**INLINE)
def _add(x: Any, y: Any) -> Any:
    return x + y


@njit(**INLINE)
def _subtract(x: Any, y: Any) -> Any:
    return x - y


@njit(**INLINE)
def _subtract_from(x: Any, y: Any) -> Any:
    return y - x


@njit(**INLINE)
def _multiply(x: Any, y: Any) -> Any:
    return x * y


@njit(**INLINE)
def _divide(x: Any, y: Any) -> Any:
    return x / y


@njit(**INLINE)
def _divide_into(x: Any, y: Any) -> Any:
    return y / x


@njit(**INLINE)
def _maximum(x: Any, y: Any) -> Any:
    return x if (x > y) | (x != x) else y


@njit(**INLINE)
def _minimum(x: Any, y: Any) -> Any:
    return x if (x < y) | (x != x) else y


def _kernel(function: Any) -> Any:
    return made_of(function, _rows, _all_rows)


_Pair = tuple[Any, Any]  # kernels of (array, operand) and of (operand, array)
_ADD: _Pair = (_kernel(_add),) * 2
_SUBTRACT: _Pair = _kernel(_subtract), _kernel(_subtract_from)
_MULTIPLY: _Pair = (_kernel(_multiply),) * 2
_DIVIDE: _Pair = _kernel(_divide), _kernel(_divide_into)
_MAXIMUM: _Pair = (_kernel(_maximum),) * 2
_MINIMUM: _Pair = (_kernel(_minimum),) * 2


def add(a: Any, b: Any) -> Any:
    """As the reference."""
    return np.add(a, b) if a.size < _LARGE > b.size else _large(_ADD, np.add, a, b)


def subtract(a: Any, b: Any) -> Any:
    """As the reference."""
    return np.subtract(a, b) if a.size < _LARGE > b.size else _large(_SUBTRACT, np.subtract, a, b)


def multiply(a: Any, b: Any) -> Any:
    """As the reference."""
    return np.multiply(a, b) if a.size < _LARGE > b.size else _large(_MULTIPLY, np.multiply, a, b)


def true_divide(a: Any, b: Any) -> Any:
    """As the reference."""
    return np.true_divide(a, b) if a.size < _LARGE > b.size else _large(_DIVIDE, np.true_divide, a, b)


def maximum(a: Any, b: Any) -> Any:
    """As the reference."""
    return np.maximum(a, b) if a.size < _LARGE > b.size else _large(_MAXIMUM, np.maximum, a, b)


def minimum(a: Any, b: Any) -> Any:
    """As the reference."""
    return np.minimum(a, b) if a.size < _LARGE > b.size else _large(_MINIMUM, np.minimum, a, b)


def power_number(x: Any, exponent: float) -> Any:
    """As the reference."""
    return multiply(x, x) if exponent == 2 else reference.power_number(x, exponent)


def _large(kernels: _Pair, ufunc: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    if not a.dtype == b.dtype == FLOAT32:
        return ufunc(a, b)
    (whole, part), kernel = ((a, b), kernels[0]) if a.size >= b.size else ((b, a), kernels[1])
    if whole.flags.c_contiguous and part.flags.c_contiguous:
        rows = _rows_of(whole.shape, (1,) * (whole.ndim - part.ndim) + part.shape)
        return ufunc(a, b) if rows is None else _computed(kernel, whole, part, rows)
    if part.ndim > whole.ndim:
        return ufunc(a, b)
    if one_number(whole) and whole.shape == part.shape:
        whole, part, kernel = part, whole, kernels[1]
    if one_number(part) and not one_number(whole):
        part = part[(slice(1),) * part.ndim] if whole.shape == part.shape else part
    order = memory_order(whole)
    part = part.reshape((1,) * (whole.ndim - part.ndim) + part.shape).transpose(order)
    whole = whole.transpose(order)
    rows = _rows_of(whole.shape, part.shape)
    if rows is None or not (whole.flags.c_contiguous and part.flags.c_contiguous):
        return ufunc(a, b)
    return _computed(kernel, whole, part, rows).transpose(np.argsort(order))


def _computed(kernel: Callable[..., None], whole: Any, part: Any, rows: tuple[int, int, bool]) -> Any:
    out = np.empty(whole.shape, FLOAT32)
    kernel(flat(whole), flat(part), out.ravel(), *rows)
    return out


def _rows_of(whole: tuple[int, ...], part: tuple[int, ...]) -> tuple[int, int, bool] | None:
    """(width, period, rowwise) such that ``part`` repeats over the rows of ``whole``; None where it does not (or hardly)."""
    if whole == part:
        return math.prod(whole), 1, True
    if math.prod(part) == 1 and len(part) == len(whole):
        return math.prod(whole), 1, False
    if len(part) > len(whole):
        return None
    same = [n == m for n, m in zip(whole, part, strict=True)]
    first, last = 0, len(part)
    while first < last and part[first] == 1:
        first += 1  # repeats as a whole
    while last > first and part[last - 1] == 1:
        last -= 1  # single numbers for whole rows
    if not all(same[first:last]):
        return None
    period = math.prod(part[first:last])
    width = math.prod(whole[last:])
    if width > 1:
        return (width, period, False) if width >= _SHORT else None
    return (period, 1, True) if period >= _SHORT else None
