"""float32 functions that LLVM turns into vector code, and what the kernels around them share.

Numba's own ``math.exp`` is a scalar call. The functions here have no branches, so a loop over them runs in vectors; products
and sums are fused by name, not where the compiler likes, so an element has the same bits in a vector, in the rest of a loop,
and inside another kernel. NaN comes through, and zeros keep their sign where the function does.

Errors are in units in the last place of the float32 result, the largest found over all exponents and measured densely.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..running.compiled import EXACT, SUMS, njit  # noqa: F401

TILE = 1 << 16  # elements that one thread takes at a time

_f, _i = np.float32, np.int32
_MAGIC = _f(12582912.0)  # 1.5 * 2**23: adding it rounds to a whole number, which then stands in the low bits
_LOG2E, _LN2_HIGH, _LN2_LOW = _f(1.44269504088896341), _f(0.693359375), _f(-2.12194440e-4)
_SMALLEST = _f(-87.33654)  # exp of less is below the smallest normal float32
_ZERO, _HALF, _ONE, _TWO = _f(0.0), _f(0.5), _f(1.0), _f(2.0)


@intrinsic
def float_bits(typingctx: Any, x: Any) -> Any:  # noqa: ARG001 - the protocol of intrinsics
    """The bits of a float32 as an int32."""
    return types.int32(types.float32), lambda _, builder, __, args: builder.bitcast(args[0], ir.IntType(32))


@intrinsic
def bits_float(typingctx: Any, x: Any) -> Any:  # noqa: ARG001 - the protocol of intrinsics
    """The float32 with these bits."""
    return types.float32(types.int32), lambda _, builder, __, args: builder.bitcast(args[0], ir.FloatType())


def _named(name: str, count: int) -> Any:
    """What calls LLVM's function of ``count`` float32 numbers."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType()] * count)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.f32"), args)

    return types.float32(*[types.float32] * count), generate


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:  # noqa: ARG001 - the protocol of intrinsics
    """a * b + c, rounded once."""
    return _named("fma", 3)


@intrinsic
def copysign(typingctx: Any, size: Any, sign: Any) -> Any:  # noqa: ARG001 - the protocol of intrinsics
    """``size`` with the sign of ``sign``."""
    return _named("copysign", 2)


@njit(**EXACT)
def _power_of_two(n: Any) -> Any:
    """2**n for a whole number from -126 to 127."""
    return bits_float(_i((n + _i(127)) << _i(23)))


@njit(**EXACT)
def _exp_parts(x: Any) -> Any:
    """(q, n + ``_MAGIC``) such that exp(x) = 2**n * (1 + q). Cephes' polynomial on [-ln 2 / 2, ln 2 / 2]."""
    shifted = fma(x, _LOG2E, _MAGIC)
    n = shifted - _MAGIC
    r = fma(n, -_LN2_LOW, fma(n, -_LN2_HIGH, x))
    s = r * r
    high = fma(_f(1.9875691500e-4), r, _f(1.3981999507e-3))
    middle = fma(_f(8.3334519073e-3), r, _f(4.1665795894e-2))
    p = fma(fma(high, s, middle), s, fma(_f(1.6666665459e-1), r, _f(5.0000001201e-1)))
    return fma(p, s, r), shifted


@njit(**EXACT)
def fexp(x: Any) -> Any:
    """exp(x) for x <= 88, to 1.1 ulp; 0 where the result is below every normal number."""
    q, shifted = _exp_parts(x)
    return _ZERO if x < _SMALLEST else (q + _ONE) * _power_of_two(float_bits(shifted))


@njit(**EXACT)
def _whole_number(shifted: Any) -> Any:
    return _i(float_bits(shifted) << _i(9)) >> _i(9)


@njit(**EXACT)
def fexp_full(x: Any) -> Any:
    """exp(x) for every x, to 1.1 ulp; infinite and subnormal where exp is."""
    t = _f(89.0) if x > _f(89.0) else x
    t = _f(-105.0) if t < _f(-105.0) else t
    q, shifted = _exp_parts(t)
    n = _whole_number(shifted)
    half = n >> _i(1)
    return (q + _ONE) * _power_of_two(half) * _power_of_two(_i(n - half))


@njit(**EXACT)
def fexpm1(x: Any) -> Any:
    """exp(x) - 1, to 1.5 ulp."""
    t = _f(89.0) if x > _f(89.0) else x
    t = _f(-20.0) if t < _f(-20.0) else t
    q, shifted = _exp_parts(t)
    half = _power_of_two(_i(_whole_number(shifted) - _i(1)))
    y = _TWO * fma(half, q, half - _HALF)
    return x if abs(x) < _f(5e-8) else y


@njit(**EXACT)
def ferf(x: Any) -> Any:
    """The error function, to 1.1 ulp. Polynomials after N. Juffa: one around 0, one in the exponent beyond."""
    a = abs(x)
    t = _f(4.0) if a > _f(4.0) else a  # erf(4) rounds to 1
    s = x * x
    far = fma(_f(-1.72853470e-5), t, _f(3.83197126e-4))
    near_far = fma(_f(-3.88396438e-3), t, _f(2.42546219e-2))
    far = fma(far, t * t, near_far)
    far = fma(far, t, _f(-1.06777877e-1))
    far = fma(far, t, _f(-6.34846687e-1))
    far = fma(far, t, _f(-1.28717512e-1))
    far = _ONE - fexp(fma(far, t, -t))
    near = fma(_f(-5.96761703e-4), s, _f(4.99119423e-3))
    near = fma(near, s, _f(-2.67681349e-2))
    near = fma(near, s, _f(1.12819925e-1))
    near = fma(near, s, _f(-3.76125336e-1))
    near = fma(near, s, _f(1.28379166e-1))
    return copysign(far if a > _f(0.927734375) else fma(near, a, a), x)


