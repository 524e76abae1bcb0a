"""Dropout: parts of a tensor set to 0 at random while training, the rest scaled so that the mean stays.

The mask is a function of a key (see ``nyala.random``): nothing is stored, the backward pass makes it again, and CPU and GPU
draw the same bits. Without ``key`` the ambient stream's next one is used.

Example:
    >>> import nyala
    >>> dropout(nyala.ones(4), p=0.5, training=False)
    tensor([1., 1., 1., 1.])
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import kernels
from ..errors import ArgumentError, ShapeError
from ..operation import Operation
from ..random import Key, next_key
from ..tensor import Tensor


class Dropout(Operation):
    """Linear in its input: the gradient is dropped and scaled by the same mask."""

    def __init__(self, p: float, words: tuple[int, int]) -> None:
        self.p, self.words = p, words

    def forward(self, x: Any) -> Any:
        return kernels.of(x).dropout(x, self.p, self.words)

    def backward(self, g: Tensor) -> Tensor:
        return Dropout(self.p, self.words).apply(g)


class AddDropout(Operation):
    """A residual plus what is left of the second input."""

    def __init__(self, p: float, words: tuple[int, int]) -> None:
        self.p, self.words = p, words

    def forward(self, residual: Any, x: Any) -> Any:
        return kernels.of(x).add_dropout(residual, x, self.p, self.words)

    def backward(self, g: Tensor) -> tuple[Tensor, Tensor | None]:
        return g, Dropout(self.p, self.words).apply(g) if self.edges[1] is not None else None


def check_probability(p: float, what: str) -> None:
    """That ``p`` is one."""
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(f"{what}: p={p}", why="it is the probability of dropping an element", fix="use a number from 0 to 1")


def _maybe_in_place(input: Tensor, inplace: bool, what: str, compute: Callable[[Tensor], Tensor]) -> Tensor:
    return input._write(f"{what}_", compute) if inplace else compute(input)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, key: Key | None = None) -> Tensor:
    """Each element 0 with probability ``p``, else divided by 1 - p (Srivastava et al., JMLR 15, 2014).

    Args:
        input: any shape.
        p: probability of dropping an element.
        training: where False the input itself is returned.
        inplace: write to the input's own memory.
        key: where the random bits come from; the ambient stream unless given.

    Raises:
        ArgumentError: ``p`` is not a probability.
    """
    check_probability(p, "dropout")
    if not training or p == 0.0:
        return input
    return _maybe_in_place(input, inplace, "dropout", lambda x: _dropped(x, p, key or next_key("dropout")))


def add_dropout(residual: Tensor, input: Tensor, p: float = 0.5, *, key: Key | None = None) -> Tensor:
    """``residual + dropout(input, p)``, both of one shape and dtype: the same bits, read and written once.

    Raises:
        ArgumentError: ``p`` is not a probability.

    Example:
        >>> import nyala
        >>> add_dropout(nyala.ones(2), nyala.ones(2), p=0.0)
        tensor([2., 2.])
    """
    check_probability(p, "add_dropout")
    if p in (0.0, 1.0):
        return residual + dropout(input, p, key=key)
    return AddDropout(p, (key or next_key("dropout")).words).apply(residual, input)


def _dropped(x: Tensor, p: float, key: Key) -> Tensor:
    return x * 0.0 if p == 1.0 else Dropout(p, key.words).apply(x)


def _mask(x: Tensor, shape: tuple[int, ...], p: float, key: Key | None, dtype: Any = None) -> Tensor:
    """1 / (1 - p) where kept and 0 where dropped, in the shape given."""
    ones = x._like(x._module.ones(shape, dtype or x.dtype))
    return _dropped(ones, p, key or next_key("dropout"))


def _whole_channels(what: str, dims: int, input: Tensor, p: float, training: bool, inplace: bool, key: Key | None) -> Tensor:
    check_probability(p, what)
    if input.ndim not in (dims + 1, dims + 2):
        raise ShapeError(
            f"{what}: input of shape {input.shape}",
            why=f"it takes {dims + 1} or {dims + 2} dimensions, (N, C, ...)",
            fix="reshape it",
        )
    if not training or p == 0.0:
        return input
    shape = (*input.shape[: input.ndim - dims], *[1] * dims)
    return _maybe_in_place(input, inplace, what, lambda x: x * _mask(x, shape, p, key))


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, key: Key | None = None) -> Tensor:
    """Whole channels of (N, C, L) or (C, L) dropped."""
    return _whole_channels("dropout1d", 1, input, p, training, inplace, key)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, key: Key | None = None) -> Tensor:
    """Whole channels of (N, C, H, W) dropped; three dimensions are taken as (N, C, L), as torch does.

    Source: Tompson et al., arXiv:1411.4280.
    """
    dims = 1 if input.ndim == 3 else 2
    return _whole_channels("dropout2d", dims, input, p, training, inplace, key)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, key: Key | None = None) -> Tensor:
    """Whole channels of (N, C, D, H, W) or (C, D, H, W) dropped."""
    return _whole_channels("dropout3d", 3, input, p, training, inplace, key)


_SELU_FLOOR = -1.7580993408473766  # what selu tends to: -scale * alpha


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False, *, key: Key | None = None
) -> Tensor:
    """Dropped elements take selu's lower bound; mean 0 and variance 1 are kept (Klambauer et al., arXiv:1706.02515)."""
    check_probability(p, "alpha_dropout")
    if not training or p == 0.0:
        return input
    if p == 1.0:
        return _maybe_in_place(input, inplace, "alpha_dropout", lambda x: x * 0.0)
    scale = 1.0 / math.sqrt((1 - p) * (1 + p * _SELU_FLOOR**2))

    def compute(x: Tensor) -> Tensor:
        kept = _mask(x, x.shape, p, key) * (1 - p)
        return (x * kept + (1 - kept) * _SELU_FLOOR) * scale - (scale * _SELU_FLOOR * p)

    return _maybe_in_place(input, inplace, "alpha_dropout", compute)


def drop_path(
    input: Tensor, drop_prob: float = 0.0, training: bool = False, scale_by_keep: bool = True, *, key: Key | None = None
) -> Tensor:
    """Whole samples of (N, ...) dropped: stochastic depth (Huang et al., arXiv:1603.09382), with timm's arguments.

    ``scale_by_keep`` divides the others by 1 - drop_prob.
    """
    check_probability(drop_prob, "drop_path")
    if not training or drop_prob == 0.0:
        return input
    mask = _mask(input, (input.shape[0], *[1] * (input.ndim - 1)), drop_prob, key)
    return input * (mask if scale_by_keep else mask * (1 - drop_prob))
