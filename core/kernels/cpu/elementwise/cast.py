"""float32 to and from the 16-bit floating dtypes, to the nearest, ties to even: NumPy's bits, but for what a NaN carries."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ...reference import elementwise as reference
from ..lanes.spans import FLOAT32, INLINE, mapped, over
from ..lanes.vector_math import bits_float, float_bits
from ..running.compiled import njit

_BITS = np.dtype(np.uint16)
_FLOAT16, _BFLOAT16 = np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)
_SMALL = 1 << 10  # elements that NumPy converts sooner than a kernel is called
_u32 = np.uint32


@intrinsic
def _half_bits(typingctx: Any, x: Any) -> Any:  # noqa: ARG001 - the protocol of intrinsics
    """The bits of the float16 nearest to a float32."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.bitcast(builder.fptrunc(args[0], ir.HalfType()), ir.IntType(16))

    return types.uint16(types.float32), generate


@intrinsic
def _from_half_bits(typingctx: Any, bits: Any) -> Any:  # noqa: ARG001 - the protocol of intrinsics
    """The float32 that a float16 of these bits is."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), generate


@njit(**INLINE)
def _to_half(x: Any) -> Any:
    return _half_bits(x)


@njit(**INLINE)
def _from_half(bits: Any) -> Any:
    return _from_half_bits(bits)


@njit(**INLINE)
def _to_bfloat(x: Any) -> Any:
    bits = _u32(float_bits(x))
    near = _u32(bits + _u32(0x7FFF) + _u32(_u32(bits >> _u32(16)) & _u32(1)))
    nan = _u32(bits & _u32(0x80000000)) | _u32(0x7FC00000)
    return np.uint16((near if x == x else nan) >> _u32(16))


@njit(**INLINE)
def _from_bfloat(bits: Any) -> Any:
    return bits_float(np.int32(_u32(bits) << _u32(16)))


_TO = {_FLOAT16: over(_to_half), _BFLOAT16: over(_to_bfloat)}
_FROM = {_FLOAT16: over(_from_half), _BFLOAT16: over(_from_bfloat)}


def cast(x: Any, dtype: Any) -> Any:
    """As the reference."""
    if x.size >= _SMALL and x.dtype == FLOAT32 and dtype in _TO:
        return mapped(_TO[dtype], x, dtype=_BITS).view(dtype)
    if x.size >= _SMALL and dtype == FLOAT32 and x.dtype in _FROM:
        return mapped(_FROM[x.dtype], x.view(_BITS))
    return reference.cast(x, dtype)
