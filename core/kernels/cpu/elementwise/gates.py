"""Activations made of cuts and straight lines in float32, and elu; forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference import elementwise as reference
from ..lanes.spans import FLOAT32, INLINE, mapped, over
from ..lanes.vector_math import fexp, fexpm1
from ..running.compiled import njit
from . import reduce

_f = np.float32
_ZERO, _HALF, _ONE, _THREE, _SIX = _f(0.0), _f(0.5), _f(1.0), _f(3.0), _f(6.0)
_SIXTH = _f(1 / 6)


@njit(**INLINE)
def _relu(x: Any) -> Any:
    return _ZERO if x < _ZERO else x


@njit(**INLINE)
def _relu_slope(y: Any, g: Any) -> Any:
    return g if y > _ZERO else _ZERO


@njit(**INLINE)
def _clip(x: Any, low: Any, high: Any) -> Any:
    v = low if x < low else x
    return high if v > high else v


@njit(**INLINE)
def _hardtanh_slope(y: Any, g: Any, low: Any, high: Any) -> Any:
    return g if (y > low) & (y < high) else _ZERO


@njit(**INLINE)
def _leaky_relu(x: Any, slope: Any) -> Any:
    return x if x > _ZERO else x * slope


@njit(**INLINE)
def _leaky_relu_slope(x: Any, g: Any, slope: Any) -> Any:
    return g if x > _ZERO else g * slope


@njit(**INLINE)
def _prelu_share(x: Any, g: Any) -> Any:
    return _ZERO if x > _ZERO else g * x


@njit(**INLINE)
def _elu(x: Any, alpha: Any) -> Any:
    return x if x > _ZERO else fexpm1(x) * alpha


@njit(**INLINE)
def _elu_slope(x: Any, g: Any, alpha: Any) -> Any:
    return g if x > _ZERO else g * alpha * fexp(_ZERO if x > _ZERO else x)


@njit(**INLINE)
def _hardsigmoid(x: Any) -> Any:
    return _clip(x + _THREE, _ZERO, _SIX) * _SIXTH


@njit(**INLINE)
def _hardsigmoid_slope(x: Any, g: Any) -> Any:
    return g * _SIXTH if (x > -_THREE) & (x < _THREE) else _ZERO


@njit(**INLINE)
def _hardswish(x: Any) -> Any:
    return x * _hardsigmoid(x)


@njit(**INLINE)
def _hardswish_slope(x: Any, g: Any) -> Any:
    rising = x / _THREE + _HALF if x <= _THREE else _ONE
    return g * (_ZERO if x < -_THREE else rising)


_RELU, _RELU_BACKWARD = over(_relu), over(_relu_slope, 2)
_CLIP, _HARDTANH_BACKWARD = over(_clip), over(_hardtanh_slope, 2)
_LEAKY_RELU, _LEAKY_RELU_BACKWARD = over(_leaky_relu), over(_leaky_relu_slope, 2)
_PRELU_SHARE = over(_prelu_share, 2)
_ELU, _ELU_BACKWARD = over(_elu), over(_elu_slope, 2)
_HARDSIGMOID, _HARDSIGMOID_BACKWARD = over(_hardsigmoid), over(_hardsigmoid_slope, 2)
_HARDSWISH, _HARDSWISH_BACKWARD = over(_hardswish), over(_hardswish_slope, 2)


def relu(x: Any) -> Any:
    """As the reference."""
    return mapped(_RELU, x) if x.dtype == FLOAT32 else reference.relu(x)


def relu_backward(grad: Any, y: Any) -> Any:
    """As the reference."""
    return mapped(_RELU_BACKWARD, y, grad) if y.dtype == grad.dtype == FLOAT32 else reference.relu_backward(grad, y)


def clip(x: Any, low: float | None, high: float | None) -> Any:
    """As the reference."""
    if x.dtype != FLOAT32 or low != low or high != high:
        return reference.clip(x, low, high)
    return mapped(_CLIP, x, numbers=(_f(-np.inf if low is None else low), _f(np.inf if high is None else high)))


def hardtanh_backward(grad: Any, y: Any, low: float, high: float) -> Any:
    """As the reference."""
    if not y.dtype == grad.dtype == FLOAT32:
        return reference.hardtanh_backward(grad, y, low, high)
    return mapped(_HARDTANH_BACKWARD, y, grad, numbers=(_f(low), _f(high)))


def leaky_relu(x: Any, slope: float) -> Any:
    """As the reference."""
    return mapped(_LEAKY_RELU, x, numbers=(_f(slope),)) if x.dtype == FLOAT32 else reference.leaky_relu(x, slope)


def leaky_relu_backward(grad: Any, x: Any, slope: float) -> Any:
    """As the reference."""
    if not x.dtype == grad.dtype == FLOAT32:
        return reference.leaky_relu_backward(grad, x, slope)
    return mapped(_LEAKY_RELU_BACKWARD, x, grad, numbers=(_f(slope),))


def prelu(x: Any, weight: Any) -> Any:
    """As the reference."""
    if not x.dtype == weight.dtype == FLOAT32:
        return reference.prelu(x, weight)
    return mapped(_LEAKY_RELU, x, numbers=(weight.reshape(-1)[0],))


def prelu_backward(grad: Any, x: Any, weight: Any) -> tuple[Any, Any]:
    """As the reference."""
    if not x.dtype == grad.dtype == weight.dtype == FLOAT32:
        return reference.prelu_backward(grad, x, weight)
    share = reduce.sum(mapped(_PRELU_SHARE, x, grad), tuple(range(x.ndim)), keepdim=True)
    return mapped(_LEAKY_RELU_BACKWARD, x, grad, numbers=(weight.reshape(-1)[0],)), share.reshape(weight.shape)


def elu(x: Any, alpha: float) -> Any:
    """As the reference."""
    return mapped(_ELU, x, numbers=(_f(alpha),)) if x.dtype == FLOAT32 else reference.elu(x, alpha)


def elu_backward(grad: Any, x: Any, alpha: float) -> Any:
    """As the reference."""
    if not x.dtype == grad.dtype == FLOAT32:
        return reference.elu_backward(grad, x, alpha)
    return mapped(_ELU_BACKWARD, x, grad, numbers=(_f(alpha),))


def hardsigmoid(x: Any) -> Any:
    """As the reference."""
    return mapped(_HARDSIGMOID, x) if x.dtype == FLOAT32 else reference.hardsigmoid(x)


def hardsigmoid_backward(grad: Any, x: Any) -> Any:
    """As the reference."""
    if not x.dtype == grad.dtype == FLOAT32:
        return reference.hardsigmoid_backward(grad, x)
    return mapped(_HARDSIGMOID_BACKWARD, x, grad)


def hardswish(x: Any) -> Any:
    """As the reference."""
    return mapped(_HARDSWISH, x) if x.dtype == FLOAT32 else reference.hardswish(x)


def hardswish_backward(grad: Any, x: Any) -> Any:
    """As the reference."""
    return mapped(_HARDSWISH_BACKWARD, x, grad) if x.dtype == grad.dtype == FLOAT32 else reference.hardswish_backward(grad, x)
