"""Channels-last memory behind (N, C, *S) shapes: what the spatial kernels read and write.

Neighbouring channels lie side by side, so that one pixel is one vector: every inner loop runs over channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from ...reference.windows import Pads, padded_size, sides
from ..lanes.moves import clear, copy
from ..lanes.pointers import floats
from ..matrix.microkernel import transpose
from ..running.compiled import EXACT, any_layout, njit
from ..running.parallel import parallel_for

Pair = tuple[int, ...]  # two numbers: height and width
_BLOCK = 256  # pixels of a task


@njit(signatures=[types.int64(any_layout(ndim)) for ndim in range(1, 6)], **EXACT)
def address(x: Any) -> Any:
    """``x.ctypes.data`` of a float32 array, in a fifth of the time."""
    return x.ctypes.data


def channels_last(x: Any) -> Any:
    """(N, C, *S) -> contiguous (N, *S, C): the same memory where it lies so already, else a copy."""
    last = x.transpose(0, *range(2, x.ndim), 1)
    if last.flags.c_contiguous and last.flags.aligned:
        return last
    if x.dtype == np.float32 and x.flags.c_contiguous and x.flags.aligned and x.size:
        out = np.empty(last.shape, np.float32)
        n, c = x.shape[:2]
        _turn(x.ctypes.data, out.ctypes.data, n, c, x.size // (n * c))
        return out
    return np.array(last, order="C")


@njit(**EXACT)
def _turn_block(t: Any, source: Any, target: Any, channels: Any, pixels: Any) -> None:
    tiles = (pixels + _BLOCK - 1) // _BLOCK
    image, top = t // tiles, t % tiles * _BLOCK
    source += 4 * image * channels * pixels
    target += 4 * image * channels * pixels
    end = min(top + _BLOCK, pixels)
    along, across = top + (end - top) // 16 * 16, channels // 16 * 16
    for i in range(top, along, 16):
        for j in range(0, across, 16):
            transpose(source + 4 * (j * pixels + i), 4 * pixels, target + 4 * (i * channels + j), 4 * channels)
    _turn_rest(source, target, channels, pixels, along, end, 0, across)
    _turn_rest(source, target, channels, pixels, top, end, across, channels)


@njit(**EXACT)
def _turn_rest(source: Any, target: Any, channels: Any, pixels: Any, top: Any, end: Any, left: Any, right: Any) -> None:
    for j in range(left, right):
        line = floats(source + 4 * (j * pixels + top), end - top)
        for i in range(line.size):
            floats(target + 4 * ((top + i) * channels + j), 1)[0] = line[i]


@njit(**EXACT)
def _turn(source: Any, target: Any, images: Any, channels: Any, pixels: Any) -> None:
    """(images, channels, pixels) at an address -> (images, pixels, channels)."""
    parallel_for(_turn_block, images * ((pixels + _BLOCK - 1) // _BLOCK), (source, target, channels, pixels))


def padded(x: Any, padding: Pads, planar: bool) -> Any:
    """(N, C, *S) with zeros around *S; ``planar`` memory keeps each channel together, otherwise it is channels-last. float32."""
    source = np.array(x, order="C", copy=None if x.flags.aligned else True) if planar else channels_last(x)
    (n, c), missing, wide = x.shape[:2], 5 - x.ndim, padded_size(x.shape[2:], padding)
    out = np.empty((n, c, *wide) if planar else (n, *wide, c), np.float32)
    images, each = (n * c, 1) if planar else (n, c)
    size, pads = (*(1,) * missing, *x.shape[2:]), (*((0, 0),) * missing, *sides(padding))
    _pad(source.ctypes.data, out.ctypes.data, images, size, pads, each)
    return out if planar else out.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


@njit(**EXACT)
def _pad_plane(t: Any, source: Any, target: Any, size: Any, pads: Any, many: Any) -> None:
    (depth, height, width), ((front, back), (top, bottom), (left, right)) = size, pads
    image, z = t // (front + depth + back), t % (front + depth + back) - front
    line = (left + width + right) * many
    target += 4 * t * (top + height + bottom) * line
    if z < 0 or z >= depth:
        clear(target, (top + height + bottom) * line)
        return
    source += 4 * (image * depth + z) * height * width * many
    clear(target, top * line + left * many)
    target += 4 * (top * line + left * many)
    for y in range(height):
        copy(source + 4 * y * width * many, target, width * many)
        clear(target + 4 * width * many, (right + (left if y + 1 < height else 0)) * many)
        target += 4 * line
    clear(target - 4 * left * many, bottom * line)


@njit(**EXACT)
def _pad(source: Any, target: Any, images: Any, size: Any, pads: Any, many: Any) -> None:
    """(images, *size, many) at an address with zeros around its pixels."""
    parallel_for(_pad_plane, images * (pads[0][0] + size[0] + pads[0][1]), (source, target, size, pads, many))


def channels_first(x: Any) -> Any:
    """(N, *S, C) -> (N, C, *S), a view."""
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))
