"""Activations, under the names of ``torch.nn.functional``.

Those with a kernel of their own have one for the gradient too; the rest are made of other operations.

Example:
    >>> import nyala
    >>> hardtanh(nyala.tensor([-3.0, 0.5, 3.0]))
    tensor([-1.0000,  0.5000,  1.0000])
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import kernels, random
from ..autocast import in_full_precision, in_low_precision
from ..errors import ArgumentError, ShapeError
from ..graph import state
from ..operation import Composite, Operation
from ..tensor import Tensor
from ..unfinished import Unfinished
from .elementwise import Unary, abs_, erf, exp, maximum, minimum, sigmoid, silu, tanh, where
from .operands import floating
from .shape import reshape

_JOINING = {"none": "gelu", "tanh": "gelu_tanh"}  # kinds of gelu that a product can end with
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _activation(derivative: Callable[..., Tensor], kernel: str, fused: str = "") -> type[Unary]:
    return type(
        kernel.capitalize(), (Unary,), {"kernel": kernel, "derivative": staticmethod(derivative), "keeps": (0,), "fused": fused}
    )


def _gelu_derivative(g: Tensor, x: Tensor, approximate: str) -> Tensor:
    if approximate == "quick":
        s = sigmoid(x * 1.702)
        return g * (s + 1.702 * x * s * (1 - s))
    if approximate == "tanh":
        a = math.sqrt(2 / math.pi)
        t = tanh(a * (x + 0.044715 * x * x * x))
        return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * a * (1 + 3 * 0.044715 * x * x))
    return g * (0.5 * (1 + erf(x * math.sqrt(0.5))) + x * exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi)))


def _mish_derivative(g: Tensor, x: Tensor) -> Tensor:
    t = tanh(softplus(x))
    return g * (t + x * sigmoid(x) * (1 - t * t))


_Gelu = _activation(_gelu_derivative, "gelu", "gelu_backward")
_LeakyRelu = _activation(lambda g, x, slope: where(x.detach() > 0, g, g * slope), "leaky_relu", "leaky_relu_backward")
_Elu = _activation(lambda g, x, a: where(x.detach() > 0, g, g * a * exp(minimum(x, 0.0))), "elu", "elu_backward")
_Softplus = _activation(
    lambda g, x, beta, threshold: where(x.detach() * beta > threshold, g, g * sigmoid(x * beta)), "softplus", "softplus_backward"
)
_Mish = _activation(_mish_derivative, "mish", "mish_backward")


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function (Hendrycks and Gimpel, arXiv:1606.08415).

    Args:
        input: floating point, any shape.
        approximate: "none" for erf, "tanh" as GPT-2 has it, "quick" for x * sigmoid(1.702 x) as CLIP has it.

    Example:
        >>> import nyala
        >>> gelu(nyala.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.1587,  0.0000,  0.8413])
    """
    if approximate not in ("none", "tanh", "quick"):
        raise ArgumentError(f"gelu: approximate={approximate!r}", fix="use 'none', 'tanh' or 'quick'")
    if (
        type(input) is Unfinished
        and approximate in _JOINING
        and (joined := input.with_activation(_JOINING[approximate])) is not None
    ):
        return joined
    return _Gelu(approximate).apply(floating(input))


class Gated(Composite):
    """A gate's activation times what it opens and closes, in one kernel: ``kind`` is one of ``GATES``."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def forward(self, gate: Any, x: Any) -> Any:
        return kernels.of(x).gated(gate, x, self.kind)

    def compose(self, gate: Tensor, x: Tensor) -> Tensor:
        return GATES[self.kind](gate) * x

    def fused_backward(self, grad: Any, gate: Any, x: Any) -> Any:
        return kernels.of(x).gated_backward(grad, gate, x, self.kind)


GATES: dict[str, Callable[[Tensor], Tensor]] = {"silu": silu, "gelu": gelu, "gelu_tanh": lambda x: gelu(x, "tanh")}


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where positive, ``negative_slope * x`` elsewhere."""
    return _LeakyRelu(negative_slope).apply(floating(input))


def elu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """x where positive, ``alpha * (exp(x) - 1)`` elsewhere (Clevert et al., arXiv:1511.07289)."""
    return _Elu(alpha).apply(floating(input))


