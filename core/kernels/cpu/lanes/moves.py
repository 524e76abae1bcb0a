"""Floats moved between addresses in compiled code: 16 at a time, and what is left of a run behind a mask.

Addresses are int64. Nothing but the floats named is read or written, so a run may end where its memory ends.
"""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..running.compiled import EXACT, njit
from .simd import LANES, vector

_F32, _I1, _I32, _I64, _VOID = ir.FloatType(), ir.IntType(1), ir.IntType(32), ir.IntType(64), ir.VoidType()
_VECTOR, _MASK = ir.VectorType(_F32, LANES), ir.VectorType(_I1, LANES)
_ZEROS = ir.Constant(_VECTOR, [0.0] * LANES)


def _place(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, _VECTOR.as_pointer())


def _below(builder: Any, count: Any) -> Any:
    """A mask of the first ``count`` lanes."""
    kind = ir.VectorType(_I64, LANES)
    many = builder.insert_element(ir.Constant(kind, ir.Undefined), count, ir.Constant(_I32, 0))
    many = builder.shuffle_vector(many, many, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))
    return builder.icmp_signed("<", ir.Constant(kind, list(range(LANES))), many)


def _masked_load(builder: Any, address: Any, mask: Any) -> Any:
    kind = ir.FunctionType(_VECTOR, [_VECTOR.as_pointer(), _I32, _MASK, _VECTOR])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.v{LANES}f32.p0")
    return builder.call(function, [_place(builder, address), ir.Constant(_I32, 4), mask, _ZEROS])


def _masked_store(builder: Any, value: Any, address: Any, mask: Any) -> None:
    kind = ir.FunctionType(_VOID, [_VECTOR, _VECTOR.as_pointer(), _I32, _MASK])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.store.v{LANES}f32.p0")
    builder.call(function, [value, _place(builder, address), ir.Constant(_I32, 4), mask])


@intrinsic
def copy_vector(typing_context, source, target):
    """Copy 16 floats."""

    def generate(context, builder, signature, arguments):
        builder.store(builder.load(_place(builder, arguments[0]), align=4), _place(builder, arguments[1]), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def add_vector(typing_context, source, target):
    """Add 16 floats to others."""

    def generate(context, builder, signature, arguments):
        source, target = (_place(builder, a) for a in arguments)
        total = builder.fadd(builder.load(target, align=4), builder.load(source, align=4))
        builder.store(total, target, align=4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def fetch(typing_context, address):
    """Let the cache fetch the line of an address, to be read."""

    def generate(context, builder, signature, arguments):
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(_VOID, [byte, *[_I32] * 3])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(prefetch, [builder.inttoptr(arguments[0], byte), *[ir.Constant(_I32, n) for n in (0, 3, 1)]])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def copy_few(typing_context, source, target, count):
    """Copy ``count`` floats, 16 at most."""

    def generate(context, builder, signature, arguments):
        mask = _below(builder, arguments[2])
        _masked_store(builder, _masked_load(builder, arguments[0], mask), arguments[1], mask)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def load_few(typing_context, address, count):
    """A vector of ``count`` floats, 16 at most, and zeros."""

    def generate(context, builder, signature, arguments):
        return _masked_load(builder, arguments[0], _below(builder, arguments[1]))

    return vector(types.int64, types.int64), generate


@intrinsic
def store_few(typing_context, address, value, count):
    """Write the first ``count`` floats of a vector, 16 at most."""

    def generate(context, builder, signature, arguments):
        _masked_store(builder, arguments[1], arguments[0], _below(builder, arguments[2]))
        return context.get_dummy_value()

    return types.void(types.int64, vector, types.int64), generate


@intrinsic
def _clear_vector(typing_context, target):
    def generate(context, builder, signature, arguments):
        builder.store(_ZEROS, _place(builder, arguments[0]), align=4)
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def _clear_few(typing_context, target, count):
    def generate(context, builder, signature, arguments):
        _masked_store(builder, _ZEROS, arguments[0], _below(builder, arguments[1]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@njit(**EXACT)
def copy(source: Any, target: Any, count: Any) -> None:
    """Copy ``count`` floats."""
    whole = count // LANES
    for i in range(whole):
        copy_vector(source + 4 * LANES * i, target + 4 * LANES * i)
    if count > whole * LANES:
        copy_few(source + 4 * LANES * whole, target + 4 * LANES * whole, count - whole * LANES)


@njit(**EXACT)
def clear(target: Any, count: Any) -> None:
    """Set ``count`` floats to zero."""
    whole = count // LANES
    for i in range(whole):
        _clear_vector(target + 4 * LANES * i)
    if count > whole * LANES:
        _clear_few(target + 4 * LANES * whole, count - whole * LANES)
