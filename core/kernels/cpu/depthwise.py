"""Depthwise convolutions, one filter a channel, in channels-last memory: loops over pixels and taps, vectors over channels.

Shapes: x (N, H, W, C), w (KH, KW, C), g and results (N, HO, WO, C). Every loop that is cut for the threads writes rows (or
images) of its own, so the bits do not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .layout import Pair
from .threads import run_tiles

_ROWS = 8  # output rows in a tile
_jit = njit(nogil=True, cache=True, fastmath={"contract", "nsz"}, error_model="numpy")


@_jit
def _forward_rows(x, w, bias, y, sh, sw, p, q, dh, dw, lo, hi):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Rows lo..hi of the N * HO rows of y."""
    _, height, width, channels = x.shape
    _, ho, wo, _ = y.shape
    kh, kw, _ = w.shape
    for t in range(lo, hi):
        n, oy = t // ho, t % ho
        for ox in range(wo):
            left = ox * sw - q
            inside = dw == 1 and left >= 0 and left + kw <= width
            for c in range(channels):
                y[n, oy, ox, c] = bias[c]
            for i in range(kh):
                iy = oy * sh - p + i * dh
                if iy < 0 or iy >= height:
                    continue
                if inside and kw == 3:
                    for c in range(channels):
                        y[n, oy, ox, c] += (
                            x[n, iy, left, c] * w[i, 0, c]
                            + x[n, iy, left + 1, c] * w[i, 1, c]
                            + x[n, iy, left + 2, c] * w[i, 2, c]
                        )
                elif inside and kw == 5:
                    for c in range(channels):
                        y[n, oy, ox, c] += (
                            x[n, iy, left, c] * w[i, 0, c]
                            + x[n, iy, left + 1, c] * w[i, 1, c]
                            + x[n, iy, left + 2, c] * w[i, 2, c]
                            + x[n, iy, left + 3, c] * w[i, 3, c]
                            + x[n, iy, left + 4, c] * w[i, 4, c]
                        )
                else:
                    for j in range(kw):
                        ix = left + j * dw
                        if ix >= 0 and ix < width:
                            for c in range(channels):
                                y[n, oy, ox, c] += x[n, iy, ix, c] * w[i, j, c]


@_jit
def _input_rows(g, w, x, sh, sw, p, q, dh, dw, lo, hi):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Rows lo..hi of the N * H rows of x: each pixel gathers from the windows that cover it."""
    _, height, width, channels = x.shape
    _, ho, wo, _ = g.shape
    kh, kw, _ = w.shape
    for t in range(lo, hi):
        n, iy = t // height, t % height
        for ix in range(width):
            for c in range(channels):
                x[n, iy, ix, c] = np.float32(0)
        for i in range(kh):
            down = iy + p - i * dh
            if down < 0 or down % sh != 0 or down // sh >= ho:
                continue
            oy = down // sh
            for ix in range(width):
                for j in range(kw):
                    right = ix + q - j * dw
                    if right >= 0 and right % sw == 0 and right // sw < wo:
                        ox = right // sw
                        for c in range(channels):
                            x[n, iy, ix, c] += g[n, oy, ox, c] * w[i, j, c]


@_jit
def _weight_images(g, x, sums, sh, sw, p, q, dh, dw, lo, hi):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """sums (N, KH, KW, C): the weight's gradient from each of the images lo..hi."""
    _, height, width, channels = x.shape
    _, ho, wo, _ = g.shape
    kh, kw = sums.shape[1], sums.shape[2]
    for n in range(lo, hi):
        for oy in range(ho):
            for i in range(kh):
                iy = oy * sh - p + i * dh
                if iy < 0 or iy >= height:
                    continue
                for ox in range(wo):
                    left = ox * sw - q
                    if kw == 3 and dw == 1 and left >= 0 and left + 3 <= width:
                        for c in range(channels):
                            v = g[n, oy, ox, c]
                            sums[n, i, 0, c] += v * x[n, iy, left, c]
                            sums[n, i, 1, c] += v * x[n, iy, left + 1, c]
                            sums[n, i, 2, c] += v * x[n, iy, left + 2, c]
                    else:
                        for j in range(kw):
                            ix = left + j * dw
                            if ix >= 0 and ix < width:
                                for c in range(channels):
                                    sums[n, i, j, c] += g[n, oy, ox, c] * x[n, iy, ix, c]


def _by_tap(w: Any) -> Any:
    """(C, 1, KH, KW) -> (KH, KW, C)."""
    return np.ascontiguousarray(w[:, 0].transpose(1, 2, 0))


def forward(x: Any, w: Any, stride: Pair, padding: Pair, dilation: Pair, out: Pair, bias: Any) -> Any:
    """x (N, H, W, C), w (C, 1, KH, KW) -> (N, HO, WO, C)."""
    return _forward(x, _by_tap(w), stride, padding, dilation, out, bias)


def _forward(x: Any, taps: Any, stride: Pair, padding: Pair, dilation: Pair, out: Pair, bias: Any) -> Any:
    n, c = x.shape[0], x.shape[3]
    y = np.empty((n, *out, c), np.float32)
    start = np.zeros(c, np.float32) if bias is None else np.ascontiguousarray(bias)
    run_tiles(lambda lo, hi: _forward_rows(x, taps, start, y, *stride, *padding, *dilation, lo, hi), n * out[0], _ROWS)
    return y


def input_grad(g: Any, w: Any, size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Any:
    """g (N, HO, WO, C), w (C, 1, KH, KW) -> (N, H, W, C)."""
    taps = _by_tap(w)
    back = tuple(d * (k - 1) - p for k, p, d in zip(taps.shape[:2], padding, dilation, strict=True))
    if stride == (1, 1) and min(back) >= 0:
        return _forward(g, np.ascontiguousarray(taps[::-1, ::-1]), stride, back, dilation, size, None)
    n, c = g.shape[0], g.shape[3]
    x = np.empty((n, *size, c), np.float32)
    run_tiles(lambda lo, hi: _input_rows(g, taps, x, *stride, *padding, *dilation, lo, hi), n * size[0], _ROWS)
    return x


def weight_grad(g: Any, x: Any, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Any:
    """g (N, HO, WO, C), x (N, H, W, C) -> (C, 1, KH, KW), the images summed in their order."""
    n, c = x.shape[0], x.shape[3]
    sums = np.zeros((n, *kernel, c), np.float32)
    run_tiles(lambda lo, hi: _weight_images(g, x, sums, *stride, *padding, *dilation, lo, hi), n, 1)
    return np.ascontiguousarray(sums.sum(0).transpose(2, 0, 1))[:, None]
