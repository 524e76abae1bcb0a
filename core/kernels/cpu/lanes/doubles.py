"""Vectors of 8 doubles for Numba kernels that compute in float64 what lies in memory as float32.

On processors with narrower vectors LLVM splits each into two or four. Addresses are int64; nothing checks
them. Arithmetic on them is that of ``simd``.
"""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.datamodel import models, register_default
from numba.extending import intrinsic

WIDTH = 8
_DOUBLES, _FLOATS = ir.VectorType(ir.DoubleType(), WIDTH), ir.VectorType(ir.FloatType(), WIDTH)


class _Doubles(types.Type):
    """The Numba type of a vector."""

    def __init__(self) -> None:
        super().__init__(name="float64x8")


doubles = _Doubles()


@register_default(_Doubles)
class _DoublesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _DOUBLES)


@intrinsic
def load(typing_context, address):
    """The 8 doubles from an address on."""

    def generate(context, builder, signature, arguments):
        return builder.load(builder.inttoptr(arguments[0], _DOUBLES.as_pointer()), align=8)

    return doubles(types.int64), generate


@intrinsic
def store(typing_context, address, value):
    """Write 8 doubles from an address on."""

    def generate(context, builder, signature, arguments):
        builder.store(arguments[1], builder.inttoptr(arguments[0], _DOUBLES.as_pointer()), align=8)
        return context.get_dummy_value()

    return types.void(types.int64, doubles), generate


@intrinsic
def widened(typing_context, address):
    """The 8 floats from an address on, as doubles."""

    def generate(context, builder, signature, arguments):
        return builder.fpext(builder.load(builder.inttoptr(arguments[0], _FLOATS.as_pointer()), align=4), _DOUBLES)

    return doubles(types.int64), generate


@intrinsic
def store_narrowed(typing_context, address, value):
    """Write 8 doubles, rounded to floats, from an address on."""

    def generate(context, builder, signature, arguments):
        narrow = builder.fptrunc(arguments[1], _FLOATS)
        builder.store(narrow, builder.inttoptr(arguments[0], _FLOATS.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, doubles), generate


def _splat(builder: Any, number: Any) -> Any:
    undefined, first = ir.Constant(_DOUBLES, ir.Undefined), ir.Constant(ir.IntType(32), 0)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(builder.insert_element(undefined, number, first), undefined, zeros)


@intrinsic
def splat(typing_context, number):
    """One double in all 8 places."""

    def generate(context, builder, signature, arguments):
        return _splat(builder, arguments[0])

    return doubles(types.float64), generate


@intrinsic
def spread(typing_context, address):
    """The double at an address in all 8 places."""

    def generate(context, builder, signature, arguments):
        return _splat(builder, builder.load(builder.inttoptr(arguments[0], ir.DoubleType().as_pointer()), align=8))

    return doubles(types.int64), generate
