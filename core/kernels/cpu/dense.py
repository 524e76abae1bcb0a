"""Convolutions over all channels in channels-last memory: windows gathered tile by tile, and one matrix product for each tile.

Shapes: x (N, H, W, C), w (O, C, KH, KW), g and results (N, HO, WO, O). Tiles depend on shapes alone, and every sum over
tiles is made in their order, so the bits do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .layout import Pair, padded_channels_last
from .threads import run_tiles

_TILE_BYTES = 1 << 20  # of gathered windows: what stays in a core's own cache
_TILE_ROWS = 384  # at least so many rows, or packing the weight costs more than the product
_TALL_ROWS = 1024  # for weight gradients, whose result is written once for each tile
_WIDE = 256  # from so many channels on one tap alone makes a good matrix product, and partial sums would be large
_PARTS = 8  # partial sums of a weight gradient


class Tile(NamedTuple):
    """Whole images, or rows of one image: the output pixels [first:last, top:bottom]."""

    first: int
    last: int
    top: int
    bottom: int


def tiles(n: int, height: int, width: int, rows: int) -> list[Tile]:
    """The (n, height, width) pixels cut into tiles of about ``rows`` pixels."""
    if height * width <= rows:
        step = rows // (height * width)
        return [Tile(i, min(n, i + step), 0, height) for i in range(0, n, step)]
    step = max(1, rows // width)
    return [Tile(i, i + 1, top, min(height, top + step)) for i in range(n) for top in range(0, height, step)]


def each_tile(work: Callable[[Tile], object], parts: list[Tile]) -> None:
    """``work(tile)`` for every tile, on all threads."""

    def span(lo: int, hi: int) -> None:
        for tile in parts[lo:hi]:
            work(tile)

    run_tiles(span, len(parts), 1)


def _windows(x: Any, kernel: Pair, stride: Pair, dilation: Pair, out: Pair) -> Any:
    """A view (N, HO, WO, KH, KW, C) of padded x (N, H, W, C)."""
    n, c = x.shape[0], x.shape[3]
    sn, sh, sw, sc = x.strides
    strides = (sn, sh * stride[0], sw * stride[1], sh * dilation[0], sw * dilation[1], sc)
    return np.lib.stride_tricks.as_strided(x, (n, *out, *kernel, c), strides, writeable=False)


def _columns(windows: Any, tile: Tile) -> Any:
    """(pixels, KH * KW * C): the windows of a tile, as a matrix of its own or as a view of x where that is one."""
    part = windows[tile.first : tile.last, tile.top : tile.bottom]
    return part.reshape(part.shape[0] * part.shape[1] * part.shape[2], -1)


def _pixels(y: Any, tile: Tile) -> Any:
    """(pixels, O): the pixels of a tile, as a view."""
    part = y[tile.first : tile.last, tile.top : tile.bottom]
    return part.reshape(-1, y.shape[3])


def _rows(width: int, least: int) -> int:
    return max(least, _TILE_BYTES // (4 * width))


def forward(x: Any, matrix: Any, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, out: Pair, bias: Any) -> Any:
    """x (N, C, H, W), ``matrix`` (KH * KW * C, O) -> (N, HO, WO, O)."""
    windows = _windows(padded_channels_last(x, padding), kernel, stride, dilation, out)
    y = np.empty((x.shape[0], *out, matrix.shape[1]), np.float32)

    def work(tile: Tile) -> None:
        target = _pixels(y, tile)
        np.matmul(_columns(windows, tile), matrix, out=target)
        if bias is not None:
            target += bias

    each_tile(work, tiles(x.shape[0], out[0], out[1], _rows(len(matrix), _TILE_ROWS)))
    return y


def as_matrix(w: Any) -> Any:
    """(O, C, KH, KW) -> (O, KH * KW * C)."""
    return np.ascontiguousarray(w.transpose(0, 2, 3, 1)).reshape(w.shape[0], -1)


def flipped_matrix(w: Any) -> Any:
    """(O, C, KH, KW) -> (KH * KW * O, C): the weight of the convolution that takes gradients back."""
    return np.ascontiguousarray(w[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)).reshape(-1, w.shape[1])


def input_grad(g: Any, w: Any, size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Any:
    """g (N, O, HO, WO), w (O, C, KH, KW) -> (N, H, W, C)."""
    kernel = w.shape[2:]
    back = tuple(d * (k - 1) - p for k, p, d in zip(kernel, padding, dilation, strict=True))
    if stride == (1, 1) and min(back) >= 0:
        return forward(g, flipped_matrix(w), kernel, stride, back, dilation, size, None)
    return _scattered(g, w, size, stride, padding, dilation)


def _scattered(g: Any, w: Any, size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Any:
    """Each gradient times the whole weight, added where its window stood; an image belongs to one tile."""
    (o, c, kh, kw), (n, _, ho, wo) = w.shape, g.shape
    g = padded_channels_last(g, (0, 0))
    matrix = as_matrix(w)
    (p, q), (h, wd) = padding, size
    wide = np.zeros((n, h + 2 * p, wd + 2 * q, c), np.float32)

    def work(lo: int, hi: int) -> None:
        columns = np.matmul(g[lo:hi].reshape(-1, o), matrix).reshape(hi - lo, ho, wo, kh, kw, c)
        for i in range(kh):
            for j in range(kw):
                top, left = i * dilation[0], j * dilation[1]
                rows = slice(top, top + (ho - 1) * stride[0] + 1, stride[0])
                wide[lo:hi, rows, left : left + (wo - 1) * stride[1] + 1 : stride[1]] += columns[:, :, :, i, j]

    run_tiles(work, n, max(1, _TILE_ROWS // (ho * wo)))
    return wide if not any(padding) else np.ascontiguousarray(wide[:, p : p + h, q : q + wd])


def weight_grad(g: Any, x: Any, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Any:
    """g (N, O, HO, WO), x (N, C, H, W) -> (O, C, KH, KW)."""
    out, o, c = g.shape[2:], g.shape[1], x.shape[1]
    grad = padded_channels_last(g, (0, 0))
    windows = _windows(padded_channels_last(x, padding), kernel, stride, dilation, out)
    if kernel[0] * kernel[1] > 3 and c >= _WIDE:
        sums = _tap_by_tap(grad, windows).reshape(*kernel, o, c).transpose(2, 3, 0, 1)
    else:
        sums = _part_by_part(grad, windows).reshape(o, *kernel, c).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(sums)


def _tap_by_tap(grad: Any, windows: Any) -> Any:
    """(KH * KW, O, C): each tap's own product, its tiles summed in order."""
    n, ho, wo, kh, kw, c = windows.shape
    out = np.zeros((kh * kw, grad.shape[3], c), np.float32)
    parts = tiles(n, ho, wo, _TALL_ROWS)

    def work(lo: int, hi: int) -> None:
        for k in range(lo, hi):
            for tile in parts:
                out[k] += np.matmul(_pixels(grad, tile).T, _columns(windows[:, :, :, k // kw, k % kw], tile))

    run_tiles(work, kh * kw, 1)
    return out


def _part_by_part(grad: Any, windows: Any) -> Any:
    """(O, KH * KW * C): all taps in one product, partial sums over fixed parts of the pixels."""
    n, ho, wo, kh, kw, c = windows.shape
    parts = tiles(n, ho, wo, _rows(kh * kw * c, _TALL_ROWS))
    span = -(-len(parts) // _PARTS)
    sums = np.zeros((-(-len(parts) // span), grad.shape[3], kh * kw * c), np.float32)

    def work(lo: int, hi: int) -> None:
        for tile in parts[lo:hi]:
            sums[lo // span] += np.matmul(_pixels(grad, tile).T, _columns(windows, tile))

    run_tiles(work, len(parts), span)
    return sums.sum(0)
