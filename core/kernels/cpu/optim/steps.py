"""The loops of optimizer steps in float32, over all parameters in one call: spans of them that threads take one by one.

Spans are cut by parameter and by a fixed number of elements. Steps are element-wise, so the bits do not depend on the number of
threads; sums are taken span by span and added in order.
"""

# ruff: noqa: ARG001 - every loop is given the numbers of its parameter

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..lanes.addresses import addresses
from ..lanes.pointers import floats
from ..lanes.rows import add_up
from ..lanes.spans import made_of
from ..running.compiled import EXACT, SUMS, njit
from ..running.parallel import parallel_for

_f = np.float32
_SPAN = 1 << 16

_function: Any = None  # each kernel has its own, and its own body: see ``spans``
_body: Any = None


# ---- one span of one parameter; ``own`` are numbers of the parameter, the others of all


@njit(**EXACT)
def _sgd(p: Any, g: Any, own: Any, sign: Any, lr: Any, decay: Any) -> None:
    for i in range(p.size):
        p[i] -= lr * (sign * g[i] + decay * p[i])


@njit(**EXACT)
def _sgd_momentum(p: Any, g: Any, b: Any, own: Any, sign: Any, decay: Any, of_grad: Any, of_buffer: Any) -> None:
    old, new = own[0], own[1]
    for i in range(p.size):
        d = sign * g[i] + decay * p[i]
        b[i] = old * b[i] + new * d
        p[i] -= of_grad * d + of_buffer * b[i]


@njit(**EXACT)
def _adam(
    p: Any, g: Any, m: Any, v: Any, own: Any, sign: Any, l2: Any, keep: Any, new1: Any, beta2: Any, new2: Any, eps: Any
) -> None:
    root, rate = own
    for i in range(p.size):
        d = sign * g[i] + l2 * p[i]
        m[i] += (d - m[i]) * new1
        v[i] = v[i] * beta2 + d * d * new2
        p[i] = p[i] * keep - rate * m[i] / (np.sqrt(v[i]) * root + eps)


@njit(**EXACT)
def _amsgrad(
    p: Any, g: Any, m: Any, v: Any, top: Any, own: Any, sign: Any, l2: Any, keep: Any, new1: Any, beta2: Any, new2: Any, eps: Any
) -> None:
    root, rate = own
    for i in range(p.size):
        d = sign * g[i] + l2 * p[i]
        m[i] += (d - m[i]) * new1
        v[i] = v[i] * beta2 + d * d * new2
        top[i] = max(top[i], v[i])
        p[i] = p[i] * keep - rate * m[i] / (np.sqrt(top[i]) * root + eps)


@njit(**EXACT)
def _lion(p: Any, g: Any, m: Any, own: Any, sign: Any, lr: Any, keep: Any, new1: Any, new2: Any) -> None:
    for i in range(p.size):
        d = sign * g[i]
        p[i] = p[i] * keep - np.sign(m[i] + (d - m[i]) * new1) * lr
        m[i] += (d - m[i]) * new2


@njit(**EXACT)
def _lamb(
    p: Any, g: Any, m: Any, v: Any, out: Any, own: Any, scale: Any, beta1: Any, new1: Any, beta2: Any, new2: Any, root: Any,
    eps: Any, whole: Any, decay: Any,
) -> None:  # fmt: skip
    for i in range(p.size):
        d = scale * g[i]
        m[i] = m[i] * beta1 + d * new1
        v[i] = v[i] * beta2 + d * d * new2
        out[i] = whole * m[i] / (np.sqrt(v[i]) * root + eps) + decay * p[i]


@njit(**EXACT)
def _shrink_move(p: Any, update: Any, own: Any, keep: Any, rate: Any) -> None:
    for i in range(p.size):
        p[i] = p[i] * keep - rate * update[i]


@njit(**EXACT)
def _move(p: Any, update: Any, own: Any, rate: Any) -> None:
    for i in range(p.size):
        p[i] -= rate * update[i]


@njit(**EXACT)
def _ema(average: Any, value: Any, own: Any, weight: Any) -> None:
    for i in range(average.size):
        average[i] += (value[i] - average[i]) * weight


