"""Datasets: anything with a length that gives a sample for a whole number.

A dataset whose samples have chance in them (augmentation) defines ``get(index, key)`` besides ``__getitem__``: the loader then
hands it a random key made of (seed, epoch, index), so the sample is the same whoever loads it, and whenever.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .. import random
from ..errors import ArgumentError, IndexRangeError, ShapeError
from ..tensor import Tensor


class Dataset:
    """Base of datasets; a subclass defines ``__len__`` and ``__getitem__``.

    Example:
        >>> class Squares(Dataset):
        ...     def __len__(self):
        ...         return 4
        ...
        ...     def __getitem__(self, index):
        ...         return index * index
        >>> list(Squares())
        [0, 1, 4, 9]
    """

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} defines no __len__")

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no __getitem__")

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))


class TensorDataset(Dataset):
    """Tensors of one length; sample ``i`` is the tuple of their rows ``i``.

    Raises:
        ShapeError: the lengths differ.
    """

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors:
            raise ArgumentError("a TensorDataset of no tensors", fix="pass at least one")
        for i, t in enumerate(tensors):
            if t.shape[:1] != tensors[0].shape[:1] or not t.ndim:
                raise ShapeError(
                    f"tensor 0 has shape {tensors[0].shape}, tensor {i} has {t.shape}", fix="make their lengths equal"
                )
        self.tensors = tensors

    def __len__(self) -> int:
        return self.tensors[0].shape[0]

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)


class Subset(Dataset):
    """The samples of ``dataset`` at ``indices``, in that order."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, [int(i) for i in indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]

    def get(self, index: int, key: random.Key) -> Any:
        """The sample with its chance drawn from ``key``."""
        return sample(self.dataset, self.indices[index], key)


class ConcatDataset(Dataset):
    """Datasets one after the other."""

    def __init__(self, datasets: Sequence[Any]) -> None:
        if not datasets:
            raise ArgumentError("a ConcatDataset of no datasets", fix="pass at least one")
        self.datasets = list(datasets)
        self.ends = list(itertools.accumulate(len(d) for d in self.datasets))

    def __len__(self) -> int:
        return self.ends[-1]

    def _place(self, index: int) -> tuple[Any, int]:
        if not -len(self) <= index < len(self):
            raise IndexRangeError(f"sample {index} of {len(self)}", fix=f"use 0 to {len(self) - 1}")
        index %= len(self)
        which = bisect.bisect_right(self.ends, index)
        return self.datasets[which], index - (self.ends[which - 1] if which else 0)

    def __getitem__(self, index: int) -> Any:
        dataset, inner = self._place(index)
        return dataset[inner]

    def get(self, index: int, key: random.Key) -> Any:
        """The sample with its chance drawn from ``key``."""
        dataset, inner = self._place(index)
        return sample(dataset, inner, key)


def sample(dataset: Any, index: int, key: random.Key) -> Any:
    """A dataset's sample: drawn from ``key`` where the dataset has ``get``, plain otherwise."""
    get = getattr(dataset, "get", None)
    return dataset[index] if get is None or isinstance(dataset, Mapping) else get(index, key)


def random_split(dataset: Any, lengths: Sequence[float], seed: int = 0) -> list[Subset]:
    """Parts of given lengths, or fractions that add up to 1, drawn without repeats by ``seed``.

    Raises:
        ArgumentError: the lengths do not add up to the dataset's.

    Example:
        >>> [len(part) for part in random_split(range(10), [0.75, 0.25])]
        [8, 2]
    """
    total = len(dataset)
    sizes = [int(n) for n in lengths]
    if any(isinstance(n, float) for n in lengths):
        if abs(sum(lengths) - 1) > 1e-6:
            raise ArgumentError(f"fractions {list(lengths)} add up to {sum(lengths):g}", fix="make them add up to 1")
        sizes = [int(total * f) for f in lengths]
        for i in range(total - sum(sizes)):  # what rounding left over goes to the first parts
            sizes[i % len(sizes)] += 1
    if sum(sizes) != total or min(sizes, default=0) < 0:
        raise ArgumentError(f"lengths {sizes} add up to {sum(sizes)}, the dataset has {total}", fix="make them equal")
    order = random.key(seed, "split").permutation(total)
    ends = list(itertools.accumulate(sizes))
    return [Subset(dataset, order[end - n : end].tolist()) for n, end in zip(sizes, ends, strict=True)]
