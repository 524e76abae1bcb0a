"""Channels-last memory behind (N, C, *S) shapes: what the spatial kernels read and write.

Neighbouring channels lie side by side, so that one pixel is one vector: every inner loop runs over channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import EXACT, njit
from .gemm import floats
from .microkernel import transpose
from .parallel import parallel_for

Pair = tuple[int, ...]  # two numbers: height and width
_BLOCK = 256  # pixels of a task


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


def channels_first(x: Any) -> Any:
    """(N, *S, C) -> (N, C, *S), a view."""
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))
