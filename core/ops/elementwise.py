"""Element-wise operations and their derivatives.

Each unary operation is one row: its kernel, its derivative written in differentiable operations, and what that
derivative needs (the input ``x`` or the result ``y``).

Example:
    >>> import nyala
    >>> nyala.exp(nyala.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .. import dtypes, kernels
from ..autocast import in_full_precision, in_widest_precision
from ..devices import module_of
from ..errors import ArgumentError, DtypeError, NumericError
from ..graph import state
from ..operation import Operation
from ..tensor import Tensor
from ..tracing import tells_later
from ..unfinished import Unfinished
from .logical import (  # noqa: F401 - part of the family for its users
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    eq,
    ge,
    gt,
    isclose,
    isfinite,
    isinf,
    isnan,
    le,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    ne,
)
from .operands import as_tensor, broadcast_error, floating, operands
from .sum_to import sum_to

# ---- two inputs


class _Binary(Operation):
    kernel: ClassVar[str]

    def forward(self, a: Any, b: Any) -> Any:
        self.shapes = a.shape, b.shape
        table = kernels.CPU if type(a) is np.ndarray else kernels.of(a)  # a call less for the smallest arrays
        try:
            return getattr(table, self.kernel)(a, b)
        except ValueError:
            raise broadcast_error(self.kernel, a.shape, b.shape) from None

    def reduced(self, ga: Tensor | None, gb: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Both gradients summed back over what was broadcast."""
        return (
            None if ga is None else sum_to(ga, self.shapes[0]),
            None if gb is None else sum_to(gb, self.shapes[1]),
        )


class Add(_Binary):
    kernel = "add"

    def backward(self, g: Tensor) -> Any:
        return self.reduced(g if self.edges[0] is not None else None, g if self.edges[1] is not None else None)


class Sub(_Binary):
    kernel = "subtract"

    def backward(self, g: Tensor) -> Any:
        return self.reduced(g if self.edges[0] is not None else None, -g if self.edges[1] is not None else None)


def _conj(t: Tensor) -> Tensor:
    return t.conj() if t.array.dtype.kind == "c" else t


class Mul(_Binary):
    kernel = "multiply"

    def keeping(self, needs: Any) -> tuple[int, ...]:
        self._order = (1, 0) if needs[0] and needs[1] else (1,) if needs[0] else (0,)
        return self._order

    def backward(self, g: Tensor) -> Any:
        kept = dict(zip(self._order, self.kept_tensors(), strict=True))
        return self.reduced(
            g * _conj(kept[1]) if self.edges[0] is not None else None,
            g * _conj(kept[0]) if self.edges[1] is not None else None,
        )


class Div(_Binary):
    kernel = "true_divide"

    def keeping(self, needs: Any) -> tuple[int, ...]:
        return (1, 0) if needs[1] else (1,)

    def backward(self, g: Tensor) -> Any:
        b, *rest = self.kept_tensors()
        ga = g / _conj(b)
        return self.reduced(
            ga if self.edges[0] is not None else None,
            -ga * _conj(rest[0] / b) if self.edges[1] is not None else None,
        )


class Pow(_Binary):
    kernel = "power"
    keeps = (0, 1)

    def backward(self, g: Tensor) -> Any:
        a, b = self.kept_tensors()
        ga = gb = None
        if self.edges[0] is not None:
            zero = b.detach() == 0
            ga = where(zero, 0.0, g * _conj(b * a ** where(zero, 1.0, b - 1)))
        if self.edges[1] is not None:
            still = (a.detach() == 0) & (b.detach().real >= 0)  # 0 ** b stays 0 when b moves
            gb = where(still, 0.0, g * _conj(a**b * log(where(still, 1.0, a))))
        return self.reduced(ga, gb)

    def forward(self, a: Any, b: Any) -> Any:
        if a.dtype.kind in "iu" and bool((b < 0).any()):
            raise DtypeError("pow: whole numbers to a negative power", why="the result is not whole", fix="convert with .float()")
        return super().forward(a, b)


