"""Memory as arrays, for compiled code that knows addresses."""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from ..running.compiled import EXACT, njit


@intrinsic
def _to_floats(typing_context, address):
    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], ir.FloatType().as_pointer())

    return types.CPointer(types.float32)(types.int64), generate


@intrinsic
def _to_integers(typing_context, address):
    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())

    return types.CPointer(types.int64)(types.int64), generate


@njit(**EXACT)
def floats(address: Any, count: Any) -> Any:
    """``count`` float32 numbers at an address, as an array."""
    return carray(_to_floats(address), count)


@njit(**EXACT)
def integers(address: Any, count: Any) -> Any:
    """``count`` int64 numbers at an address, as an array."""
    return carray(_to_integers(address), count)


@njit(**EXACT)
def hold(array: Any) -> None:
    """Keep an array until here: Numba frees one after its last use, and does not know of an address that was taken of it."""
