"""Comparisons and the exponential function of vectors of 16 floats."""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from ..running.compiled import EXACT, njit
from .simd import LANES, fma, multiply, splat, subtract, vector

_f = np.float32
_FLOATS, _INTEGERS = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.IntType(32), LANES)
_MAGIC = _f(12582912.0)  # 1.5 * 2**23: adding it rounds to a whole number, which then stands in the low bits
_LOG2E, _LN2_HIGH, _LN2_LOW = _f(1.44269504088896341), _f(0.693359375), _f(-2.12194440e-4)
_SMALLEST = _f(-87.33654)  # exp of less is below the smallest normal float32: 0


@intrinsic
def where_less(typing_context, a, b, x, y):
    """x where a < b, else y: also where a or b is NaN."""

    def generate(context, builder, signature, arguments):
        a, b, x, y = arguments
        return builder.select(builder.fcmp_ordered("<", a, b), x, y)

    return vector(vector, vector, vector, vector), generate


@intrinsic
def _power(typing_context, shifted):
    """2 to the whole number in the low bits of ``shifted``."""

    def generate(context, builder, signature, arguments):
        number = builder.add(builder.bitcast(arguments[0], _INTEGERS), ir.Constant(_INTEGERS, [127] * LANES))
        return builder.bitcast(builder.shl(number, ir.Constant(_INTEGERS, [23] * LANES)), _FLOATS)

    return vector(vector), generate


@njit(**EXACT)
def maximum(a: Any, b: Any) -> Any:
    """The larger one, and a where b is NaN."""
    return where_less(a, b, b, a)


@njit(**EXACT)
def exp(x: Any) -> Any:
    """exp(x) for x <= 88, to 1.3e-7 relative; 0 below -87.3, NaN for NaN. Cephes' polynomial on [-ln 2 / 2, ln 2 / 2]."""
    shifted = fma(x, splat(_LOG2E), splat(_MAGIC))
    whole = subtract(shifted, splat(_MAGIC))
    r = fma(whole, splat(-_LN2_LOW), fma(whole, splat(-_LN2_HIGH), x))
    p = fma(splat(_f(1.9875691500e-4)), r, splat(_f(1.3981999507e-3)))
    p = fma(p, r, splat(_f(8.3334519073e-3)))
    p = fma(p, r, splat(_f(4.1665795894e-2)))
    p = fma(p, r, splat(_f(1.6666665459e-1)))
    p = fma(p, r, splat(_f(5.0000001201e-1)))
    p = fma(fma(p, r, splat(_f(1.0))), r, splat(_f(1.0)))
    return where_less(x, splat(_SMALLEST), splat(_f(0.0)), multiply(p, _power(shifted)))