class PowNumber(Operation):
    """x to a constant power: no logarithm, and right for negative x."""

    keeps = (0,)

    def __init__(self, exponent: float) -> None:
        self.exponent = exponent

    def forward(self, x: Any) -> Any:
        return kernels.of(x).power_number(x, self.exponent)

    def backward(self, g: Tensor) -> Tensor:
        (x,) = self.kept_tensors()
        n = self.exponent
        if n == 0:
            return g * 0.0
        x = _conj(x)
        return g * n * (x if n == 2 else PowNumber(n - 1).apply(x))


class Atan2(_Binary):
    kernel = "arctan2"
    keeps = (0, 1)

    def backward(self, g: Tensor) -> Any:
        y, x = self.kept_tensors()
        scaled = g / (x * x + y * y)
        return self.reduced(
            scaled * x if self.edges[0] is not None else None,
            -scaled * y if self.edges[1] is not None else None,
        )


@in_widest_precision
def atan2(input: Any, other: Any) -> Tensor:
    """The angle in radians of the point (other, input), in [-pi, pi]."""
    a, b = operands(input, other, "atan2")
    return Atan2().apply(floating(a), floating(b))


class _Extreme(_Binary):
    """maximum and minimum; where both are equal each gets half the gradient."""

    keeps = (0, 1)

    def backward(self, g: Tensor) -> Any:
        a, b = (t.detach() for t in self.kept_tensors())
        first = a > b if self.kernel == "maximum" else a < b
        share = first.to(g.dtype) + (a == b).to(g.dtype) * 0.5
        return self.reduced(
            g * share if self.edges[0] is not None else None,
            g * (1 - share) if self.edges[1] is not None else None,
        )


class Maximum(_Extreme):
    kernel = "maximum"


class Minimum(_Extreme):
    kernel = "minimum"


