"""Panoptic quality: equal to panopticapi's, crowds and void included; bad input; intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala.errors import ArgumentError, IndexRangeError, ShapeError
from nyala.vision.scores import PanopticQuality

GOLDEN = json.loads((Path(__file__).parents[2] / "goldens" / "vision" / "scores" / "panoptic.json").read_text())


def scored() -> PanopticQuality:
    metric = PanopticQuality(things=[1, 2], stuffs=[3, 4, 5])
    for one in GOLDEN["pictures"]:
        found = {"segmentation": one["found"], "segments_info": one["told"]}
        metric.update([found], [{"segmentation": one["truth"], "segments_info": one["listed"]}])
    return metric


def test_the_nine_numbers_are_panopticapis() -> None:
    scores = scored().compute()
    assert {name: getattr(scores, name) for name in GOLDEN["scores"]} == pytest.approx(GOLDEN["scores"], rel=1e-12)
    assert {str(k): v for k, v in scores.pq_per_class.items()} == pytest.approx(
        {k: v for k, v in GOLDEN["classes"].items() if k != "5"}, rel=1e-12
    )
    assert any(s.get("iscrowd") for one in GOLDEN["pictures"] for s in one["listed"]), "the golden has crowds"


def test_numbers_of_segments_mean_nothing() -> None:
    truth = {"segmentation": [[3, 3, 9, 9]], "segments_info": [{"id": 9, "category_id": 1}, {"id": 3, "category_id": 2}]}
    found = {"segmentation": [[-1, 0, 1, 1]], "segments_info": [{"id": 0, "label_id": 2}, {"id": 1, "label_id": 1}]}
    metric = PanopticQuality([1, 2])
    metric.update([found], [truth])
    scores = metric.compute()
    assert scores.pq_per_class == {1: 1.0, 2: 0.0}, "half of a segment is not more than half"
    assert np.isnan(scores.pq_stuffs) and scores.as_json()["pq_stuffs"] is None
    assert str(scores).splitlines()[3].split() == ["stuff", "-", "-", "-"]


def test_intervals_hold_the_score() -> None:
    scores = scored().compute(intervals=True)
    for name in ("pq", "sq", "rq"):
        interval = scores.intervals[name]
        assert interval.low < interval.value == getattr(scores, name) < interval.high < interval.low + 0.5
    assert str(scores).splitlines()[-3].startswith("PQ: ")


GOOD: dict[str, Any] = {"segmentation": [[1]], "segments_info": [{"id": 1, "category_id": 1}]}


@pytest.mark.parametrize(
    ("bad", "error", "text"),
    [
        ({"segmentation": [[1]]}, ArgumentError, "the prediction of picture 0 has no 'segments_info'"),
        ({**GOOD, "segmentation": [[1.0]]}, ShapeError, r"the map of the prediction of picture 0 is float64 of \(1, 1\)"),
        ({**GOOD, "segmentation": [[1, 1]]}, ShapeError, r"picture 0: a map of \(1, 2\), its target of \(1, 1\)"),
        (
            {**GOOD, "segments_info": [{"id": 1, "category_id": 7}]},
            IndexRangeError,
            "segment 1 of the prediction of picture 0 has class 7",
        ),
        ({**GOOD, "segments_info": GOOD["segments_info"] * 2}, ArgumentError, "lists a segment twice"),
    ],
)
def test_bad_pictures_are_named(bad: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        PanopticQuality([1]).update([bad], [GOOD])


def test_bad_settings() -> None:
    with pytest.raises(ArgumentError, match="class 2 is thing and stuff"):
        PanopticQuality([1, 2], [2])
    with pytest.raises(ArgumentError, match="no classes"):
        PanopticQuality([])
    with pytest.raises(ArgumentError, match="1 predictions and 0 targets"):
        PanopticQuality([1]).update([GOOD], [])
