"""Gradients of activations that cut off: the gradient where the result lies between two ends, 0 elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..reference import elementwise as reference
from .compiled import njit
from .vector_math import EXACT, elementwise, suits

_ZERO = np.float32(0.0)


@njit(**EXACT)
def _positive(y: Any, grad: Any, out: Any) -> None:
    for i in range(y.size):
        out[i] = grad[i] if y[i] > _ZERO else _ZERO


@njit(**EXACT)
def _between(y: Any, grad: Any, low: Any, high: Any, out: Any) -> None:
    for i in range(y.size):
        out[i] = grad[i] if (y[i] > low) & (y[i] < high) else _ZERO


def relu_backward(grad: Any, y: Any) -> Any:
    """As the reference."""
    return elementwise(_positive, y, grad) if suits(grad, y) else reference.relu_backward(grad, y)


def hardtanh_backward(grad: Any, y: Any, low: float, high: float) -> Any:
    """As the reference."""
    if not suits(grad, y):
        return reference.hardtanh_backward(grad, y, low, high)
    ends = np.float32(low), np.float32(high)
    return elementwise(lambda y, g, out: _between(y, g, *ends, out), y, grad)
