"""Softmax over rows in float32, plain and for attention scores, and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..reference import softmax as reference
from .compiled import njit
from .threads import run_tiles
from .vector_math import SUMS, TILE, bits_float, fexp, float_bits, ready, suits

_f = np.float32
_MANTISSA, _SIGN_SHIFT = np.int32(0x7FFFFFFF), np.int32(31)
_LOWEST = np.int32(-(2**31))


@njit(**SUMS)
def _ordered(x: Any) -> Any:
    """A float32 as an int32 in the same order: a maximum of integers is vectorised without assuming that no NaN is there."""
    bits = float_bits(x)
    return bits ^ ((bits >> _SIGN_SHIFT) & _MANTISSA)


@njit(**SUMS)
def _rows(x: Any, scale: Any, mask: Any, places: Any, empty_is_zero: Any, out: Any) -> None:
    """out = softmax(x * scale + mask[places]) row by row; ``out`` may be ``x``."""
    rows, width = x.shape
    for r in range(rows):
        m = places[r]
        largest = _LOWEST
        for c in range(width):
            v = x[r, c] * scale + mask[m, c]
            out[r, c] = v
            largest = max(largest, _ordered(v))
        top = bits_float(largest ^ ((largest >> _SIGN_SHIFT) & _MANTISSA))
        if empty_is_zero and top == -np.inf:
            for c in range(width):
                out[r, c] = _f(0.0)
            continue
        total = _f(0.0)
        for c in range(width):
            e = fexp(out[r, c] - top)
            out[r, c] = e
            total += e
        share = _f(1.0) / total
        for c in range(width):
            out[r, c] *= share


@njit(**SUMS)
def _rows_backward(grad: Any, y: Any, dropped: Any, scale: Any, out: Any) -> None:
    """out = (dropped * grad - y * sum(dropped * grad)) * scale row by row; ``out`` may be ``grad``."""
    for r in range(y.shape[0]):
        total = _f(0.0)
        for c in range(y.shape[1]):
            total += grad[r, c] * dropped[r, c]
        for c in range(y.shape[1]):
            out[r, c] = (dropped[r, c] * grad[r, c] - y[r, c] * total) * scale


def _run(x: Any, scale: float, mask: Any, places: Any, empty_is_zero: bool, out: Any) -> None:
    def work(lo: int, hi: int) -> None:
        _rows(x[lo:hi], _f(scale), mask, places[lo:hi], empty_is_zero, out[lo:hi])

    run_tiles(work, len(x), max(1, TILE // x.shape[1]))


def softmax(x: Any, axis: int) -> Any:
    """As the reference; the last axis is the quick one."""
    if not suits(x) or not x.size or axis not in (-1, x.ndim - 1):
        return reference.softmax(x, axis)
    rows = ready(x).reshape(-1, x.shape[-1])
    out = np.empty_like(rows)
    _run(rows, 1.0, np.zeros((1, rows.shape[1]), _f), np.zeros(len(rows), np.int64), False, out)
    return out.reshape(x.shape)


def softmax_backward(grad: Any, y: Any, axis: int) -> Any:
    """As the reference; the last axis is the quick one."""
    if not suits(grad, y) or not y.size or axis not in (-1, y.ndim - 1):
        return reference.softmax_backward(grad, y, axis)
    g, v = _as_rows(grad, y)
    out = np.empty_like(v)
    _run_backward(g, v, v, 1.0, out)
    return out.reshape(y.shape)


def _as_rows(*arrays: Any) -> list[Any]:
    return [ready(a).reshape(-1, a.shape[-1]) for a in arrays]


def _run_backward(grad: Any, y: Any, dropped: Any, scale: float, out: Any) -> None:
    def work(lo: int, hi: int) -> None:
        _rows_backward(grad[lo:hi], y[lo:hi], dropped[lo:hi], _f(scale), out[lo:hi])

    run_tiles(work, len(y), max(1, TILE // y.shape[1]))


def attention_weights(scores: Any, scale: float, allowed: Any, mask: Any) -> Any:
    """As the reference, into the scores' own memory."""
    if not suits(scores, mask) or not scores.size:
        return reference.attention_weights(scores, scale, allowed, mask)
    rows = ready(scores).reshape(-1, scores.shape[-1])
    added, places = _added(scores.shape, allowed, mask)
    _run(rows, scale, added, places, True, rows)
    return rows.reshape(scores.shape)


def _added(shape: tuple[int, ...], allowed: Any, mask: Any) -> tuple[Any, Any]:
    """What is added to the scores: its different rows (M, S), and which of them belongs to each row of the scores."""
    added = np.zeros((1, 1), _f) if mask is None else mask
    if allowed is not None:
        added = np.where(allowed, added, _f(-np.inf))
    added = np.broadcast_to(added, (*added.shape[:-1], shape[-1]))
    rows = ready(added).reshape(-1, shape[-1])
    numbers = np.arange(len(rows)).reshape(added.shape[:-1])
    return rows, np.broadcast_to(numbers, shape[:-1]).reshape(-1)


def attention_weights_backward(grad: Any, weights: Any, dropped: Any, scale: float) -> Any:
    """As the reference, into the gradient's own memory."""
    if not suits(grad, weights, dropped) or not weights.size:
        return reference.attention_weights_backward(grad, weights, dropped, scale)
    g, w, d = _as_rows(grad, weights, dropped)
    _run_backward(g, w, d, scale, g)
    return g.reshape(weights.shape)