@njit(**EXACT)
def ftanh(x: Any) -> Any:
    """The hyperbolic tangent, to 1.4 ulp: Cephes' polynomial around 0, the exponential function beyond."""
    a = abs(x)
    t = _f(10.0) if a > _f(10.0) else a  # tanh(10) rounds to 1
    far = _ONE - _TWO / (fexp(t + t) + _ONE)
    s = x * x
    near = fma(_f(-5.70498872745e-3), s, _f(2.06390887954e-2))
    near = fma(near, s, _f(-5.37397155531e-2))
    near = fma(near, s, _f(1.33314422036e-1))
    near = fma(near, s, _f(-3.33332819422e-1))
    return copysign(far if a > _f(0.625) else fma(near * s, a, a), x)


@njit(**EXACT)
def fsigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), to 2.4 ulp in both tails; 0 where the result is below every normal number."""
    e = fexp(-abs(x))
    return (e if x < _ZERO else _ONE) / (_ONE + e)


@njit(**EXACT)
def flog(x: Any) -> Any:
    """The natural logarithm, to 0.9 ulp. Cephes' polynomial on [sqrt(1/2), sqrt(2)]."""
    tiny = x < _f(1.17549435e-38)
    bits = float_bits(x * _f(33554432.0) if tiny else x)
    exponent = _i(bits - _i(0x3F3504F3)) >> _i(23)  # the bits of sqrt(1/2): the fraction lies in [sqrt(1/2), sqrt(2))
    r = bits_float(_i(bits - _i(exponent << _i(23)))) - _ONE
    n = _f(exponent) - (_f(25.0) if tiny else _ZERO)
    p = fma(_f(7.0376836292e-2), r, _f(-1.1514610310e-1))
    p = fma(p, r, _f(1.1676998740e-1))
    p = fma(p, r, _f(-1.2420140846e-1))
    p = fma(p, r, _f(1.4249322787e-1))
    p = fma(p, r, _f(-1.6668057665e-1))
    p = fma(p, r, _f(2.0000714765e-1))
    p = fma(p, r, _f(-2.4999993993e-1))
    p = fma(p, r, _f(3.3333331174e-1))
    y = fma(p * r, r * r, n * _LN2_LOW)
    y = fma(n, _LN2_HIGH, r + fma(-_HALF, r * r, y))
    y = x if x == _f(np.inf) else y
    y = _f(-np.inf) if x == _ZERO else y
    return y if x >= _ZERO else _f(np.nan)


@njit(**EXACT)
def flog1p(x: Any) -> Any:
    """log(1 + x), to 1.6 ulp."""
    u = _ONE + x
    lost = x - (u - _ONE) if x < _ONE else _ONE - (u - x)  # what rounding took from u
    whole = flog(u)
    y = whole + lost / u if (u > _ZERO) & (x < _f(1e20)) else whole
    return x if x == _ZERO else y


@njit(**EXACT)
def fnormal_tail(a: Any) -> Any:
    """The normal distribution's integral from a >= 0 on, to 5e-8 absolute: a polynomial in the exponent, minimax by weight."""
    a = _f(15.0) if a > _f(15.0) else a
    s = a * a
    high = fma(fma(_f(-1.618411375e-6), a, _f(2.338462582e-5)), s, fma(_f(-1.117972060e-4), a, _f(-1.328865474e-4)))
    low = fma(fma(_f(4.939976614e-3), a, _f(-3.641353175e-2)), s, fma(_f(-3.182919919e-1), a, _f(-7.978858948e-1)))
    p = fma(high, s * s, low)
    return _HALF * fexp(p * a)


@njit(**EXACT)
def fnormal(x: Any) -> Any:
    """The normal distribution's integral up to x, to 8e-8 absolute."""
    tail = fnormal_tail(abs(x))
    return tail if x < _ZERO else _ONE - tail


@njit(**EXACT)
def fgelu(x: Any) -> Any:
    """x times the normal distribution's integral up to x, to 1e-7 absolute (1.4e-7 relative above 1)."""
    return x * fnormal(x)


@njit(**EXACT)
def fgelu_tanh(x: Any) -> Any:
    """The same in its approximation by tanh, written as a logistic function."""
    return x * fsigmoid(_f(1.5957691216057308) * fma(_f(0.044715) * x * x, x, x))


def suits(*arrays: Any) -> bool:
    """Whether the float32 kernels can take all of these (None counts as suitable)."""
    return all(a is None or a.dtype == np.float32 for a in arrays)


def ready(x: Any) -> Any:
    """The array itself, or a copy, as kernels want it: C order, aligned, writable (each kind would be compiled anew)."""
    return x if x.flags.c_contiguous and x.flags.behaved else np.array(x, order="C")
