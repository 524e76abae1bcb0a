"""Masks in COCO's way: polygons and strings equal to pycocotools, round trips, hostile files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nyala.errors import DataError, ShapeError
from nyala.vision.masks import decode_rle, encode_rle, fill_polygons, runs_of, text_of

GOLDEN = json.loads((Path(__file__).parents[1] / "goldens" / "vision" / "scores" / "detection.json").read_text())


def test_polygons_are_filled_as_by_pycocotools() -> None:
    size = GOLDEN["size"]
    outlines = [a["segmentation"] for a in GOLDEN["truth"]["annotations"]]
    assert len(outlines) > 50
    for polygons, counts in zip(outlines, GOLDEN["masks"], strict=True):
        mask = fill_polygons(polygons, size, size)
        assert encode_rle(mask)["counts"] == counts
        assert (decode_rle({"size": [size, size], "counts": counts}) == mask).all()


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_masks_come_back(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    rle = encode_rle(mask)
    assert (decode_rle(rle) == mask).all()
    assert (decode_rle({**rle, "counts": runs_of(rle["counts"]).tolist()}) == mask).all()


@given(st.lists(st.integers(0, 10**7), max_size=12))
def test_run_lengths_come_back(runs: list[int]) -> None:
    assert runs_of(text_of(np.array(runs, np.int64))).tolist() == runs


@pytest.mark.parametrize(
    ("rle", "text"),
    [
        ({"counts": [4]}, "no run-length mask"),
        ({"size": [2, 2], "counts": [3]}, "do not fill it"),
        ({"size": [2, 2], "counts": [5, -1]}, "do not fill it"),
        ({"size": [1 << 20, 1 << 20], "counts": [1 << 40]}, "a mask of 1048576 x 1048576 pixels"),
        ({"size": [2, 2], "counts": "\n"}, "no string of run lengths"),
        ({"size": [2, 2], "counts": "o"}, "ends inside a run length"),
        ({"size": [2, 2], "counts": "o" * 90}, "no string of run lengths"),
    ],
)
def test_bad_run_lengths(rle: dict[str, Any], text: str) -> None:
    with pytest.raises(DataError, match=text):
        decode_rle(rle)


def test_bad_polygons() -> None:
    for polygon in ([0, 0, 1, 1], [0, 0, 1, 1, 2], [0, 0, 1, 1, 2, float("nan")]):
        with pytest.raises(DataError, match="a polygon of"):
            fill_polygons([polygon], 5, 5)
    with pytest.raises(DataError, match="an outline of"):
        fill_polygons([[0, 0, 1e9, 0, 0, 1]], 5, 5)
    with pytest.raises(ShapeError, match="a mask of shape"):
        encode_rle(np.zeros((1, 2, 2), bool))
