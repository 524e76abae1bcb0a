"""Activations made of other operations, under the names of ``torch.nn.functional``.

Each has derivatives of every order because its parts have.

Example:
    >>> import nyala
    >>> hardtanh(nyala.tensor([-3.0, 0.5, 3.0]))
    tensor([-1.0000,  0.5000,  1.0000])
"""

from __future__ import annotations

from typing import Any

from .. import kernels, random
from ..errors import ArgumentError, ShapeError
from ..graph import state
from ..operation import Operation
from ..tensor import Tensor
from .elementwise import abs_, elu, maximum, tanh, where
from .operands import floating
from .shape import reshape

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


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
