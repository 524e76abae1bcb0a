"""Shape buckets: arguments of many lengths share a few records, padded at the end and cut back afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError
from ..tensor import Tensor
from .program import mapped, mapped_result


class Buckets:
    """Lengths that one dimension is padded to.

    Args:
        dim: the dimension.
        sizes: the lengths; what is longer than all of them keeps its own.

    Raises:
        ArgumentError: no lengths, or one below 1.
    """

    def __init__(self, dim: int, sizes: Sequence[int]) -> None:
        if not sizes or any(not isinstance(n, int) or n < 1 for n in sizes):
            raise ArgumentError(f"compile: bucket sizes {list(sizes)}", fix="give whole numbers of at least 1, as (16, 32, 64)")
        self.dim, self.sizes = dim, sorted(sizes)

    def padded(self, args: Any, kwargs: Any) -> tuple[Any, Any, int, int]:
        """The arguments padded with zeros, the length they had, and the one they have now; equal where there is no bucket."""
        length = next((t.shape[self.dim] for t in _tensors((args, kwargs)) if t.ndim > self.dim >= -t.ndim), 0)
        size = next((n for n in self.sizes if n >= length), length)
        if size == length:
            return args, kwargs, length, size

        def change(leaf: Any) -> Any:
            fits = isinstance(leaf, Tensor) and leaf.ndim > self.dim >= -leaf.ndim and leaf.shape[self.dim] == length
            return self._padded(leaf, size) if fits else leaf

        return mapped(args, change), mapped(kwargs, change), length, size

    def _padded(self, t: Tensor, size: int) -> Tensor:
        axis = self.dim % t.ndim
        shape = (*t.shape[:axis], size, *t.shape[axis + 1 :])
        array = t._module.zeros(shape, t.dtype)
        array[(slice(None),) * axis + (slice(0, t.shape[axis]),)] = t.array
        return Tensor._made(array, None, 0)

    def cut(self, result: Any, length: int, size: int) -> Any:
        """The results cut back: those as long as the bucket along its dimension."""

        def change(leaf: Any) -> Any:
            fits = isinstance(leaf, Tensor) and leaf.ndim > self.dim >= -leaf.ndim and leaf.shape[self.dim] == size
            return leaf.narrow(self.dim, 0, length) if fits else leaf

        return mapped_result(result, change)


def _tensors(tree: Any) -> list[Tensor]:
    from .program import leaves

    return [leaf for leaf in leaves(tree) if isinstance(leaf, Tensor)]
