"""Sums of float32 vectors in float64."""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .simd import LANES, vector

_WIDE = ir.VectorType(ir.DoubleType(), LANES)


@intrinsic
def total(typing_context, value):
    """The sum of the 16 floats of a vector: halves are added until one number is left."""

    def generate(context, builder, signature, arguments):
        left, count = builder.fpext(arguments[0], _WIDE), LANES
        while count > 1:
            count //= 2
            halves = [ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(i, i + count))) for i in (0, count)]
            nothing = ir.Constant(left.type, ir.Undefined)
            left = builder.fadd(*[builder.shuffle_vector(left, nothing, half) for half in halves])
        return builder.extract_element(left, ir.Constant(ir.IntType(32), 0))

    return types.float64(vector), generate


@intrinsic
def accumulate(typing_context, array, position, value):
    """Add a vector to the 16 float64 numbers of a contiguous array from ``position`` on."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, value=arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), _WIDE.as_pointer())
        builder.store(builder.fadd(builder.load(place, align=8), builder.fpext(arguments[2], _WIDE)), place, align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate
