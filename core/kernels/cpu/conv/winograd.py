"""Dense 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3): 2.25 products for each output pixel in place of 9.

Output pixels are cut into tiles of 4 x 4, which are computed from 6 x 6 input pixels: transform the input, multiply the
channels at each of 36 places with the transformed weight, transform back. A tile's bits depend on its own pixels and on the
weight alone, so it does not matter which tiles share a task. Against sums in float64 the error is about five times that of a
direct convolution in float32 (measured on normal data: at most 4e-6 of the largest output at 512 channels).

Infinities and NaN: where one is among a tile's input pixels, all of the tile's outputs may be NaN, also those that a direct
convolution would leave finite; those that it would not are never finite here.

The transformed weight is four times as large as the weight and takes less time to compute than to fetch from memory: it is
made anew for each call, and never kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference.after import After
from ...reference.windows import Pads, Size, output_size, sides
from ..lanes.pointers import hold
from ..matrix.after import PLAIN, ends
from ..matrix.gemm import BLOCK_ROWS, block
from ..matrix.microkernel import COLUMNS
from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for
from .layout import channels_first, channels_last
from .winograd_tiles import aligned, padded, place_step, tiles_in, tiles_out, weight_in, weight_step
from .winograd_transform import PLACES

_WHOLE = 3 << 20  # bytes of a transformed weight up to which tasks take tiles from input to output
_TASK_BYTES = 448 << 10  # of transformed tiles, in and out: what such a task keeps in the cache
_LEAST = 12  # tiles of such a task, or reading the weight takes longer than the product
_PART = 4 << 20  # bytes of the transformed weight that are multiplied at a time otherwise
_WAVE = 16 << 20  # bytes of the transformed input that are multiplied at a time otherwise
_FEW = 4  # tiles that are transformed by a task then


@njit(**EXACT)
def transform_in(first: Any, last: Any, x: Any, size: Any, v: Any, v_step: Any) -> None:
    """``tiles_in`` of x as ``size`` says: (height, width, channels) in and out, and the zeros above and left of x."""
    height, width, channels, out_height, out_width, _, above, left = size
    tiles_in(first, last, x, height, width, channels, out_height, out_width, above, left, v, v_step)


@njit(**EXACT)
def _transform_out(first: Any, last: Any, m: Any, m_step: Any, y: Any, size: Any, start: Any, many: Any, ends: Any) -> None:
    bias, scale, shift, residual, activation = ends
    tiles_out(
        first, last, m, m_step, y, size[3], size[4], size[5], start, many, bias, scale, shift, residual, activation,
    )  # fmt: skip


@njit(**EXACT)
def _weight_stage(i: Any, w: Any, shape: Any, flipped: Any, first: Any, columns: Any, u: Any) -> None:
    weight_in(i, w, shape[0], shape[1], flipped, first, columns, u)


@njit(**EXACT)
def _products(v: Any, v_step: Any, rows: Any, depth: Any, u: Any, columns: Any, m: Any, m_step: Any, place: Any) -> None:
    """m (rows, columns) = v (rows, depth) times the weight, at one of the 36 places."""
    weight, panels = u + place * weight_step(depth, columns), (columns + COLUMNS - 1) // COLUMNS
    block(
        v + place * v_step, 4 * padded(depth), 4, weight, m + place * m_step, 4 * padded(columns), rows, depth, columns,
        0, panels, 0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip


# ---- narrow layers: a task takes its tiles all the way


@njit(**EXACT)
def _span(tiles: Any, size: Any) -> Any:
    """Tiles of a task."""
    fit = max(_LEAST, _TASK_BYTES // (4 * PLACES * (padded(size[2]) + padded(size[5]))) // 6 * 6)
    tasks = max(8, (tiles + fit - 1) // fit)
    return max(_LEAST, (tiles + 6 * tasks - 1) // (6 * tasks) * 6)


@njit(**EXACT)
def _task(i: Any, x: Any, u: Any, y: Any, tiles: Any, span: Any, size: Any, ends: Any) -> None:
    depth, columns = size[2], size[5]
    first = i * span
    last = min(tiles, first + span)
    v_step, m_step = place_step(last - first, depth), place_step(last - first, columns)
    scratch = np.empty((v_step + m_step) // 4 * PLACES + 16, np.float32)
    v = aligned(scratch)
    m = v + PLACES * v_step
    transform_in(first, last, x, size, v, v_step)
    for place in range(PLACES):
        _products(v, v_step, last - first, depth, u, columns, m, m_step, place)
    _transform_out(first, last, m, m_step, y, size, 0, columns, ends)
    hold(scratch)


@njit(**EXACT)
def _narrow(x: Any, w: Any, shape: Any, flipped: Any, y: Any, tiles: Any, size: Any, ends: Any) -> None:
    columns, span = size[5], _span(tiles, size)
    scratch = np.empty(PLACES * weight_step(size[2], columns) // 4 + 16, np.float32)
    u = aligned(scratch)
    parallel_for(_weight_stage, padded(columns) // 16, (w, shape, flipped, 0, columns, u))
    parallel_for(_task, (tiles + span - 1) // span, (x, u, y, tiles, span, size, ends))
    hold(scratch)


# ---- wide layers: stage by stage, some columns of the weight at a time


@njit(**EXACT)
def _in_stage(i: Any, first: Any, last: Any, x: Any, size: Any, v: Any, v_step: Any) -> None:
    top = first + i * _FEW
    transform_in(top, min(last, top + _FEW), x, size, v + 4 * i * _FEW * padded(size[2]), v_step)


@njit(**EXACT)
def _product_stage(i: Any, v: Any, v_step: Any, rows: Any, depth: Any, u: Any, columns: Any, m: Any, m_step: Any) -> None:
    place, top = i % PLACES, i // PLACES * BLOCK_ROWS
    row_in, row_out = v + 4 * top * padded(depth), m + 4 * top * padded(columns)
    _products(row_in, v_step, min(BLOCK_ROWS, rows - top), depth, u, columns, row_out, m_step, place)


@njit(**EXACT)
def _out_stage(i: Any, first: Any, last: Any, m: Any, m_step: Any, y: Any, size: Any, start: Any, many: Any, ends: Any) -> None:
    top = first + i * _FEW
    _transform_out(top, min(last, top + _FEW), m + 4 * i * _FEW * padded(many), m_step, y, size, start, many, ends)


@njit(**EXACT)
def _wide(x: Any, w: Any, shape: Any, flipped: Any, y: Any, tiles: Any, size: Any, ends: Any) -> None:
    depth, columns = size[2], size[5]
    wave = min(tiles, max(BLOCK_ROWS, _WAVE // (4 * PLACES * padded(depth)) // BLOCK_ROWS * BLOCK_ROWS))
    part = max(1, _PART // (4 * PLACES * depth * COLUMNS)) * COLUMNS
    u_size = PLACES * weight_step(depth, min(part, columns))
    v_step, m_step = place_step(wave, depth), place_step(wave, min(part, columns))
    scratch = np.empty((u_size + PLACES * (v_step + m_step)) // 4 + 16, np.float32)
    u = aligned(scratch)
    v = u + u_size
    m = v + PLACES * v_step
    for first in range(0, tiles, wave):
        last = min(tiles, first + wave)
        few = (last - first + _FEW - 1) // _FEW
        parallel_for(_in_stage, few, (first, last, x, size, v, v_step))
        for start in range(0, columns, part):
            many = min(part, columns - start)
            parallel_for(_weight_stage, padded(many) // 16, (w, shape, flipped, start, many, u))
            blocks = PLACES * ((last - first + BLOCK_ROWS - 1) // BLOCK_ROWS)
            parallel_for(_product_stage, blocks, (v, v_step, last - first, depth, u, many, m, m_step))
            parallel_for(_out_stage, few, (first, last, m, m_step, y, size, start, many, ends))
    hold(scratch)


@njit(**EXACT)
def _convolve(x: Any, w: Any, shape: Any, flipped: Any, y: Any, images: Any, size: Any, ends: Any) -> None:
    tiles = images * ((size[3] + 3) // 4) * ((size[4] + 3) // 4)
    if PLACES * weight_step(size[2], size[5]) <= _WHOLE:
        _narrow(x, w, shape, flipped, y, tiles, size, ends)
    else:
        _wide(x, w, shape, flipped, y, tiles, size, ends)


# ---- what convolutions call


def forward(
    x: Any, w: Any, stride: Size, padding: Pads, dilation: Size, groups: int,  # noqa: ARG001
    bias: Any = None, after: After | None = None, packs: dict[str, Any] | None = None,  # noqa: ARG001
) -> Any:  # fmt: skip
    """As the reference, for float32 and 3x3 windows that move and spread by 1, in one group."""
    x, w = channels_last(x), _contiguous(w)
    out = output_size(x.shape[1:3], w.shape[2:], stride, padding, dilation)
    y = np.empty((len(x), *out, len(w)), np.float32)
    if after is not None and after.residual is not None:
        after = after._replace(residual=channels_last(np.broadcast_to(after.residual, channels_first(y).shape)))
    codes, held = ends(bias, after)
    _run(x, w, False, y, tuple(before for before, _ in sides(padding)), codes)
    del held  # the addresses in ``codes`` were good until here
    return channels_first(y)


def input_grad(g: Any, w: Any, input_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int) -> Any:  # noqa: ARG001
    """As the reference, for what ``forward`` takes."""
    x = np.empty((input_shape[0], *input_shape[2:], input_shape[1]), np.float32)
    _run(channels_last(g), _contiguous(w), True, x, tuple(2 - before for before, _ in sides(padding)), PLAIN)
    return channels_first(x)


def _run(x: Any, w: Any, flipped: bool, y: Any, before: Size, codes: tuple[int, ...]) -> None:
    size = (*x.shape[1:], *y.shape[1:], *before)
    _convolve(x.ctypes.data, w.ctypes.data, w.shape[:2], int(flipped), y.ctypes.data, len(x), size, codes)


def _contiguous(w: Any) -> Any:
    return w if w.flags.c_contiguous and w.flags.aligned else np.array(w, order="C")
