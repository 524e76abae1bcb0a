"""Shorter names for what two or three other operations do together.

Example:
    >>> import nyala
    >>> lerp(nyala.zeros(2), nyala.ones(2), 0.25)
    tensor([0.2500, 0.2500])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autocast import in_widest_precision
from ..errors import ShapeError
from ..tensor import Tensor
from .elementwise import clamp, where
from .index import index_put
from .operands import axis_of, shape_of
from .reduce import sum as sum_of
from .shape import cat, diagonal, flatten, repeat, reshape, transpose


def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """input + weight * (end - input)."""
    return input + (end - input) * weight


@in_widest_precision
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    product = tensor1 * tensor2
    return input + (product if value == 1 else product * value)


@in_widest_precision
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    quotient = tensor1 / tensor2
    return input + (quotient if value == 1 else quotient * value)


def clamp_min(input: Tensor, min: Any) -> Tensor:
    """Values below ``min`` become ``min``."""
    return clamp(input, min=min)


def clamp_max(input: Tensor, max: Any) -> Tensor:
    """Values above ``max`` become ``max``."""
    return clamp(input, max=max)


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Where the elements are not zero: (count, dimensions) int64, or one vector a dimension."""
    xp = input._module
    places = where(input.reshape(-1) != 0) if input.ndim == 0 else where(input != 0)
    if as_tuple:
        return places
    if input.ndim == 0:
        return Tensor(xp.zeros((places[0].shape[0], 0), np.int64))
    return Tensor(xp.stack([p.array for p in places], 1))


def _at(input: Tensor, dim: int, index: Tensor, what: str) -> tuple[Any, ...]:
    if index.ndim > 1:
        raise ShapeError(f"{what}: index of shape {index.shape}", why="it takes a vector", fix="use index_put or scatter")
    return (*[slice(None)] * axis_of(dim, input.ndim, what), index)


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """A copy of ``input`` with ``alpha`` times the slices of ``source`` added at ``index`` along ``dim``; repeats add up."""
    return index_put(input, _at(input, dim, index, "index_add"), source if alpha == 1 else source * alpha, accumulate=True)


def index_fill(input: Tensor, dim: int, index: Tensor, value: float) -> Tensor:
    """A copy of ``input`` with ``value`` in the slices at ``index`` along ``dim``."""
    return index_put(input, _at(input, dim, index, "index_fill"), value)


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy of ``input`` with the slices of ``source`` written at ``index`` along ``dim``."""
    return index_put(input, _at(input, dim, index, "index_copy"), source)


def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    if input.ndim != 2:
        raise ShapeError(f"trace of a tensor of shape {input.shape}", fix="use diagonal(0, -2, -1).sum(-1) for batches")
    return sum_of(diagonal(input))


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A vector as the diagonal of a matrix of zeros, or the diagonal of a matrix."""
    if input.ndim == 2:
        from .shape import diagonal as diagonal_of

        return diagonal_of(input, diagonal)
    if input.ndim != 1:
        raise ShapeError(
            f"diag of a tensor of shape {input.shape}",
            why="it takes a vector or a matrix",
            fix="use diagonal() for more dimensions",
        )
    size = input.shape[0] + abs(diagonal)
    xp = input._module
    places = xp.arange(input.shape[0])
    at = (Tensor(places + max(-diagonal, 0)), Tensor(places + max(diagonal, 0)))
    return index_put(input._like(xp.zeros((size, size), input.dtype)), at, input)


def tile(input: Tensor, *dims: Any) -> Tensor:
    """``repeat`` where missing counts are 1."""
    counts = shape_of(dims, "tile")
    return repeat(input, *(1,) * (input.ndim - len(counts)), *counts)


def _at_least(tensors: Sequence[Tensor], ndim: int) -> list[Tensor]:
    return [reshape(t, (1,) * (ndim - t.ndim) + t.shape) if t.ndim < ndim else t for t in tensors]


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined side by side: vectors along their only dimension, others along the second."""
    wide = _at_least(tensors, 1)
    return cat(wide, 0 if wide and wide[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined one below the other; vectors as rows."""
    return cat(_at_least(tensors, 2), 0)


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """``transpose`` with NumPy's name."""
    return transpose(input, axis0, axis1)


def ravel(input: Tensor) -> Tensor:
    """All elements as a vector."""
    return flatten(input)


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """``view`` in the shape of ``other``."""
    return input.view(other.shape)


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """``reshape`` to the shape of ``other``."""
    return reshape(input, other.shape)
