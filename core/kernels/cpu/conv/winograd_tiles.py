"""From pictures and weights in memory to the places of Winograd's products, and back.

Tiles are counted over all images, row by row. Addresses are of float32, steps in bytes. What other kernels call is compiled
once and reached by symbols.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numba import types

from ..lanes.moves import copy_few
from ..lanes.pointers import floats, hold
from ..lanes.simd import splat, store_at
from ..matrix.gemm import DEPTH, RELU6, finish, packed_size
from ..matrix.microkernel import COLUMNS, transpose
from ..running.compiled import EXACT, compiled_callback, njit
from .winograd_transform import PLACES, SIDE, STRIDE, VECTOR, input_tile, output_tile, weight_tile

_f = np.float32
TAPS = 9
"""Of a window."""


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


@njit(**EXACT)
def weight_step(depth: Any, columns: Any) -> Any:
    """Bytes from place to place of a packed weight."""
    return VECTOR * ((packed_size(depth, columns) + 15) // 16 | 1)


# ---- weights


@njit(**EXACT)
def _taps(w: Any, lane_step: Any, k_step: Any, lanes: Any, many: Any, end: Any, target: Any) -> None:
    """Rows of 9 vectors: the taps of 16 columns, for ``many`` k. ``end``: of the weight's memory."""
    if lanes == 16 and many == 16 and k_step == 4 * TAPS:
        for i in range(TAPS):
            transpose(w + VECTOR * i, lane_step, target + 16 * VECTOR * i, VECTOR)
        return
    for k in range(many):
        source, out = w + k * k_step, target + TAPS * VECTOR * k
        if lanes == 16 and source + 15 * lane_step + VECTOR <= end:  # 16 taps are read of each, and the first 9 used
            transpose(source, lane_step, out, VECTOR)
            continue
        vectors = floats(out, TAPS * 16)
        vectors[:] = _f(0.0)
        for lane in range(lanes):
            own = floats(source + lane * lane_step, TAPS)
            for i in range(TAPS):
                vectors[16 * i + lane] = own[i]


def _weight_in(group: Any, w: Any, filters: Any, channels: Any, flipped: Any, first: Any, columns: Any, u: Any) -> None:
    depth = filters if flipped else channels
    lane_step, k_step = 4 * TAPS, 4 * TAPS * channels
    tap_step, start = -VECTOR, (TAPS - 1) * VECTOR
    if not flipped:
        lane_step, k_step = k_step, lane_step
        tap_step, start = VECTOR, 0
    end = w + 4 * TAPS * filters * channels
    scratch = np.empty(17 * TAPS * 16 + 16, np.float32)  # one row more than is used: the last may be written with what follows
    taps = aligned(scratch)
    column = 16 * group
    panel, panels = column // COLUMNS, (columns + COLUMNS - 1) // COLUMNS
    step = weight_step(depth, columns)
    for k in range(0, depth, 16):
        many = min(16, depth - k)
        _taps(w + (first + column) * lane_step + k * k_step, lane_step, k_step, min(16, columns - column), many, end, taps)
        top = k // DEPTH * DEPTH  # of a block of the packed matrix: the 16 terms lie in one
        row = top * panels + panel * min(DEPTH, depth - top) + k - top
        target = u + 4 * (COLUMNS * row + column % COLUMNS)
        for i in range(many):
            weight_tile(taps + TAPS * VECTOR * i + start, tap_step, target + 4 * COLUMNS * i, step)
    hold(scratch)


# ---- pictures


@njit(**EXACT)
def _copy_pixels(
    source: Any, row_step: Any, pixel_step: Any, target: Any, target_row_step: Any, target_pixel_step: Any,
    rows: Any, columns: Any, many: Any,
) -> None:  # fmt: skip
    """The first ``many`` channels, at most 16, of rows x columns pixels."""
    for i in range(rows):
        for j in range(columns):
            copy_few(source + i * row_step + j * pixel_step, target + i * target_row_step + j * target_pixel_step, many)


@njit(**EXACT)
def gather(
    image: Any, height: Any, width: Any, channels: Any, top: Any, left: Any, side: Any, c: Any, target: Any, fresh: Any
) -> None:  # fmt: skip
    """``side`` x ``side`` pixels from (top, left) on, 16 channels from c on; zeros where there are none.

    ``fresh``: the target does not hold other channels of the same tile.
    """
    many = min(16, channels - c)
    if fresh or many < 16:
        for i in range(side * side):
            store_at(target + VECTOR * i, splat(_f(0.0)))
    row, column = max(0, -top), max(0, -left)
    rows, columns = min(side, height - top) - row, min(side, width - left) - column
    source = image + 4 * (((top + row) * width + left + column) * channels + c)
    into = target + VECTOR * (side * row + column)
    _copy_pixels(source, 4 * width * channels, 4 * channels, into, side * VECTOR, VECTOR, rows, columns, many)


