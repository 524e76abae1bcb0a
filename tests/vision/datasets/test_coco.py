"""COCO's format: boxes, outlines, crowds, keypoints, results, and every mistake of a file by its id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala.errors import DataError
from nyala.vision.datasets import COCO, CocoDetection
from nyala.vision.masks import encode_rle
from nyala.vision.scores import MeanAveragePrecision
from PIL import Image

SQUARE = [1, 1, 5, 1, 5, 4, 1, 4]


def content() -> dict[str, Any]:
    mask = np.zeros((8, 10), bool)
    mask[2:4, 3:9] = True
    first = {
        "id": 1,
        "image_id": 4,
        "category_id": 90,
        "bbox": [1, 1, 4, 3],
        "area": 11.5,
        "segmentation": [SQUARE],
        "iscrowd": 0,
    }
    crowd = {"id": 2, "image_id": 4, "category_id": 18, "bbox": [3, 2, 6, 2], "segmentation": encode_rle(mask), "iscrowd": 1}
    return {
        "images": [{"id": 9, "file_name": "b.png", "height": 8, "width": 10}, {"id": 4, "file_name": "sub/a.png"}],
        "annotations": [first, crowd],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 18, "name": "dog"}],
    }


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Writes pictures and a file of annotations; gives the paths of both."""
    (tmp_path / "sub").mkdir()
    for name in ("b.png", "sub/a.png"):
        Image.fromarray(np.full((8, 10, 3), 7, np.uint8)).save(tmp_path / name)

    def write(what: Any) -> tuple[Path, Path]:
        (tmp_path / "x.json").write_text(what if isinstance(what, str) else json.dumps(what))
        return tmp_path, tmp_path / "x.json"

    return write


def test_boxes_masks_and_what_else_is_known(write: Any) -> None:
    data = CocoDetection(*write(content()), masks=True)
    assert data.classes == ("dog", "toothbrush") and data.category_ids == (18, 90) and len(data) == 2
    empty, sample = data[0], data[1]
    assert len(empty) == 0 and empty.masks.shape == (0, 8, 10)
    assert sample.boxes.tolist() == [[1, 1, 5, 4], [3, 2, 9, 4]] and sample.labels.tolist() == [1, 0]
    assert sample.masks.sum((1, 2)).tolist() == [12, 12] and sample.masks[1, 2, 8] and not sample.masks[1, 4].any()
    assert sample.other["iscrowd"].tolist() == [False, True] and sample.other["area"].tolist() == [11.5, 12.0]
    assert len(CocoDetection(*write(content()), crowds=False)[1]) == 1


def test_scores_and_results_use_the_same_numbers(write: Any) -> None:
    data = CocoDetection(*write(content()))
    metric = MeanAveragePrecision()
    found = {"boxes": [[1, 1, 5, 4]], "scores": [0.9], "labels": [1]}
    metric.update([{"boxes": [], "scores": [], "labels": []}, found], [data.target(i) for i in range(2)])
    scores = metric.compute()
    assert scores.map == pytest.approx(1.0) and list(scores.map_per_class) == [1], "a crowd is nothing that must be found"
    assert data.target(1, "xywh")["boxes"].tolist() == [[1, 1, 4, 3], [3, 2, 6, 2]]
    told = data.results(1, found["boxes"], found["scores"], found["labels"])
    assert told == [{"image_id": 4, "category_id": 90, "bbox": [1.0, 1.0, 4.0, 3.0], "score": 0.9}]


def test_keypoints(write: Any) -> None:
    given = content()
    for one in given["annotations"]:
        one["keypoints"] = [1, 2, 2, 0, 0, 0]
    data = CocoDetection(*write(given), keypoints=True)
    assert data[1].keypoints.tolist() == [[[1, 2, 2], [0, 0, 0]]] * 2 and data[0].keypoints.shape[0] == 0
    del given["annotations"][0]["keypoints"]
    with pytest.raises(DataError, match=r"a\.png have not equally many keypoints"):
        CocoDetection(*write(given), keypoints=True)[1]


def changed(**change: Any) -> dict[str, Any]:
    given = content()
    given["annotations"][0] |= change
    return given


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("{", "is no JSON file"),
        ("[" * 100_000, "is no JSON file"),
        ([], "has no list 'images'"),
        ({**content(), "categories": None}, "has no list 'categories'"),
        ({**content(), "images": [{"id": 1}]}, r"images\[0\] has not id and file_name"),
        ({**content(), "categories": [{"id": 18, "name": "a"}] * 2}, "an id stands twice in categories"),
        (changed(image_id=5), "annotation 1 is in picture 5, which there is not"),
        (changed(category_id=3), "annotation 1 is of category 3"),
        (changed(bbox=[1, 1, -4, 3]), r"annotation 1 has the box \[1, 1, -4, 3\], not x, y, width and height"),
        (changed(bbox=[1, 1, 4]), "annotation 1 has the box"),
        (changed(bbox=None), "annotation 1 has the box None"),
    ],
)
def test_mistakes_of_a_file(given: Any, text: str, write: Any) -> None:
    with pytest.raises(DataError, match=rf"x\.json(.|\n)*{text}"):
        CocoDetection(*write(given))


def test_all_mistakes_are_counted(write: Any) -> None:
    given = content()
    given["annotations"] = [{**given["annotations"][0], "id": i, "image_id": 5} for i in range(9)]
    with pytest.raises(DataError, match=r"annotation 4 (.|\n)*and 4 more"):
        CocoDetection(*write(given))


def test_bad_outlines_and_pictures_of_another_size(write: Any) -> None:
    data = CocoDetection(*write(changed(segmentation=[[1, 2]])), masks=True)
    with pytest.raises(DataError, match="annotation 1: a polygon of 2 values"):
        data[1]
    data = CocoDetection(*write(changed(segmentation={"size": [1, 2], "counts": [2]})), masks=True)
    with pytest.raises(DataError, match=r"the mask of annotation 1 is \(1, 2\)"):
        data[1]
    given = content()
    given["images"][0]["height"] = 9
    with pytest.raises(DataError, match=r"b\.png is 10 x 8, its annotations are for 10 x 9"):
        CocoDetection(*write(given))[0]
    with pytest.warns(UserWarning, match="1 of 2 pictures cannot be read"):
        assert len(CocoDetection(*write(given), corrupt="skip")) == 1


def test_coco_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017" / "sub").mkdir(parents=True)
    for name in ("b.png", "sub/a.png"):
        Image.fromarray(np.zeros((8, 10, 3), np.uint8)).save(tmp_path / "val2017" / name)
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(content()))
    assert len(COCO("val", folder=tmp_path)[1]) == 2
    with pytest.raises(DataError, match=r"holds neither annotations/instances_train2017\.json nor annotations_trainval2017\.zip"):
        COCO("train", folder=tmp_path)
