"""Convolutions in narrow groups: 2, 4, 8 or 16 channels in, as many out; a multiple of 16 channels in all.

Windows are read through pointers as in ``correlate``, those of the weight's gradient from a padded picture as in ``weight_grad``.
"""

# ruff: noqa: ARG001 - a way takes all of a kernel's parameters

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...reference.after import After
from ...reference.windows import Pads, Size
from ..lanes.pointers import floats, hold
from ..matrix.after import PLAIN, ends
from ..matrix.gemm import DEPTH, finish
from ..matrix.microkernel import ROWS
from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for
from . import correlate as of
from . import window as at
from .correlate import aim, point, shifted
from .dense import natural, readable, unpadded
from .grouped_micro import LANES, gradient, windows
from .layout import address, channels_last
from .plan import back_plan, forward_plan, weight_plan
from .weight_grad import window_offsets

_PART = 1024  # places of a part of the weight's gradient, about
_PARTS = 16


@njit(**EXACT)
def _task(t: Any, plan: Any, source: Any, weights: Any, target: Any, width: Any, after: Any) -> None:
    channels, pieces, top = plan[of.WIDTH], plan[of.PIECES], t * plan[of.TILE]
    rows = min(plan[of.TILE], plan[at.IMAGES] * plan[at.OUT_D] * plan[at.OUT_H] * plan[at.OUT_W] - top)
    table, targets = np.empty((rows + ROWS) * max(pieces, 1), np.int64), np.empty(rows, np.int64)
    aim(plan, target, top, rows, targets)
    if pieces == 0:
        for r in range(rows):
            floats(targets[r], channels)[:] = np.float32(0.0)
        return
    point(plan, source, top, rows, table)
    r = 0
    while r < rows:
        many = ROWS if r + ROWS <= rows else 1
        start = table.ctypes.data + 8 * (r // ROWS * pieces * ROWS + r % ROWS)
        for c in range(0, channels, LANES):
            windows(many, width, start, pieces, weights + 4 * c * pieces * width, 4 * c, targets.ctypes.data + 8 * r)
        r += many
    if after[0] or after[1] or after[3] or after[4]:
        before, step = top * plan[of.TARGET_W], plan[of.TARGET_W]
        finish(target + before, step, rows, channels, 0, shifted(after, 0, before), step)
    hold(table)
    hold(targets)


@njit(**EXACT)
def _convolve(plan: Any, source: Any, weights: Any, target: Any, width: Any, after: Any) -> None:
    parallel_for(_task, plan[of.TILES], (plan, source, weights, target, width, after))


@njit(**EXACT)
def _pack_block(t: Any, w: Any, width: Any, taps: Any, chosen: Any, back: Any, packed: Any) -> None:
    out = floats(packed + 4 * t * LANES * width * chosen.size, LANES * width * chosen.size)
    for o in range(LANES):
        for c in range(width):
            line = floats(w + 4 * (((t * LANES + o) * width + c) * taps), taps)
            i, lane = (o % width, o // width * width + c) if back else (c, o)
            for k in range(chosen.size):
                out[(k * width + i) * LANES + lane] = line[chosen[k]]


@njit(**EXACT)
def _pack(w: Any, channels: Any, width: Any, taps: Any, chosen: Any, back: Any, packed: Any) -> None:
    """w (channels, width, taps) -> (channels / 16, chosen taps, width, 16), at addresses; ``back``: outputs to inputs."""
    parallel_for(_pack_block, channels // LANES, (w, width, taps, chosen, back, packed))


def _packed(w: Any, chosen: Any, back: bool) -> Any:
    w, (channels, width), taps = natural(w), w.shape[:2], math.prod(w.shape[2:])
    packed = np.empty(channels * width * chosen.size, np.float32)
    _pack(address(w), channels, width, taps, chosen, back, packed.ctypes.data)
    return packed


def forward(
    x: Any,
    w: Any,
    stride: Size,
    padding: Pads,
    dilation: Size,
    groups: int,
    bias: Any = None,
    after: After | None = None,
    packs: dict[str, Any] | None = None,
) -> Any:
    """As the reference, for float32, groups of 2, 4, 8 or 16 channels."""
    x = readable(x, False)
    whole = (w.shape[0], x.shape[1], *w.shape[2:])
    plan = forward_plan(x.shape, x.strides, whole, tuple(stride), tuple(padding), tuple(dilation), 1, False)
    y = np.empty(plan.shape, np.float32)
    if after is not None and after.residual is not None:
        after = after._replace(residual=channels_last(after.residual))
    codes, held = ends(bias, after)
    packed = None if packs is None else packs.get("grouped")
    if packed is None:
        packed = _packed(w, np.arange(math.prod(w.shape[2:])), False)
        if packs is not None:
            packs["grouped"] = packed
    _convolve(plan.numbers, address(x), address(packed), address(y), w.shape[1], codes)
    del held  # the addresses in ``codes`` were good until here
    return y.transpose(plan.axes)


def input_grad(g: Any, w: Any, input_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int) -> Any:
    """As the reference, for float32, groups of 2, 4, 8 or 16 channels."""
    g = readable(g, False)
    whole = (w.shape[0], input_shape[1], *w.shape[2:])
    plan = back_plan(g.shape, g.strides, whole, tuple(input_shape), tuple(stride), tuple(padding), tuple(dilation), 1)
    x = np.empty(plan.shape, np.float32)
    for numbers, _, chosen, offset in plan.classes:
        packed = _packed(w, chosen, True)
        _convolve(numbers, address(g), address(packed), address(x) + offset, w.shape[1], PLAIN)
    return x.transpose(plan.axes)


@njit(**EXACT)
def _gradient_task(t: Any, plan: Any, each: Any, g: Any, source: Any, taps: Any, width: Any, sums: Any) -> None:
    channels = plan[of.WIDTH]
    places = plan[at.IMAGES] * plan[at.OUT_D] * plan[at.OUT_H] * plan[at.OUT_W]
    blocks, size = channels // LANES, 4 * LANES * width
    part, c = t // blocks, 4 * LANES * (t % blocks)
    offsets = np.empty(DEPTH, np.int64)
    end = min(places, (part + 1) * each)
    for first in range(part * each, end, DEPTH):
        many = min(DEPTH, end - first)
        window_offsets(plan, first, many, offsets)
        start, add = g + 4 * channels * first + c, 1 if first > part * each else 0
        for i in range(taps.size):
            total = sums + size * (t * taps.size + i)
            gradient(width, source + taps[i] + c, offsets.ctypes.data, start, 4 * channels, many, total, add)
    hold(offsets)


@njit(**EXACT)
def _gradients(plan: Any, parts: Any, each: Any, g: Any, source: Any, taps: Any, width: Any, sums: Any) -> None:
    parallel_for(_gradient_task, parts * (plan[of.WIDTH] // LANES), (plan, each, g, source, taps, width, sums))


def weight_grad(g: Any, x: Any, weight_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int) -> Any:
    """As the reference, for float32, groups of 2, 4, 8 or 16 channels; parts of the places are summed in their order."""
    channels, width, *kernel = weight_shape
    g, x = channels_last(g), unpadded(x, padding, False)
    whole = (channels, x.shape[1], *kernel)
    numbers, elements, _ = weight_plan(x.shape, x.strides, whole, tuple(stride), tuple(dilation), 1, False, g.shape[1:-1])
    taps, places = np.ascontiguousarray(elements.reshape(-1, channels)[:, 0]), g.size // channels
    each = -(-places // min(_PARTS, -(-places // _PART)))
    parts = -(-places // each)
    sums = np.empty((parts, channels // LANES, taps.size, width, LANES), np.float32)
    _gradients(numbers, parts, each, address(g), address(x), taps, width, address(sums))
    return np.ascontiguousarray(sums.sum(0).transpose(0, 3, 2, 1)).reshape(weight_shape)
