"""From a part of a dataset to batches: preprocessing, augmentation and collation, in threads, in an order fixed by (seed,
epoch)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core import data, random
from .datasets import Part
from .schema import Augment
from .tasks import Task


@dataclass(frozen=True)
class Batch:
    """What goes through the model at once.

    Attributes:
        inputs: what the model is called with: a Tensor with N rows, or named ones.
        labels: int64 (N,).
        indices: the samples' numbers in their part, int64 (N,).
    """

    inputs: Any
    labels: np.ndarray
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


class Prepared(data.Dataset):
    """A part of a dataset, prepared for the model; ``augment`` is empty for evaluation.

    Args:
        part: raw inputs and labels.
        task: knows how to prepare one.
        augment: random changes, keyed by (seed, epoch, index).
        seed: the recipe's seed.
        epoch: the epoch the changes are keyed by.
    """

    def __init__(self, part: Part, task: Task, augment: Sequence[Augment] = (), seed: int = 0, epoch: int = 0) -> None:
        self.part, self.task, self.augment, self.seed, self.epoch = part, task, augment, seed, epoch

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> tuple[Any, int, int]:
        raw, label = self.part.sample(index)
        return self.task.prepare(raw, self.augment, (self.seed, self.epoch, index)), label, index


def order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of the samples in an epoch: a function of seed and epoch alone."""
    return random.key(seed, "order", epoch).permutation(count)


def batches(prepared: Prepared, indices: np.ndarray, size: int, workers: int) -> Iterator[Batch]:
    """Batches of ``size`` over ``indices``, in that order; the last may be smaller.

    Args:
        prepared: the dataset.
        indices: which samples, in which order. To go on within an epoch, give the rest of its order.
        size: samples a batch.
        workers: threads; 0 prepares in the caller's.
    """

    def collate(samples: Sequence[tuple[Any, int, int]]) -> Batch:
        raw, labels, numbers = zip(*samples, strict=True)
        where = np.array(numbers, np.int64)
        return Batch(prepared.task.collate(raw, where), np.array(labels, np.int64), where)

    loader = data.DataLoader(
        prepared, batch_size=size, sampler=[int(i) for i in indices], num_workers=workers, collate_fn=collate
    )
    yield from loader


def all_of(part: Part, task: Task, size: int, workers: int) -> Iterator[Batch]:
    """The whole part in its own order, without augmentation: for evaluation."""
    return batches(Prepared(part, task), np.arange(len(part)), size, workers)
