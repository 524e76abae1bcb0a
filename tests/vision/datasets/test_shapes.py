"""Drawn pictures: boxes fit their shapes, and the seed says everything."""

from __future__ import annotations

import numpy as np
import pytest
from nyala.errors import ArgumentError, IndexRangeError
from nyala.vision.datasets import DrawnShapes


def test_the_seed_says_everything() -> None:
    first, again, other = (DrawnShapes("train", 6, seed=s) for s in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.image, b.image) and np.array_equal(a.boxes, b.boxes) and np.array_equal(a.labels, b.labels)
    assert not np.array_equal(first[0].image, other[0].image)
    assert not np.array_equal(first[0].image, DrawnShapes("test", 6, seed=1)[0].image)
    assert np.array_equal(first[-1].image, DrawnShapes("train", 9, seed=1)[5].image)


def test_boxes_fit_their_shapes() -> None:
    seen = set()
    for sample in DrawnShapes("train", 40):
        assert 1 <= len(sample) <= 4
        for box, label in zip(sample.boxes.astype(int), sample.labels, strict=True):
            left, top, right, bottom = box
            part = sample.image[top:bottom, left:right].astype(int)
            shape = (part == part[(bottom - top) // 2, (right - left) // 2]).all(-1)  # one colour, and the ground is noisy
            assert shape.any(0).all() and shape.any(1).all()
            share = shape.mean()
            assert abs(share - (0.785, 1.0, 0.5)[label]) < 0.1
            seen.add(int(label))
    assert seen == {0, 1, 2}


def test_nothing_overlaps() -> None:
    for sample in DrawnShapes("test", 40, most=6):
        for i, a in enumerate(sample.boxes):
            for b in sample.boxes[:i]:
                assert not (np.minimum(a[2:], b[2:]) > np.maximum(a[:2], b[:2])).all()


def test_nonsense_is_refused() -> None:
    with pytest.raises(ArgumentError, match="no split 'val'"):
        DrawnShapes("val", 3)
    with pytest.raises(ArgumentError, match="8 pixels wide"):
        DrawnShapes("train", 3, size=8)
    with pytest.raises(IndexRangeError, match="picture 3 of 3"):
        DrawnShapes("train", 3)[3]
