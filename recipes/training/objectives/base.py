"""The loss of a run and the measure of its result, whatever the kind of data.

The sum of a batch and what it counts for are kept apart, so that an update over several batches divides by what all of them
count for: 4 batches of 2 are then 1 batch of 8, whatever the weights of their samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from ....core.nn import Module
from ....core.tensor import Tensor
from ...data.batches import Batch
from ..evaluate import Evaluation, apply, logits_of


class Result(Protocol):
    """What an evaluation found, where samples have no class of their own."""

    @property
    def samples(self) -> int:
        """How many samples were looked at."""

    def record(self) -> dict[str, float]:
        """The scores as they go into the metrics: ``loss``, and the objective's own."""

    def resampled(self, times: np.ndarray) -> dict[str, float]:
        """The scores of ``record`` as if sample i had been there ``times[i]`` times; for intervals by the bootstrap."""

    def predictions(self) -> Iterator[dict[str, Any]]:
        """A line of ``predictions.jsonl`` for each sample."""

    def shown(self, inputs: Sequence[Any], count: int) -> list[dict[str, Any]]:
        """What a report shows: at most ``count`` of the worst samples and as many of the best, by the fields of its samples."""


class Objective(ABC):
    """The loss and the measure of one kind of data.

    Attributes:
        metrics: names of its scores, beside ``loss``.
        classes: K, or 0 where there are none.
    """

    metrics: ClassVar[tuple[str, ...]] = ()
    classes: int

    def outputs(self, model: Module, inputs: Any) -> Tensor:
        """What the loss is computed from: the model's logits, unless an objective says otherwise."""
        return logits_of(apply(model, inputs))

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor, reduction: str = "sum") -> Tensor:
        """The summed loss of a batch; ``reduction="none"`` gives that of each sample, (N,)."""

    @abstractmethod
    def count(self, targets: Tensor) -> float:
        """What a batch counts for: the update divides by the sum of it over its batches."""

    def answers(self, labels: np.ndarray) -> int:
        """How many answers a batch asks for."""
        return len(labels)

    def correct(self, outputs: Tensor, labels: np.ndarray) -> int:
        """How many of them the outputs have right."""
        return int((outputs.detach().numpy().argmax(-1) == labels).sum())

    @abstractmethod
    def evaluate(self, model: Module, batches: Iterable[Batch]) -> Evaluation | Result:
        """Measures the model on every batch, without a graph and in eval mode."""
