"""Vectors of 16 floats for Numba kernels: what LLVM does not find by itself in short loops over channels.

On processors with narrower vectors LLVM splits each into two or four. Positions are counted in floats over the array's
memory, which must be contiguous; nothing checks them.
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
    """a * b + c, rounded once."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32"), arguments)

    return vector(vector, vector, vector), generate