@in_full_precision
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta, and x itself where beta x is above ``threshold``."""
    return _Softplus(beta, threshold).apply(floating(input))


def mish(input: Tensor) -> Tensor:
    """x * tanh(softplus(x)) (Misra, arXiv:1908.08681)."""
    return _Mish().apply(floating(input))


class Hardtanh(Operation):
    """Keeps its result, which the layer after it keeps too, and not its input."""

    keeps_output = True

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def forward(self, x: Any) -> Any:
        return kernels.of(x).clip(x, self.low, self.high)

    def backward(self, g: Tensor) -> Tensor:
        y = self.output().array
        if not state.grad:
            return Tensor(kernels.of(y).hardtanh_backward(g.array, y, self.low, self.high))
        return where(Tensor((y > self.low) & (y < self.high)), g, 0.0)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """clip(x, min_val, max_val); no gradient at or beyond the ends.

    Raises:
        ArgumentError: ``min_val`` is above ``max_val``.
    """
    if min_val > max_val:
        raise ArgumentError(f"hardtanh: min_val={min_val} is above max_val={max_val}", fix="exchange them")
    return Hardtanh(min_val, max_val).apply(floating(input))


def relu6(input: Tensor) -> Tensor:
    """clip(x, 0, 6)."""
    if type(input) is Unfinished and (joined := input.with_activation("relu6")) is not None:
        return joined
    return hardtanh(input, 0.0, 6.0)


def selu(input: Tensor) -> Tensor:
    """scale * elu(x, alpha), whose constants keep mean 0 and variance 1 (Klambauer et al., arXiv:1706.02515)."""
    return elu(input, _SELU_ALPHA) * _SELU_SCALE


def celu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """max(x, 0) + min(0, alpha * (exp(x / alpha) - 1)) (Barron, arXiv:1704.07483)."""
    if alpha == 0:
        raise ArgumentError("celu: alpha=0", why="x is divided by it", fix="choose another number")
    return elu(input / alpha, 1.0) * alpha


def softsign(input: Tensor) -> Tensor:
    """x / (1 + abs(x))."""
    return input / (abs_(input) + 1.0)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return input - tanh(input)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where abs(x) > lambd, else 0."""
    return where(abs_(input.detach()) > lambd, input, 0.0)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by ``lambd``, and 0 where abs(x) <= lambd."""
    if lambd < 0:
        raise ArgumentError(f"softshrink: lambd={lambd}", fix="use a number from 0")
    return where(input.detach() > lambd, input - lambd, where(input.detach() < -lambd, input + lambd, 0.0))


def threshold(input: Tensor, threshold: float, value: float) -> Tensor:
    """x where x > threshold, else ``value``."""
    return where(input.detach() > threshold, input, value)


class PRelu(Composite):
    """With one slope for all."""

    def forward(self, x: Any, weight: Any) -> Any:
        return kernels.of(x).prelu(x, weight)

    def compose(self, x: Tensor, weight: Tensor) -> Tensor:
        return where(x.detach() > 0, x, x * weight)

    def fused_backward(self, grad: Any, x: Any, weight: Any) -> tuple[Any, ...]:
        return kernels.of(x).prelu_backward(grad, x, weight)


@in_low_precision
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where positive, weight * x elsewhere: one learnt slope, or one for each channel (He et al., arXiv:1502.01852).

    Shape: input (N, C, ...), weight (1,) or (C,).

    Raises:
        ShapeError: another count of slopes.
    """
    if weight.numel() != 1:
        channels = input.shape[1] if input.ndim > 1 else 1
        if weight.ndim != 1 or weight.numel() != channels:
            raise ShapeError(
                f"prelu: {weight.shape} slopes for an input (N, C, ...) of shape {input.shape}", fix=f"give 1 slope or {channels}"
            )
        weight = reshape(weight, (-1, *(1,) * (input.ndim - 2)))
    elif weight.dtype == input.dtype:
        return PRelu().apply(input, weight)
    return where(input.detach() > 0, input, input * weight)


def rrelu(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """x where positive; elsewhere x times a slope: random in [lower, upper] when training, their mean otherwise."""
    if not training:
        return where(input.detach() > 0, input, input * ((lower + upper) / 2))
    slope: Any = random.next_key("rrelu").uniform(input.shape, lower, upper, xp=input._module).astype(input.dtype, copy=False)
    return where(input.detach() > 0, input, input * input._like(slope))


def relu_squared(input: Tensor) -> Tensor:
    """max(x, 0) squared (So et al., arXiv:2109.08668)."""
    positive = maximum(input, 0.0)
    return positive * positive
