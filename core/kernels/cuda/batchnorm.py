"""Batch norm in training and in evaluation, with its gradients: ``batchnorm.cu``."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...devices import cupy
from ..reference import norm as reference
from .running.launching import blocks_for, contiguous, launch, suffix
from .running.parts import PARTS, sums_of, wide
from .running.teams import of_rows

_ACTIVATIONS = ("none", "relu", "relu6")  # the order of the source's
_THREADS = 256


class _Layout(NamedTuple):
    """How the numbers of channels lie in memory, and who works on them."""

    name: str
    grid: Any
    block: Any
    sizes: tuple[Any, ...]  # rows, channels, inner
    parts: int  # of a channel
    last: bool  # the channels lie in the last place of memory

    def of(self, x: Any) -> Any:
        """An array like the input with its numbers in this order."""
        return _moved(contiguous(_moved(x, 1, -1)), -1, 1) if self.last else contiguous(x)

    def empty(self, x: Any) -> Any:
        if not self.last:
            return cupy().empty(x.shape, x.dtype)
        return _moved(cupy().empty((x.shape[0], *x.shape[2:], x.shape[1]), x.dtype), -1, 1)


def batch_norm(x: Any, weight: Any, bias: Any, eps: float, activation: str = "none") -> tuple[Any, Any, Any]:
    if not _fits(x, weight, bias):
        return reference.batch_norm(x, weight, bias, eps, activation)
    layout, xp, kind, dtype = _layout(x), cupy(), wide(x), suffix(x)
    x, y = layout.of(x), layout.empty(x)
    weight, bias = _widened(kind, weight, bias)
    channels, count = x.shape[1], x.size // x.shape[1]
    parts = xp.empty((2, layout.parts, channels), kind)
    launch("batchnorm", f"batch_moments_{layout.name}_{dtype}", layout.grid, layout.block, x, *layout.sizes, parts)
    mean, var, scale = (xp.empty(channels, kind) for _ in range(3))
    each, more = divmod(count, layout.parts)
    given = (parts, np.int64(layout.parts), channels, np.int64(each), np.int64(more), weight, float(eps), mean, var, scale)
    launch("batchnorm", f"batch_statistics_{dtype}", blocks_for(channels, 32), (32, 8), *given)
    _affine(layout, x, mean, scale, bias, y, activation)
    return y, mean, var


def batch_norm_backward(
    grad: Any, x: Any, weight: Any, mean: Any, var: Any, eps: float, bias: Any = None, activation: str = "none"
) -> tuple[Any, Any, Any]:
    if not _fits(x, weight, bias, mean, var) or grad.dtype != x.dtype:
        return reference.batch_norm_backward(grad, x, weight, mean, var, eps, bias, activation)
    return _backward(grad, x, weight, mean, var, eps, bias, activation, True)


def batch_norm_scale(weight: Any, bias: Any, mean: Any, var: Any, eps: float) -> tuple[Any, Any]:
    if not _fits(mean, weight, bias, var):
        return reference.batch_norm_scale(weight, bias, mean, var, eps)
    return _scale(wide(var), weight, bias, mean, var, eps)


def batch_norm_eval(x: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: float) -> Any:
    if not _fits(x, weight, bias, mean, var):
        return reference.batch_norm_eval(x, mean, var, weight, bias, eps)
    layout = _layout(x)
    x, y = layout.of(x), layout.empty(x)
    _affine(layout, x, None, *_scale(wide(x), weight, bias, mean, var, eps), y, "none")
    return y


def batch_norm_eval_backward(grad: Any, x: Any, mean: Any, var: Any, weight: Any, eps: float) -> tuple[Any, Any, Any]:
    if not _fits(x, weight, mean, var) or grad.dtype != x.dtype:
        return reference.batch_norm_eval_backward(grad, x, mean, var, weight, eps)
    return _backward(grad, x, weight, mean, var, eps, None, "none", False)


def _fits(x: Any, *channels: Any) -> bool:
    """Whether the kernels are for these: what there is of each channel is computed in the same dtype as ``x``."""
    return suffix(x) is not None and bool(x.size) and all(c is None or wide(c) == wide(x) for c in channels)


def _widened(kind: Any, *arrays: Any) -> list[Any]:
    return [None if a is None else contiguous(a.astype(kind, copy=False)) for a in arrays]


def _scale(kind: Any, *given: Any) -> tuple[Any, Any]:
    *arrays, eps = given
    arrays = _widened(kind, *arrays)
    scale, shift = (cupy().empty(arrays[2].shape, kind) for _ in range(2))
    name = f"batch_scale_{'f64' if kind == np.float64 else 'f32'}"
    launch("batchnorm", name, blocks_for(scale.size, _THREADS), _THREADS, *arrays, float(eps), scale, shift, scale.size)
    return scale, shift


def _affine(layout: _Layout, x: Any, mean: Any, scale: Any, shift: Any, y: Any, activation: str) -> None:
    given = (x, *layout.sizes, mean, scale, shift, y, _ACTIVATIONS.index(activation))
    launch("batchnorm", f"batch_affine_{layout.name}_{suffix(x)}", layout.grid, layout.block, *given)


def _backward(
    grad: Any, x: Any, weight: Any, mean: Any, var: Any, eps: float, bias: Any, activation: str, trained: bool
) -> tuple[Any, Any, Any]:
    """Gradients of x, weight and bias; the statistics are constants where not ``trained``."""
    layout, kind, dtype = _layout(x, grad), wide(x), suffix(x)
    x, grad, gx = layout.of(x), layout.of(grad), layout.empty(x)
    channels = x.shape[1]
    parts = cupy().empty((2, layout.parts, channels), kind)
    of_channels = (*_widened(kind, mean, var, weight, bias), float(eps), _ACTIVATIONS.index(activation))
    given = (x, *layout.sizes, grad, *of_channels, parts, np.int64(layout.parts))
    launch("batchnorm", f"batch_backward_sums_{layout.name}_{dtype}", layout.grid, layout.block, *given)
    sums = sums_of("batchnorm", dtype, parts)
    given = (x, *layout.sizes, grad, *of_channels, sums if trained else None, float(x.size // channels), gx)
    launch("batchnorm", f"batch_backward_{layout.name}_{dtype}", layout.grid, layout.block, *given)
    return gx, sums[0], sums[1]


def _layout(x: Any, *others: Any) -> _Layout:
    """That of ``x``; ``others`` are read beside it."""
    channels, inner = x.shape[1], x.size // (x.shape[0] * x.shape[1])
    last = inner == 1 or (not x.flags.c_contiguous and bool(_moved(x, 1, -1).flags.c_contiguous))
    if not last:
        team, grid, block = of_rows(x.shape[0] * channels, inner)
        return _Layout(team, grid, block, (np.int64(x.shape[0]), channels, inner), x.shape[0], False)
    rows, width = x.size // channels, 16 // x.dtype.itemsize
    if channels % width or any(a.data.ptr % 16 for a in (x, *others)):
        width = 1
    across = min(32, channels // width)  # threads beside each other
    down, wide_blocks = _THREADS // across, blocks_for(channels, width * across)
    deep_blocks = max(1, min(blocks_for(rows, 4 * down), 4 * PARTS // wide_blocks))
    sizes = np.int64(rows), channels, 1
    return _Layout(
        "packs" if width > 1 else "singles", (wide_blocks, deep_blocks), (across, down), sizes, deep_blocks * down, True
    )


def _moved(x: Any, source: int, to: int) -> Any:
    return cupy().moveaxis(x, source, to)