@njit(**EXACT)
def _scale(x: Any, own: Any, factor: Any) -> None:
    for i in range(x.size):
        x[i] *= factor


@njit(**SUMS)
def _squares(x: Any, own: Any) -> float:
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(x[i])
    return total


# ---- all spans of all parameters: ``table`` (arrays, parameters) of addresses, ``starts`` the first span of each


@njit(**EXACT)
def _place(t: Any, starts: Any) -> Any:
    """The parameter that span t belongs to."""
    low, high = 0, starts.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if starts[middle] <= t:
            low = middle
        else:
            high = middle
    return low


def _span_of_one(t: Any, table: Any, sizes: Any, starts: Any, own: Any, numbers: Any) -> None:
    i = _place(t, starts)
    lo = (t - starts[i]) * _SPAN
    n = min(_SPAN, sizes[i] - lo)
    _function(floats(table[0, i] + 4 * lo, n), (own[i, 0], own[i, 1]), *numbers)


def _span_of_two(t: Any, table: Any, sizes: Any, starts: Any, own: Any, numbers: Any) -> None:
    i = _place(t, starts)
    lo = (t - starts[i]) * _SPAN
    n = min(_SPAN, sizes[i] - lo)
    a, b = floats(table[0, i] + 4 * lo, n), floats(table[1, i] + 4 * lo, n)
    _function(a, b, (own[i, 0], own[i, 1]), *numbers)


def _span_of_three(t: Any, table: Any, sizes: Any, starts: Any, own: Any, numbers: Any) -> None:
    i = _place(t, starts)
    lo = (t - starts[i]) * _SPAN
    n = min(_SPAN, sizes[i] - lo)
    a, b, c = floats(table[0, i] + 4 * lo, n), floats(table[1, i] + 4 * lo, n), floats(table[2, i] + 4 * lo, n)
    _function(a, b, c, (own[i, 0], own[i, 1]), *numbers)


def _span_of_four(t: Any, table: Any, sizes: Any, starts: Any, own: Any, numbers: Any) -> None:
    i = _place(t, starts)
    lo = (t - starts[i]) * _SPAN
    n = min(_SPAN, sizes[i] - lo)
    a, b, c = floats(table[0, i] + 4 * lo, n), floats(table[1, i] + 4 * lo, n), floats(table[2, i] + 4 * lo, n)
    _function(a, b, c, floats(table[3, i] + 4 * lo, n), (own[i, 0], own[i, 1]), *numbers)


def _span_of_five(t: Any, table: Any, sizes: Any, starts: Any, own: Any, numbers: Any) -> None:
    i = _place(t, starts)
    lo = (t - starts[i]) * _SPAN
    n = min(_SPAN, sizes[i] - lo)
    a, b, c = floats(table[0, i] + 4 * lo, n), floats(table[1, i] + 4 * lo, n), floats(table[2, i] + 4 * lo, n)
    d, e = floats(table[3, i] + 4 * lo, n), floats(table[4, i] + 4 * lo, n)
    _function(a, b, c, d, e, (own[i, 0], own[i, 1]), *numbers)


def _whole(table: Any, sizes: Any, starts: Any, own: Any, numbers: Any) -> None:
    parallel_for(_body, starts[-1], (table, sizes, starts, own, numbers))


_SPANS = (_span_of_one, _span_of_two, _span_of_three, _span_of_four, _span_of_five)


class Step:
    """A step over all parameters, compiled when it is first used."""

    def __init__(self, function: Any, arrays: int) -> None:
        self.run = made_of(function, _SPANS[arrays - 1], _whole)

    def __call__(self, parameters: Sequence[Sequence[Any]], *numbers: float, own: Sequence[tuple[float, float]] = ()) -> None:
        """``parameters``: of each its arrays, in one dimension or in C order, equally long."""
        if not parameters:
            return
        table, sizes, starts = _spans(parameters)
        numbers_of_each = np.array(own, _f) if own else np.zeros((len(parameters), 2), _f)
        self.run(table, sizes, starts, numbers_of_each, tuple(_f(n) for n in numbers))


