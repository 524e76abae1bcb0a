"""From pictures and weights in memory to the places of Winograd's products, and back.

``size`` holds (height, width, channels) of the input, (height, width, channels) of the output, and the zeros above and left of
the input; tiles are counted over all images, row by row. Addresses are of float32, steps in bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import EXACT, njit
from .gemm import DEPTH, RELU6, finish, floats, hold, packed_size
from .microkernel import COLUMNS, transpose
from .simd import load_at, splat, store_at
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


@njit(**EXACT)
def weight_in(group: Any, w: Any, shape: Any, flipped: Any, first: Any, columns: Any, u: Any) -> None:
    """16 columns of the transformed weight, in the panels that ``gemm.block`` reads.

    u holds ``columns`` columns from ``first`` on. ``shape``: (O, C). The columns are O and the terms C, or with ``flipped`` the
    other way round, as the input's gradient takes them.
    """
    depth = shape[0] if flipped else shape[1]
    lane_step, k_step = 4 * TAPS, 4 * TAPS * shape[1]
    tap_step, start = -VECTOR, (TAPS - 1) * VECTOR
    if not flipped:
        lane_step, k_step = k_step, lane_step
        tap_step, start = VECTOR, 0
    end = w + 4 * TAPS * shape[0] * shape[1]
    scratch = np.empty(17 * TAPS * 16 + 18 * 16 + 16, np.float32)
    taps = aligned(scratch)  # one row more than is used: the last of them may be read with what follows
    between = taps + 17 * TAPS * VECTOR
    column = 16 * group
    panel, panels = column // COLUMNS, (columns + COLUMNS - 1) // COLUMNS
    step = weight_step(depth, columns)
    for k in range(0, depth, 16):
        many = min(16, depth - k)
        _taps(w + (first + column) * lane_step + k * k_step, lane_step, k_step, min(16, columns - column), many, end, taps)
        for i in range(many):
            top = (k + i) // DEPTH * DEPTH
            row = top * panels + panel * min(DEPTH, depth - top) + k + i - top
            target = u + 4 * (COLUMNS * row + column % COLUMNS)
            weight_tile(taps + TAPS * VECTOR * i + start, tap_step, target, step, between)
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
            at, to = source + i * row_step + j * pixel_step, target + i * target_row_step + j * target_pixel_step
            if many >= 16:
                store_at(to, load_at(at))
            else:
                x, out = floats(at, many), floats(to, many)
                for k in range(x.size):
                    out[k] = x[k]


@njit(**EXACT)
def gather(image: Any, size: Any, top: Any, left: Any, side: Any, c: Any, target: Any, fresh: Any) -> None:
    """``side`` x ``side`` pixels from (top, left) on, 16 channels from c on; zeros where there are none.

    ``fresh``: the target does not hold other channels of the same tile.
    """
    height, width, channels = size
    many = channels - c
    if fresh or many < 16:
        for i in range(side * side):
            store_at(target + VECTOR * i, splat(_f(0.0)))
    row, column = max(0, -top), max(0, -left)
    rows, columns = min(side, height - top) - row, min(side, width - left) - column
    source = image + 4 * (((top + row) * width + left + column) * channels + c)
    into = target + VECTOR * (side * row + column)
    _copy_pixels(source, 4 * width * channels, 4 * channels, into, side * VECTOR, VECTOR, rows, columns, many)


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
                gather(image, size[:3], top, left, SIDE, c, pixels, c == 0)
                input_tile(pixels, SIDE * VECTOR, VECTOR, row + 4 * c, v_step, between)
    hold(scratch)


@njit(**EXACT)
def _shifted(ends: Any, channel: Any, place: Any) -> Any:
    """``ends`` from a channel on, and from a place of the result on (bytes)."""
    bias, scale, shift, residual, activation = ends
    c = 4 * channel
    return bias + c if bias else 0, scale + c if scale else 0, shift + c, residual + place + c if residual else 0, activation


@njit(**EXACT)
def tiles_out(first: Any, last: Any, m: Any, m_step: Any, y: Any, size: Any, start: Any, many: Any, ends: Any) -> None:
    """The rows of m (36, tiles, many), transformed and finished: ``many`` channels from ``start`` on of the output tiles."""
    height, width, channels = size[3:6]
    across, down = (width + 3) // 4, (height + 3) // 4
    scratch = np.empty((PLACES + 16) * 16 + 16, np.float32)
    pixels = aligned(scratch)
    between = pixels + 16 * VECTOR
    row_step, pixel_step = 4 * width * channels, 4 * channels
    at_once = ends[4] <= RELU6
    for t in range(first, last):
        top, left = t // across % down * STRIDE, t % across * STRIDE
        place = 4 * ((t // (across * down) * height + top) * width + left) * channels
        rows, columns = min(STRIDE, height - top), min(STRIDE, width - left)
        row = m + 4 * (t - first) * padded(many)
        for c in range(0, many, 16):
            source, target = row + 4 * c, y + place + 4 * (start + c)
            after = _shifted(ends, start + c, place)
            if at_once and rows == STRIDE and columns == STRIDE and c + 16 <= many:
                output_tile(source, m_step, target, row_step, pixel_step, between, after)
                continue
            output_tile(source, m_step, pixels, STRIDE * VECTOR, VECTOR, between, (0, 0, 0, 0, 0))
            _copy_pixels(pixels, STRIDE * VECTOR, VECTOR, target, row_step, pixel_step, rows, columns, many - c)
            _finish_pixels(target, row_step, pixel_step, rows, columns, min(16, many - c), after)
    hold(scratch)


@njit(**EXACT)
def _finish_pixels(target: Any, row_step: Any, pixel_step: Any, rows: Any, columns: Any, many: Any, ends: Any) -> None:
    bias, scale, shift, residual, activation = ends
    if not (bias or scale or residual or activation):
        return
    for i in range(rows):
        at = i * row_step
        after = (bias, scale, shift, residual + at if residual else 0, activation)
        finish(target + at, pixel_step, columns, many, 0, after, pixel_step)
