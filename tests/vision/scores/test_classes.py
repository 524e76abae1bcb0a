"""Scores of class probabilities: equal to scikit-learn's and torchmetrics'; ties; bad input; intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.errors import ArgumentError, IndexRangeError, NumericError, ShapeError
from nyala.vision.scores import Classification

GOLDEN = json.loads((Path(__file__).parents[2] / "goldens" / "vision" / "scores" / "classes.json").read_text())
LOGITS, LABELS = np.array(GOLDEN["logits"]), np.array(GOLDEN["labels"])


def scored() -> Classification:
    metric = Classification(top_k=(5, 1, 3))
    metric.update(LOGITS[:130], LABELS[:130])
    metric.update(nyala.tensor(LOGITS[130:]), nyala.tensor(LABELS[130:]))
    return metric


def test_scores_are_those_of_scikit_learn_and_torchmetrics() -> None:
    scores = scored().compute()
    assert {str(k): found.value for k, found in scores.top.items()} == GOLDEN["top"] and list(scores.top) == [1, 3, 5]
    assert scores.log_loss == pytest.approx(GOLDEN["log_loss"], rel=1e-12)
    assert scores.brier == pytest.approx(GOLDEN["brier"], rel=1e-12)
    assert scores.ece == pytest.approx(GOLDEN["ece"], rel=1e-6)  # torchmetrics bins in float32
    assert scores.mce == pytest.approx(GOLDEN["mce"], rel=1e-6)
    assert sum(samples for _, _, samples in scores.reliability) == 200
    assert scores.accuracy is scores.top[1] and scores.temperature.value > 1.5, "these logits are too sure"


def test_intervals_hold_the_score() -> None:
    scores = scored().compute(intervals=True)
    for name in ("ece", "log_loss", "brier"):
        interval = scores.intervals[name]
        assert interval.value == getattr(scores, name) and interval.low < interval.high < interval.low + 0.7
    assert scores.intervals["brier"].low < scores.brier < scores.intervals["brier"].high
    assert scores.top[1].low < scores.top[1].value < scores.top[1].high
    assert str(scores).splitlines()[0] == f"top-1 accuracy             {scores.top[1]}" and " to " in str(scores).splitlines()[3]
    assert json.loads(json.dumps(scores.as_json()))["top5"]["value"] == GOLDEN["top"]["5"]


def test_of_equal_logits_the_first_class_is_likelier() -> None:
    metric = Classification(top_k=(1, 2))
    metric.update(np.zeros((3, 3)), [0, 1, 2])
    scores = metric.compute()
    assert [scores.top[k].value for k in (1, 2)] == pytest.approx([1 / 3, 2 / 3])


def test_nothing_is_not_a_number() -> None:
    metric = Classification()
    metric.update(np.zeros((0, 3)), np.zeros(0, int))
    scores = metric.compute(intervals=True)
    assert np.isnan([scores.ece, scores.mce, scores.brier, scores.log_loss]).all() and not scores.top[1].exists
    assert scores.temperature.value == 1.0 and scores.intervals == {}


@pytest.mark.parametrize(
    ("logits", "labels", "error", "text"),
    [
        (np.zeros((2, 3)), [0], ShapeError, r"logits of \(2, 3\) and labels of \(1,\)"),
        (np.zeros((1, 3)), [0.0], IndexRangeError, "labels of float64"),
        (np.zeros((2, 3)), [0, 3], IndexRangeError, "sample 201 has a label outside the classes: there are 3 classes"),
        (np.array([[0.0, np.inf]]), [0], NumericError, "sample 200 has logits that are not finite"),
    ],
)
def test_bad_batches(logits: Any, labels: Any, error: type[Exception], text: str) -> None:
    metric = scored()
    with pytest.raises(error, match=text):
        metric.update(logits, labels)
    with pytest.raises(ArgumentError, match=r"top_k=\(0,\)"):
        Classification(top_k=(0,))
