"""Convolutions and their adjoints without a library: ``conv.cu``."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ...devices import cupy
from ...tracing import keep
from ..reference import conv as reference
from ..reference.after import After
from ..reference.windows import Pads, Size, output_size, sides
from .after import PLAIN, End, end_of
from .running.launching import blocks_for, contiguous, launch, suffix

_THREADS = 256
_DIMENSIONS = 3
_LARGEST = 2**31  # numbers that an int counts
_TILE = 64  # rows and columns of a tile, in every dtype
_TILE_THREADS = {"f32": 256, "f64": 256, "f16": 128, "bf16": 128}  # as Tiles<T>::Small has them
_STRETCH = 4096  # terms of a weight's gradient that one tile sums, unless that makes too many tiles
_STRETCHES = 64


def conv_forward(
    x: Any,
    w: Any,
    stride: Size,
    padding: Pads,
    dilation: Size,
    groups: int,
    bias: Any = None,
    after: After | None = None,
    packs: dict[str, Any] | None = None,
) -> Any:
    out = output_size(x.shape[2:], w.shape[2:], stride, padding, dilation)
    shape = (x.shape[0], w.shape[0], *out)
    dtype, end = suffix(x, w), _end(bias, after, x.dtype, shape)
    if dtype is None or end is None or not _fits(x, w, shape):
        return reference.conv_forward(x, w, stride, padding, dilation, groups, bias, after, packs)
    y, table = cupy().empty(shape, x.dtype), _table(x.shape[2:], w.shape[2:], stride, padding, dilation, out)
    arrays, outs = (contiguous(x), contiguous(w), y, table), w.shape[0] // groups
    if w.shape[1] == 1:
        blocks = blocks_for(y.size, _THREADS)
        launch("conv", f"depthwise_{dtype}", blocks, _THREADS, *arrays, groups, outs, np.int64(y.size), *end)
    else:
        grid = (_tiles(outs, x.shape[0] * math.prod(out)), groups)
        launch("conv", f"forward_{dtype}", grid, _TILE_THREADS[dtype], *arrays, x.shape[0], groups, outs, w.shape[1], *end)
    return y


def conv_input_grad(g: Any, w: Any, input_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int) -> Any:
    dtype = suffix(g, w)
    if dtype is None or not _fits(g, w, input_shape):
        return reference.conv_input_grad(g, w, input_shape, stride, padding, dilation, groups)
    gx, table = cupy().empty(input_shape, g.dtype), _table(input_shape[2:], w.shape[2:], stride, padding, dilation, g.shape[2:])
    arrays, outs = (contiguous(g), contiguous(w), gx, table), w.shape[0] // groups
    if w.shape[1] == 1:
        blocks = blocks_for(gx.size, _THREADS)
        launch("conv", f"depthwise_input_grad_{dtype}", blocks, _THREADS, *arrays, groups, outs, np.int64(gx.size))
    else:
        grid = (_tiles(w.shape[1], gx.shape[0] * math.prod(gx.shape[2:])), groups)
        launch("conv", f"input_grad_{dtype}", grid, _TILE_THREADS[dtype], *arrays, g.shape[0], groups, outs, w.shape[1])
    return gx


def conv_weight_grad(g: Any, x: Any, weight_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int) -> Any:
    dtype = suffix(g, x)
    if dtype is None or not _fits(g, x, weight_shape):
        return reference.conv_weight_grad(g, x, weight_shape, stride, padding, dilation, groups)
    table = _table(x.shape[2:], weight_shape[2:], stride, padding, dilation, g.shape[2:])
    wide = np.float64 if dtype == "f64" else np.float32
    arrays, outs, taps = (contiguous(g), contiguous(x)), weight_shape[0] // groups, math.prod(weight_shape[2:])
    if weight_shape[1] == 1:
        sums = cupy().empty((1, *weight_shape), wide)
        grid = (weight_shape[0], taps)
        launch("conv", f"depthwise_weight_grad_{dtype}", grid, _THREADS, *arrays, sums, table, g.shape[0], groups, outs)
    else:
        terms = g.shape[0] * math.prod(g.shape[2:])
        stretch = max(_STRETCH, -(-terms // _STRETCHES))
        sums = cupy().empty((-(-terms // stretch), *weight_shape), wide)
        grid3 = (_tiles(outs, weight_shape[1] * taps), groups, len(sums))
        sizes = (g.shape[0], groups, outs, weight_shape[1], stretch)
        launch("conv", f"weight_grad_{dtype}", grid3, _TILE_THREADS[dtype], *arrays, sums, table, *sizes)
    if len(sums) == 1 and sums.dtype == g.dtype:
        return sums[0]
    gw = cupy().empty(weight_shape, g.dtype)
    launch("conv", f"add_parts_{dtype}", blocks_for(gw.size, _THREADS), _THREADS, sums, gw, len(sums), np.int64(gw.size))
    return gw


def _end(bias: Any, after: After | None, dtype: Any, shape: Size) -> End | None:
    return PLAIN if bias is None and after is None else end_of(bias, after, dtype, shape)


def _tiles(rows: int, columns: int) -> int:
    return blocks_for(rows, _TILE) * blocks_for(columns, _TILE)


def _fits(x: Any, w: Any, result: Size) -> bool:
    """Whether kernels are for this: up to three dimensions, nothing empty, and elements that an int counts."""
    shapes = (x.shape, w.shape, result)
    return 3 <= x.ndim <= 2 + _DIMENSIONS and all(math.prod(s) > 0 for s in shapes) and max(map(math.prod, shapes)) < _LARGEST


def _table(size: Size, kernel: Size, stride: Size, padding: Pads, dilation: Size, out: Size) -> Any:
    before = tuple([first for first, _ in sides(padding)])
    numbers = [
        _three(values, missing)
        for values, missing in zip((size, kernel, stride, dilation, before, out), (1, 1, 1, 1, 0, 1), strict=True)
    ]
    return keep(_on_device(tuple(n for part in numbers for n in part), int(cupy().cuda.runtime.getDevice())))


def _three(values: Size, missing: int) -> tuple[int, ...]:
    return (missing,) * (_DIMENSIONS - len(values)) + tuple(values)


@functools.lru_cache(maxsize=1024)
def _on_device(numbers: tuple[int, ...], device: int) -> Any:  # noqa: ARG001 - a key
    return cupy().asarray(np.array(numbers, np.int32))
