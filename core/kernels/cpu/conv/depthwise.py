"""Depthwise convolutions, one filter a channel, in channels-last memory.

Shapes: x (N, H, W, C), w (C, 1, KH, KW), g and results (N, HO, WO, C). A tile is a block of pixels of the result and some
channels. It keeps the rows of the source under its window in scratch memory of the first cache, zeros around them, and goes
down row by row; nothing is padded or copied as a whole. Tiles write places of their own and the weight's gradient is summed over
fixed parts in their order: the bits do not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference.after import After
from ...reference.windows import Pads, sides
from ..lanes.moves import clear, copy
from ..lanes.pointers import floats, hold
from ..matrix.after import PLAIN, ends
from ..matrix.gemm import RELU6, finish
from ..matrix.microkernel import LANES
from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for
from .layout import channels_last
from .strips import NUMBERS, PIXELS, row, row_back

Pair = tuple[int, ...]  # two numbers: height and width

_TILE = 1 << 16  # elements of a result in a tile, about
_TILES = 8  # so many tiles, where there is work for them
_ROOM = 96 << 10  # elements of the source under the windows of a row, at most
_THIN = 48  # channels that a tile has at least
_LINE = 16  # floats in a line of the cache
_PART = 1 << 12  # elements of a sum of parts in a tile


@njit(**EXACT)
def _up(a: Any, b: Any) -> Any:
    """a / b rounded up, for b > 0."""
    return -(-a // b)


@njit(**EXACT)
def _gcd(a: Any, b: Any) -> Any:
    while b:
        a, b = b, a % b
    return a


@njit(**EXACT)
def _window(place: Any, back: Any, taps: Any, stride: Any, before: Any, dilation: Any) -> Any:
    """What one place of the result reads along a dimension: (first tap, step of taps, their count, first source, its step).

    Forwards that is every tap. Backwards (``back``: the gradient of the input) the taps whose window began at a whole stride,
    the last one first, so that the source's step is never negative.
    """
    if not back:
        return 0, 1, taps, place * stride - before, dilation
    first = 0
    while first < taps and (place + before - first * dilation) % stride:
        first += 1
    step = stride // _gcd(stride, dilation)
    count = _up(taps - first, step)
    last = first + (count - 1) * step
    return last, -step, count, (place + before - last * dilation) // stride, step * dilation // stride


@njit(**EXACT)
def _inside(start: Any, step: Any, count: Any, size: Any) -> Any:
    """The range of i below ``count`` for which start + i * step lies in 0..size."""
    low, high = 0, count
    while low < high and start + low * step < 0:
        low += 1
    while high > low and start + (high - 1) * step >= size:
        high -= 1
    return low, high


@njit(**EXACT)
def _fetch(x: Any, target: Any, first: Any, last: Any, width: Any, pixel: Any, channels: Any, step: Any) -> None:
    """Columns first to last of a row at x, some of its channels, to ``target``, whose pixels are ``step`` bytes apart."""
    a, b = min(max(first, 0), last), max(min(last, width), first)
    if first < a:
        clear(target, (a - first) * (step // 4))
    if b < last:
        clear(target + (b - first) * step, (last - b) * (step // 4))
    if step == pixel:
        copy(x + a * pixel, target + (a - first) * step, (b - a) * channels)
        return
    for column in range(a, b):
        copy(x + column * pixel, target + (column - first) * step, channels)


@njit(**EXACT)
def _aligned(array: Any) -> Any:
    """The first address in a float32 array that is a multiple of 64."""
    return (np.int64(array.ctypes.data) + 63) // 64 * 64


@njit(**EXACT)
def _reach(back: Any, taps: Any, stride: Any, dilation: Any) -> Any:
    """Rows (or columns) of the source from the first to the last that one place of the result reads, at most."""
    step = stride // _gcd(stride, dilation)
    return (_up(taps, step) - 1) * (step * dilation // stride) + 1 if back else (taps - 1) * dilation + 1


@njit(**EXACT)
def _columns(left: Any, right: Any, back: Any, taps: Any, stride: Any, before: Any, dilation: Any) -> Any:
    """The range of columns of the source that the pixels left..right read."""
    first, last = left * stride - before, (right - 1) * stride - before + (taps - 1) * dilation + 1
    if back:
        first = (left + before - (taps - 1) * dilation) // stride
        last = (right - 1 + before) // stride + 1
    return first, last


@njit(**EXACT)
def _segments(left: Any, right: Any, back: Any, taps: Any, stride: Any, before: Any, dilation: Any, width: Any) -> Any:
    """Where left..right is cut: between the two places windows lie inside the source, so that it can be read as it lies."""
    first, last = _columns(left, right, back, taps, stride, before, dilation)
    edge = PIXELS * stride if back else PIXELS
    a, b = left + edge if first < 0 else left, right - edge if last > width else right
    return (a, b) if a + edge <= b else (right, right)


@njit(**EXACT)
def _tile(t: Any, x: Any, w: Any, y: Any, source: Any, target: Any, taps: Any, channels: Any, back: Any, geometry: Any,
          cut: Any, after: Any) -> None:  # fmt: skip
    spans, slices, blocks = _up(target[1], cut[1]), _up(channels, cut[2]), _up(target[0], cut[0])
    t, c = t // slices, t % slices * cut[2]
    t, left = t // spans, t % spans * cut[1]
    n, top = t // blocks, t % blocks * cut[0]
    right, many = min(target[1], left + cut[1]), min(cut[2], channels - c)
    x, y = x + 4 * (n * source[0] * source[1] * channels + c), y + 4 * (n * target[0] * target[1] * channels + c)
    bias, scale, shift, beside, activation = after
    bias, scale, shift = bias + 4 * c if bias else 0, scale + 4 * c if scale else 0, shift + 4 * c if shift else 0
    beside = beside + 4 * (n * target[0] * target[1] * channels + c) if beside else 0
    after = (bias, scale, shift, beside, activation)
    a, b = _segments(left, right, back, taps[1], geometry[1], geometry[3], geometry[5], source[1])
    rows = (top, min(target[0], top + cut[0]))
    for low, high in ((left, a), (a, b), (b, right)):
        if low < high:
            _segment(x, w + 4 * c, y, source, target, taps, channels, many, back, geometry, rows, low, high, after)


@njit(**EXACT)
def _segment(x: Any, w: Any, y: Any, source: Any, target: Any, taps: Any, channels: Any, many: Any, back: Any, geometry: Any,
             rows: Any, left: Any, right: Any, after: Any) -> None:  # fmt: skip
    """Pixels left..right of some rows of one image, ``many`` channels."""
    sh, sw, p, q, dh, dw = geometry
    bias, scale, shift, beside, activation = after
    width, pixel = source[1], 4 * channels
    classes, moves, clamp = sw if back else 1, 1 if back else sw, activation if activation <= RELU6 else 0
    first, last = _columns(left, right, back, taps[1], sw, q, dw)
    ring, step = _reach(back, taps[0], sh, dh), 4 * _up(many, _LINE) * _LINE
    line, inside = (last - first) * step, first >= 0 and last <= width
    scratch = np.empty(_LINE if inside else ring * line // 4 + _LINE, np.float32)
    book = np.empty(NUMBERS + 2 * taps[0] + ring, np.int64)
    near, x_rows, w_rows, held = _aligned(scratch), book[NUMBERS:], book[NUMBERS + taps[0] :], book[NUMBERS + 2 * taps[0] :]
    held[:] = -1
    if inside:
        step = pixel
    for oy in range(rows[0], rows[1]):
        i, i_step, count, iy, iy_step = _window(oy, back, taps[0], sh, p, dh)
        i0, i1 = _inside(iy, iy_step, count, source[0])
        for k in range(i0, i1):
            at = iy + k * iy_step
            slot = at % ring
            if inside:
                x_rows[k - i0] = x + (at * width + first) * pixel
            else:
                x_rows[k - i0] = near + slot * line
                if held[slot] != at:
                    held[slot] = at
                    _fetch(x + at * width * pixel, near + slot * line, first, last, width, pixel, many, step)
            w_rows[k - i0] = w + (i + k * i_step) * taps[1] * pixel
        for r in range(classes):
            low, high = _up(left - r, classes), _up(right - r, classes)
            if low < high:
                j, j_step, j_count, ix, ix_step = _window(r, back, taps[1], sw, q, dw)
                for k in range(i1 - i0):
                    x_rows[k] += (ix + low * moves - first) * step
                    w_rows[k] += j * pixel
                moved = (oy * target[1] + low * classes + r) * pixel
                row(
                    book, x_rows, w_rows, i1 - i0, j_count, ix_step * step, j_step * pixel, moves * step,
                    y + moved, classes * pixel, high - low, many,
                    (bias, scale, shift, beside + moved if beside else 0, clamp),
                )  # fmt: skip
                for k in range(i1 - i0):
                    x_rows[k] -= (ix + low * moves - first) * step
                    w_rows[k] -= j * pixel
        if activation > RELU6:
            finish(y + (oy * target[1] + left) * pixel, pixel, right - left, many, 0, (0, 0, 0, 0, activation), 0)
    hold(scratch)
    hold(book)


@njit(**EXACT)
def _slices(parts: Any, channels: Any) -> Any:
    """Channels of a tile: near equal parts, none too thin."""
    parts = max(1, min(parts, channels // _THIN))
    return channels if parts == 1 else _up(_up(channels, parts), LANES) * LANES


@njit(**EXACT)
def _cut(batch: Any, target: Any, taps: Any, channels: Any, back: Any, geometry: Any) -> Any:
    """(rows, columns, channels) of a tile: all of a row where that is not too much, for long runs of memory."""
    rows = max(2 * taps[0], _TILE // (target[1] * channels))
    rows = _up(target[0], _up(target[0], rows))
    columns, tiles = target[1], batch * _up(target[0], rows)
    first, last = _columns(0, columns, back, taps[1], geometry[1], geometry[3], geometry[5])
    while columns > 8 * PIXELS and ((last - first) * taps[0] * channels > _ROOM or tiles * _up(target[1], columns) < _TILES):
        columns = _up(columns, 2)
        first, last = _columns(0, columns, back, taps[1], geometry[1], geometry[3], geometry[5])
    parts = max(_up((last - first) * taps[0] * channels, _ROOM), _up(_TILES, tiles * _up(target[1], columns)))
    return rows, columns, _slices(parts, channels)


@njit(**EXACT)
def _convolve(x: Any, w: Any, y: Any, batch: Any, source: Any, target: Any, taps: Any, channels: Any, back: Any, geometry: Any,
              after: Any) -> None:  # fmt: skip
    """y (batch, *target, channels) from x (batch, *source, channels) and w (*taps, channels); addresses."""
    cut = _cut(batch, target, taps, channels, back, geometry)
    tiles = batch * _up(target[0], cut[0]) * _up(target[1], cut[1]) * _up(channels, cut[2])
    parallel_for(_tile, tiles, (x, w, y, source, target, taps, channels, back, geometry, cut, after))


# ---- the weight's gradient


@njit(**EXACT)
def _weight_tile(t: Any, g: Any, x: Any, sums: Any, batch: Any, size: Any, out: Any, taps: Any, channels: Any, geometry: Any,
                 rows_each: Any, channels_each: Any) -> None:  # fmt: skip
    """The gradient's part from some of the batch's rows, for some channels."""
    (height, width), (out_height, out_width) = size, out
    sh, sw, p, q, dh, dw = geometry
    slices = _up(channels, channels_each)
    part, c = t // slices, t % slices * channels_each
    many, pixel = min(channels_each, channels - c), 4 * channels
    g, x, sums = g + 4 * c, x + 4 * c, sums + part * taps[0] * taps[1] * pixel + 4 * c
    first, last = _columns(0, out_width, 0, taps[1], sw, q, dw)
    ring, step = _reach(0, taps[0], sh, dh), 4 * _up(many, _LINE) * _LINE
    line = (last - first) * step
    scratch, book = np.empty(ring * line // 4 + _LINE, np.float32), np.empty(NUMBERS + 2 * taps[0] + ring, np.int64)
    near, x_rows, w_rows, held = _aligned(scratch), book[NUMBERS:], book[NUMBERS + taps[0] :], book[NUMBERS + 2 * taps[0] :]
    held[:] = -1
    for r in range(part * rows_each, min(batch * out_height, (part + 1) * rows_each)):
        n, iy = r // out_height, r % out_height * sh - p
        i0, i1 = _inside(iy, dh, taps[0], height)
        for i in range(i0, i1):
            at = n * height + iy + i * dh
            slot = at % ring
            if held[slot] != at:
                held[slot] = at
                _fetch(x + at * width * pixel, near + slot * line, first, last, width, pixel, many, step)
            x_rows[i - i0] = near + slot * line
            w_rows[i - i0] = sums + i * taps[1] * pixel
        row_back(
            book, x_rows, w_rows, i1 - i0, taps[1], dw * step, pixel, sw * step,
            g + r * out_width * pixel, pixel, out_width, many,
        )  # fmt: skip
    hold(scratch)
    hold(book)


@njit(**EXACT)
def _add_parts(t: Any, sums: Any, parts: Any, span: Any, each: Any) -> None:
    """Into the first of the parts all of them, in their order, for some elements."""
    first = t * each
    total = floats(sums + 4 * first, min(each, span - first))
    for k in range(1, parts):
        part = floats(sums + 4 * (k * span + first), total.size)
        for j in range(total.size):
            total[j] += part[j]


@njit(**EXACT)
def _weight_gradient(g: Any, x: Any, batch: Any, size: Any, out: Any, taps: Any, channels: Any, geometry: Any) -> Any:
    """(*taps, channels), flat."""
    span, total = taps[0] * taps[1] * channels, batch * out[0]
    rows = max(2 * taps[0], _TILE // (out[1] * channels), 8 * taps[0] * taps[1] // out[1])  # a part reads more than its sums take
    parts = _up(total, rows)
    each = _slices(_up(_TILES, parts), channels)
    sums = np.zeros((parts, span), np.float32)
    tiles = parts * _up(channels, each)
    parallel_for(_weight_tile, tiles, (g, x, sums.ctypes.data, batch, size, out, taps, channels, geometry, rows, each))
    parallel_for(_add_parts, _up(span, _PART), (sums.ctypes.data, parts, span, _PART))
    return sums[0]


# ---- for Python


def _address(x: Any) -> int:
    return x.__array_interface__["data"][0]


def _by_tap(w: Any, packs: dict[str, Any] | None) -> Any:
    """(C, 1, KH, KW) -> (KH, KW, C)."""
    kept = None if packs is None else packs.get("depthwise")
    if kept is None:
        kept = np.ascontiguousarray(w[:, 0].transpose(1, 2, 0))
        if packs is not None:
            packs["depthwise"] = kept
    return kept


def _geometry(stride: Pair, padding: Pads, dilation: Pair) -> tuple[int, ...]:
    (top, _), (left, _) = sides(padding)
    return (*stride, top, left, *dilation)


def forward(
    x: Any,
    w: Any,
    stride: Pair,
    padding: Pads,
    dilation: Pair,
    out: Pair,
    bias: Any = None,
    after: After | None = None,
    packs: dict[str, Any] | None = None,
) -> Any:
    """x (N, H, W, C), w (C, 1, KH, KW) -> (N, HO, WO, C); the residual of ``after`` is (N, C, HO, WO)."""
    n, h, width, c = x.shape
    taps, y = _by_tap(w, packs), np.empty((n, *out, c), np.float32)
    if after is not None and after.residual is not None:
        after = after._replace(residual=channels_last(after.residual))
    codes, held = ends(bias, after)
    geometry = _geometry(stride, padding, dilation)
    _convolve(_address(x), _address(taps), _address(y), n, (h, width), out, taps.shape[:2], c, 0, geometry, codes)
    del held  # the addresses in ``codes`` were good until here
    return y


def input_grad(g: Any, w: Any, size: Pair, stride: Pair, padding: Pads, dilation: Pair) -> Any:
    """g (N, HO, WO, C), w (C, 1, KH, KW) -> (N, H, W, C)."""
    n, ho, wo, c = g.shape
    taps, x = _by_tap(w, None), np.empty((n, *size, c), np.float32)
    geometry = _geometry(stride, padding, dilation)
    _convolve(_address(g), _address(taps), _address(x), n, (ho, wo), size, taps.shape[:2], c, 1, geometry, PLAIN)
    return x


def weight_grad(g: Any, x: Any, kernel: Pair, stride: Pair, padding: Pads, dilation: Pair) -> Any:
    """g (N, HO, WO, C), x (N, H, W, C) -> (C, 1, KH, KW), images and parts of them summed in their order."""
    (n, h, w, c), out = x.shape, g.shape[1:3]
    sums = _weight_gradient(_address(g), _address(x), n, (h, w), out, kernel, c, _geometry(stride, padding, dilation))
    return np.ascontiguousarray(sums.reshape(*kernel, c).transpose(2, 0, 1))[:, None]
