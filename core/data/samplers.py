"""Orders in which samples are visited: functions of (seed, epoch), without a state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import Any

import numpy as np

from .. import random
from ..errors import ArgumentError


class Sampler:
    """Base of samplers: iterating gives indices; ``set_epoch`` says which epoch's order."""

    seed = 0
    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The order from now on is this epoch's."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} defines no __iter__")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} defines no __len__")


class SequentialSampler(Sampler):
    """0, 1, 2, ..."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """Every sample once, in an order drawn by (seed, epoch); ``num_samples`` of them with repeats if ``replacement``.

    Example:
        >>> sampler = RandomSampler(range(4), seed=1)
        >>> sorted(sampler)
        [0, 1, 2, 3]
        >>> list(sampler) == list(sampler)
        True
    """

    def __init__(self, data_source: Sized, replacement: bool = False, num_samples: int | None = None, seed: int = 0) -> None:
        if num_samples is not None and num_samples < 1:
            raise ArgumentError(f"num_samples={num_samples}", fix="use at least 1")
        self.data_source, self.replacement, self.num_samples, self.seed = data_source, replacement, num_samples, seed

    def __iter__(self) -> Iterator[int]:
        key, count = random.key(self.seed, "order", self.epoch), len(self.data_source)
        if self.replacement:
            return iter(key.integers(0, count, len(self)).tolist())
        return iter(key.permutation(count)[: len(self)].tolist())

    def __len__(self) -> int:
        count = len(self.data_source)
        if self.num_samples is None:
            return count
        return self.num_samples if self.replacement else min(self.num_samples, count)


class WeightedRandomSampler(Sampler):
    """``num_samples`` samples drawn with the given weights, for classes of unequal size.

    Raises:
        ArgumentError: weights that are negative or all zero, or too few for a draw without repeats.
    """

    def __init__(self, weights: Sequence[float], num_samples: int, replacement: bool = True, seed: int = 0) -> None:
        self.weights = np.asarray(weights, np.float64)
        if self.weights.ndim != 1 or (self.weights < 0).any() or not self.weights.sum() > 0:
            raise ArgumentError(
                "weights must be a list of numbers that are not negative, and not all zero",
                fix="pass one number a sample, none below 0 and at least one above",
            )
        if not replacement and num_samples > np.count_nonzero(self.weights):
            raise ArgumentError(
                f"{num_samples} samples without repeats from {np.count_nonzero(self.weights)} with a weight",
                fix="draw fewer, or set replacement=True",
            )
        self.num_samples, self.replacement, self.seed = num_samples, replacement, seed

    def __iter__(self) -> Iterator[int]:
        key = random.key(self.seed, "order", self.epoch)
        return iter(key.choice(len(self.weights), self.num_samples, self.replacement, self.weights).tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """The indices of another sampler in lists of ``batch_size``; the last may be shorter, unless ``drop_last``."""

    def __init__(self, sampler: Any, batch_size: int, drop_last: bool = False) -> None:
        if batch_size < 1:
            raise ArgumentError(f"batch_size={batch_size}", fix="use at least 1")
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def set_epoch(self, epoch: int) -> None:
        """Passes the epoch on to the inner sampler."""
        super().set_epoch(epoch)
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)


class LengthBucketSampler(Sampler):
    """Batches of samples of similar length, so that little is padding.

    The epoch's random order is cut into windows of ``window`` batches; each window is sorted by length and cut into batches, and
    the batches are visited in random order.

    Args:
        lengths: of each sample.
        batch_size: samples a batch.
        window: how many batches are sorted together: the larger, the less padding and the less chance.
        seed: what the order is drawn by.
        shuffle: visit in the given order of lengths alone if false.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, window: int = 50, seed: int = 0, shuffle: bool = True) -> None:
        if batch_size < 1 or window < 1:
            raise ArgumentError(f"batch_size={batch_size}, window={window}", fix="use at least 1")
        self.lengths = np.asarray(lengths, np.int64)
        self.batch_size, self.window, self.seed, self.shuffle = batch_size, window, seed, shuffle

    def __iter__(self) -> Iterator[list[int]]:
        count = len(self.lengths)
        order = random.key(self.seed, "order", self.epoch).permutation(count) if self.shuffle else np.arange(count)
        span = self.batch_size * (self.window if self.shuffle else max(1, count))
        batches = []
        for start in range(0, count, span):
            part = order[start : start + span]
            part = part[np.argsort(self.lengths[part], kind="stable")]
            batches += [part[i : i + self.batch_size].tolist() for i in range(0, len(part), self.batch_size)]
        visit = (
            random.key(self.seed, "order", self.epoch, "batches").permutation(len(batches))
            if self.shuffle
            else range(len(batches))
        )
        return iter([batches[int(i)] for i in visit])

    def __len__(self) -> int:
        full, rest = divmod(len(self.lengths), self.batch_size)
        return full + bool(rest)
