"""From a part of a dataset to batches: preprocessing, augmentation and collation, in threads, in an order fixed by (seed,
epoch)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core import data
from ...core.errors import DataError
from ...core.random import Key
from ..language.schema import Augment, Recipe
from .datasets import Part
from .sampling import Balanced, Turn
from .tasks import Images, Task


@contextmanager
def damaged_hint(pictures: bool = True) -> Iterator[None]:
    """Says of a picture that cannot be read how to go on without it."""
    try:
        yield
    except DataError as error:
        if pictures:
            error.fix = f"{error.fix}; data.corrupt=skip leaves out what cannot be read"
        raise


@dataclass(frozen=True)
class Batch:
    """What goes through the model at once.

    Attributes:
        inputs: what the model is called with: a Tensor with N rows, or named ones.
        labels: int64 (N,), or what the kind of data has in their place.
        indices: the samples' numbers in their part, int64 (N,).
    """

    inputs: Any
    labels: np.ndarray
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)


class Prepared(data.Dataset):
    """A part of a dataset, prepared for the model.

    Args:
        part: raw inputs and labels.
        task: knows how to prepare one.
        augment: random changes; the loader hands each sample its key, made of (seed, epoch, index).
    """

    def __init__(self, part: Part, task: Task, augment: Sequence[Augment] = ()) -> None:
        self.part, self.task, self.augment = part, task, augment

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> tuple[Any, int, int]:
        raw, label = self.part.sample(index)
        with damaged_hint(isinstance(self.task, Images)):
            return self.task.prepare(raw), label, index

    def get(self, index: int, key: Key) -> tuple[Any, int, int]:
        """The sample, changed at random by ``key``."""
        raw, label = self.part.sample(index)
        if isinstance(index, Turn) and index.seen:  # the same sample again in one epoch: changed anew
            key = key.fold("again", index.seen)
        with damaged_hint(isinstance(self.task, Images)):
            raw = self.task.together(raw, self.augment, key, self._others)
            return self.task.prepare(raw, self.augment, key), label, index

    def _others(self, key: Key, count: int) -> list[Any]:
        return [self.part.inputs[int(i)] for i in key.integers(0, len(self.part), (count,))]

    def collate(self, samples: Sequence[tuple[Any, int, int]]) -> Batch:
        """Samples as a batch."""
        prepared, labels, numbers = zip(*samples, strict=True)
        indices = np.array(numbers, np.int64)
        inputs = self.task.collate(prepared, indices)
        return Batch(inputs, self.task.targets(prepared, labels, inputs), indices)


def for_training(part: Part, task: Task, recipe: Recipe, epoch: int, position: int) -> data.DataLoader:
    """The rest of an epoch, shuffled or balanced, and augmented.

    Args:
        part: the training part.
        task: how samples are prepared.
        recipe: seed, batch size, threads, augmentation.
        epoch: which one.
        position: batches of it that are behind us.
    """
    prepared = Prepared(part, task, recipe.data.augment)
    size, workers = recipe.data.batch_size, recipe.data.workers
    balanced = recipe.data.sampling == "balanced"
    order: dict[str, Any] = {"sampler": Balanced(part.labels, recipe.seed)} if balanced else {"shuffle": True}
    loader = data.DataLoader(prepared, size, **order, num_workers=workers, collate_fn=prepared.collate, seed=recipe.seed)
    loader.load_state_dict({"epoch": epoch, "position": position, "seed": recipe.seed})
    return loader


def for_evaluation(part: Part, task: Task, recipe: Recipe) -> data.DataLoader:
    """The whole part in its own order, as it is."""
    prepared = Prepared(part, task)
    return data.DataLoader(prepared, recipe.data.eval_batch_size, num_workers=recipe.data.workers, collate_fn=prepared.collate)
