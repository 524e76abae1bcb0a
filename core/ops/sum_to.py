"""The inverse of broadcasting, which gradients of everything that broadcasts go through."""

from __future__ import annotations

from typing import Any

from .. import kernels
from ..operation import Operation
from ..tensor import Tensor


class SumTo(Operation):
    """Sum over what broadcasting has added or stretched."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.target = shape

    def forward(self, x: Any) -> Any:
        self.source = x.shape
        lead = x.ndim - len(self.target)
        stretched = tuple(i + lead for i, n in enumerate(self.target) if n == 1 and x.shape[i + lead] != 1)
        return kernels.of(x).sum(x, tuple(range(lead)) + stretched, False).reshape(self.target)

    def backward(self, g: Tensor) -> Tensor:
        return g.expand(self.source)


def sum_to(input: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The inverse of broadcasting ``shape`` to the shape of ``input``: sums over the repeats."""
    return input if input.array.shape == shape else SumTo(shape).apply(input)
