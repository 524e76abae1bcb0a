"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import ShapeError
from ...ops.shape import cat
from ...tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The parameters' elements behind each other, in a graph with them.

    Example:
        >>> import nyala
        >>> from nyala import nn
        >>> parameters_to_vector(nn.Linear(3, 2).parameters()).shape
        (8,)
    """
    return cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the elements of ``vec`` into the parameters; what ``parameters_to_vector`` gives fits.

    Raises:
        ShapeError: the vector has another number of elements than the parameters together.
    """
    targets = list(parameters)
    total = sum(p.numel() for p in targets)
    if vec.shape != (total,):
        raise ShapeError(f"a vector of shape {vec.shape} for {total} weights", fix="use what parameters_to_vector gave")
    start = 0
    for p in targets:
        p.array[...] = vec.array[start : start + p.numel()].reshape(p.shape)
        p._bump()
        start += p.numel()