def _tiles_in(
    first: Any, last: Any, x: Any, height: Any, width: Any, channels: Any, out_height: Any, out_width: Any, above: Any, left: Any,
    v: Any, v_step: Any,
) -> None:  # fmt: skip
    across, down = (out_width + 3) // 4, (out_height + 3) // 4
    scratch = np.empty(2 * PLACES * 16 + 16, np.float32)
    pixels = aligned(scratch)
    between = pixels + PLACES * VECTOR
    for t in range(first, last):
        image = x + 4 * (t // (across * down) * height * width * channels)
        top, side = t // across % down * STRIDE - above, t % across * STRIDE - left
        inside = top >= 0 and side >= 0 and top + SIDE <= height and side + SIDE <= width
        start = image + 4 * (top * width + side) * channels
        row = v + 4 * (t - first) * padded(channels)
        for c in range(0, channels, 16):
            source, row_step, pixel_step = start + 4 * c, 4 * width * channels, 4 * channels
            if not inside or c + 16 > channels:
                gather(image, height, width, channels, top, side, SIDE, c, pixels, c == 0)
                source, row_step, pixel_step = pixels, SIDE * VECTOR, VECTOR
            input_tile(source, row_step, pixel_step, row + 4 * c, v_step, between)
    hold(scratch)


@njit(**EXACT)
def _shifted(ends: Any, channel: Any, place: Any) -> Any:
    """``ends`` from a channel on, and from a place of the result on (bytes)."""
    bias, scale, shift, residual, activation = ends
    c = 4 * channel
    return bias + c if bias else 0, scale + c if scale else 0, shift + c, residual + place + c if residual else 0, activation


@njit(**EXACT)
def _finish_pixels(target: Any, row_step: Any, pixel_step: Any, rows: Any, columns: Any, many: Any, ends: Any) -> None:
    bias, scale, shift, residual, activation = ends
    if not (bias or scale or residual or activation):
        return
    for i in range(rows):
        at = i * row_step
        after = (bias, scale, shift, residual + at if residual else 0, activation)
        finish(target + at, pixel_step, columns, many, 0, after, pixel_step)


def _tiles_out(
    first: Any, last: Any, m: Any, m_step: Any, y: Any, height: Any, width: Any, channels: Any, start: Any, many: Any,
    bias: Any, scale: Any, shift: Any, residual: Any, activation: Any,
) -> None:  # fmt: skip
    across, down = (width + 3) // 4, (height + 3) // 4
    scratch = np.empty((PLACES + 16) * 16 + 16, np.float32)
    pixels = aligned(scratch)
    between = pixels + 16 * VECTOR
    row_step, pixel_step = 4 * width * channels, 4 * channels
    ends, at_once = (bias, scale, shift, residual, activation), activation <= RELU6
    for t in range(first, last):
        top, left = t // across % down * STRIDE, t % across * STRIDE
        place = 4 * ((t // (across * down) * height + top) * width + left) * channels
        rows, columns = min(STRIDE, height - top), min(STRIDE, width - left)
        row = m + 4 * (t - first) * padded(many)
        for c in range(0, many, 16):
            target, after = y + place + 4 * (start + c), _shifted(ends, start + c, place)
            if at_once and rows == STRIDE and columns == STRIDE and c + 16 <= many:
                into, step, next_step, now = target, row_step, pixel_step, after
            else:
                into, step, next_step, now = pixels, STRIDE * VECTOR, VECTOR, (0, 0, 0, 0, 0)
            output_tile(row + 4 * c, m_step, into, step, next_step, between, now)
            if into == pixels:
                _copy_pixels(pixels, step, next_step, target, row_step, pixel_step, rows, columns, min(16, many - c))
                _finish_pixels(target, row_step, pixel_step, rows, columns, min(16, many - c), after)
    hold(scratch)


_WEIGHT, _IN, _OUT = (types.void(*[types.int64] * n) for n in (8, 12, 15))
_compiled = {
    "nyala_winograd_weight": compiled_callback(_WEIGHT, _weight_in),
    "nyala_winograd_in": compiled_callback(_IN, _tiles_in),
    "nyala_winograd_out": compiled_callback(_OUT, _tiles_out),
}
for _name, _callback in _compiled.items():
    llvm.add_symbol(_name, _callback.address)

weight_in = types.ExternalFunction("nyala_winograd_weight", _WEIGHT)
"""``weight_in(group, w, filters, channels, flipped, first, columns, u)``: 16 columns of the transformed weight, in panels.

They are the panels that ``gemm.block`` reads, at each of the 36 places; u holds ``columns`` columns from ``first`` on. Columns
are the filters and terms the channels, or with ``flipped`` the other way round, as the input's gradient takes them."""
tiles_in = types.ExternalFunction("nyala_winograd_in", _IN)
"""``tiles_in(first, last, x, height, width, channels, out_height, out_width, above, left, v, v_step)``: the input tiles from
``first`` to ``last``, transformed, as rows of v (36, tiles, channels)."""
tiles_out = types.ExternalFunction("nyala_winograd_out", _OUT)
"""``tiles_out(first, last, m, m_step, y, height, width, channels, start, many, bias, scale, shift, residual, activation)``: the
rows of m (36, tiles, many), transformed and finished: ``many`` channels from ``start`` on of the output tiles."""
