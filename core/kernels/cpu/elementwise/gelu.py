"""gelu, silu, softplus and mish in float32, forward and backward. Absolute error below 5e-7 for |x| < 8."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference import elementwise as reference
from ..lanes.spans import FLOAT32, INLINE, mapped, over
from ..lanes.vector_math import fexp, fgelu, fgelu_tanh, flog, fma, fnormal, fsigmoid
from ..running.compiled import njit

_f = np.float32
_ZERO, _HALF, _ONE, _TWO = _f(0.0), _f(0.5), _f(1.0), _f(2.0)
_DENSITY = _f(0.3989422804014327)  # of the normal distribution at 0
_A, _B = _f(1.5957691216057308), _f(0.044715)
_QUICK = _f(1.702)


@njit(**INLINE)
def _gelu_slope(x: Any, g: Any) -> Any:
    return g * fma(x * _DENSITY, fexp(-_HALF * x * x), fnormal(x))


@njit(**INLINE)
def _gelu_tanh_slope(x: Any, g: Any) -> Any:
    s = fsigmoid(_A * fma(_B * x * x, x, x))
    return g * fma(x * s * (_ONE - s), _A * fma(_f(3.0) * _B * x, x, _ONE), s)


@njit(**INLINE)
def _gelu_quick(x: Any) -> Any:
    return x * fsigmoid(x * _QUICK)


@njit(**INLINE)
def _gelu_quick_slope(x: Any, g: Any) -> Any:
    s = fsigmoid(x * _QUICK)
    return g * (s * fma(_QUICK * x, _ONE - s, _ONE))


@njit(**INLINE)
def _silu(x: Any) -> Any:
    return x * fsigmoid(x)


@njit(**INLINE)
def _silu_slope(x: Any, g: Any) -> Any:
    s = fsigmoid(x)
    return g * (s * fma(x, _ONE - s, _ONE))


@njit(**INLINE)
def _softplus(x: Any, beta: Any, threshold: Any) -> Any:
    scaled = x * beta
    e = fexp(-abs(scaled))
    u = _ONE + e
    soft = flog(u) + (e - (u - _ONE)) / u  # log(1 + e) with what rounding took from u
    whole = (soft + (scaled if scaled > _ZERO else _ZERO)) / beta
    return x if scaled > threshold else whole


@njit(**INLINE)
def _softplus_slope(x: Any, g: Any, beta: Any, threshold: Any) -> Any:
    scaled = x * beta
    return g if scaled > threshold else g * fsigmoid(scaled)


@njit(**INLINE)
def _mish_tanh(x: Any) -> Any:
    """tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2) for e = exp(x); 1 from 20 on."""
    e = fexp(_f(20.0) if x > _f(20.0) else x)
    n = e * (e + _TWO)
    return n / (n + _TWO)


@njit(**INLINE)
def _mish(x: Any) -> Any:
    return x * _mish_tanh(x)


@njit(**INLINE)
def _mish_slope(x: Any, g: Any) -> Any:
    t = _mish_tanh(x)
    return g * fma(x * fsigmoid(x), fma(-t, t, _ONE), t)


_GELU = {"none": over(fgelu), "tanh": over(fgelu_tanh), "quick": over(_gelu_quick)}
_GELU_BACKWARD = {"none": over(_gelu_slope, 2), "tanh": over(_gelu_tanh_slope, 2), "quick": over(_gelu_quick_slope, 2)}
_SILU, _SILU_BACKWARD = over(_silu), over(_silu_slope, 2)
_SOFTPLUS, _SOFTPLUS_BACKWARD = over(_softplus), over(_softplus_slope, 2)
_MISH, _MISH_BACKWARD = over(_mish), over(_mish_slope, 2)


def gelu(x: Any, approximate: str) -> Any:
    """As the reference."""
    return mapped(_GELU[approximate], x) if x.dtype == FLOAT32 else reference.gelu(x, approximate)


def gelu_backward(grad: Any, x: Any, approximate: str) -> Any:
    """As the reference."""
    if not x.dtype == grad.dtype == FLOAT32:
        return reference.gelu_backward(grad, x, approximate)
    return mapped(_GELU_BACKWARD[approximate], x, grad)


def silu(x: Any) -> Any:
    """As the reference."""
    return mapped(_SILU, x) if x.dtype == FLOAT32 else reference.silu(x)


def silu_backward(grad: Any, x: Any) -> Any:
    """As the reference."""
    return mapped(_SILU_BACKWARD, x, grad) if x.dtype == grad.dtype == FLOAT32 else reference.silu_backward(grad, x)


def softplus(x: Any, beta: float, threshold: float) -> Any:
    """As the reference."""
    if x.dtype != FLOAT32:
        return reference.softplus(x, beta, threshold)
    return mapped(_SOFTPLUS, x, numbers=(_f(beta), _f(threshold)))


def softplus_backward(grad: Any, x: Any, beta: float, threshold: float) -> Any:
    """As the reference."""
    if not x.dtype == grad.dtype == FLOAT32:
        return reference.softplus_backward(grad, x, beta, threshold)
    return mapped(_SOFTPLUS_BACKWARD, x, grad, numbers=(_f(beta), _f(threshold)))


def mish(x: Any) -> Any:
    """As the reference."""
    return mapped(_MISH, x) if x.dtype == FLOAT32 else reference.mish(x)


def mish_backward(grad: Any, x: Any) -> Any:
    """As the reference."""
    return mapped(_MISH_BACKWARD, x, grad) if x.dtype == grad.dtype == FLOAT32 else reference.mish_backward(grad, x)