def add(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input + alpha * other, shapes broadcast.

    Raises:
        ShapeError: the shapes do not broadcast.
    """
    if alpha == 1:
        if type(input) is Unfinished and isinstance(other, Tensor) and (sum_ := input.with_residual(other)) is not None:
            return sum_
        if type(other) is Unfinished and isinstance(input, Tensor) and (sum_ := other.with_residual(input)) is not None:
            return sum_
    a, b = operands(input, other, "add")
    return Add().apply(a, b if alpha == 1 else b * alpha)


def sub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input - alpha * other, shapes broadcast."""
    a, b = operands(input, other, "sub")
    if a.array.dtype.kind == "b":
        raise DtypeError("sub of two bool tensors", why="there is no difference of truth values", fix="use ^ or logical_xor")
    return Sub().apply(a, b if alpha == 1 else b * alpha)


def mul(input: Any, other: Any) -> Tensor:
    """input * other, shapes broadcast."""
    if type(input) is Unfinished and isinstance(other, Tensor) and (scaled := input.with_factors(other)) is not None:
        return scaled
    return Mul().apply(*operands(input, other, "mul"))


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other, shapes broadcast; integers give floating point unless ``rounding_mode`` is "floor" or "trunc"."""
    if rounding_mode is not None:
        return _rounded_div(input, other, rounding_mode)
    a, b = operands(input, other, "div")
    return Div().apply(floating(a), floating(b))


def _rounded_div(input: Any, other: Any, mode: str) -> Tensor:
    if mode not in ("floor", "trunc"):
        raise ArgumentError(f"rounding_mode {mode!r}", fix="use None, 'floor' or 'trunc'")
    a, b = operands(input, other, "div")
    xp = a._module
    if a.array.dtype.kind not in "iub":
        return floor(a / b) if mode == "floor" else trunc(a / b)
    _refuse_zeros(b.array, "whole numbers divided by zero", "convert with .float() to get infinities, or avoid the zeros")
    try:
        quotient = xp.floor_divide(a.array, b.array)
    except ValueError:
        raise broadcast_error("div", a.shape, b.shape) from None
    if mode == "trunc":
        quotient = quotient + ((quotient < 0) & (quotient * b.array != a.array)).astype(quotient.dtype)
    return Tensor(xp.asarray(quotient))


def floor_divide(input: Any, other: Any) -> Tensor:
    """The quotient rounded down; no gradient."""
    return div(input, other, rounding_mode="floor")


def _refuse_zeros(divisors: Any, what: str, fix: str) -> None:
    def zeros() -> Any:
        return (divisors == 0).any()

    if not tells_later(zeros, what, NumericError) and bool(zeros()):
        raise NumericError(what, fix=fix)


class Remainder(_Binary):
    kernel = "remainder"
    keeps = (0, 1)

    def forward(self, a: Any, b: Any) -> Any:
        self.shapes = a.shape, b.shape
        if a.dtype.kind in "iu":
            _refuse_zeros(b, "remainder of whole numbers divided by zero", "convert them with .float(), or avoid the zeros")
        try:
            return a % b
        except ValueError:
            raise broadcast_error("remainder", a.shape, b.shape) from None

    def backward(self, g: Tensor) -> Any:
        a, b = self.kept_tensors()
        return self.reduced(g if self.edges[0] is not None else None, -g * floor(a / b) if self.edges[1] is not None else None)


def remainder(input: Any, other: Any) -> Tensor:
    """What is left of the division, with the divisor's sign."""
    a, b = operands(input, other, "remainder")
    if a.array.dtype.kind in "bc":
        raise DtypeError(f"remainder of {a.dtype}", fix="use real numbers")
    return Remainder().apply(a, b)


@in_full_precision
def pow(input: Any, exponent: Any) -> Tensor:
    """input ** exponent, shapes broadcast. The gradient of 0 ** 0 is 0.

    Raises:
        DtypeError: whole numbers to a negative power, or truth values.
    """
    if isinstance(input, Tensor) and isinstance(exponent, (int, float)) and not isinstance(exponent, bool):
        if isinstance(exponent, float):
            input = floating(input)
        elif input.array.dtype.kind == "b":
            input = input.to(dtypes.int64)
        if input.array.dtype.kind in "iu" and exponent < 0:
            raise DtypeError(f"an integer tensor to the power {exponent}", fix="convert it with .float()")
        return PowNumber(exponent).apply(input)
    a, b = operands(input, exponent, "pow")
    if a.array.dtype.kind == "b":
        raise DtypeError("pow of bool tensors", why="truth values have no powers", fix="convert them with .long()")
    return Pow().apply(a, b)


def maximum(input: Any, other: Any) -> Tensor:
    """The larger of the two, element by element; NaN where either is NaN."""
    return Maximum().apply(*_ordered(input, other, "maximum"))


def minimum(input: Any, other: Any) -> Tensor:
    """The smaller of the two, element by element; NaN where either is NaN."""
    return Minimum().apply(*_ordered(input, other, "minimum"))


def _ordered(input: Any, other: Any, what: str) -> tuple[Tensor, Tensor]:
    a, b = operands(input, other, what)
    if a.array.dtype.kind == "c":
        raise DtypeError(f"{what} of complex numbers", why="they have no order", fix="compare abs(), real or imag")
    return a, b


# ---- one input

_Derivative = Callable[[Tensor, Tensor], Tensor]
# what autocast computes in float32, as torch does
_WIDE = frozenset({"exp", "expm1", "log", "log1p", "log2", "log10", "rsqrt", "tan", "asin", "acos", "sinh", "cosh"})


class Unary(Operation):
    """An operation of one input: a kernel, and the derivative in differentiable operations; ``fused`` names a gradient kernel."""

    kernel: ClassVar[str]
    derivative: ClassVar[Callable[..., Tensor]]
    fused: ClassVar[str] = ""

    def __init__(self, *parameters: Any) -> None:
        self.parameters = parameters

    def forward(self, x: Any) -> Any:
        return getattr(kernels.of(x), self.kernel)(x, *self.parameters)

    def backward(self, g: Tensor) -> Tensor:
        known = self.output() if self.keeps_output else self.kept_tensors()[0] if self.keeps else g
        if self.fused and not state.grad and g.array.dtype.kind != "c":
            return Tensor(getattr(kernels.of(g.array), self.fused)(g.array, known.array, *self.parameters))
        # the complex functions here are real on the real axis: the conjugate of f'(x) is f' of the conjugate
        return type(self).derivative(g, _conj(known), *self.parameters)


def _unary(
    name: str,
    doc: str,
    derivative: Callable[..., Tensor],
    needs: str,
    kernel: str = "",
    fused: str = "",
    whole: bool = False,
    joins: bool = False,
) -> Callable[[Any], Tensor]:
    """An operation of one input.

    ``needs`` says what ``derivative(grad, known)`` is given: "x", "y", or "" for nothing. ``whole``: integers stay integers.
    ``joins``: it can be done by the product that it follows.
    """
    attributes = {
        "kernel": kernel or name,
        "derivative": staticmethod(derivative),
        "keeps": (0,) if needs == "x" else (),
        "keeps_output": needs == "y",
        "fused": fused,
    }
    cls = type(name.capitalize(), (Unary,), attributes)

    def function(input: Any) -> Tensor:
        if joins and type(input) is Unfinished and (joined := input.with_activation(name)) is not None:
            return joined
        x = as_tensor(input)
        return cls().apply(x if whole and x.array.dtype.kind in "iu" else floating(x))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return in_full_precision(function) if name in _WIDE else function


cos: Callable[[Any], Tensor]
cosh: Callable[[Any], Tensor]
exp = _unary("exp", "e to the power of each element.", lambda g, y: g * y, "y")
expm1 = _unary("expm1", "exp(x) - 1, exact for small x.", lambda g, y: g * (y + 1), "y")
log = _unary("log", "Natural logarithm.", lambda g, x: g / x, "x")
log1p = _unary("log1p", "log(1 + x), exact for small x.", lambda g, x: g / (x + 1), "x")
log2 = _unary("log2", "Logarithm to base 2.", lambda g, x: g / (x * math.log(2)), "x")
log10 = _unary("log10", "Logarithm to base 10.", lambda g, x: g / (x * math.log(10)), "x")
sqrt = _unary("sqrt", "Square root.", lambda g, y: g / (y * 2), "y")
rsqrt = _unary("rsqrt", "1 / sqrt(x).", lambda g, y: g * (y * y * y) * -0.5, "y")
sin = _unary("sin", "Sine of an angle in radians.", lambda g, x: g * cos(x), "x")
cos = _unary("cos", "Cosine of an angle in radians.", lambda g, x: -g * sin(x), "x")
tan = _unary("tan", "Tangent of an angle in radians.", lambda g, y: g * (y * y + 1), "y")
asin = _unary("asin", "Inverse sine, in radians.", lambda g, x: g * rsqrt(1 - x * x), "x", "arcsin")
acos = _unary("acos", "Inverse cosine, in radians.", lambda g, x: -g * rsqrt(1 - x * x), "x", "arccos")
atan = _unary("atan", "Inverse tangent, in radians.", lambda g, x: g / (x * x + 1), "x", "arctan")
sinh = _unary("sinh", "Hyperbolic sine.", lambda g, x: g * cosh(x), "x")
cosh = _unary("cosh", "Hyperbolic cosine.", lambda g, x: g * sinh(x), "x")
tanh = _unary("tanh", "Hyperbolic tangent.", lambda g, y: g * (1 - y * y), "y", fused="tanh_backward")
sigmoid = _unary("sigmoid", "1 / (1 + exp(-x)).", lambda g, y: g * y * (1 - y), "y", fused="sigmoid_backward")
silu = _unary(
    "silu",
    "x * sigmoid(x) (Hendrycks and Gimpel, arXiv:1606.08415), also called swish.",
    lambda g, x: g * (sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
    "x",
    fused="silu_backward",
    joins=True,
)
erf = _unary("erf", "The error function.", lambda g, x: g * exp(-x * x) * (2 / math.sqrt(math.pi)), "x")
relu = _unary(
    "relu",
    "max(x, 0); the gradient at 0 is 0.",
    lambda g, y: where(y.detach() > 0, g, 0.0),
    "y",
    whole=True,
    fused="relu_backward",
    joins=True,
)
hardsigmoid = _unary(
    "hardsigmoid",
    "clip(x + 3, 0, 6) / 6.",
    lambda g, x: where((x.detach() > -3) & (x.detach() < 3), g * (1 / 6), 0.0),
    "x",
    fused="hardsigmoid_backward",
)
hardswish = _unary(
    "hardswish",
    "x * hardsigmoid(x) (Howard et al., arXiv:1905.02244).",
    lambda g, x: g * where(x.detach() < -3, 0.0, where(x.detach() <= 3, x / 3 + 0.5, 1.0)),
    "x",
    fused="hardswish_backward",
)
floor = _unary("floor", "Round down; the gradient is 0.", lambda g, _: g * 0.0, "", whole=True)
ceil = _unary("ceil", "Round up; the gradient is 0.", lambda g, _: g * 0.0, "", whole=True)
trunc = _unary("trunc", "Towards zero; the gradient is 0.", lambda g, _: g * 0.0, "", whole=True)


class Neg(Operation):
    def forward(self, x: Any) -> Any:
        if x.dtype.kind == "b":
            raise DtypeError("neg of a bool tensor", fix="use ~ or logical_not")
        return -x

    def backward(self, g: Tensor) -> Tensor:
        return -g


def neg(input: Tensor) -> Tensor:
    """-x."""
    return Neg().apply(input)


class Abs(Operation):
    keeps = (0,)

    def forward(self, x: Any) -> Any:
        return abs(x)

    def backward(self, g: Tensor) -> Tensor:
        (x,) = self.kept_tensors()
        if x.array.dtype.kind == "c":
            size = abs_(x)
            return where(size == 0, 0.0, g / where(size == 0, 1.0, size)) * x  # the direction in which |x| grows
        return g * sign(x)


def abs_(input: Tensor) -> Tensor:
    """|x|; the gradient at 0 is 0."""
    return Abs().apply(input)


class Sign(Operation):
    def forward(self, x: Any) -> Any:
        return x if x.dtype.kind == "b" else module_of(x).sign(x)

    def backward(self, g: Tensor) -> Tensor:
        return g * 0.0


def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1; the gradient is 0."""
    return Sign().apply(input)


@in_full_precision
def reciprocal(input: Tensor) -> Tensor:
    """1 / x."""
    return 1.0 / input


def square(input: Tensor) -> Tensor:
    """x * x."""
    return input * input


class Round(Operation):
    def __init__(self, decimals: int) -> None:
        self.decimals = decimals

    def forward(self, x: Any) -> Any:
        return kernels.of(x).round(x, self.decimals)

    def backward(self, g: Tensor) -> Tensor:
        return g * 0.0


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """To the nearest, halves to even; the gradient is 0."""
    return Round(decimals).apply(floating(input) if input.array.dtype.kind == "b" else input)


class Where(Operation):
    def forward(self, condition: Any, a: Any, b: Any) -> Any:
        self.shapes = a.shape, b.shape
        try:
            return kernels.of(condition).where(condition, a, b)
        except ValueError:
            raise broadcast_error("where", condition.shape, a.shape, b.shape) from None

    keeps = (0,)

    def backward(self, g: Tensor) -> Any:
        (condition,) = self.kept_tensors()
        zero = g._like(g._module.zeros((), g.dtype))
        return (
            None,
            sum_to(where(condition, g, zero), self.shapes[0]) if self.edges[1] is not None else None,
            sum_to(where(condition, zero, g), self.shapes[1]) if self.edges[2] is not None else None,
        )


def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """``input`` where ``condition`` holds, ``other`` elsewhere; shapes broadcast.

    With the condition alone: the indices where it holds, one tensor a dimension.
    """
    if input is None and other is None:
        return tuple(Tensor(i) for i in condition._module.nonzero(condition.array))
    if condition.dtype.kind != "b":
        raise DtypeError(f"where needs a bool condition, not {condition.dtype}", fix="compare first, e.g. x > 0")
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        input = as_tensor(input, condition)
    return Where().apply(condition, *operands(input, other, "where"))


class Clamp(Operation):
    keeps = (0,)

    def __init__(self, low: float | None, high: float | None) -> None:
        self.low, self.high = low, high

    def forward(self, x: Any) -> Any:
        return kernels.of(x).clip(x, self.low, self.high)

    def backward(self, g: Tensor) -> Tensor:
        x = self.kept_tensors()[0].array
        inside = (x >= (-np.inf if self.low is None else self.low)) & (x <= (np.inf if self.high is None else self.high))
        return where(Tensor(inside), g, 0.0)


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Values below ``min`` become ``min``, values above ``max`` become ``max``; their gradient is 0."""
    if min is None and max is None:
        raise ArgumentError("clamp without min and max", fix="pass at least one of them")
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        # where, not maximum: the gradient at a bound goes to the input whole
        low = input if min is None else where(input < min, min, input)
        return low if max is None else where(low > max, max, low)
    if input.array.dtype.kind in "iub" and (isinstance(min, float) or isinstance(max, float)):
        input = floating(input)
    return Clamp(min, max).apply(input)
