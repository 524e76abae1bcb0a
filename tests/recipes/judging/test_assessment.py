"""Assessments: scores by hand, batches that add up, and what a run's predictions give back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from nyala.core import random
from nyala.errors import IntegrityError
from nyala.recipes.folder import metrics
from nyala.recipes.judging.assessment import Assessment, Collector, labels_of

LABELS = [f"c{i}" for i in range(7)]


def logits(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    truth = random.key(1, "truth").integers(0, 7, (n,))
    return random.key(1, "logits").normal((n, 7)) + 1.5 * np.eye(7)[truth], truth


def collected(step: int = 60) -> Assessment:
    raw, truth = logits()
    found = Collector(LABELS)
    for i in range(0, 60, step):
        found.add(raw[i : i + step], truth[i : i + step])
    return found.finish()


def test_scores_by_their_definitions() -> None:
    (raw, truth), a = logits(), collected()
    p = np.exp(raw) / np.exp(raw).sum(1, keepdims=True)
    assert a.accuracy.value == np.mean(raw.argmax(1) == truth)
    assert a.log_loss.value == pytest.approx(-np.log(p[np.arange(60), truth]).mean())
    order = np.argsort(-raw, axis=1)[:, :5]
    assert a.top5 is not None and a.top5.value == np.mean([t in row for t, row in zip(truth, order, strict=True)])
    assert a.confidence == pytest.approx(p.max(1)) and a.of_label == pytest.approx(p[np.arange(60), truth])


def test_how_the_samples_are_cut_into_batches_changes_nothing() -> None:
    whole, parts = collected(), collected(7)
    assert json.dumps(whole.as_json()["classes"]) == json.dumps(parts.as_json()["classes"])
    assert whole.temperature is not None and parts.temperature is not None
    assert whole.temperature.value == parts.temperature.value and whole.top5_hits == parts.top5_hits


def test_intervals_surround_their_scores_and_are_the_same_each_time() -> None:
    first, again = collected(), collected()
    for (_, _, e), (_, _, f) in zip(first.summary(), again.summary(), strict=True):
        assert e == f and e.low < e.value < e.high
    for c in first.classes():
        assert c.recall.low <= c.recall.value <= c.recall.high and c.f1.low <= c.f1.value <= c.f1.high


def test_top5_says_nothing_about_five_classes() -> None:
    found = Collector(list("abcde"))
    found.add(np.eye(5), np.arange(5))
    assert found.finish().top5 is None


def test_mistakes_come_the_surest_first() -> None:
    truth, predicted = np.array([0, 0, 1, 1]), np.array([1, 0, 0, 1])
    sure = np.array([0.6, 0.9, 0.8, 0.55])
    a = Assessment(["a", "b"], truth, predicted, sure, np.array([0.4, 0.9, 0.2, 0.55]), np.zeros(4))
    assert a.worst(5) == [2, 0] and a.worst(1) == [2] and a.least_sure(5) == [3, 1]
    assert [(c.label, c.taken_for, c.times) for c in a.classes()] == [("a", "b", 1), ("b", "a", 1)]


def test_a_class_that_is_only_predicted_is_in_the_table() -> None:
    a = Assessment(["a", "b", "c"], np.array([0, 0]), np.array([0, 2]), np.ones(2), np.ones(2), np.zeros(2))
    assert [c.label for c in a.classes()] == ["a", "c"] and not a.classes()[1].recall.exists
    assert a.classes()[1].as_json()["recall"] is None


def test_predictions_give_the_assessment_back(tmp_path: Path) -> None:
    a = collected()
    rows = zip(a.truth, a.predicted, a.confidence, a.of_label, strict=True)
    lines = [
        {"index": i, "label": int(t), "predicted": int(p), "probability": float(c), "of_label": float(o)}
        for i, (t, p, c, o) in enumerate(rows)
    ]
    path = tmp_path / "predictions.jsonl"
    path.write_bytes(b"".join(map(metrics.encode, lines)))
    back = Assessment.from_predictions(path, LABELS, a.top5_hits, a.temperature)
    ours, theirs = a.as_json(), back.as_json()
    assert theirs["log_loss"]["value"] == pytest.approx(ours["log_loss"]["value"])
    assert {k: v for k, v in theirs.items() if k != "log_loss"} == {k: v for k, v in ours.items() if k != "log_loss"}


@pytest.mark.parametrize(
    "line", [{"label": 9, "predicted": 0, "probability": 1.0, "of_label": 0.0}, {"label": 0}, {"label": "x"}]
)
def test_damaged_predictions_are_told(line: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    path.write_bytes(metrics.encode(line))
    with pytest.raises(IntegrityError, match=r"is damaged|names class 9"):
        Assessment.from_predictions(path, LABELS)


@pytest.mark.parametrize(
    ("config", "labels"),
    [({"id2label": {"1": "b", "0": "a"}}, ["a", "b"]), ({"label_names": ["x", "y"]}, ["x", "y"]), ({}, []), (None, [])],
)
def test_labels_of_a_model_folder(config: dict[str, object] | None, labels: list[str], tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    assert labels_of(tmp_path) == labels
