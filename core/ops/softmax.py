"""Softmax and its relatives: scores into probabilities, and gates.

Example:
    >>> import nyala
    >>> softmax(nyala.tensor([0.0, 0.0, -1e9]), dim=0)
    tensor([0.5000, 0.5000, 0.0000])
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .. import kernels, random
from ..autocast import in_full_precision
from ..errors import DtypeError, ShapeError
from ..graph import state
from ..operation import Operation
from ..tensor import Tensor
from .elementwise import exp, mul, neg, sigmoid
from .operands import axis_of, floating
from .shape import chunk, reshape


class _Along(Operation):
    """An operation along one axis whose gradient comes from its result."""

    keeps_output = True
    kernel: ClassVar[str]

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return getattr(kernels.of(x), self.kernel)(x, self.axis)

    def derivative(self, g: Tensor, y: Tensor) -> Tensor:
        """The gradient in differentiable operations."""
        raise NotImplementedError

    def backward(self, g: Tensor) -> Tensor:
        y = self.output()
        if state.grad:
            return self.derivative(g, y)
        return Tensor._made(getattr(kernels.of(g.array), f"{self.kernel}_backward")(g.array, y.array, self.axis), None, 0)


class Softmax(_Along):
    kernel = "softmax"

    def derivative(self, g: Tensor, y: Tensor) -> Tensor:
        return y * (g - (g * y).sum(self.axis, keepdim=True))


class LogSoftmax(_Along):
    kernel = "log_softmax"

    def derivative(self, g: Tensor, y: Tensor) -> Tensor:
        return g - exp(y) * g.sum(self.axis, keepdim=True)


def _along(operation: type[_Along], input: Tensor, dim: int | None, dtype: Any, what: str) -> Tensor:
    x = input if dtype is None else input.to(dtype)
    if x.dtype.kind not in "fV":
        raise DtypeError(f"{what} of a tensor of {x.dtype}", why="probabilities are fractions", fix="pass dtype=nyala.float32")
    if dim is None:  # torch's rule for callers that do not say
        dim = 0 if x.ndim in (0, 1, 3) else 1
    axis = axis_of(dim, x.ndim, what)
    if x.ndim == 0:
        return reshape(operation(0).apply(reshape(x, 1)), ())
    return operation(axis).apply(x)


@in_full_precision
def softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """exp(x) over its sum along ``dim``, of any shape and the same one out; a row of nothing but -inf gives NaN.

    Args:
        input: floating point, any shape.
        dim: along which the results sum to 1.
        dtype: convert to it first.

    Raises:
        DtypeError: the tensor holds integers and ``dtype`` is not given.
    """
    return _along(Softmax, input, dim, dtype, "softmax")


@in_full_precision
def log_softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """The logarithm of ``softmax``, without overflow or loss of small probabilities.

    Example:
        >>> import nyala
        >>> log_softmax(nyala.tensor([1000.0, 0.0]), dim=0)
        tensor([    0., -1000.])
    """
    return _along(LogSoftmax, input, dim, dtype, "log_softmax")


@in_full_precision
def softmin(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """``softmax`` of the negated input."""
    return _along(Softmax, neg(input), dim, dtype, "softmin")


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along ``dim`` times the sigmoid of the second (Dauphin et al., arXiv:1612.08083).

    Raises:
        ShapeError: the length of ``dim`` is odd.
    """
    if input.ndim == 0 or input.shape[axis_of(dim, input.ndim, "glu")] % 2:
        raise ShapeError(
            f"glu along dimension {dim} of {input.shape}",
            why="values and gates are its two halves, and its length is not even",
            fix="make the layer before twice as wide as the result shall be",
        )
    values, gates = chunk(input, 2, dim)
    return mul(values, sigmoid(gates))


@in_full_precision
def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:  # noqa: ARG001
    """A differentiable draw from the categorical distribution of ``logits`` (Jang et al., arXiv:1611.01144).

    Args:
        logits: unnormalised log-probabilities.
        tau: temperature; the smaller, the closer to a one-hot draw.
        hard: give a one-hot result; the gradient is that of the soft one.
        eps: unused, as in torch.
        dim: along which to draw.
    """
    xp = logits._module
    unit = random.next_key("gumbel").uniform(logits.shape, dtype=np.float64, xp=xp)
    waiting = -xp.log1p(-unit)  # exponential: unit is below 1, and a 0 would give an infinite score
    noise = (-xp.log(xp.maximum(waiting, np.finfo(np.float64).tiny))).astype(logits.dtype)
    soft = softmax((logits + Tensor(noise)) * (1.0 / tau), dim)
    if not hard:
        return soft
    best = xp.expand_dims(soft.array.argmax(axis=dim), dim)
    places = xp.arange(soft.shape[dim]).reshape([-1 if i == dim % soft.ndim else 1 for i in range(soft.ndim)])
    one_hot = Tensor((places == best).astype(soft.dtype))
    return one_hot - soft.detach() + soft


class LogSigmoid(Operation):
    keeps = (0,)

    def forward(self, x: Any) -> Any:
        return kernels.of(x).log_sigmoid(x)

    def backward(self, g: Tensor) -> Tensor:
        (x,) = self.kept_tensors()
        return g * sigmoid(-x)


def log_sigmoid(input: Tensor) -> Tensor:
    """log(1 / (1 + exp(-x))), without overflow."""
    return LogSigmoid().apply(floating(input))
