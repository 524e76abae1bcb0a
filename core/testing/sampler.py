"""``Sampler``: fixed random inputs for operation tests, away from where an operation has no derivative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import random


class Sampler:
    """Draws float64 arrays (and indices, masks); each call draws from a stream of its own, so samples are stable.

    Example:
        >>> Sampler("relu").away((2, 3), [0.0]).shape
        (2, 3)
    """

    def __init__(self, name: str) -> None:
        self._key = random.key(0, "test", name)
        self._draws = 0

    def _next(self) -> random.Key:
        self._draws += 1
        return self._key.fold(self._draws)

    def normal(self, *shape: int) -> Any:
        """Standard normal numbers."""
        return np.asarray(self._next().normal(shape, dtype=np.float64))

    def uniform(self, shape: Sequence[int], low: float, high: float) -> Any:
        """Numbers in [low, high)."""
        return np.asarray(self._next().uniform(tuple(shape), low, high, dtype=np.float64))

    def positive(self, *shape: int) -> Any:
        """Numbers in [0.5, 2)."""
        return self.uniform(shape, 0.5, 2.0)

    def away(self, shape: Sequence[int], points: Sequence[float], gap: float = 0.1) -> Any:
        """Normal numbers, none nearer than ``gap`` to one of ``points``."""
        x = self._next().normal(tuple(shape), dtype=np.float64)
        for p in points:
            x = np.where(np.abs(x - p) < gap, p + np.where(x < p, -gap, gap) * 1.5, x)
        return np.asarray(x)

    def distinct(self, *shape: int) -> Any:
        """Different numbers, at least 0.1 apart, in random order: for maxima and sorting."""
        count = int(np.prod(shape, dtype=np.int64))
        return ((self._next().permutation(count) - count // 2) * 0.25 + 0.125).reshape(shape)

    def integers(self, low: int, high: int, shape: Sequence[int]) -> Any:
        """Whole numbers in [low, high), int64."""
        return np.asarray(self._next().integers(low, high, tuple(shape)))

    def bools(self, *shape: int) -> Any:
        """True and false."""
        return np.asarray(self._next().bernoulli(0.5, shape))

    def complex(self, *shape: int) -> Any:
        """Complex normal numbers."""
        return np.asarray(self.normal(*shape) + 1j * self.normal(*shape))
