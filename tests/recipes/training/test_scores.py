"""Scores from confusion matrices, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from nyala.recipes.training import scores


def test_accuracy_and_macro_f1() -> None:
    matrix = scores.confusion(np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 1, 1, 0, 2]), 4)
    assert matrix.tolist() == [[1, 1, 0, 0], [1, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert scores.accuracy(matrix) == pytest.approx(4 / 6)
    assert scores.macro_f1(matrix) == pytest.approx((0.5 + 2 / 3 + 1) / 3)  # the class that never occurs does not count


@pytest.mark.parametrize(
    ("metric", "new", "old", "by", "result"),
    [
        ("loss", 0.4, 0.5, 0.0, True),
        ("loss", 0.45, 0.5, 0.1, False),
        ("accuracy", 0.6, 0.5, 0.0, True),
        ("accuracy", 0.5, 0.5, 0.0, False),
        ("accuracy", 0.1, None, 0.0, True),
        ("loss", float("nan"), None, 0.0, False),
        ("loss", float("nan"), 0.5, 0.0, False),
    ],
)
def test_better(metric: str, new: float, old: float | None, by: float, result: bool) -> None:
    assert scores.better(metric, new, old, by) is result
