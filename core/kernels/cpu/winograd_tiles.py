"""From pictures and weights in memory to the places of Winograd's products, and back.

``size`` holds (height, width, channels) of the input, (height, width, channels) of the output, and the zeros above and left of
the input; tiles are counted over all images, row by row. Addresses are of float32, steps in bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import EXACT, njit
from .gemm import DEPTH, finish, floats, hold, packed_size
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
def gather(image: Any, size: Any, top: Any, left: Any, side: Any, c: Any, target: Any) -> None:
    """``side`` x ``side`` pixels from (top, left) on, 16 channels from c on; zeros where there are none."""
    height, width, channels = size
    for i in range(side):
        for j in range(side):
            place = target + VECTOR * (side * i + j)
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
                gather(image, size[:3], top, left, SIDE, c, pixels)
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
def tiles_out(first: Any, last: Any, m: Any, m_step: Any, y: Any, size: Any, start: Any, many: Any, ends: Any) -> None:
    """The rows of m (36, tiles, many), transformed and finished: ``many`` channels from ``start`` on of the output tiles."""
    height, width, channels = size[3:6]
    bias, scale, shift, residual, activation = ends
    across, down = (width + 3) // 4, (height + 3) // 4
    scratch = np.empty((PLACES + 16) * 16 + 16, np.float32)
    pixels = aligned(scratch)
    between = pixels + 16 * VECTOR
    row_step, pixel_step = 4 * width * channels, 4 * channels
    for t in range(first, last):
        top, left = t // across % down * STRIDE, t % across * STRIDE
        place = 4 * ((t // (across * down) * height + top) * width + left) * channels
        target = y + place + 4 * start
        rows, columns = min(STRIDE, height - top), min(STRIDE, width - left)
        row = m + 4 * (t - first) * padded(many)
        for c in range(0, many, 16):
            if rows == STRIDE and columns == STRIDE and c + 16 <= many:
                output_tile(row + 4 * c, m_step, target + 4 * c, row_step, pixel_step, between)
            else:
                output_tile(row + 4 * c, m_step, pixels, STRIDE * VECTOR, VECTOR, between)
                _scatter(pixels, target + 4 * c, row_step, pixel_step, rows, columns, many - c)
        if bias or scale or residual or activation:
            for i in range(rows):
                beside = residual + place + i * row_step if residual else 0
                finish(
                    target + i * row_step, pixel_step, columns, many, start, (bias, scale, shift, beside, activation), pixel_step
                )
    hold(scratch)
