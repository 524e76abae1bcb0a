"""Convolutions in narrow groups: 2, 4, 8 or 16 channels in, as many out.

A vector holds 16 channels of a pixel, several groups whole. Each of a group's inputs is spread over the lanes of its group and
multiplied with the weights of all 16 outputs, so no lane is idle and no group meets another's values. Windows are read through
pointers as in ``correlate``.
"""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..reference.after import After
from ..reference.windows import Pads, Size
from . import correlate as of
from . import window as at
from .after import PLAIN, ends
from .compiled import EXACT, njit
from .conv_plan import back_plan, forward_plan
from .correlate import point, shifted
from .dense import natural, readable
from .gemm import finish, floats, hold
from .layout import address, channels_last
from .microkernel import ROWS
from .parallel import parallel_for
from .window import following, place

LANES = 16
WIDTHS = (2, 4, 8, 16)
"""Channels of a group."""
_F32, _I32, _I64, _VOID = ir.FloatType(), ir.IntType(32), ir.IntType(64), ir.VoidType()
_VECTOR = ir.VectorType(_F32, LANES)
_ARGUMENTS = ("table", "pieces", "weights", "channel", "targets")


def _constant(value: int) -> Any:
    return ir.Constant(_I64, value)


def _function(module: Any, rows: int, width: int) -> Any:
    """``void(*_ARGUMENTS)``, all int64; ``channel`` in bytes."""
    name = f"nyala_grouped_{rows}x{width}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(_VOID, [_I64] * len(_ARGUMENTS)), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    given = dict(zip(_ARGUMENTS, function.args, strict=True))
    entry, loop, done = (function.append_basic_block(n) for n in ("entry", "loop", "done"))
    builder = ir.IRBuilder(entry)
    builder.branch(loop)
    builder.position_at_end(loop)
    sums = _pieces(builder, entry, given, rows, width, done)
    builder.position_at_end(done)
    for r, value in enumerate(sums):
        target = builder.load(_address(builder, builder.add(given["targets"], _constant(8 * r)), _I64))
        builder.store(value, _address(builder, builder.add(target, given["channel"]), _VECTOR), align=4)
    builder.ret_void()
    return function


def _address(builder: Any, number: Any, kind: Any) -> Any:
    return builder.inttoptr(number, kind.as_pointer())


def _spread(builder: Any, start: Any, width: int) -> Callable[[int], Any]:
    """Of the 16 channels at an address input i of each group, in all lanes of its group."""
    if width == LANES:

        def single(i: int) -> Any:
            value = builder.load(_address(builder, builder.add(start, _constant(4 * i)), _F32), align=4)
            one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(_I32, 0))
            return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))

        return single
    pixel = builder.load(_address(builder, start, _VECTOR), align=4)

    def spread(i: int) -> Any:
        lanes = ir.Constant(ir.VectorType(_I32, LANES), [j // width * width + i for j in range(LANES)])
        return builder.shuffle_vector(pixel, pixel, lanes)

    return spread


def _pieces(builder: Any, entry: Any, given: dict[str, Any], rows: int, width: int, done: Any) -> list[Any]:
    loop = builder.block
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fma.v{LANES}f32")
    left, table, weights = (builder.phi(_I64) for _ in range(3))
    sums = [builder.phi(_VECTOR) for _ in range(rows)]
    pixels = []
    for r in range(rows):
        start = builder.load(_address(builder, builder.add(table, _constant(8 * r)), _I64))
        pixels.append(_spread(builder, builder.add(start, given["channel"]), width))
    after: list[Any] = list(sums)
    for i in range(width):
        line = builder.load(_address(builder, builder.add(weights, _constant(4 * LANES * i)), _VECTOR), align=4)
        after = [builder.call(fma, [pixel(i), line, total]) for pixel, total in zip(pixels, after, strict=True)]
    rest = builder.sub(left, _constant(1))
    following = (rest, builder.add(table, _constant(8 * ROWS)), builder.add(weights, _constant(4 * LANES * width)))
    for phi, start, value in zip(
        (left, table, weights, *sums),
        (given["pieces"], given["table"], given["weights"], *[ir.Constant(_VECTOR, [0.0] * LANES)] * rows),
        (*following, *after),
        strict=True,
    ):
        phi.add_incoming(start, entry)
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed(">", rest, _constant(0)), loop, done)
    return after


@intrinsic
def _micro(typing_context, rows, width, table, pieces, weights, channel, targets):
    """16 channels of ``rows`` places, 1 or ROWS; ``targets``: where the addresses of their results lie."""

    def generate(context, builder, signature, arguments):
        count, group, *rest = arguments
        end = builder.append_basic_block("grouped_end")
        switch = builder.switch(builder.add(builder.mul(group, _constant(ROWS + 1)), count), end)
        for r in (1, ROWS):
            for width in WIDTHS:
                block = builder.append_basic_block(f"grouped_{r}x{width}")
                switch.add_case(_constant(width * (ROWS + 1) + r), block)
                builder.position_at_end(block)
                builder.call(_function(builder.module, r, width), rest)
                builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7), generate


@njit(**EXACT)
def _aim(plan: Any, target: Any, top: Any, rows: Any, targets: Any) -> None:
    """Where the results of ``rows`` places go."""
    n, z, y, x = place(plan, top)
    for r in range(rows):
        down = z * plan[of.TARGET_D] + y * plan[of.TARGET_H]
        targets[r] = target + n * plan[of.TARGET_N] + down + x * plan[of.TARGET_W]
        x += 1
        if x == plan[at.OUT_W]:
            n, z, y, x = following(plan, n, z, y)


@njit(**EXACT)
def _task(t: Any, plan: Any, source: Any, weights: Any, target: Any, width: Any, after: Any) -> None:
    channels, pieces, top = plan[of.WIDTH], plan[of.PIECES], t * plan[of.TILE]
    rows = min(plan[of.TILE], plan[at.IMAGES] * plan[at.OUT_D] * plan[at.OUT_H] * plan[at.OUT_W] - top)
    table, targets = np.empty((rows + ROWS) * max(pieces, 1), np.int64), np.empty(rows, np.int64)
    _aim(plan, target, top, rows, targets)
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
            _micro(many, width, start, pieces, weights + 4 * c * pieces * width, 4 * c, targets.ctypes.data + 8 * r)
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
    """As the reference, for float32, as many channels out as in, a multiple of 16."""
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
    """As the reference, for float32, as many channels out as in, a multiple of 16."""
    g = readable(g, False)
    whole = (w.shape[0], input_shape[1], *w.shape[2:])
    plan = back_plan(g.shape, g.strides, whole, tuple(input_shape), tuple(stride), tuple(padding), tuple(dilation), 1)
    x = np.empty(plan.shape, np.float32)
    for numbers, _, chosen, offset in plan.classes:
        packed = _packed(w, chosen, True)
        _convolve(numbers, address(g), address(packed), address(x) + offset, w.shape[1], PLAIN)
    return x.transpose(plan.axes)
