"""Vectors of 16 whole numbers for kernels on bytes: what LLVM does not find by itself in loops over three channels.

Addresses are of any byte; nothing checks them.
"""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.datamodel import models, register_default
from numba.extending import intrinsic

LANES = 16
_BYTES = ir.VectorType(ir.IntType(8), LANES)
_VECTOR = ir.VectorType(ir.IntType(32), LANES)


class _Integers(types.Type):
    """The Numba type of a vector of 16 int32."""

    def __init__(self) -> None:
        super().__init__(name="int32x16")


integers16 = _Integers()


@register_default(_Integers)
class _IntegersModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _bytes_at(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, _BYTES.as_pointer())


def _all(builder: Any, number: Any) -> Any:
    undefined, first = ir.Constant(_VECTOR, ir.Undefined), ir.Constant(ir.IntType(32), 0)
    return builder.shuffle_vector(builder.insert_element(undefined, number, first), undefined, ir.Constant(_VECTOR, [0] * LANES))


@intrinsic
def same(typing_context, number):
    """One int32 in all 16 places."""

    def generate(context, builder, signature, arguments):
        return _all(builder, arguments[0])

    return integers16(types.int32), generate


@intrinsic
def add_weighted(typing_context, total, weight, address):
    """total + weight * the 16 bytes from an address on; weight is one int32."""

    def generate(context, builder, signature, arguments):
        total, weight, address = arguments
        values = builder.zext(builder.load(_bytes_at(builder, address), align=1), _VECTOR)
        return builder.add(total, builder.mul(values, _all(builder, weight)))

    return integers16(integers16, types.int32, types.int64), generate


@intrinsic
def store_bytes(typing_context, address, total, shift):
    """total >> shift, cut to 0..255, as 16 bytes from an address on."""

    def generate(context, builder, signature, arguments):
        address, total, shift = arguments
        value = builder.ashr(total, _all(builder, shift))
        for sign, bound in (("<", 0), (">", 255)):
            edge = ir.Constant(_VECTOR, [bound] * LANES)
            value = builder.select(builder.icmp_signed(sign, value, edge), edge, value)
        builder.store(builder.trunc(value, _BYTES), _bytes_at(builder, address), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, integers16, types.int32), generate


def _interleaved(builder: Any, a: Any, b: Any, start: int) -> Any:
    """Eight bytes of each from ``start`` on, in turns."""
    order = [place for i in range(start, start + LANES // 2) for place in (i, i + LANES)]
    return builder.shuffle_vector(a, b, ir.Constant(_VECTOR, order))


@intrinsic
def turn(typing_context, source, step, target, target_step):
    """Writes 16 rows of 16 bytes as columns; steps from row to row in bytes."""

    def generate(context, builder, signature, arguments):
        source, step, target, target_step = arguments
        rows = []
        for i in range(LANES):
            at = builder.add(source, builder.mul(step, ir.Constant(ir.IntType(64), i)))
            rows.append(builder.load(_bytes_at(builder, at), align=1))
        half = LANES // 2
        for _ in range(4):  # after four times each byte stands where row and column have changed places
            rows = [_interleaved(builder, rows[i // 2], rows[i // 2 + half], i % 2 * half) for i in range(LANES)]
        for i, row in enumerate(rows):
            at = builder.add(target, builder.mul(target_step, ir.Constant(ir.IntType(64), i)))
            builder.store(row, _bytes_at(builder, at), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), generate
