"""float32 functions that LLVM turns into vector code, and how the Numba kernels around them are compiled and fed.

Numba's own ``math.exp`` is a scalar call. Kernels run on spans of fixed size that ``threads.run_tiles`` hands to its pool;
they release the GIL, so Numba's threading layers are not needed, and the bits do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .compiled import EXACT, SUMS, njit  # noqa: F401
from .threads import run_tiles

TILE = 1 << 16  # elements that one thread takes at a time

_f = np.float32
_MAGIC = _f(12582912.0)  # 1.5 * 2**23: adding it rounds to a whole number, which then stands in the low bits
_LOG2E, _LN2_HIGH, _LN2_LOW = _f(1.44269504088896341), _f(0.693359375), _f(-2.12194440e-4)
_TOP = _f(88.0)
_SMALLEST = _f(-87.33654)  # exp of less is below the smallest normal float32: 0


@intrinsic
def float_bits(typingctx: Any, x: Any) -> Any:  # noqa: ARG001 - the protocol of intrinsics
    """The bits of a float32 as an int32."""
    return types.int32(types.float32), lambda _, builder, __, args: builder.bitcast(args[0], ir.IntType(32))


@intrinsic
def bits_float(typingctx: Any, x: Any) -> Any:  # noqa: ARG001 - the protocol of intrinsics
    """The float32 with these bits."""
    return types.float32(types.int32), lambda _, builder, __, args: builder.bitcast(args[0], ir.FloatType())


@njit(**EXACT)
def fexp(x: Any) -> Any:
    """exp(x) for x <= 88, to 1.3e-7 relative; 0 below -87.3, NaN for NaN. Cephes' polynomial on [-ln 2 / 2, ln 2 / 2]."""
    shifted = x * _LOG2E + _MAGIC
    n = shifted - _MAGIC
    r = x - n * _LN2_HIGH
    r = r - n * _LN2_LOW
    p = _f(1.9875691500e-4)
    p = p * r + _f(1.3981999507e-3)
    p = p * r + _f(8.3334519073e-3)
    p = p * r + _f(4.1665795894e-2)
    p = p * r + _f(1.6666665459e-1)
    p = p * r + _f(5.0000001201e-1)
    p = p * r * r + r + _f(1.0)
    power = bits_float(np.int32((float_bits(shifted) + np.int32(127)) << np.int32(23)))
    return _f(0.0) if x < _SMALLEST else p * power


@njit(**EXACT)
def ferf(x: Any) -> Any:
    """The error function to 1.3e-7 absolute. Polynomials after N. Juffa: one around 0, one in the exponent beyond."""
    a = abs(x)
    t = _f(4.0) if a > _f(4.0) else a  # erf(4) rounds to 1
    s = x * x
    far = _f(-1.72853470e-5) * t + _f(3.83197126e-4)
    near_far = _f(-3.88396438e-3) * t + _f(2.42546219e-2)
    far = far * (t * t) + near_far
    far = far * t + _f(-1.06777877e-1)
    far = far * t + _f(-6.34846687e-1)
    far = far * t + _f(-1.28717512e-1)
    far = far * t - t
    far = _f(1.0) - fexp(far)
    far = -far if x < _f(0.0) else far
    near = _f(-5.96761703e-4)
    near = near * s + _f(4.99119423e-3)
    near = near * s + _f(-2.67681349e-2)
    near = near * s + _f(1.12819925e-1)
    near = near * s + _f(-3.76125336e-1)
    near = near * s + _f(1.28379166e-1)
    near = near * x + x
    return far if a > _f(0.927734375) else near


@njit(**EXACT)
def fsigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    minus = -x
    return _f(1.0) / (_f(1.0) + fexp(_TOP if minus > _TOP else minus))


@njit(**EXACT)
def fgelu(x: Any) -> Any:
    """x times the normal distribution's integral up to x."""
    return x * (_f(0.5) * (_f(1.0) + ferf(x * _f(0.7071067811865476))))


@njit(**EXACT)
def fgelu_tanh(x: Any) -> Any:
    """The same in its approximation by tanh."""
    return x * fsigmoid(_f(1.5957691216057308) * (x + _f(0.044715) * x * x * x))


def suits(*arrays: Any) -> bool:
    """Whether the float32 kernels can take all of these (None counts as suitable)."""
    return all(a is None or a.dtype == np.float32 for a in arrays)


def ready(x: Any) -> Any:
    """The array itself, or a copy, as kernels want it: C order, aligned, writable (each kind would be compiled anew)."""
    return x if x.flags.c_contiguous and x.flags.behaved else np.array(x, order="C")


def flat_pair(x: Any, *others: Any) -> tuple[Any, ...]:
    """One-dimensional views, in memory order, of x, of an empty array like x, and of ``others`` in the same order.

    Gives (empty array in the shape of x, its flat view, flat x, flat others...). Dense permuted arrays, such as channels-last
    ones, are not copied.
    """
    order = sorted(range(x.ndim), key=lambda i: -x.strides[i])
    dense = x.transpose(order)
    if not (dense.flags.c_contiguous and dense.flags.behaved):
        order, dense = list(range(x.ndim)), np.array(x, order="C")
    out = np.empty(dense.shape, x.dtype)
    back = np.argsort(order)
    return out.transpose(back), out.reshape(-1), dense.reshape(-1), *[ready(o.transpose(order)).reshape(-1) for o in others]


def elementwise(kernel: Callable[..., Any], x: Any, *others: Any) -> Any:
    """``kernel(x, *others, out)`` over flat spans of all of them; the result in the shape and memory order of x."""
    result, out, first, *rest = flat_pair(x, *others)
    run_tiles(lambda lo, hi: kernel(first[lo:hi], *[r[lo:hi] for r in rest], out[lo:hi]), first.size, TILE)
    return result
