"""Scores of a classifier from its confusion matrix, and which of two scores is better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

FALLING = ("loss", "wer", "cer")  # scores that are the better the smaller they are


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
    """Whether ``new`` beats ``old`` by more than ``by``: a loss and error rates want to be small, every other score large."""
    if old is None:
        return new == new  # NaN beats nothing
    return new < old - by if metric in FALLING else new > old + by


def title(name: str) -> str:
    """What people call a score.

    Example:
        >>> title("macro_f1"), title("recall_at_10"), title("loss")
        ('macro F1', 'recall at 10', 'loss')
    """
    return {
        "macro_f1": "macro F1",
        "f1": "F1",
        "mrr": "MRR",
        "wer": "word error rate",
        "cer": "character error rate",
        "rouge1": "ROUGE-1",
        "rouge_l": "ROUGE-L",
        "mean_iou": "mean IoU",
        "mean_dice": "mean Dice",
        "map": "mAP",
        "map_50": "mAP at overlap 0.5",
    }.get(name, name.replace("_", " "))


_NO_SCORES = ("kind", "step", "epoch", "part", "samples")


def of_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """The scores in a record of the metrics, and the step that the weights are from.

    Example:
        >>> of_record({"kind": "final", "step": 8, "samples": 3, "weights_step": 6, "accuracy": 0.5})
        {'weights_step': 6, 'accuracy': 0.5}
    """
    return {k: v for k, v in record.items() if k not in _NO_SCORES and isinstance(v, int | float)}
