"""Average precision of detections: equal to pycocotools to the last bit; bad input; intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala.errors import ArgumentError, IndexRangeError, NumericError, ShapeError
from nyala.vision.masks import fill_polygons
from nyala.vision.scores import MeanAveragePrecision

GOLDEN = json.loads((Path(__file__).parents[2] / "goldens" / "vision" / "scores" / "detection.json").read_text())
STATS = ["map", "map_50", "map_75", "map_small", "map_medium", "map_large"]
STATS += ["mar_1", "mar_10", "mar_100", "mar_small", "mar_medium", "mar_large"]


def _pictures(kind: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The golden's pictures as predictions and targets."""
    size = GOLDEN["size"]
    preds, targets = [], []
    for image in GOLDEN["truth"]["images"]:
        truth = [a for a in GOLDEN["truth"]["annotations"] if a["image_id"] == image["id"]]
        found = [r for r in GOLDEN["results"] if r["image_id"] == image["id"]]
        preds.append({"scores": [r["score"] for r in found], "labels": np.array([r["category_id"] for r in found], int)})
        targets.append({"labels": np.array([a["category_id"] for a in truth], int), "iscrowd": [a["iscrowd"] for a in truth]})
        targets[-1]["area"] = [a["area"] for a in truth]
        if kind == "bbox":
            preds[-1]["boxes"], targets[-1]["boxes"] = [r["bbox"] for r in found], [a["bbox"] for a in truth]
        else:
            preds[-1]["masks"] = np.array([fill_polygons([r["outline"]], size, size) for r in found])
            targets[-1]["masks"] = np.array([fill_polygons(a["segmentation"], size, size) for a in truth])
    return preds, targets


@pytest.mark.parametrize("run", GOLDEN["runs"], ids=lambda r: f"{r['kind']}-{r['most'][-1]}")
def test_the_twelve_numbers_are_pycocotools(run: dict[str, Any]) -> None:
    metric = MeanAveragePrecision("xywh", run["kind"], max_detection_thresholds=run["most"])
    for pred, target in zip(*_pictures(run["kind"]), strict=True):
        metric.update([pred], [target])
    scores = metric.compute()
    # the same to the last bit under the NumPy that pycocotools ran with; others may add in another order
    assert [getattr(scores, name) for name in STATS] == pytest.approx(run["stats"], rel=1e-14)
    assert {str(k): v for k, v in scores.map_per_class.items()} == pytest.approx(run["classes"], rel=1e-14)
    assert 0.1 < scores.map < 0.9 and scores.map_small != scores.map_large  # the golden says something


@pytest.mark.parametrize("form", ["xyxy", "cxcywh"])
def test_formats_of_boxes_mean_the_same(form: str) -> None:
    def turned(box: list[float]) -> list[float]:
        x, y, w, h = (round(v) for v in box)
        return [x, y, x + w, y + h] if form == "xyxy" else [x + w / 2, y + h / 2, w, h]

    found = {}
    for name, change in (("xywh", lambda b: [round(v) for v in b]), (form, turned)):
        preds, targets = _pictures("bbox")
        for one in (*preds, *targets):
            one["boxes"] = [change(b) for b in one["boxes"]]
        metric = MeanAveragePrecision(name)
        metric.update(preds, targets)
        found[name] = metric.compute()
    assert found[form] == found["xywh"]


def test_intervals_hold_the_score_and_pictures_drawn_twice_count_twice() -> None:
    preds, targets = (part[:10] for part in _pictures("bbox"))
    for i, pred in enumerate(preds):  # no ties, whose order among pictures would count
        pred["scores"] = np.array(pred["scores"]) + (np.arange(len(pred["scores"])) + 100 * i) * 1e-6
    metric, twice = MeanAveragePrecision("xywh"), MeanAveragePrecision("xywh")
    metric.update(preds, targets)
    twice.update([p for p in preds for _ in range(2)], [t for t in targets for _ in range(2)])
    scores = metric.compute(intervals=True)
    for name in ("map", "map_50", "map_75", "mar_100"):
        interval = scores.intervals[name]
        assert interval.low < interval.value == getattr(scores, name) < interval.high < interval.low + 0.6
    doubled = metric.weighted(np.full(len(preds), 2))
    assert doubled == {name: getattr(twice.compute(), name) for name in doubled}
    assert scores.intervals == metric.compute(intervals=True).intervals
    assert "to" in str(scores).splitlines()[0] and str(scores).count("\n") == 11
    assert scores.as_json()["intervals"]["map"]["low"] == scores.intervals["map"].low


def test_nothing_to_be_found_is_minus_one() -> None:
    metric = MeanAveragePrecision()
    metric.update([{"boxes": [[0, 0, 5, 5]], "scores": [0.5], "labels": [3]}], [{"boxes": [], "labels": []}])
    scores = metric.compute(intervals=True)
    assert scores.map == scores.mar_100 == -1.0 and scores.map_per_class == {} and scores.intervals == {}
    assert MeanAveragePrecision().compute().map == -1.0


GOOD = {"boxes": [[0.0, 0, 5, 5]], "labels": [1], "scores": [0.5]}


@pytest.mark.parametrize(
    ("pred", "target", "error", "text"),
    [
        ({"boxes": [], "labels": []}, GOOD, ArgumentError, "the prediction of picture 0 has no 'scores'"),
        (GOOD, {"labels": []}, ArgumentError, "the target of picture 0 has no 'boxes': it has 'labels'"),
        ({**GOOD, "boxes": [[0, 0, 5]]}, GOOD, ShapeError, r"boxes of the prediction of picture 0 has shape \(1, 3\)"),
        ({**GOOD, "scores": [0.1, 0.2]}, GOOD, ShapeError, r"scores .* has shape \(2,\), its 1 labels ask for \(1,\)"),
        ({**GOOD, "scores": [np.nan]}, GOOD, NumericError, "scores of the prediction of picture 0 holds NaN"),
        (GOOD, {**GOOD, "labels": [1.0]}, IndexRangeError, "labels of the target of picture 0 are float64"),
    ],
)
def test_bad_pictures_are_named(pred: Any, target: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        MeanAveragePrecision().update([pred], [target])


def test_bad_settings_and_masks() -> None:
    with pytest.raises(ArgumentError, match=r"box_format='xxyy'.*did you mean 'xyxy'"):
        MeanAveragePrecision("xxyy")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="iou_thresholds"):
        MeanAveragePrecision(iou_thresholds=[0.0])
    with pytest.raises(ArgumentError, match="max_detection_thresholds"):
        MeanAveragePrecision(max_detection_thresholds=[100])
    metric = MeanAveragePrecision(iou_type="segm")
    one = {"masks": np.ones((1, 4, 4), bool), "labels": [0], "scores": [1.0]}
    with pytest.raises(ShapeError, match=r"masks of \(4, 4\), the target of picture 0 of \(4, 5\)"):
        metric.update([one], [{**one, "masks": np.ones((1, 4, 5), bool)}])
    with pytest.raises(ArgumentError, match="other values than 0 and 1"):
        metric.update([{**one, "masks": np.full((1, 4, 4), 0.4)}], [one])
    with pytest.raises(ArgumentError, match="2 predictions and 1 targets"):
        metric.update([one, one], [one])
