"""exp, log, tanh, sigmoid, erf and their like in float32: the same bits on every machine, errors said in ``vector_math``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference import elementwise as reference
from ..lanes.spans import FLOAT32, INLINE, mapped, over
from ..lanes.vector_math import ferf, fexp_full, fexpm1, flog, flog1p, fma, fsigmoid, ftanh
from ..running.compiled import njit

_ONE = np.float32(1.0)
_LARGE = 1 << 15  # elements from which a second thread pays where NumPy gives the same bits


@njit(**INLINE)
def _sigmoid_slope(y: Any, g: Any) -> Any:
    return g * (y * (_ONE - y))


@njit(**INLINE)
def _tanh_slope(y: Any, g: Any) -> Any:
    return g * fma(-y, y, _ONE)


@njit(**INLINE)
def _root(x: Any) -> Any:
    return np.sqrt(x)


@njit(**INLINE)
def _inverse_root(x: Any) -> Any:
    return _ONE / np.sqrt(x)


_ROOT, _INVERSE_ROOT = over(_root), over(_inverse_root)
_EXP, _EXPM1, _LOG, _LOG1P = over(fexp_full), over(fexpm1), over(flog), over(flog1p)
_TANH, _TANH_BACKWARD = over(ftanh), over(_tanh_slope, 2)
_SIGMOID, _SIGMOID_BACKWARD = over(fsigmoid), over(_sigmoid_slope, 2)
_ERF = over(ferf)


def exp(x: Any) -> Any:
    """As the reference."""
    return mapped(_EXP, x) if x.dtype == FLOAT32 else np.exp(x)


def sqrt(x: Any) -> Any:
    """As the reference."""
    return mapped(_ROOT, x) if x.size >= _LARGE and x.dtype == FLOAT32 else np.sqrt(x)


def rsqrt(x: Any) -> Any:
    """As the reference."""
    return mapped(_INVERSE_ROOT, x) if x.dtype == FLOAT32 else reference.rsqrt(x)


def expm1(x: Any) -> Any:
    """As the reference."""
    return mapped(_EXPM1, x) if x.dtype == FLOAT32 else np.expm1(x)


def log(x: Any) -> Any:
    """As the reference."""
    return mapped(_LOG, x) if x.dtype == FLOAT32 else np.log(x)


def log1p(x: Any) -> Any:
    """As the reference."""
    return mapped(_LOG1P, x) if x.dtype == FLOAT32 else np.log1p(x)


def tanh(x: Any) -> Any:
    """As the reference."""
    return mapped(_TANH, x) if x.dtype == FLOAT32 else np.tanh(x)


def tanh_backward(grad: Any, y: Any) -> Any:
    """As the reference."""
    return mapped(_TANH_BACKWARD, y, grad) if y.dtype == grad.dtype == FLOAT32 else reference.tanh_backward(grad, y)


def sigmoid(x: Any) -> Any:
    """As the reference."""
    return mapped(_SIGMOID, x) if x.dtype == FLOAT32 else reference.sigmoid(x)


def sigmoid_backward(grad: Any, y: Any) -> Any:
    """As the reference."""
    return mapped(_SIGMOID_BACKWARD, y, grad) if y.dtype == grad.dtype == FLOAT32 else reference.sigmoid_backward(grad, y)


def erf(x: Any) -> Any:
    """As the reference."""
    return mapped(_ERF, x) if x.dtype == FLOAT32 else reference.erf(x)
