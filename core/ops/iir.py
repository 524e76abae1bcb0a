"""Recursive (infinite impulse response) filters along the last dimension.

Example:
    >>> import nyala
    >>> all_pole(nyala.tensor([1.0, 0.0, 0.0]), (-0.5,))
    tensor([1.0000, 0.5000, 0.2500])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import kernels
from ..operation import Operation
from ..tensor import Tensor
from .shape import flip


class AllPole(Operation):
    """(..., T) -> the same: the recursive half of a filter."""

    def __init__(self, a: Sequence[float]) -> None:
        self.a = tuple(a)

    def forward(self, x: Any) -> Any:
        return kernels.of(x).all_pole(x, self.a)

    def backward(self, g: Tensor) -> Tensor:
        # the transpose of a causal filter is the same filter from the end to the beginning
        return flip(AllPole(self.a).apply(flip(g, (-1,))), (-1,))


def all_pole(input: Tensor, a: Sequence[float]) -> Tensor:
    """y[n] = x[n] - a[0] y[n - 1] - a[1] y[n - 2] - ...; nothing comes before the first value.

    Args:
        input: (..., T); floating point. Computed in float64.
        a: plain numbers, with no gradient.
    """
    return AllPole([float(v) for v in a]).apply(input)
