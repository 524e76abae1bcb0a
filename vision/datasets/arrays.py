"""Datasets that are small enough to lie in memory as one array."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...core.data import Dataset
from ...core.errors import ArgumentError, DataError

Array = np.ndarray[Any, Any]


class ArrayPictures(Dataset):
    """Pictures and labels of one split: base of the datasets that are arrays.

    Attributes:
        images: (N, H, W) or (N, H, W, 3) uint8.
        labels: (N,) int64, numbers of the classes.
        classes: their names.
        splits: the parts that there are.
    """

    title: ClassVar[str]
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    classes: tuple[str, ...]
    images: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Array, int]:
        return self.images[index], int(self.labels[index])

    def keep(self, images: Array, labels: Array, place: Path, size: tuple[int, ...]) -> None:
        """Takes what was read, after a look at it.

        Raises:
            DataError: pictures of another size, unequal numbers, or labels outside the classes.
        """
        self.images, self.labels = images, labels.astype(np.int64)
        right = images.shape[1:] == size and len(images) == len(labels)
        if not right or self.labels.min(initial=0) < 0 or self.labels.max(initial=0) >= len(self.classes):
            raise DataError(
                f"{place} does not hold {self.title}",
                why=f"its pictures are {images.shape}, and {len(labels)} labels go up to {self.labels.max(initial=0)}",
                fix="delete it, so that it is fetched again",
            )


def check_split(title: str, split: str, splits: Sequence[str]) -> None:
    """There is such a part.

    Raises:
        ArgumentError: there is none.

    Example:
        >>> check_split("MNIST", "train", ("train", "test"))
    """
    if split not in splits:
        raise ArgumentError(f"{title} has no split {split!r}", fix=f"use {' or '.join(map(repr, splits))}")
