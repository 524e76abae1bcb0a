"""How sure a score is: Wilson's interval for shares, the bootstrap for everything else. Both at 95 %."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from .. import random

Z = 1.959963984540054  # the normal distribution's 97.5 % point
WORK = 20_000_000  # drawn samples in all: large data need fewer repetitions, for each is the steadier


@dataclass(frozen=True)
class Estimate:
    """A score with the interval that holds the true one in 95 of 100 samples of this size.

    Attributes:
        value: the score; NaN where it does not exist (a class without samples has no recall).
        low, high: the interval.

    Example:
        >>> print(Estimate(0.912, 0.87, 0.95))
        0.9120 (0.8700 to 0.9500)
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})" if self.exists else "-"

    @property
    def exists(self) -> bool:
        """Whether there is such a score."""
        return self.value == self.value

    def as_json(self) -> dict[str, float] | None:
        """Plain numbers, or None where there is no such score."""
        return {"value": self.value, "low": self.low, "high": self.high} if self.exists else None


NOTHING = Estimate(math.nan, math.nan, math.nan)


def wilson(hits: int, of: int) -> Estimate:
    """A share of independent samples with Wilson's score interval (1927): right for few samples and for shares near 0 or 1.

    Example:
        >>> print(wilson(8, 10))
        0.8000 (0.4902 to 0.9433)
        >>> wilson(10, 10).high, wilson(0, 0).exists
        (1.0, False)
    """
    if not of:
        return NOTHING
    share, square = hits / of, Z * Z
    middle = (share + square / (2 * of)) / (1 + square / of)
    reach = Z * math.sqrt(share * (1 - share) / of + square / (4 * of * of)) / (1 + square / of)
    low = 0.0 if hits == 0 else max(0.0, middle - reach)
    return Estimate(share, low, 1.0 if hits == of else min(1.0, middle + reach))


def resamples(count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """The bootstrap's samples: ``count`` indices drawn with replacement, again and again, the same for the same seed.

    A thousand times, or fewer (at least a hundred) where the data are large.

    Example:
        >>> sum(1 for _ in resamples(50)), sum(1 for _ in resamples(100_000))
        (1000, 200)
    """
    for repetition in range(min(1000, max(100, WORK // max(1, count)))):
        yield random.key(seed, "bootstrap", repetition).integers(0, count, (count,))


def of_record(
    record: Mapping[str, float], resampled: Callable[[np.ndarray], Mapping[str, float]], count: int, seed: int = 0
) -> dict[str, Estimate]:
    """A bootstrap interval for each score of a record.

    Args:
        record: name -> score.
        resampled: how often each of the ``count`` samples is there -> the same scores of that sample.
        count: samples.
        seed: what the bootstrap is drawn by.

    Example:
        >>> values = np.arange(10.0)
        >>> found = of_record({"mean": 4.5}, lambda times: {"mean": times @ values / times.sum()}, 10)
        >>> found["mean"].low < 4.5 < found["mean"].high
        True
    """
    drawn = [resampled(np.bincount(draw, minlength=count)) for draw in resamples(count, seed)] if count else []
    return {name: percentiles(value, np.array([one[name] for one in drawn])) for name, value in record.items()}


def percentiles(value: float, found: np.ndarray) -> Estimate:
    """The bootstrap's interval: the 2.5th and 97.5th percentile of the scores that its samples had.

    Example:
        >>> print(percentiles(0.5, np.linspace(0, 1, 1001)))
        0.5000 (0.0250 to 0.9750)
    """
    known = found[~np.isnan(found)]
    if math.isnan(value) or not len(known):
        return NOTHING
    low, high = np.percentile(known, [2.5, 97.5])
    return Estimate(value, float(low), float(high))
