"""softmax and log_softmax in float32 along any axis, their gradients, and the softmax of attention scores.

Along the last axis in memory a row is read again while it is in the cache; along another one, columns side by side are. Elements
depend on their own row or column alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...reference import softmax as reference
from ..lanes.pointers import floats
from ..lanes.rows import TILE, as_rows
from ..lanes.vector_math import bits_float, fexp, float_bits, flog, ready, suits
from ..running.compiled import EXACT, SUMS, njit
from ..running.parallel import parallel_for

_f = np.float32
_ZERO, _ONE = _f(0.0), _f(1.0)
_MANTISSA, _SIGN_SHIFT = np.int32(0x7FFFFFFF), np.int32(31)
_LOWEST = np.int32(-(2**31))
_SIDE = 256  # columns that are taken side by side
_FEW = 16  # columns below which it pays to turn the array


# ---- rows


@njit(**EXACT)
def ordered(x: Any) -> Any:
    """A float32 as an int32 in the same order: a maximum of integers is vectorised without assuming that no NaN is there."""
    bits = float_bits(x)
    return bits ^ ((bits >> _SIGN_SHIFT) & _MANTISSA)


@njit(**EXACT)
def from_ordered(number: Any) -> Any:
    """The float32 again."""
    return bits_float(number ^ ((number >> _SIGN_SHIFT) & _MANTISSA))


@njit(**SUMS)
def row_top(x: Any, width: Any) -> Any:
    """The largest of ``width`` floats at an address; NaN, or not, where there is one."""
    row, largest = floats(x, width), _LOWEST
    for c in range(row.size):
        largest = max(largest, ordered(row[c]))
    return from_ordered(largest)


@njit(**SUMS)
def row_sum_of_exponentials(x: Any, width: Any, top: Any) -> Any:
    """Of the differences to ``top``, in float32."""
    row, total = floats(x, width), _ZERO
    for c in range(row.size):
        total += fexp(row[c] - top)
    return total


@njit(**SUMS)
def _sum(row: Any) -> Any:
    total = _ZERO
    for c in range(row.size):
        total += row[c]
    return total


@njit(**SUMS)
def _sum_of_products(a: Any, b: Any) -> Any:
    total = _ZERO
    for c in range(a.size):
        total += a[c] * b[c]
    return total


@njit(**EXACT)
def _softmax_row(row: Any, top: Any, out: Any) -> None:
    for c in range(row.size):
        out[c] = fexp(row[c] - top)
    share = _ONE / _sum(out)
    for c in range(out.size):
        out[c] *= share


@njit(**EXACT)
def _rows_tile(t: Any, x: Any, rows: Any, width: Any, tile: Any, log: Any, out: Any) -> None:
    for r in range(t * tile, min(rows, (t + 1) * tile)):
        place = x + 4 * width * r
        row, y, top = floats(place, width), floats(out + 4 * width * r, width), row_top(place, width)
        if log:
            rest = flog(row_sum_of_exponentials(place, width, top))
            for c in range(row.size):
                y[c] = (row[c] - top) - rest
        else:
            _softmax_row(row, top, y)


@njit(**EXACT)
def _rows_backward_tile(t: Any, grad: Any, y: Any, rows: Any, width: Any, tile: Any, log: Any, out: Any) -> None:
    for r in range(t * tile, min(rows, (t + 1) * tile)):
        start = 4 * width * r
        g, v, gx = floats(grad + start, width), floats(y + start, width), floats(out + start, width)
        if log:
            total = _sum(g)
            for c in range(g.size):
                gx[c] = g[c] - fexp(v[c]) * total
        else:
            total = _sum_of_products(g, v)
            for c in range(g.size):
                gx[c] = (g[c] - total) * v[c]


# ---- columns: x (outer, length, inner), along the middle


@njit(**EXACT)
def _columns_tile(t: Any, x: Any, length: Any, inner: Any, log: Any, out: Any) -> None:
    blocks = (inner + _SIDE - 1) // _SIDE
    left = t % blocks * _SIDE
    start, width, step = 4 * (t // blocks * length * inner + left), min(_SIDE, inner - left), 4 * inner
    top, total = np.empty(width, _f), np.zeros(width, _f)
    first = floats(x + start, width)
    for c in range(top.size):
        top[c] = first[c]
    for k in range(1, length):
        v = floats(x + start + k * step, width)
        for c in range(top.size):
            top[c] = v[c] if v[c] > top[c] else top[c]
    for k in range(length):
        v, y = floats(x + start + k * step, width), floats(out + start + k * step, width)
        if log:
            for c in range(top.size):
                total[c] += fexp(v[c] - top[c])
        else:
            for c in range(top.size):
                e = fexp(v[c] - top[c])
                y[c] = e
                total[c] += e
    for c in range(total.size):
        total[c] = flog(total[c]) if log else _ONE / total[c]
    for k in range(length):
        v, y = floats(x + start + k * step, width), floats(out + start + k * step, width)
        if log:
            for c in range(top.size):
                y[c] = (v[c] - top[c]) - total[c]
        else:
            for c in range(top.size):
                y[c] *= total[c]


@njit(**EXACT)
def _columns_backward_tile(t: Any, grad: Any, y: Any, length: Any, inner: Any, log: Any, out: Any) -> None:
    blocks = (inner + _SIDE - 1) // _SIDE
    left = t % blocks * _SIDE
    start, width, step = 4 * (t // blocks * length * inner + left), min(_SIDE, inner - left), 4 * inner
    total = np.zeros(width, _f)
    for k in range(length):
        g, v = floats(grad + start + k * step, width), floats(y + start + k * step, width)
        if log:
            for c in range(total.size):
                total[c] += g[c]
        else:
            for c in range(total.size):
                total[c] += g[c] * v[c]
    for k in range(length):
        here = start + k * step
        g, v, gx = floats(grad + here, width), floats(y + here, width), floats(out + here, width)
        if log:
            for c in range(total.size):
                gx[c] = g[c] - fexp(v[c]) * total[c]
        else:
            for c in range(total.size):
                gx[c] = (g[c] - total[c]) * v[c]


@njit(**EXACT)
def _run(x: Any, size: Any, log: Any, out: Any) -> None:
    outer, length, inner = size
    if inner == 1:
        tile = max(1, TILE // length)
        parallel_for(_rows_tile, (outer + tile - 1) // tile, (x.ctypes.data, outer, length, tile, log, out.ctypes.data))
    else:
        tiles = outer * ((inner + _SIDE - 1) // _SIDE)
        parallel_for(_columns_tile, tiles, (x.ctypes.data, length, inner, log, out.ctypes.data))


@njit(**EXACT)
def _run_backward(grad: Any, y: Any, size: Any, log: Any, out: Any) -> None:
    outer, length, inner = size
    if inner == 1:
        tile = max(1, TILE // length)
        given = grad.ctypes.data, y.ctypes.data, outer, length, tile, log, out.ctypes.data
        parallel_for(_rows_backward_tile, (outer + tile - 1) // tile, given)
    else:
        tiles = outer * ((inner + _SIDE - 1) // _SIDE)
        parallel_for(_columns_backward_tile, tiles, (grad.ctypes.data, y.ctypes.data, length, inner, log, out.ctypes.data))


def _order(x: Any, axis: int) -> tuple[int, ...] | None:
    """Axes in the order in which they are read; None for the array's own.

    That is their order in memory, but that the axis to go along comes last where few columns lie side by side.
    """
    order = range(x.ndim) if x.flags.c_contiguous else sorted(range(x.ndim), key=lambda i: -x.strides[i])
    place = list(order).index(axis)
    inner = math.prod(x.shape[i] for i in list(order)[place + 1 :])
    if 1 < inner < _FEW:
        order = [*[i for i in order if i != axis], axis]
    return None if list(order) == list(range(x.ndim)) else tuple(order)


def _along(run: Any, arrays: tuple[Any, ...], axis: int, log: bool) -> Any:
    """The kernel along the axis of arrays of one shape; the result lies in memory as they are read."""
    x = arrays[-1]
    axis %= x.ndim
    order = _order(x, axis)
    turned = arrays if order is None else tuple(a.transpose(order) for a in arrays)
    shape = turned[0].shape
    place = axis if order is None else order.index(axis)
    size = math.prod(shape[:place]), shape[place], math.prod(shape[place + 1 :])
    out = np.empty(shape, _f)
    run(*[ready(a).reshape(-1) for a in turned], size, log, out.reshape(-1))
    return out if order is None else out.transpose(np.argsort(order))


def softmax(x: Any, axis: int) -> Any:
    """As the reference."""
    return _along(_run, (x,), axis, False) if suits(x) and x.size else reference.softmax(x, axis)


def softmax_backward(grad: Any, y: Any, axis: int) -> Any:
    """As the reference."""
    suited = suits(grad, y) and y.size
    return _along(_run_backward, (grad, y), axis, False) if suited else reference.softmax_backward(grad, y, axis)


def log_softmax(x: Any, axis: int) -> Any:
    """As the reference."""
    return _along(_run, (x,), axis, True) if suits(x) and x.size else reference.log_softmax(x, axis)


def log_softmax_backward(grad: Any, y: Any, axis: int) -> Any:
    """As the reference."""
    suited = suits(grad, y) and y.size
    return _along(_run_backward, (grad, y), axis, True) if suited else reference.log_softmax_backward(grad, y, axis)


# ---- attention


@njit(**EXACT)
def _scores_tile(t: Any, x: Any, rows: Any, width: Any, tile: Any, scale: Any, mask: Any, places: Any) -> None:
    for r in range(t * tile, min(rows, (t + 1) * tile)):
        row, added, largest = floats(x + 4 * width * r, width), floats(mask + 4 * width * places[r], width), _LOWEST
        for c in range(row.size):
            v = row[c] * scale + added[c]
            row[c] = v
            largest = max(largest, ordered(v))
        top = from_ordered(largest)
        if top == -np.inf:
            for c in range(row.size):
                row[c] = _ZERO
        else:
            _softmax_row(row, top, row)


@njit(**EXACT)
def _scores(x: Any, scale: Any, mask: Any, places: Any) -> None:
    """x = softmax(x * scale + mask[places]), row by row; a row of nothing but -inf gives 0."""
    rows, width = x.shape
    tile = max(1, TILE // width)
    parallel_for(_scores_tile, (rows + tile - 1) // tile, (x.ctypes.data, rows, width, tile, scale, mask.ctypes.data, places))


@njit(**EXACT)
def _scores_backward_tile(t: Any, grad: Any, y: Any, dropped: Any, rows: Any, width: Any, tile: Any, scale: Any) -> None:
    for r in range(t * tile, min(rows, (t + 1) * tile)):
        start = 4 * width * r
        g, w, d = floats(grad + start, width), floats(y + start, width), floats(dropped + start, width)
        total = _sum_of_products(g, d)
        for c in range(g.size):
            g[c] = (d[c] * g[c] - w[c] * total) * scale


@njit(**EXACT)
def _scores_backward(grad: Any, y: Any, dropped: Any, scale: Any) -> None:
    rows, width = y.shape
    tile = max(1, TILE // width)
    given = grad.ctypes.data, y.ctypes.data, dropped.ctypes.data, rows, width, tile, scale
    parallel_for(_scores_backward_tile, (rows + tile - 1) // tile, given)


def attention_weights(scores: Any, scale: float, allowed: Any, mask: Any) -> Any:
    """As the reference, into the scores' own memory."""
    if not suits(scores, mask) or not scores.size:
        return reference.attention_weights(scores, scale, allowed, mask)
    rows = as_rows(scores)
    _scores(rows, _f(scale), *_added(scores.shape, allowed, mask))
    return rows.reshape(scores.shape)


def _added(shape: tuple[int, ...], allowed: Any, mask: Any) -> tuple[Any, Any]:
    """What is added to the scores: its different rows (M, S), and which of them belongs to each row of the scores."""
    added = np.zeros((1, 1), _f) if mask is None else mask
    if allowed is not None:
        added = np.where(allowed, added, _f(-np.inf))
    added = np.broadcast_to(added, (*added.shape[:-1], shape[-1]))
    rows = as_rows(added)
    numbers = np.arange(len(rows)).reshape(added.shape[:-1])
    return rows, np.array(np.broadcast_to(numbers, shape[:-1])).reshape(-1)


def attention_weights_backward(grad: Any, weights: Any, dropped: Any, scale: float) -> Any:
    """As the reference, into the gradient's own memory."""
    if not suits(grad, weights, dropped) or not weights.size:
        return reference.attention_weights_backward(grad, weights, dropped, scale)
    g, w, d = (as_rows(a) for a in (grad, weights, dropped))
    _scores_backward(g, w, d, _f(scale))
    return g.reshape(weights.shape)
