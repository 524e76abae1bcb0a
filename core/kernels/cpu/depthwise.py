"""Depthwise convolutions, one filter a channel, in channels-last memory: loops over pixels and taps, vectors over channels.

Shapes: x (N, H, W, C), w (KH, KW, C), g and results (N, HO, WO, C). Every loop that is cut for the threads writes rows (or
images) of its own, so the bits do not depend on the number of threads. Channels go in blocks of 48 (mobile networks have
multiples of it), then of 16, then one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import njit
from .layout import Pair
from .simd import fma, load, store
from .threads import run_tiles

_ROWS = 16  # output rows in a tile
_jit = njit(nogil=True, cache=True, fastmath={"contract", "nsz"}, error_model="numpy")


@_jit
def _inside(start, step, count, size):
    """The taps lo..hi of a window of ``count`` taps that lie in 0..size."""
    lo = 0
    while lo < count and start + lo * step < 0:
        lo += 1
    hi = count
    while hi > lo and start + (hi - 1) * step >= size:
        hi -= 1
    return lo, hi


@_jit
def _pixel(x, w, bias, y, places, taps, count, target, channels):
    """One pixel of y, flat at ``target``: the bias plus ``count`` products of pixels of x and taps of w, flat at their places."""
    blocks, whole = channels // 48 * 48, channels // 16 * 16
    for c in range(0, blocks, 48):
        a0, a1, a2 = load(bias, c), load(bias, c + 16), load(bias, c + 32)
        for k in range(count):
            place, tap = places[k] + c, taps[k] + c
            a0 = fma(load(x, place), load(w, tap), a0)
            a1 = fma(load(x, place + 16), load(w, tap + 16), a1)
            a2 = fma(load(x, place + 32), load(w, tap + 32), a2)
        store(y, target + c, a0)
        store(y, target + c + 16, a1)
        store(y, target + c + 32, a2)
    for c in range(blocks, whole, 16):
        a0 = load(bias, c)
        for k in range(count):
            a0 = fma(load(x, places[k] + c), load(w, taps[k] + c), a0)
        store(y, target + c, a0)
    for c in range(whole, channels):
        single = bias[c]
        for k in range(count):
            single += x[places[k] + c] * w[taps[k] + c]
        y[target + c] = single


@_jit
def _forward_rows(x, w, bias, y, sizes, sh, sw, p, q, dh, dw, lo, hi):
    """Rows lo..hi of the N * HO rows of y; arrays flat, ``sizes`` = (C, H, W, HO, WO, KH, KW)."""
    channels, height, width, ho, wo, kh, kw = sizes
    places, taps = np.empty(kh * kw, np.int64), np.empty(kh * kw, np.int64)
    for t in range(lo, hi):
        n, top = t // ho, t % ho * sh - p
        i0, i1 = _inside(top, dh, kh, height)
        for ox in range(wo):
            left = ox * sw - q
            j0, j1 = _inside(left, dw, kw, width)
            count = 0
            for i in range(i0, i1):
                for j in range(j0, j1):
                    places[count] = ((n * height + top + i * dh) * width + left + j * dw) * channels
                    taps[count] = (i * kw + j) * channels
                    count += 1
            _pixel(x, w, bias, y, places, taps, count, (t * wo + ox) * channels, channels)


@_jit
def _input_rows(g, w, bias, x, sizes, sh, sw, p, q, dh, dw, lo, hi):
    """Rows lo..hi of the N * H rows of x, the gradient: each pixel gathers from the windows that cover it."""
    channels, height, width, ho, wo, kh, kw = sizes
    places, taps = np.empty(kh * kw, np.int64), np.empty(kh * kw, np.int64)
    for t in range(lo, hi):
        n, iy = t // height, t % height
        for ix in range(width):
            count = 0
            for i in range(kh):
                down = iy + p - i * dh
                if down < 0 or down % sh != 0 or down // sh >= ho:
                    continue
                for j in range(kw):
                    right = ix + q - j * dw
                    if right >= 0 and right % sw == 0 and right // sw < wo:
                        places[count] = ((n * ho + down // sh) * wo + right // sw) * channels
                        taps[count] = (i * kw + j) * channels
                        count += 1
            _pixel(g, w, bias, x, places, taps, count, (t * width + ix) * channels, channels)


@_jit
def _weight_images(g, x, sums, sh, sw, p, q, dh, dw, lo, hi):
    """sums (N, KH, KW, C), zeros at first: the weight's gradient from each of the images lo..hi."""
    _, height, width, channels = x.shape
    _, ho, wo, _ = g.shape
    _, kh, kw, _ = sums.shape
    blocks, whole = channels // 48 * 48, channels // 16 * 16
    for n in range(lo, hi):
        for oy in range(ho):
            for i in range(kh):
                iy = oy * sh - p + i * dh
                if iy < 0 or iy >= height:
                    continue
                for j in range(kw):
                    o0, o1 = _inside(j * dw - q, sw, wo, width)
                    source = ((n * height + iy) * width + o0 * sw - q + j * dw) * channels
                    grad = ((n * ho + oy) * wo + o0) * channels
                    total = ((n * kh + i) * kw + j) * channels
                    for c in range(0, blocks, 48):
                        at = total + c
                        a0, a1, a2 = load(sums, at), load(sums, at + 16), load(sums, at + 32)
                        for k in range(o1 - o0):
                            b, d = grad + k * channels + c, source + k * sw * channels + c
                            a0 = fma(load(g, b), load(x, d), a0)
                            a1 = fma(load(g, b + 16), load(x, d + 16), a1)
                            a2 = fma(load(g, b + 32), load(x, d + 32), a2)
                        store(sums, at, a0)
                        store(sums, at + 16, a1)
                        store(sums, at + 32, a2)
                    for c in range(blocks, whole, 16):
                        a0 = load(sums, total + c)
                        for k in range(o1 - o0):
                            a0 = fma(load(g, grad + k * channels + c), load(x, source + k * sw * channels + c), a0)
                        store(sums, total + c, a0)
                    for c in range(whole, channels):
                        for k in range(o0, o1):
                            sums[n, i, j, c] += g[n, oy, k, c] * x[n, iy, k * sw - q + j * dw, c]


