"""Scores of maps of classes: equal to scikit-learn's and MONAI's; bad input; intervals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.errors import ArgumentError, IndexRangeError, ShapeError
from nyala.vision.scores import Segmentation

GOLDEN = json.loads((Path(__file__).parents[2] / "goldens" / "vision" / "scores" / "maps.json").read_text())
TRUTH, FOUND = np.array(GOLDEN["truth"]), np.array(GOLDEN["found"])


def scored(**settings: object) -> Segmentation:
    metric = Segmentation(6, **settings)  # type: ignore[arg-type]
    for part in (slice(0, 4), slice(4, None)):
        metric.update(FOUND[part], TRUTH[part])
    return metric


def test_scores_are_those_of_scikit_learn_and_monai() -> None:
    scores = scored().compute()
    assert scores.iou_per_class[:5] == pytest.approx(GOLDEN["iou"], rel=1e-12)
    assert scores.dice_per_class[:5] == pytest.approx(GOLDEN["dice"], rel=1e-12)
    assert np.isnan(scores.iou_per_class[5]) and np.isnan(scores.dice_per_class[5])
    assert scores.miou == pytest.approx(np.mean(GOLDEN["iou"]), rel=1e-12)
    assert scores.dice == pytest.approx(np.mean(GOLDEN["dice"]), rel=1e-12)
    assert scores.accuracy == pytest.approx(GOLDEN["accuracy"], rel=1e-12)
    assert scores.mean_accuracy == pytest.approx(GOLDEN["mean_accuracy"], rel=1e-12)
    assert scores.picture_dice == pytest.approx(GOLDEN["picture_dice"], rel=1e-6)  # MONAI's is float32
    without = scored(include_background=False).compute()
    assert without.picture_dice == pytest.approx(GOLDEN["picture_dice_without_background"], rel=1e-6)
    assert without.miou == pytest.approx(np.mean(GOLDEN["iou"][1:]), rel=1e-12)
    assert scores.confusion.sum() == (TRUTH != 255).sum() and scores.confusion[2].sum() == 0 < scores.confusion[:, 2].sum()


def test_logits_tensors_and_volumes_count_alike() -> None:
    logits = np.moveaxis(np.eye(6, dtype=np.float32)[FOUND], -1, 1)
    one, two = Segmentation(6), Segmentation(6)
    one.update(nyala.tensor(logits), nyala.tensor(TRUTH))
    two.update(FOUND[None], TRUTH[None])  # one volume
    assert one.compute().miou == two.compute().miou == scored().compute().miou
    assert one.compute().picture_dice != two.compute().picture_dice


def test_intervals_hold_the_score() -> None:
    scores = scored().compute(intervals=True)
    assert set(scores.intervals) == {"miou", "dice", "picture_dice", "accuracy", "mean_accuracy"}
    for name, interval in scores.intervals.items():
        assert interval.low <= interval.value == getattr(scores, name) <= interval.high < interval.low + 0.3
    assert str(scores).splitlines()[0].startswith("mean IoU") and " to " in str(scores)
    told = json.loads(json.dumps(scores.as_json()))
    assert told["iou_per_class"][5] is None and told["miou"] == scores.miou


def test_nothing_is_not_a_number() -> None:
    metric = Segmentation(2)
    metric.update([[[0, 1]]], [[[255, 255]]])
    scores = metric.compute(intervals=True)
    assert np.isnan([scores.miou, scores.accuracy, scores.picture_dice]).all()
    assert Segmentation(2).compute().as_json()["miou"] is None


def test_bad_maps_are_named() -> None:
    metric = Segmentation(3)
    metric.update(np.zeros((2, 4, 4), int), np.zeros((2, 4, 4), int))
    with pytest.raises(IndexRangeError, match=r"the target of picture 2 holds class 3.*there are 3 classes, 0 to 2"):
        metric.update(np.zeros((1, 1, 2), int), np.array([[[0, 3]]]))
    with pytest.raises(IndexRangeError, match="the prediction of picture 2 holds class -1"):
        metric.update(np.array([[[0, -1]]]), np.zeros((1, 1, 2), int))
    with pytest.raises(ShapeError, match=r"predictions of \(1, 2, 4, 4\) and targets of \(1, 4, 4\).*scores \(N, 3"):
        metric.update(np.zeros((1, 2, 4, 4)), np.zeros((1, 4, 4), int))
    with pytest.raises(ShapeError, match="the prediction of picture 2 is float64"):
        metric.update(np.zeros((1, 4, 4)), np.zeros((1, 4, 4), int))
    with pytest.raises(ArgumentError, match="num_classes=0"):
        Segmentation(0)
