"""Vectors of 16 floats for Numba kernels: what LLVM does not find by itself in short loops over channels.

On processors with narrower vectors LLVM splits each into two or four. Positions are counted in floats over the array's
memory, which must be contiguous; addresses are of any float. Nothing checks them.
"""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models, register_default
from numba.extending import intrinsic

LANES = 16
_VECTOR = ir.VectorType(ir.FloatType(), LANES)


class _Vector(types.Type):
    """The Numba type of a vector."""

    def __init__(self) -> None:
        super().__init__(name="float32x16")


vector = _Vector()


@register_default(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _address(context: Any, builder: Any, kind: Any, array: Any, position: Any) -> Any:
    data = context.make_array(kind)(context, builder, value=array).data
    return builder.bitcast(builder.gep(data, [position]), _VECTOR.as_pointer())


@intrinsic
def load(typing_context, array, position):
    """The 16 floats from ``position`` on."""

    def generate(context, builder, signature, arguments):
        place = _address(context, builder, signature.args[0], *arguments)
        return builder.load(place, align=4)

    return vector(array, types.intp), generate


@intrinsic
def store(typing_context, array, position, value):
    """Write 16 floats from ``position`` on."""

    def generate(context, builder, signature, arguments):
        place = _address(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], place, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@intrinsic
def fma(typing_context, a, b, c):
    """a * b + c, rounded once; vectors of any kind, as the operations below."""

    def generate(context, builder, signature, arguments):
        kind = arguments[0].type
        name = f"llvm.fma.v{kind.count}f{32 if kind.element == ir.FloatType() else 64}"
        return builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name), arguments)

    return a(a, b, c), generate


def _vector_at(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, _VECTOR.as_pointer())


@intrinsic
def load_at(typing_context, address):
    """The 16 floats from an address on."""

    def generate(context, builder, signature, arguments):
        return builder.load(_vector_at(builder, arguments[0]), align=4)

    return vector(types.int64), generate


@intrinsic
def store_at(typing_context, address, value):
    """Write 16 floats from an address on."""

    def generate(context, builder, signature, arguments):
        builder.store(arguments[1], _vector_at(builder, arguments[0]), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, vector), generate


@intrinsic
def splat(typing_context, number):
    """One float32 in all 16 places."""

    def generate(context, builder, signature, arguments):
        undefined, first = ir.Constant(_VECTOR, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(builder.insert_element(undefined, arguments[0], first), undefined, zeros)

    return vector(types.float32), generate


@intrinsic
def add(typing_context, a, b):
    """a + b."""

    def generate(context, builder, signature, arguments):
        return builder.fadd(*arguments)

    return a(a, b), generate


@intrinsic
def subtract(typing_context, a, b):
    """a - b."""

    def generate(context, builder, signature, arguments):
        return builder.fsub(*arguments)

    return a(a, b), generate


@intrinsic
def multiply(typing_context, a, b):
    """a * b."""

    def generate(context, builder, signature, arguments):
        return builder.fmul(*arguments)

    return a(a, b), generate


@intrinsic
def at_least(typing_context, a, b):
    """b where a < b, else a: NaN stays."""

    def generate(context, builder, signature, arguments):
        a, b = arguments
        return builder.select(builder.fcmp_ordered("<", a, b), b, a)

    return vector(vector, vector), generate


@intrinsic
def at_most(typing_context, a, b):
    """b where a > b, else a: NaN stays."""

    def generate(context, builder, signature, arguments):
        a, b = arguments
        return builder.select(builder.fcmp_ordered(">", a, b), b, a)

    return vector(vector, vector), generate
