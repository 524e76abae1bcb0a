"""The weight's gradient of a dense 3x3 convolution by Winograd: the adjoint of F(4x4, 3x3), 2.25 products for each output pixel.

dw = G^T [sum over tiles of (B^T d B) * (A g A^T)] G. At each of 36 places the sum is a matrix product over tiles, taken
256 tiles at a time, the parts added in their order: the bits do not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference.windows import Pads, Size, sides
from ..lanes.pointers import floats, hold
from ..matrix.gemm import BLOCK_PANELS, BLOCK_ROWS, DEPTH, block, packed_size
from ..matrix.microkernel import COLUMNS, transpose
from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for
from . import dense
from .layout import channels_last
from .winograd import transform_in
from .winograd_tiles import TAPS, aligned, gather, padded, place_step
from .winograd_transform import PLACES, STRIDE, VECTOR, gradient_tile, weight_back_tile

_WAVE = DEPTH  # tiles of a product: all in one block of a packed matrix
_PART = 4 << 20  # bytes of such sums that are worked on at a time, where one wave holds all tiles
_FEW = 4  # tiles that are transformed by a task
_LEAST = 12  # tiles below which transforming the sums takes longer than the products save


@njit(**EXACT)
def _gradient_in(
    first: Any, last: Any, row: Any, rows: Any, g: Any, size: Any, start: Any, many: Any, u: Any, u_step: Any
) -> None:
    """``many`` channels from ``start`` on of the output's tiles from ``first`` to ``last``, transformed.

    They are the rows from ``row`` on of a packed matrix of ``rows`` rows at each place.
    """
    height, width, channels = size
    across, down = (width + 3) // 4, (height + 3) // 4
    scratch = np.empty((16 + 24) * 16 + 16, np.float32)
    pixels = aligned(scratch)
    between = pixels + 16 * VECTOR
    for t in range(first, last):
        image = g + 4 * (t // (across * down) * height * width * channels)
        top, left = t // across % down * STRIDE, t % across * STRIDE
        inside = top + STRIDE <= height and left + STRIDE <= width
        corner = image + 4 * ((top * width + left) * channels + start)
        for c in range(0, many, 16):
            target = u + 4 * (COLUMNS * (c // COLUMNS * rows + row + t - first) + c % COLUMNS)
            if inside and c + 16 <= many:
                gradient_tile(corner + 4 * c, 4 * width * channels, 4 * channels, target, u_step, between)
            else:
                gather(image, height, width, channels, top, left, STRIDE, start + c, pixels, c == 0)
                gradient_tile(pixels, STRIDE * VECTOR, VECTOR, target, u_step, between)
    hold(scratch)


@njit(**EXACT)
def _input_stage(i: Any, first: Any, last: Any, x: Any, size: Any, v: Any, v_step: Any) -> None:
    top = first + i * _FEW
    transform_in(top, min(last, top + _FEW), x, size, v + 4 * i * _FEW * padded(size[2]), v_step)


@njit(**EXACT)
def _gradient_stage(i: Any, first: Any, last: Any, g: Any, size: Any, start: Any, many: Any, u: Any, u_step: Any) -> None:
    top = first + i * _FEW
    _gradient_in(top, min(last, top + _FEW), i * _FEW, last - first, g, size, start, many, u, u_step)


@njit(**EXACT)
def _product_stage(
    i: Any, v: Any, v_step: Any, u: Any, u_step: Any, p: Any, p_step: Any, tiles: Any, channels: Any, columns: Any, add: Any
) -> None:
    place, rest = i % PLACES, i // PLACES
    panels = (columns + COLUMNS - 1) // COLUMNS
    across = (panels + BLOCK_PANELS - 1) // BLOCK_PANELS
    top, left = rest // across * BLOCK_ROWS, rest % across * BLOCK_PANELS
    block(
        v + place * v_step + 4 * top, 4, 4 * padded(channels), u + place * u_step,
        p + place * p_step + 4 * top * padded(columns), 4 * padded(columns), min(BLOCK_ROWS, channels - top), tiles, columns,
        left, min(left + BLOCK_PANELS, panels), add, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip


@njit(**EXACT)
def _weight_out(group: Any, p: Any, p_step: Any, channels: Any, columns: Any, w: Any) -> None:
    """16 columns of p (36, channels, columns), transformed, as filters of w (columns, channels, 3, 3)."""
    scratch = np.empty((16 * TAPS + 18) * 16 + 16, np.float32)
    taps = aligned(scratch)
    between = taps + 16 * TAPS * VECTOR
    column = 16 * group
    lanes, lane_step = min(16, columns - column), 4 * TAPS * channels
    for c in range(0, channels, 16):
        many = min(16, channels - c)
        for i in range(many):
            source = p + 4 * ((c + i) * padded(columns) + column)
            weight_back_tile(source, p_step, taps + TAPS * VECTOR * i, between)
        target = w + column * lane_step + 4 * TAPS * c
        if lanes == 16 and many == 16:
            for i in range(TAPS):
                transpose(taps + 16 * VECTOR * i, VECTOR, target + VECTOR * i, lane_step)
            continue
        vectors = floats(taps, TAPS * many * 16)
        for lane in range(lanes):
            own = floats(target + lane * lane_step, TAPS * many)
            for i in range(own.size):
                own[i] = vectors[16 * i + lane]
    hold(scratch)


@njit(**EXACT)
def _gradient(g: Any, x: Any, w: Any, images: Any, size: Any) -> None:
    channels, columns = size[2], size[5]
    tiles = images * ((size[3] + 3) // 4) * ((size[4] + 3) // 4)
    wave = min(tiles, _WAVE)
    part = columns  # with more than one wave the sums wait for all of them
    if tiles == wave:
        part = min(columns, max(1, _PART // (4 * PLACES * channels * COLUMNS)) * COLUMNS)
    v_step, p_step = place_step(wave, channels), place_step(channels, part)
    u_step = VECTOR * ((packed_size(wave, part) + 15) // 16 | 1)
    scratch = np.empty(PLACES * (v_step + u_step + p_step) // 4 + 16, np.float32)
    v = aligned(scratch)
    u = v + PLACES * v_step
    p = u + PLACES * u_step
    row_tasks = (channels + BLOCK_ROWS - 1) // BLOCK_ROWS
    for start in range(0, columns, part):
        many = min(part, columns - start)
        tasks = PLACES * row_tasks * ((many + COLUMNS * BLOCK_PANELS - 1) // (COLUMNS * BLOCK_PANELS))
        for first in range(0, tiles, wave):
            last = min(tiles, first + wave)
            few = (last - first + _FEW - 1) // _FEW
            if start == 0:
                parallel_for(_input_stage, few, (first, last, x, size, v, v_step))
            parallel_for(_gradient_stage, few, (first, last, g, size[3:6], start, many, u, u_step))
            arguments = (v, v_step, u, u_step, p, p_step, last - first, channels, many, 1 if first else 0)
            parallel_for(_product_stage, tasks, arguments)
        parallel_for(_weight_out, (many + 15) // 16, (p, p_step, channels, many, w + 4 * TAPS * channels * start))
    hold(scratch)


def weight_grad(g: Any, x: Any, weight_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int) -> Any:
    """As the reference, for float32 and 3x3 windows that move and spread by 1, in one group."""
    if len(g) * -(-g.shape[2] // STRIDE) * -(-g.shape[3] // STRIDE) < _LEAST:
        return dense.weight_grad(g, x, weight_shape, stride, padding, dilation, groups)
    g, x = channels_last(g), channels_last(x)
    w = np.empty(weight_shape, np.float32)
    before = tuple(before for before, _ in sides(padding))
    _gradient(g.ctypes.data, x.ctypes.data, w.ctypes.data, len(x), (*x.shape[1:], *g.shape[1:], *before))
    return w
