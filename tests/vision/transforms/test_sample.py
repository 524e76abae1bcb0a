"""Samples: what belongs together stays together, and what does not is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nyala.errors import DataError
from nyala.vision.transforms import Sample

IMAGE = np.zeros((4, 6, 3), np.uint8)


def test_objects_are_kept_together() -> None:
    masks = np.arange(3)[:, None, None] * np.ones((3, 4, 6), np.uint8)
    known: dict[str, Any] = {"boxes": np.arange(3)[:, None] * np.ones(4), "keypoints": np.ones((3, 5, 2)), "labels": [4, 5, 6]}
    sample = Sample(IMAGE, masks=masks.astype(np.uint8), other={"area": np.float32([1, 2, 3])}, **known)
    for rows in ([True, False, True], [0, 2]):
        kept = sample.keep(rows)
        assert len(kept) == 2 and kept.labels.tolist() == [4, 6] and kept.other["area"].tolist() == [1, 3]
        assert (
            kept.boxes[:, 0].tolist() == [0, 2] and kept.masks[:, 0, 0].tolist() == [0, 2] and kept.keypoints.shape == (2, 5, 2)
        )
    none = sample.keep([])
    assert len(none) == 0 and none.boxes.shape == (0, 4) and none.masks.shape == (0, 4, 6)


def test_a_map_of_classes_is_of_the_picture_not_of_its_objects() -> None:
    sample = Sample(IMAGE, boxes=[[0, 0, 1, 1]], masks=np.ones((4, 6), np.int64))
    assert sample.class_map and len(sample) == 1
    assert sample.keep([False]).masks.shape == (4, 6)


def test_what_lies_outside_goes() -> None:
    points = [[[-1, 0, 2], [5.5, 3.9, 1]], [[6, 1, 2], [1, 1, 2]], [[0, 0, 2], [0, 4, 2]]]
    boxes = [[-3, -3, 2, 2], [5.5, 0, 9, 3], [1, 1, 7, 9]]
    sample = Sample(IMAGE, boxes=boxes, keypoints=points, labels=[1, 2, 3]).clipped()
    assert sample.labels.tolist() == [1, 3]
    assert sample.boxes.tolist() == [[0, 0, 2, 2], [1, 1, 6, 4]]
    assert sample.keypoints[..., 2].tolist() == [[0, 1], [2, 0]]


def test_read_takes_what_people_have() -> None:
    grey = np.full((4, 6), 7, np.uint8)
    assert Sample.read(grey).image.shape == (4, 6, 3) and Sample(grey).image.shape == (4, 6, 1)
    assert len(Sample.read(grey, boxes=[], labels=[])) == 0


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ({"image": "cat.png"}, r"a str.*Sample\.read"),
        ({"image": np.zeros((3, 4, 6), np.uint8)}, r"shape \(3, 4, 6\).*transpose"),
        ({"image": np.zeros((4, 6, 3), np.float32)}, "dtype float32"),
        ({"boxes": [[1, 2, 3]]}, r"boxes of a Sample have shape \(1, 3\): they need \(N, 4\)"),
        ({"boxes": [[0, 0, 1, 1], [3, 1, 1, 2]]}, r"boxes\[1\] is \[3.0, 1.0, 1.0, 2.0\]"),
        ({"boxes": [[0, 0, 1, np.nan]]}, r"boxes\[0\]"),
        ({"boxes": [[0, 0, 1, "x"]]}, "not numbers"),
        ({"boxes": [[0, 0, 1, 1], [1, 2]]}, "not numbers"),
        ({"keypoints": [[1, 2]]}, r"they need \(N, K, 2\)"),
        ({"keypoints": [[[1, np.inf]]]}, r"keypoints\[0\]"),
        ({"masks": np.zeros((1, 6, 4), bool)}, r"shape \(1, 6, 4\): they are bool or whole numbers of shape \(N, 4, 6\)"),
        ({"masks": np.zeros((4, 6), np.float32)}, "dtype float32"),
        ({"labels": ["cat"]}, "whole numbers"),
        ({"labels": [1.5]}, "whole numbers"),
        ({"boxes": [[0, 0, 1, 1]], "labels": [1, 2]}, "1 boxes, 2 labels"),
        ({"boxes": [[0, 0, 1, 1]], "other": {"area": 3.0}}, "one number as area"),
    ],
)
def test_what_does_not_go_together_is_named(known: dict[str, Any], text: str) -> None:
    with pytest.raises(DataError, match=text):
        Sample(**{"image": IMAGE, **known})
