"""Element-wise kernels: one number out for each number in, with NumPy's broadcasting and NaN rules.

Float in, the same float dtype out. Half precision is computed in float32 wherever more than one step is rounded.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...devices import module_of
from .half import in_float32, is_half, where

_OF_TWO = ["add", "subtract", "multiply", "true_divide", "maximum", "minimum", "power", "arctan2"]
_OF_ONE = [
    "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh",
    "tanh", "floor", "ceil", "trunc",
]  # fmt: skip

__all__ = [
    *_OF_ONE,
    *_OF_TWO,
    "cast",
    "clip",
    "elu",
    "elu_backward",
    "erf",
    "gelu",
    "gelu_backward",
    "hardsigmoid",
    "hardsigmoid_backward",
    "hardswish",
    "hardswish_backward",
    "hardtanh_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "mish",
    "mish_backward",
    "power_number",
    "prelu",
    "prelu_backward",
    "relu",
    "relu_backward",
    "round",
    "rsqrt",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softplus",
    "softplus_backward",
    "tanh_backward",
    "where",
]


def _of_one(name: str) -> Any:
    def kernel(x: Any) -> Any:
        return getattr(module_of(x), name)(x)

    return _named(kernel, name)


def _of_two(name: str) -> Any:
    def kernel(a: Any, b: Any) -> Any:
        return getattr(module_of(a), name)(a, b)

    return _named(kernel, name)


def _named(kernel: Any, name: str) -> Any:
    kernel.__name__ = name
    kernel.__doc__ = f"NumPy's ``{name}``."
    return kernel


globals().update({name: _of_one(name) for name in _OF_ONE} | {name: _of_two(name) for name in _OF_TWO})


def cast(x: Any, dtype: Any) -> Any:
    """The values as another dtype, to the nearest; of complex numbers the real part where the dtype is real."""
    return (x.real if x.dtype.kind == "c" and dtype.kind not in "cb" else x).astype(dtype)


def relu(x: Any) -> Any:
    """max(x, 0)."""
    return module_of(x).maximum(x, x.dtype.type(0))


def clip(x: Any, low: float | None, high: float | None) -> Any:
    """Values below ``low`` become ``low``, those above ``high`` become ``high``; None is no bound."""
    if x.dtype.kind != "V":
        return module_of(x).clip(x, low, high)
    xp, kind = module_of(x), x.dtype.type  # clip itself knows no bfloat16
    x = x if low is None else xp.maximum(x, kind(low))
    return x if high is None else xp.minimum(x, kind(high))


def relu_backward(grad: Any, y: Any) -> Any:
    """Gradient of relu from its result: where that is positive."""
    return where(y > 0, grad, y.dtype.type(0))


def hardtanh_backward(grad: Any, y: Any, low: float, high: float) -> Any:
    """Gradient of a clip to [low, high] from its result: where that lies between the ends."""
    return where((y > low) & (y < high), grad, y.dtype.type(0))


def leaky_relu(x: Any, slope: float) -> Any:
    """x where positive, ``slope * x`` elsewhere."""
    return where(x > 0, x, x * x.dtype.type(slope))


def leaky_relu_backward(grad: Any, x: Any, slope: float) -> Any:
    """Gradient of leaky_relu from its input."""
    return where(x > 0, grad, grad * grad.dtype.type(slope))


def prelu(x: Any, weight: Any) -> Any:
    """x where positive, ``weight * x`` elsewhere; weight is an array of one number."""
    return where(x > 0, x, x * weight.reshape(()))


def prelu_backward(grad: Any, x: Any, weight: Any) -> tuple[Any, Any]:
    """Gradients of prelu: of its input, and of its weight in the weight's shape."""
    share = where(x > 0, x.dtype.type(0), grad * x)
    return where(x > 0, grad, grad * weight.reshape(())), share.sum(keepdims=True).reshape(weight.shape)


@in_float32
def elu(x: Any, alpha: float) -> Any:
    """x where positive, ``alpha * (exp(x) - 1)`` elsewhere."""
    xp = module_of(x)
    return xp.where(x > 0, x, xp.expm1(xp.minimum(x, x.dtype.type(0))) * x.dtype.type(alpha))


