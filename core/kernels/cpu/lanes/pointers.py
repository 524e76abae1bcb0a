"""Memory as arrays, for compiled code that knows addresses."""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from ..running.compiled import EXACT, njit


def _pointer(kind: Any, number: Any) -> Any:
    """What makes an address one of numbers of a kind, as Numba and as LLVM call it."""

    @intrinsic
    def to_pointer(typing_context, address):
        def generate(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], number.as_pointer())

        return types.CPointer(kind)(types.int64), generate

    return to_pointer


_to_floats = _pointer(types.float32, ir.FloatType())
_to_integers = _pointer(types.int64, ir.IntType(64))
_to_words = _pointer(types.int32, ir.IntType(32))
_to_halves = _pointer(types.uint16, ir.IntType(16))
_to_octets = _pointer(types.int8, ir.IntType(8))


@njit(**EXACT)
def floats(address: Any, count: Any) -> Any:
    """``count`` float32 numbers at an address, as an array."""
    return carray(_to_floats(address), count)


@njit(**EXACT)
def integers(address: Any, count: Any) -> Any:
    """``count`` int64 numbers at an address, as an array."""
    return carray(_to_integers(address), count)


@njit(**EXACT)
def words(address: Any, count: Any) -> Any:
    """``count`` int32 numbers at an address, as an array."""
    return carray(_to_words(address), count)


@njit(**EXACT)
def halves(address: Any, count: Any) -> Any:
    """``count`` uint16 numbers at an address, as an array."""
    return carray(_to_halves(address), count)


@njit(**EXACT)
def octets(address: Any, count: Any) -> Any:
    """``count`` int8 numbers at an address, as an array."""
    return carray(_to_octets(address), count)


@njit(**EXACT)
def hold(array: Any) -> None:
    """Keep an array until here: Numba frees one after its last use, and does not know of an address that was taken of it."""
