"""Scores of a classifier from its confusion matrix, and which of two scores is better."""

from __future__ import annotations

import numpy as np


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts of (true, predicted), int64 (K, K).

    Example:
        >>> confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), 2).tolist()
        [[1, 0], [1, 1]]
    """
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def accuracy(matrix: np.ndarray) -> float:
    """Share of right predictions."""
    return float(np.trace(matrix) / max(1, matrix.sum()))


def macro_f1(matrix: np.ndarray) -> float:
    """Mean over the classes that occur (as truth or as prediction) of ``2 hits / (true + predicted)``.

    Example:
        >>> round(macro_f1(np.array([[8, 2], [3, 7]])), 6)
        0.749373
    """
    both = matrix.sum(0) + matrix.sum(1)
    seen = both > 0
    return float(np.mean(2 * np.diag(matrix)[seen] / both[seen])) if seen.any() else 0.0


def better(metric: str, new: float, old: float | None, by: float = 0.0) -> bool:
    """Whether ``new`` beats ``old`` by more than ``by``: a loss wants to be small, every other score large."""
    if old is None:
        return new == new  # NaN beats nothing
    return new < old - by if metric == "loss" else new > old + by
