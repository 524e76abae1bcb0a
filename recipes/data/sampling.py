"""Balanced sampling: every class equally often in an epoch, in an order that (seed, epoch) fix."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...core import data, random


class Turn(int):
    """A sample's number, and how often the epoch has shown it before: its augmentation is drawn anew each time.

    Example:
        >>> turn = Turn.of(7, 2)
        >>> turn, turn.seen
        (7, 2)
    """

    seen: int

    @classmethod
    def of(cls, index: int, seen: int) -> Turn:
        """Sample ``index``, shown ``seen`` times before."""
        turn = cls(index)
        turn.seen = seen
        return turn


class Balanced(data.Sampler):
    """As many draws as there are samples, shared out evenly among the classes that occur (to within one).

    Within a class no sample comes again before all others have come: rare samples repeat, and of a frequent class each epoch sees
    another selection.

    Args:
        labels: of the training part, int64 (N,).
        seed: what the order is drawn by, together with the epoch.

    Example:
        >>> labels = np.array([0, 0, 0, 0, 0, 1])
        >>> labels[[int(i) for i in Balanced(labels, seed=1)]].tolist().count(1)
        3
    """

    def __init__(self, labels: np.ndarray, seed: int) -> None:
        self.labels, self.seed = labels, seed

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Turn]:
        classes = np.unique(self.labels)
        # Which classes get one more changes from epoch to epoch.
        first = random.key(self.seed, "balance-first", self.epoch).permutation(len(classes))
        share, rest = divmod(len(self), len(classes))
        turns: list[Turn] = []
        for place, k in enumerate(first):
            turns += self._draws(int(classes[k]), share + (place < rest))
        order = random.key(self.seed, "order", self.epoch).permutation(len(turns))
        return (turns[int(i)] for i in order)

    def _draws(self, label: int, count: int) -> list[Turn]:
        """``count`` samples of one class: all of them in random order, then all again in another, and so on."""
        members = np.flatnonzero(self.labels == label)
        draws: list[Turn] = []
        while len(draws) < count:
            seen = len(draws) // len(members)
            order = random.key(self.seed, "balance", self.epoch, label, seen).permutation(len(members))
            draws += [Turn.of(int(members[i]), seen) for i in order[: count - len(draws)]]
        return draws