def _by_tap(w: Any) -> Any:
    """(C, 1, KH, KW) -> (KH, KW, C)."""
    return np.ascontiguousarray(w[:, 0].transpose(1, 2, 0))


def forward(x: Any, w: Any, stride: Pair, padding: Pair, dilation: Pair, out: Pair, bias: Any) -> Any:
    """x (N, H, W, C), w (C, 1, KH, KW) -> (N, HO, WO, C)."""
    return _forward(x, _by_tap(w), stride, padding, dilation, out, bias)


def _forward(x: Any, taps: Any, stride: Pair, padding: Pair, dilation: Pair, out: Pair, bias: Any) -> Any:
    n, h, w, c = x.shape
    y = np.empty((n, *out, c), np.float32)
    start = np.zeros(c, np.float32) if bias is None else np.ascontiguousarray(bias)
    arrays = x.reshape(-1), taps.reshape(-1), start, y.reshape(-1)
    numbers = (c, h, w, *out, *taps.shape[:2]), *stride, *padding, *dilation
    run_tiles(lambda lo, hi: _forward_rows(*arrays, *numbers, lo, hi), n * out[0], _ROWS)
    return y


def input_grad(g: Any, w: Any, size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Any:
    """g (N, HO, WO, C), w (C, 1, KH, KW) -> (N, H, W, C)."""
    taps = _by_tap(w)
    back = tuple(d * (k - 1) - p for k, p, d in zip(taps.shape[:2], padding, dilation, strict=True))
    if stride == (1, 1) and min(back) >= 0:
        return _forward(g, np.ascontiguousarray(taps[::-1, ::-1]), stride, back, dilation, size, None)
    n, ho, wo, c = g.shape
    x = np.empty((n, *size, c), np.float32)
    arrays = g.reshape(-1), taps.reshape(-1), np.zeros(c, np.float32), x.reshape(-1)
    numbers = (c, *size, ho, wo, *taps.shape[:2]), *stride, *padding, *dilation
    run_tiles(lambda lo, hi: _input_rows(*arrays, *numbers, lo, hi), n * size[0], _ROWS)
    return x


def weight_grad(g: Any, x: Any, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Any:
    """g (N, HO, WO, C), x (N, H, W, C) -> (C, 1, KH, KW), the images summed in their order."""
    n, c = x.shape[0], x.shape[3]
    sums = np.zeros((n, *kernel, c), np.float32)
    run_tiles(lambda lo, hi: _weight_images(g, x, sums, *stride, *padding, *dilation, lo, hi), n, 1)
    return np.ascontiguousarray(sums.sum(0).transpose(2, 0, 1))[:, None]
