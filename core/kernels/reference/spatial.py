"""Linear maps along dimensions (resizing, averaging, padding), and windows laid out as columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...devices import module_of
from .half import in_float32
from .windows import Size, output_size, padded, taps, unpadded

__all__ = ["add_windows", "col2im", "constant_pad", "im2col", "resample"]


@dataclass(frozen=True, eq=False)
class Map:
    """``out[..., i, ...] = sum over t of weight[i, t] * x[..., index[i, t], ...]`` along a dimension, in the order of t.

    Attributes:
        axis: the dimension, counted from 0.
        index: (L, T) positions, a NumPy array on any device of x.
        weight: (L, T) likewise, or None where T is 1 and elements just move. What has no weight is not read.
        packs: of the table, for kernels to keep their own form of it.
    """

    axis: int
    index: np.ndarray[Any, Any]
    weight: np.ndarray[Any, Any] | None
    packs: dict[str, Any]


def _select(x: Any, axis: int, places: np.ndarray[Any, Any]) -> Any:
    """x at ``places`` along the axis, in x's own memory order; a view where the places are evenly spaced."""
    step = int(places[1] - places[0]) if places.size > 1 else 1
    if places.size and step > 0 and bool((np.diff(places) == step).all()):
        return x[(*[slice(None)] * axis, slice(int(places[0]), int(places[-1]) + 1, step))]
    xp = module_of(x)
    order = sorted(range(x.ndim), key=lambda i: -abs(x.strides[i]))
    taken = xp.take(x.transpose(order), xp.asarray(places), axis=order.index(axis))
    return taken.transpose([order.index(i) for i in range(x.ndim)])


def _take_taps(x: Any, axis: int, index: np.ndarray[Any, Any], weight: np.ndarray[Any, Any] | None) -> Any:
    """out[..., i, ...] = sum over t of weight[i, t] * x[..., index[i, t], ...] along ``axis``, summed in the order of t."""
    if weight is None:
        return _select(x, axis, index[:, 0]).copy("K")
    if weight.size and weight.min() == weight.max() != 0:  # a mean: one product for the whole sum
        out = _select(x, axis, index[:, 0]).copy("K")
        for t in range(1, index.shape[1]):
            out += _select(x, axis, index[:, t])
        out *= x.dtype.type(weight[0, 0])
        return out
    xp = module_of(x)
    out = xp.zeros_like(x, shape=(*x.shape[:axis], len(index), *x.shape[axis + 1 :]))
    for t in range(index.shape[1]):
        column = xp.asarray(weight[:, t].astype(x.dtype)).reshape(-1, *[1] * (x.ndim - axis - 1))
        term = _select(x, axis, index[:, t]) * column
        out += term if (weight[:, t] != 0).all() else xp.where(column != 0, term, 0)
    return out


@in_float32
def resample(x: Any, maps: Sequence[Map]) -> Any:
    """x with linear maps along some of its dimensions, one after the other, in x's own memory order."""
    for map in maps:
        x = _take_taps(x, map.axis, map.index, map.weight)
    return x


def constant_pad(x: Any, widths: tuple[tuple[int, int], ...], value: float) -> Any:
    """x with (before, after) elements of ``value`` around each dimension; negative widths cut off. Keeps the memory order."""
    xp = module_of(x)
    shape = tuple(n + a + b for n, (a, b) in zip(x.shape, widths, strict=True))
    out = xp.full_like(x, value, shape=shape)
    target = tuple(slice(max(a, 0), n - max(b, 0)) for n, (a, b) in zip(shape, widths, strict=True))
    source = tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, widths, strict=True))
    out[target] = x[source]
    return out


def im2col(x: Any, kernel: Size, dilation: Size, padding: Size, stride: Size) -> Any:
    """(N, C, *S) -> (N, C * prod(kernel), L): the windows as columns, zeros where they stand over the edge."""
    xp = module_of(x)
    out = output_size(x.shape[2:], kernel, stride, padding, dilation)
    n, c = x.shape[:2]
    columns = xp.empty((n, c, math.prod(kernel), *out), x.dtype)
    for k, window in enumerate(taps(padded(x, padding), kernel, stride, dilation, out)):
        columns[:, :, k] = window
    return columns.reshape(n, c * math.prod(kernel), math.prod(out))


@in_float32
def col2im(columns: Any, size: Size, kernel: Size, dilation: Size, padding: Size, stride: Size) -> Any:
    """(N, C * prod(kernel), L) -> (N, C, *size): each column added back where its window stood; the adjoint of ``im2col``."""
    xp = module_of(columns)
    out = output_size(size, kernel, stride, padding, dilation)
    n, c = columns.shape[0], columns.shape[1] // math.prod(kernel)
    parts = columns.reshape(n, c, math.prod(kernel), *out)
    wide = xp.zeros((n, c, *[s + 2 * p for s, p in zip(size, padding, strict=True)]), columns.dtype)
    for k, window in enumerate(taps(wide, kernel, stride, dilation, out)):
        window += parts[:, :, k]
    return xp.ascontiguousarray(unpadded(wide, padding))


@in_float32
def add_windows(g: Any, axis: int, size: int, step: int) -> Any:
    """(..., L, ..., K) -> (..., size, ...): window i of length K added at i * step along ``axis``: sliding windows' adjoint."""
    xp = module_of(g)
    count, length = g.shape[axis], g.shape[-1]
    out = xp.zeros((*g.shape[:axis], size, *g.shape[axis + 1 : -1]), g.dtype)
    for k in range(length if count else 0):
        out[(*[slice(None)] * axis, slice(k, k + step * (count - 1) + 1, step))] += g[..., k]
    return out
