"""The innermost loops of convolutions in narrow groups, on vectors of 16 channels that hold several groups whole.

Each of a group's inputs is spread over the lanes of its group and multiplied with something of all 16 outputs: no lane is idle,
and no group meets another's values.
"""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..matrix.microkernel import ROWS

LANES = 16
WIDTHS = (2, 4, 8, 16)
"""Channels of a group."""
_CHAINS = 2  # of sums for each result: one would wait for itself
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


def _fma(builder: Any) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fma.v{LANES}f32")


def _pieces(builder: Any, entry: Any, given: dict[str, Any], rows: int, width: int, done: Any) -> list[Any]:
    loop, fma = builder.block, _fma(builder)
    left, table, weights = (builder.phi(_I64) for _ in range(3))
    before = [[builder.phi(_VECTOR) for _ in range(_CHAINS)] for _ in range(rows)]
    pixels = []
    for r in range(rows):
        start = builder.load(_address(builder, builder.add(table, _constant(8 * r)), _I64))
        pixels.append(_spread(builder, builder.add(start, given["channel"]), width))
    after: list[list[Any]] = [list(chains) for chains in before]
    for i in range(width):
        line = builder.load(_address(builder, builder.add(weights, _constant(4 * LANES * i)), _VECTOR), align=4)
        for pixel, chains in zip(pixels, after, strict=True):
            chains[i % _CHAINS] = builder.call(fma, [pixel(i), line, chains[i % _CHAINS]])
    rest = builder.sub(left, _constant(1))
    following = (rest, builder.add(table, _constant(8 * ROWS)), builder.add(weights, _constant(4 * LANES * width)))
    for phi, start, value in zip(
        (left, table, weights, *itertools.chain(*before)),
        (given["pieces"], given["table"], given["weights"], *[ir.Constant(_VECTOR, [0.0] * LANES)] * (rows * _CHAINS)),
        (*following, *itertools.chain(*after)),
        strict=True,
    ):
        phi.add_incoming(start, entry)
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed(">", rest, _constant(0)), loop, done)
    builder.position_at_end(done)
    return [functools.reduce(builder.fadd, chains) for chains in after]


@intrinsic
def windows(typing_context, rows, width, table, pieces, weights, channel, targets):
    """16 channels of the results at ``rows`` places, 1 or ROWS. Addresses; ``channel`` in bytes.

    ``table``: for each of ``pieces`` pieces ROWS pointers to pixels; ``weights`` (pieces, width, 16); ``targets``: pointers to
    the results' pixels.
    """

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


def _gradient_function(module: Any, width: int) -> Any:
    """``void(pixels, offsets, gradients, step, count, sums, add)``, all int64."""
    name = f"nyala_grouped_gradient_{width}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(_VOID, [_I64] * 7), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    pixels, offsets, gradients, step, count, sums, add = function.args
    entry, loop, done, more = (function.append_basic_block(n) for n in ("entry", "loop", "done", "more"))
    builder = ir.IRBuilder(entry)
    fma = _fma(builder)
    builder.branch(loop)
    builder.position_at_end(loop)
    left, place, gradient = (builder.phi(_I64) for _ in range(3))
    before = [builder.phi(_VECTOR) for _ in range(width)]
    pixel = _spread(builder, builder.add(pixels, builder.load(_address(builder, place, _I64))), width)
    line = builder.load(_address(builder, gradient, _VECTOR), align=4)
    after = [builder.call(fma, [pixel(i), line, total]) for i, total in enumerate(before)]
    rest = builder.sub(left, _constant(1))
    for phi, start, value in zip(
        (left, place, gradient, *before),
        (count, offsets, gradients, *[ir.Constant(_VECTOR, [0.0] * LANES)] * width),
        (rest, builder.add(place, _constant(8)), builder.add(gradient, step), *after),
        strict=True,
    ):
        phi.add_incoming(start, entry)
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed(">", rest, _constant(0)), loop, done)
    builder.position_at_end(done)
    places = [_address(builder, builder.add(sums, _constant(4 * LANES * i)), _VECTOR) for i in range(width)]
    with builder.if_then(builder.icmp_signed("==", add, _constant(0))):
        for target, value in zip(places, after, strict=True):
            builder.store(value, target, align=4)
        builder.ret_void()
    builder.branch(more)
    builder.position_at_end(more)
    for target, value in zip(places, after, strict=True):
        builder.store(builder.fadd(builder.load(target, align=4), value), target, align=4)
    builder.ret_void()
    return function


@intrinsic
def gradient(typing_context, width, pixels, offsets, gradients, step, count, sums, add):
    """sums (width, 16) = or (where ``add``) += each input at ``pixels`` + offset times 16 gradients, ``step`` bytes on."""

    def generate(context, builder, signature, arguments):
        group, *rest = arguments
        end = builder.append_basic_block("gradient_end")
        switch = builder.switch(group, end)
        for number in WIDTHS:
            block = builder.append_basic_block(f"gradient_{number}")
            switch.add_case(_constant(number), block)
            builder.position_at_end(block)
            builder.call(_gradient_function(builder.module, number), rest)
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 8), generate