def _spans(parameters: Sequence[Sequence[Any]]) -> tuple[Any, Any, Any]:
    table = addresses([a for arrays in parameters for a in arrays]).reshape(len(parameters), -1)
    sizes = np.array([arrays[0].size for arrays in parameters], np.int64)
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(-(-sizes // _SPAN), out=starts[1:])
    return np.ascontiguousarray(table.T), sizes, starts


SGD, SGD_MOMENTUM, ADAM, AMSGRAD = Step(_sgd, 2), Step(_sgd_momentum, 3), Step(_adam, 4), Step(_amsgrad, 5)
LION, LAMB, MOVE, SHRINK_MOVE = Step(_lion, 3), Step(_lamb, 5), Step(_move, 2), Step(_shrink_move, 2)
EMA, SCALE = Step(_ema, 2), Step(_scale, 1)


@njit(**EXACT)
def _squares_span(t: Any, table: Any, sizes: Any, starts: Any, out: Any) -> None:
    i = _place(t, starts)
    lo = (t - starts[i]) * _SPAN
    out[t] = _squares(floats(table[0, i] + 4 * lo, min(_SPAN, sizes[i] - lo)), (0, 0))


def total_of_squares(arrays: Sequence[Any]) -> float:
    """The sum of the squares of float32 arrays in C order: in float64, each array's spans in order, then the arrays."""
    if not arrays:
        return 0.0
    table, sizes, starts = _spans([(a,) for a in arrays])
    return float(_all_squares(table, sizes, starts, np.empty(starts[-1])))


@njit(**EXACT)
def _all_squares(table: Any, sizes: Any, starts: Any, out: Any) -> float:
    """The sum of each parameter, then of all of them."""
    parallel_for(_squares_span, starts[-1], (table, sizes, starts, out))
    total = 0.0
    for i in range(sizes.size):
        part = 0.0
        for t in range(starts[i], starts[i + 1]):
            part += out[t]
        total += part
    return total


# ---- Adafactor's matrices


@njit(**EXACT)
def rows_of(width: Any) -> Any:
    """Rows of a matrix that make a span."""
    return max(1, _SPAN // width)


@njit(**EXACT)
def _moments_span(t: Any, g: Any, height: Any, width: Any, rows: Any, parts: Any) -> None:
    columns = floats(parts + 4 * width * t, width)
    for c in range(columns.size):
        columns[c] = _f(0.0)
    many = rows_of(width)
    for r in range(t * many, min(height, (t + 1) * many)):
        row = floats(g + 4 * width * r, width)
        for c in range(row.size):
            columns[c] += row[c] * row[c]
        rows[r] = _squares(row, (0, 0))


@njit(**EXACT)
def moments(g: Any, rows: Any, parts: Any, columns: Any) -> None:
    """Squares of g (R, C) summed along each row into ``rows``, and along each column into ``columns``."""
    height, width = g.shape
    parallel_for(_moments_span, len(parts), (g.ctypes.data, height, width, rows, parts.ctypes.data))
    add_up(parts.ctypes.data, 4 * width, len(parts), width, columns.ctypes.data)


@njit(**EXACT)
def _factored_span(t: Any, g: Any, height: Any, width: Any, rows: Any, columns: Any, out: Any, sign: Any, least: Any) -> None:
    many, tops = rows_of(width), floats(columns, width)
    for r in range(t * many, min(height, (t + 1) * many)):
        row, y, factor = floats(g + 4 * width * r, width), floats(out + 4 * width * r, width), rows[r]
        for c in range(row.size):
            y[c] = sign * row[c] / np.sqrt(max(factor * tops[c], least))


@njit(**EXACT)
def factored(g: Any, rows: Any, columns: Any, out: Any, sign: Any, least: Any) -> None:
    height, width = g.shape
    many = rows_of(width)
    given = g.ctypes.data, height, width, rows, columns.ctypes.data, out.ctypes.data, sign, least
    parallel_for(_factored_span, (height + many - 1) // many, given)