@in_float32
def elu_backward(grad: Any, x: Any, alpha: float) -> Any:
    """Gradient of elu from its input."""
    xp = module_of(x)
    return xp.where(x > 0, grad, grad * x.dtype.type(alpha) * xp.exp(xp.minimum(x, x.dtype.type(0))))


@in_float32
def rsqrt(x: Any) -> Any:
    """1 / sqrt(x)."""
    return x.dtype.type(1) / module_of(x).sqrt(x)


def round(x: Any, decimals: int) -> Any:
    """To the nearest, halves to even."""
    xp = module_of(x)
    return xp.rint(x) if decimals == 0 and x.dtype.kind in "fcV" else xp.round(x, decimals)


@in_float32
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), exact in both tails."""
    xp, one = module_of(x), x.dtype.type(1)
    e = xp.exp(-xp.abs(x))
    return xp.where(x < 0, e, one) / (one + e)


@in_float32
def sigmoid_backward(grad: Any, y: Any) -> Any:
    """Gradient of sigmoid from its result."""
    return grad * (y * (y.dtype.type(1) - y))


@in_float32
def tanh_backward(grad: Any, y: Any) -> Any:
    """Gradient of tanh from its result."""
    return grad * (y.dtype.type(1) - y * y)


@in_float32
def silu(x: Any) -> Any:
    """x * sigmoid(x)."""
    return x * sigmoid(x)


@in_float32
def silu_backward(grad: Any, x: Any) -> Any:
    """Gradient of silu from its input."""
    s, one = sigmoid(x), x.dtype.type(1)
    return grad * (s * (one + x * (one - s)))


@in_float32
def softplus(x: Any, beta: float, threshold: float) -> Any:
    """log(1 + exp(beta x)) / beta; x itself where beta x is above the threshold."""
    xp, kind = module_of(x), x.dtype.type
    scaled = x * kind(beta)
    small = xp.minimum(scaled, kind(threshold))
    return xp.where(scaled > kind(threshold), x, xp.log1p(xp.exp(small)) / kind(beta))


@in_float32
def softplus_backward(grad: Any, x: Any, beta: float, threshold: float) -> Any:
    """Gradient of softplus from its input."""
    scaled = x * x.dtype.type(beta)
    return module_of(x).where(scaled > x.dtype.type(threshold), grad, grad * sigmoid(scaled))


def _mish_tanh(x: Any) -> Any:
    """tanh(log(1 + exp(x)))."""
    xp = module_of(x)
    return xp.tanh(xp.maximum(x, x.dtype.type(0)) + xp.log1p(xp.exp(-xp.abs(x))))


@in_float32
def mish(x: Any) -> Any:
    """x * tanh(softplus(x))."""
    return x * _mish_tanh(x)


@in_float32
def mish_backward(grad: Any, x: Any) -> Any:
    """Gradient of mish from its input."""
    t, one = _mish_tanh(x), x.dtype.type(1)
    return grad * (t + x * sigmoid(x) * (one - t * t))


@in_float32
def hardsigmoid(x: Any) -> Any:
    """clip(x + 3, 0, 6) / 6."""
    kind = x.dtype.type
    return module_of(x).clip(x + kind(3), kind(0), kind(6)) * kind(1 / 6)


@in_float32
def hardsigmoid_backward(grad: Any, x: Any) -> Any:
    """Gradient of hardsigmoid from its input; none at the ends."""
    return module_of(x).where((x > -3) & (x < 3), grad * x.dtype.type(1 / 6), x.dtype.type(0))


@in_float32
def hardswish(x: Any) -> Any:
    """x * hardsigmoid(x)."""
    return x * hardsigmoid(x)


@in_float32
def hardswish_backward(grad: Any, x: Any) -> Any:
    """Gradient of hardswish from its input."""
    xp, kind = module_of(x), x.dtype.type
    return grad * xp.where(x < -3, kind(0), xp.where(x <= 3, x / kind(3) + kind(0.5), kind(1)))


# Rational approximations of erf and erfc after W. J. Cody, "Rational Chebyshev Approximation for the Error Function",
# Math. Comp. 23 (1969): |x| <= 0.46875, up to 4, and beyond. Highest power first.
_ERF_P = (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3)
_ERF_Q = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
_MID_P = (
    2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1, 2.98635138197400131e2,
    8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3,
)  # fmt: skip
_MID_Q = (
    1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
    3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
)  # fmt: skip
_FAR_P = (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
          1.60837851487422766e-2, 6.58749161529837803e-4)  # fmt: skip
_FAR_Q = (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
          2.33520497626869185e-3)  # fmt: skip


def _polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
    total = coefficients[0] + 0 * x
    for c in coefficients[1:]:
        total = total * x + c
    return total


def power_number(x: Any, exponent: float) -> Any:
    """x to a power that is one Python number: the dtype of ``x`` stays."""
    xp = module_of(x)
    if exponent == 2:
        return xp.multiply(x, x)
    if exponent == 0.5:
        return xp.sqrt(x)
    return _power_float32(x, exponent) if is_half(x) else xp.power(x, exponent)


@in_float32
def _power_float32(x: Any, exponent: float) -> Any:
    return module_of(x).power(x, exponent)


def erf(x: Any) -> Any:
    """The error function, computed in float64 to 1e-15 and rounded to the dtype of ``x``."""
    xp = module_of(x)
    v = x.astype(np.float64)
    size = xp.abs(v)
    near, mid, far = xp.minimum(size, 0.5), xp.clip(size, 0.46875, 4.0), xp.maximum(size, 4.0)
    inner = near * _polynomial(near * near, _ERF_P) / _polynomial(near * near, _ERF_Q)
    middle = 1 - xp.exp(-mid * mid) * _polynomial(mid, _MID_P) / _polynomial(mid, _MID_Q)
    inverse = 1 / (far * far)
    tail = (1 / math.sqrt(math.pi) - inverse * _polynomial(inverse, _FAR_P) / _polynomial(inverse, _FAR_Q)) / far
    outer = 1 - xp.exp(-xp.minimum(far * far, 700.0)) * tail
    value = xp.where(size <= 0.46875, inner, xp.where(size <= 4.0, middle, outer))
    value = xp.where(xp.isnan(v), v, xp.copysign(value, v))
    return value.astype(x.dtype)


@in_float32
def gelu(x: Any, approximate: str) -> Any:
    """x times the normal distribution function: by erf (``"none"``), by tanh, or by a logistic (``"quick"``)."""
    kind = x.dtype.type
    if approximate == "quick":
        return x * sigmoid(x * kind(1.702))
    if approximate == "tanh":
        inner = kind(math.sqrt(2 / math.pi)) * (x + kind(0.044715) * x * x * x)
        return kind(0.5) * x * (kind(1) + module_of(x).tanh(inner))
    return x * (kind(0.5) * (kind(1) + erf(x * kind(math.sqrt(0.5)))))


@in_float32
def gelu_backward(grad: Any, x: Any, approximate: str) -> Any:
    """Gradient of gelu from its input."""
    xp, kind = module_of(x), x.dtype.type
    if approximate == "quick":
        s = sigmoid(x * kind(1.702))
        return grad * (s * (kind(1) + kind(1.702) * x * (kind(1) - s)))
    if approximate == "tanh":
        a = kind(math.sqrt(2 / math.pi))
        t = xp.tanh(a * (x + kind(0.044715) * x * x * x))
        slope = a * (kind(1) + kind(3 * 0.044715) * x * x)
        return grad * (kind(0.5) * (kind(1) + t) + kind(0.5) * x * (kind(1) - t * t) * slope)
    cdf = kind(0.5) * (kind(1) + erf(x * kind(math.sqrt(0.5))))
    pdf = xp.exp(x * x * kind(-0.5)) * kind(1 / math.sqrt(2 * math.pi))
    return grad * (cdf + x * pdf)
