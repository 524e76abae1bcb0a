"""batch_norm in float32, on channels-last memory (rows of channels) and on C-order memory (planes of one channel).

Statistics come from tiles: mean and sum of squared distances of each, put together in float64 in the tiles' order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..reference import norm as reference
from .compiled import njit
from .threads import run_tiles
from .vector_math import EXACT, SUMS, TILE, ready, suits

_f = np.float32
_ZERO = _f(0.0)


# ---- rows: x (M, C), numbers a channel (C,)


@njit(**EXACT)
def _rows_statistics(x: Any, mean: Any, squares: Any) -> None:
    rows, channels = x.shape
    for c in range(channels):
        mean[c] = _ZERO
        squares[c] = _ZERO
    for r in range(rows):
        for c in range(channels):
            mean[c] += x[r, c]
    share = _f(1.0) / _f(rows)
    for c in range(channels):
        mean[c] *= share
    for r in range(rows):
        for c in range(channels):
            d = x[r, c] - mean[c]
            squares[c] += d * d


@njit(**EXACT)
def _rows_scale(x: Any, mean: Any, scale: Any, bias: Any, out: Any) -> None:
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            out[r, c] = (x[r, c] - mean[c]) * scale[c] + bias[c]


@njit(**EXACT)
def _rows_sums(grad: Any, x: Any, mean: Any, plain: Any, along: Any) -> None:
    for c in range(x.shape[1]):
        plain[c] = _ZERO
        along[c] = _ZERO
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            plain[c] += grad[r, c]
            along[c] += grad[r, c] * (x[r, c] - mean[c])


@njit(**EXACT)
def _rows_combine(grad: Any, x: Any, mean: Any, scale: Any, slope: Any, shift: Any, out: Any) -> None:
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            out[r, c] = grad[r, c] * scale[c] + (x[r, c] - mean[c]) * slope[c] + shift[c]


# ---- planes: x (N * C, L), row r belongs to channel (first + r) % C


@njit(**SUMS)
def _planes_statistics(x: Any, mean: Any, squares: Any) -> None:
    share = _f(1.0) / _f(x.shape[1])
    for r in range(x.shape[0]):
        total = _ZERO
        for i in range(x.shape[1]):
            total += x[r, i]
        m = total * share
        square = _ZERO
        for i in range(x.shape[1]):
            d = x[r, i] - m
            square += d * d
        mean[r] = m
        squares[r] = square


@njit(**EXACT)
def _planes_scale(first: Any, x: Any, mean: Any, scale: Any, bias: Any, out: Any) -> None:
    for r in range(x.shape[0]):
        c = (first + r) % mean.size
        m, s, b = mean[c], scale[c], bias[c]
        for i in range(x.shape[1]):
            out[r, i] = (x[r, i] - m) * s + b


@njit(**SUMS)
def _planes_sums(first: Any, grad: Any, x: Any, mean: Any, plain: Any, along: Any) -> None:
    for r in range(x.shape[0]):
        m, p, a = mean[(first + r) % mean.size], _ZERO, _ZERO
        for i in range(x.shape[1]):
            p += grad[r, i]
            a += grad[r, i] * (x[r, i] - m)
        plain[r] = p
        along[r] = a


@njit(**EXACT)
def _planes_combine(first: Any, grad: Any, x: Any, mean: Any, scale: Any, slope: Any, shift: Any, out: Any) -> None:
    for r in range(x.shape[0]):
        c = (first + r) % mean.size
        m, s, t, b = mean[c], scale[c], slope[c], shift[c]
        for i in range(x.shape[1]):
            out[r, i] = grad[r, i] * s + (x[r, i] - m) * t + b


class _Rows:
    """An array (N, C, ...) whose channels lie side by side, as (M, C)."""

    def __init__(self, x: Any) -> None:
        self.order = (0, *range(2, x.ndim), 1)
        self.x = self.flat(x)
        self.shape = x.transpose(self.order).shape
        self.tile = max(8, TILE // x.shape[1])
        self.parts = -(-len(self.x) // self.tile)

    def flat(self, x: Any) -> Any:
        return ready(x.transpose(self.order)).reshape(-1, x.shape[1])

    def restored(self, flat: Any) -> Any:
        return flat.reshape(self.shape).transpose(0, len(self.shape) - 1, *range(1, len(self.shape) - 1))

    def sums(self, kernel: Any, *arrays: Any) -> tuple[Any, Any, Any]:
        """Counts and two partial results (parts, C) of the kernel over tiles of rows."""
        out = np.empty((2, self.parts, self.x.shape[1]), _f)

        def work(lo: int, hi: int) -> None:
            i = lo // self.tile
            kernel(*[a[lo:hi] if a.ndim == 2 else a for a in arrays], out[0, i], out[1, i])

        run_tiles(work, len(self.x), self.tile)
        counts = np.full((self.parts, 1), self.tile, np.float64)
        counts[-1] = len(self.x) - (self.parts - 1) * self.tile
        return counts, out[0], out[1]

    def map(self, kernel: Any, *arrays: Any) -> Any:
        out = np.empty_like(self.x)
        run_tiles(lambda lo, hi: kernel(*[a[lo:hi] if a.ndim == 2 else a for a in arrays], out[lo:hi]), len(self.x), self.tile)
        return self.restored(out)

    def kernels(self) -> tuple[Any, Any, Any, Any]:
        return _rows_statistics, _rows_scale, _rows_sums, _rows_combine


class _Planes:
    """A C-order array (N, C, ...) as (N * C, L)."""

    def __init__(self, x: Any) -> None:
        self.shape = x.shape
        self.x = self.flat(x)
        self.tile = max(1, TILE // self.x.shape[1])

    def flat(self, x: Any) -> Any:
        return ready(x).reshape(self.shape[0] * self.shape[1], -1)

    def sums(self, kernel: Any, *arrays: Any) -> tuple[Any, Any, Any]:
        """Counts and two partial results (N, C) of the kernel, one a plane."""
        out = np.empty((2, len(self.x)), _f)
        run_tiles(
            lambda lo, hi: kernel(*self._span(kernel, arrays, lo, hi), out[0, lo:hi], out[1, lo:hi]), len(self.x), self.tile
        )
        shape = self.shape[:2]
        return np.full((shape[0], 1), self.x.shape[1], np.float64), out[0].reshape(shape), out[1].reshape(shape)

    def map(self, kernel: Any, *arrays: Any) -> Any:
        out = np.empty_like(self.x)
        run_tiles(lambda lo, hi: kernel(*self._span(kernel, arrays, lo, hi), out[lo:hi]), len(self.x), self.tile)
        return out.reshape(self.shape)

    @staticmethod
    def _span(kernel: Any, arrays: tuple[Any, ...], lo: int, hi: int) -> list[Any]:
        cut = [a[lo:hi] if a.ndim == 2 else a for a in arrays]
        return cut if kernel is _planes_statistics else [lo, *cut]

    def kernels(self) -> tuple[Any, Any, Any, Any]:
        return _planes_statistics, _planes_scale, _planes_sums, _planes_combine


def _layout(x: Any) -> _Rows | _Planes:
    order = (0, *range(2, x.ndim), 1)
    single = math.prod(x.shape[2:]) == 1
    return _Rows(x) if single or (x.transpose(order).flags.c_contiguous and not x.flags.c_contiguous) else _Planes(x)


def _numbers(v: Any, fill: float, channels: int) -> Any:
    return np.full(channels, fill, np.float64) if v is None else v.astype(np.float64)


def batch_norm(x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """As the reference."""
    if not suits(x, weight, bias) or not x.size:
        return reference.batch_norm(x, weight, bias, eps)
    layout = _layout(x)
    statistics, scale, _, _ = layout.kernels()
    counts, means, squares = layout.sums(statistics, layout.x)
    total, means = counts.sum() if len(counts) else 0.0, means.astype(np.float64)
    mean = (means * counts).sum(axis=0) / total
    var = (squares.sum(axis=0, dtype=np.float64) + (counts * (means - mean) ** 2).sum(axis=0)) / total
    channels = x.shape[1]
    factor = _numbers(weight, 1.0, channels) / np.sqrt(var + eps)
    y = layout.map(scale, layout.x, mean.astype(_f), factor.astype(_f), _numbers(bias, 0.0, channels).astype(_f))
    return y, mean.astype(_f), var.astype(_f)


def _gradients(grad: Any, x: Any, weight: Any, mean: Any, var: Any, eps: float, follow: bool) -> tuple[Any, Any, Any]:
    """Gradients of x, weight and bias; ``follow`` where the statistics depend on x."""
    layout = _layout(x)
    _, _, sums, combine = layout.kernels()
    g, center = layout.flat(grad), mean.astype(_f)
    _, plain, along = layout.sums(sums, g, layout.x, center)
    gb, moment = plain.sum(axis=0, dtype=np.float64), along.sum(axis=0, dtype=np.float64)
    inverse = 1.0 / np.sqrt(var.astype(np.float64) + eps)
    scale = _numbers(weight, 1.0, x.shape[1]) * inverse
    count = x.size // x.shape[1]
    slope, shift = (-scale * inverse**2 * moment / count, -scale * gb / count) if follow else (0 * scale, 0 * scale)
    gx = layout.map(combine, g, layout.x, center, scale.astype(_f), slope.astype(_f), shift.astype(_f))
    return gx, (moment * inverse).astype(_f), gb.astype(_f)


def batch_norm_backward(grad: Any, x: Any, weight: Any, mean: Any, var: Any, eps: float) -> tuple[Any, Any, Any]:
    """As the reference."""
    if not suits(grad, x, weight) or not x.size:
        return reference.batch_norm_backward(grad, x, weight, mean, var, eps)
    return _gradients(grad, x, weight, mean, var, eps, True)


def batch_norm_eval(x: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: float) -> Any:
    """As the reference."""
    if not suits(x, mean, var, weight, bias) or not x.size:
        return reference.batch_norm_eval(x, mean, var, weight, bias, eps)
    layout, channels = _layout(x), x.shape[1]
    factor = _numbers(weight, 1.0, channels) / np.sqrt(var.astype(np.float64) + eps)
    kernel = layout.kernels()[1]
    return layout.map(kernel, layout.x, ready(mean), factor.astype(_f), _numbers(bias, 0.0, channels).astype(_f))


def batch_norm_eval_backward(grad: Any, x: Any, mean: Any, var: Any, weight: Any, eps: float) -> tuple[Any, Any, Any]:
    """As the reference."""
    if not suits(grad, x, mean, var, weight) or not x.size:
        return reference.batch_norm_eval_backward(grad, x, mean, var, weight, eps)
    return _gradients(grad, x, weight, mean, var, eps, False)
