"""Channels-last memory behind (N, C, H, W) shapes: what the spatial kernels read and write.

Neighbouring channels lie side by side, so that one pixel is one vector: every inner loop runs over channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .threads import run_tiles

Pair = tuple[int, ...]  # two numbers: height and width


def channels_last(x: Any) -> Any:
    """(N, C, H, W) -> contiguous (N, H, W, C): the same memory where it lies so already, else a copy."""
    last = x.transpose(0, 2, 3, 1)
    return last if last.flags.c_contiguous else copied(last, np.empty(last.shape, x.dtype))


def copied(source: Any, target: Any) -> Any:
    """``target``, filled from ``source`` image by image."""
    run_tiles(lambda lo, hi: np.copyto(target[lo:hi], source[lo:hi]), len(source), 1)
    return target


def channels_first(x: Any) -> Any:
    """(N, H, W, C) -> (N, C, H, W), a view."""
    return x.transpose(0, 3, 1, 2)


def padded_channels_last(x: Any, padding: Pair) -> Any:
    """(N, C, H, W) -> (N, H + 2 p, W + 2 q, C) with zeros around; no copy where there is nothing to pad or to move."""
    if not any(padding):
        return channels_last(x)
    (p, q), (n, c, h, w) = padding, x.shape
    out = np.empty((n, h + 2 * p, w + 2 * q, c), x.dtype)
    source = x.transpose(0, 2, 3, 1)

    def fill(lo: int, hi: int) -> None:
        part = out[lo:hi]
        part[:, :p] = part[:, p + h :] = 0
        part[:, :, :q] = part[:, :, q + w :] = 0
        part[:, p : p + h, q : q + w] = source[lo:hi]

    run_tiles(fill, n, 1)
    return out
