"""Dense 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3): 2.25 products for each output pixel in place of 9.

Output pixels are cut into tiles of 4 x 4, which are computed from 6 x 6 input pixels: transform the input, multiply the
channels at each of 36 places with the transformed weight, transform back. A tile's bits depend on its own pixels and on the
weight alone, so it does not matter which tiles share a task. Against sums in float64 the error is about five times that of a
direct convolution in float32 (measured on normal data: at most 4e-6 of the largest output at 512 channels).

Infinities and NaN: where one is among a tile's input pixels, all of the tile's outputs may be NaN, also those that a direct
convolution would leave finite; those that it would not are never finite here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import EXACT, njit
from .gemm import DEPTH, block, finish, floats, hold, packed_size
from .microkernel import COLUMNS
from .parallel import parallel_for
from .simd import load_at, splat, store_at
from .winograd_transform import PLACES, SIDE, STRIDE, VECTOR, input_tile, output_tile, weight_tile

_TASK_BYTES = 448 << 10  # of transformed tiles, in and out: what a thread keeps in the cache
_LEAST = 12  # tiles of a task, or reading the weight takes longer than the product
_f = np.float32


@njit(**EXACT)
def aligned(scratch: Any) -> Any:
    """The first address of an array on a cache line: allow 16 floats for it."""
    return (scratch.ctypes.data + 63) // 64 * 64


@njit(**EXACT)
def padded(channels: Any) -> Any:
    """Channels in whole vectors."""
    return (channels + 15) // 16 * 16


@njit(**EXACT)
def place_step(rows: Any, channels: Any) -> Any:
    """Bytes from place to place of ``rows`` tiles: an odd number of cache lines, so that 36 places do not share a few sets."""
    return VECTOR * (rows * (padded(channels) // 16) | 1)


# ---- weights


@njit(**EXACT)
def _packed_step(depth: Any, columns: Any) -> Any:
    """Bytes from place to place of a packed weight."""
    return VECTOR * (packed_size(depth, columns) // 16 | 1)


@njit(**EXACT)
def _weight_task(group: Any, w: Any, k_step: Any, column_step: Any, row_step: Any, tap_step: Any, size: Any, packed: Any) -> None:
    """16 columns of the transformed weight, in the panels that ``gemm.block`` reads."""
    depth, columns = size
    scratch = np.empty(27 * 16 + 16, np.float32)
    taps = aligned(scratch)
    lanes = floats(taps, 9 * 16)
    lanes[:] = _f(0.0)
    first = 16 * group
    panel, panels = first // COLUMNS, (columns + COLUMNS - 1) // COLUMNS
    step = _packed_step(depth, columns)
    for k in range(depth):
        for lane in range(min(16, columns - first)):
            at = w + k * k_step + (first + lane) * column_step
            for i in range(3):
                for j in range(3):
                    lanes[16 * (3 * i + j) + lane] = floats(at + i * row_step + j * tap_step, 1)[0]
        top = k // DEPTH * DEPTH
        row = top * panels + panel * min(DEPTH, depth - top) + k - top
        weight_tile(taps, packed + 4 * (COLUMNS * row + first % COLUMNS), step, taps + 9 * VECTOR)
    hold(scratch)


@njit(**EXACT)
def _packed_weight(w: Any, k_step: Any, column_step: Any, row_step: Any, tap_step: Any, depth: Any, columns: Any) -> Any:
    packed = np.empty(PLACES * _packed_step(depth, columns) // 4, np.float32)
    arguments = (w, k_step, column_step, row_step, tap_step, (depth, columns), packed.ctypes.data)
    parallel_for(_weight_task, (columns + 15) // 16, arguments)
    return packed


# ---- tiles in, tiles out


@njit(**EXACT)
def _gather(image: Any, size: Any, top: Any, left: Any, c: Any, target: Any) -> None:
    """6 x 6 pixels from (top, left) on, 16 channels from c on; zeros where there are none."""
    height, width, channels = size[:3]
    for i in range(SIDE):
        for j in range(SIDE):
            place = target + VECTOR * (SIDE * i + j)
            inside = top + i >= 0 and top + i < height and left + j >= 0 and left + j < width
            at = image + 4 * (((top + i) * width + left + j) * channels + c)
            if inside and c + 16 <= channels:
                store_at(place, load_at(at))
                continue
            store_at(place, splat(_f(0.0)))
            if inside:
                source, out = floats(at, channels - c), floats(place, channels - c)
                for k in range(source.size):
                    out[k] = source[k]


@njit(**EXACT)
def tiles_in(first: Any, last: Any, x: Any, size: Any, v: Any, v_step: Any) -> None:
    """The input tiles from ``first`` to ``last``, transformed, as rows of v (36, tiles, channels)."""
    height, width, channels, out_height, out_width, _, before, beside = size
    across, down = (out_width + 3) // 4, (out_height + 3) // 4
    scratch = np.empty(2 * PLACES * 16 + 16, np.float32)
    pixels = aligned(scratch)
    between = pixels + PLACES * VECTOR
    for t in range(first, last):
        image = x + 4 * (t // (across * down) * height * width * channels)
        top, left = t // across % down * STRIDE - before, t % across * STRIDE - beside
        inside = top >= 0 and left >= 0 and top + SIDE <= height and left + SIDE <= width
        start = image + 4 * (top * width + left) * channels
        row = v + 4 * (t - first) * padded(channels)
        for c in range(0, channels, 16):
            if inside and c + 16 <= channels:
                input_tile(start + 4 * c, 4 * width * channels, 4 * channels, row + 4 * c, v_step, between)
            else:
                _gather(image, size, top, left, c, pixels)
                input_tile(pixels, SIDE * VECTOR, VECTOR, row + 4 * c, v_step, between)
    hold(scratch)


@njit(**EXACT)
def _scatter(pixels: Any, target: Any, row_step: Any, pixel_step: Any, rows: Any, columns: Any, many: Any) -> None:
    for i in range(rows):
        for j in range(columns):
            place, at = pixels + VECTOR * (STRIDE * i + j), target + i * row_step + j * pixel_step
            if many >= 16:
                store_at(at, load_at(place))
            else:
                source, out = floats(place, many), floats(at, many)
                for k in range(source.size):
                    out[k] = source[k]


@njit(**EXACT)
def _tiles_out(first: Any, last: Any, m: Any, m_step: Any, y: Any, size: Any, ends: Any) -> None:
    """The rows of m (36, tiles, channels), transformed and finished, as the output tiles from ``first`` to ``last``."""
    height, width, channels = size[3:6]
    bias, scale, shift, residual, activation = ends
    across, down = (width + 3) // 4, (height + 3) // 4
    scratch = np.empty((PLACES + 16) * 16 + 16, np.float32)
    pixels = aligned(scratch)
    between = pixels + 16 * VECTOR
    row_step, pixel_step = 4 * width * channels, 4 * channels
    for t in range(first, last):
        top, left = t // across % down * STRIDE, t % across * STRIDE
        start = 4 * ((t // (across * down) * height + top) * width + left) * channels
        rows, columns = min(STRIDE, height - top), min(STRIDE, width - left)
        row = m + 4 * (t - first) * padded(channels)
        for c in range(0, channels, 16):
            if rows == STRIDE and columns == STRIDE and c + 16 <= channels:
                output_tile(row + 4 * c, m_step, y + start + 4 * c, row_step, pixel_step, between)
            else:
                output_tile(row + 4 * c, m_step, pixels, STRIDE * VECTOR, VECTOR, between)
                _scatter(pixels, y + start + 4 * c, row_step, pixel_step, rows, columns, channels - c)
        if bias or scale or residual or activation:
            for i in range(rows):
                here = start + i * row_step
                after = (bias, scale, shift, residual + here if residual else 0, activation)
                finish(y + here, pixel_step, columns, channels, 0, after, pixel_step)
    hold(scratch)


# ---- forward


@njit(**EXACT)
def _span(size: Any) -> Any:
    """Tiles of a task."""
    fit = _TASK_BYTES // (4 * PLACES * (padded(size[2]) + padded(size[5])))
    return max(_LEAST, fit // 6 * 6)


@njit(**EXACT)
def _task(i: Any, x: Any, packed: Any, y: Any, tiles: Any, size: Any, ends: Any) -> None:
    channels, columns = size[2], size[5]
    first = i * _span(size)
    last = min(tiles, first + _span(size))
    v_step, m_step = place_step(last - first, channels), place_step(last - first, columns)
    scratch = np.empty((v_step + m_step) // 4 * PLACES + 16, np.float32)
    v = aligned(scratch)
    m = v + PLACES * v_step
    tiles_in(first, last, x, size, v, v_step)
    panels, packed_step = (columns + COLUMNS - 1) // COLUMNS, _packed_step(channels, columns)
    for e in range(PLACES):
        block(
            v + e * v_step, 4 * padded(channels), 4, packed + e * packed_step, m + e * m_step, 4 * padded(columns),
            last - first, channels, columns, 0, panels, 0, 0, 0, 0, 0, 0, 0,
        )  # fmt: skip
    _tiles_out(first, last, m, m_step, y, size, ends)
    hold(scratch)


@njit(**EXACT)
def _forward(x: Any, packed: Any, y: Any, images: Any, size: Any, ends: Any) -> None:
    tiles = images * ((size[3] + 3) // 4) * ((size[4] + 3) // 4)
    parallel_for(_task, (tiles + _span(size) - 1) // _span(size), (x, packed, y, tiles, size, ends))


def packed_weight(w: Any, flipped: bool = False) -> Any:
    """w (O, C, 3, 3), any strides, transformed and packed; ``flipped``: as the input gradient takes it, from O to C channels."""
    o_step, c_step, row_step, tap_step = w.strides
    if flipped:
        return _packed_weight(w[:, :, 2:, 2:].ctypes.data, o_step, c_step, -row_step, -tap_step, w.shape[0], w.shape[1])
    return _packed_weight(w.ctypes.data, c_step, o_step, row_step, tap_step, w.shape[1], w.shape[0])


def forward(x: Any, packed: Any, before: tuple[int, int], out: tuple[int, int], channels: int, ends: tuple[int, ...]) -> Any:
    """x (N, H, W, C), contiguous -> (N, *out, channels).

    ``before``: zeros above and left of x; those below and to the right follow from ``out``. ``ends``: as ``after.ends`` says.
    """
    n, height, width, depth = x.shape
    y = np.empty((n, *out, channels), np.float32)
    _forward(x.ctypes.data, packed.ctypes.data, y.ctypes.data, n, (height, width, depth, *out, channels, *before), ends)
    return y
