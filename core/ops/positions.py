"""Rotary positions as one operation.

Example:
    >>> import nyala
    >>> import numpy as np
    >>> rotate(nyala.ones(1, 1, 1, 2), np.zeros((1, 1), "float32"), np.ones((1, 1), "float32"))
    tensor([[[[-1.,  1.]]]])
"""

from __future__ import annotations

from typing import Any

from .. import kernels
from ..operation import Operation
from ..tensor import Tensor


class Rotate(Operation):
    """Linear in its input: the gradient is turned back."""

    def __init__(self, cos: Any, sin: Any, interleaved: bool) -> None:
        self.cos, self.sin, self.interleaved = cos, sin, interleaved

    def forward(self, x: Any) -> Any:
        return kernels.of(x).rotate(x, self.cos, self.sin, self.interleaved)

    def backward(self, g: Tensor) -> Tensor:
        return Rotate(self.cos, -self.sin, self.interleaved).apply(g)


def rotate(input: Tensor, cos: Any, sin: Any, interleaved: bool = False) -> Tensor:
    """Pairs of features of (N, heads, T, D) turned by angles: (a, b) -> (a cos - b sin, b cos + a sin).

    ``cos`` and ``sin``: arrays (T, P). The first 2 P features are turned: those of a pair lie side by side where
    ``interleaved``, else P apart.
    """
    return Rotate(cos, sin, interleaved).apply(input)
