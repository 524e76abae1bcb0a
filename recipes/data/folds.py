"""Cross-validation: which fold a sample is in, and what its scores over all folds come to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev

import numpy as np

from ...core import random
from ...core.errors import DataError


def assign(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each sample, drawn by the seed.

    Every class is dealt out evenly, one class after the other without starting anew: neither the folds' sizes nor a class's
    samples in them differ by more than one.

    Args:
        labels: int64 (N,).
        folds: how many.
        seed: what the draws are keyed by.

    Returns:
        int64 (N,), from 0.

    Raises:
        DataError: fewer samples than folds.

    Example:
        >>> found = assign(np.array([0, 0, 0, 0, 1, 1]), 2, seed=0)
        >>> [np.bincount(found[np.array([0, 0, 0, 0, 1, 1]) == k]).tolist() for k in (0, 1)]
        [[2, 2], [1, 1]]
    """
    if len(labels) < folds:
        raise DataError(f"{len(labels)} samples cannot be cut into {folds} folds", fix="give more samples, or lower data.folds")
    found = np.empty(len(labels), np.int64)
    dealt = 0
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        order = members[random.key(seed, "folds", int(label)).permutation(len(members))]
        found[order] = (dealt + np.arange(len(order))) % folds
        dealt += len(order)
    return found


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (divided by n - 1).

    Example:
        >>> spread([0.8, 0.9, 1.0])
        (0.9, 0.09999999999999998)
    """
    return mean(values), stdev(values) if len(values) > 1 else math.nan
