"""Pictures mixed with others: shares that add up, labels by the areas, samples whose objects go where their pixels go."""

from __future__ import annotations

from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import random
from nyala.errors import DataError, IndexRangeError, NyalaError, ShapeError
from nyala.vision import transforms as T

PICTURES = np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1) * np.ones((4, 3, 10, 12), np.float32)
LABELS = np.array([0, 2, 2, 4])


def test_mixup_takes_the_same_shares_of_pictures_and_labels() -> None:
    kept = []
    for n in range(60):
        mixed, shares = T.MixUp(5, alpha=0.4)(PICTURES, LABELS, random.key(0, "augment", n))
        share = shares[0, 0]  # of picture 0, mixed with picture 3
        assert mixed[0] == pytest.approx((1 - share) * 3, abs=1e-5) and shares[0, 4] == pytest.approx(1 - share, abs=1e-6)
        assert mixed[2] == pytest.approx(2 * share + (1 - share), abs=1e-5) and shares[2, 2] == pytest.approx(1)
        kept.append(share)
    assert min(kept) < 0.1 and max(kept) > 0.9


def test_cutmix_takes_labels_by_the_areas() -> None:
    areas = []
    for n in range(60):
        mixed, shares = T.CutMix(5)(PICTURES, LABELS, random.key(0, "augment", n))
        own = (mixed[0, 0] == 0).mean()
        assert set(np.unique(mixed[0])) <= {0.0, 3.0} and shares[0].tolist() == pytest.approx([own, 0, 0, 0, 1 - own], abs=1e-6)
        areas.append(own)
    assert min(areas) < 0.4 and max(areas) > 0.9


@pytest.mark.parametrize("kind", [T.MixUp, T.CutMix])
def test_tensors_are_mixed_alike_and_train(kind: Any) -> None:
    key = random.key(2, "augment")
    mixed, shares = kind(5)(PICTURES, LABELS, key)
    tensors = kind(5)(nyala.tensor(PICTURES), nyala.tensor(LABELS), key)
    assert np.array_equal(tensors[0].numpy(), mixed) and np.array_equal(tensors[1].numpy(), shares)
    assert np.isfinite(F.cross_entropy(nyala.randn(4, 5), tensors[1]).item())


@pytest.mark.parametrize(
    ("images", "labels", "error", "text"),
    [
        (PICTURES, [0, 1, 2, 5], IndexRangeError, "label 5 of picture 3: there are 5 classes"),
        (PICTURES, [0, 1], ShapeError, r"4 pictures and labels of int64 and shape \(2,\)"),
        (PICTURES, [0.0] * 4, ShapeError, "float64"),
        (PICTURES[0], [0], ShapeError, "floats"),
        (PICTURES.astype(np.uint8), LABELS, ShapeError, "uint8"),
        ("cat.png", LABELS, ShapeError, "a str"),
    ],
)
def test_batches_that_do_not_fit_are_refused(images: Any, labels: Any, error: type[NyalaError], text: str) -> None:
    with pytest.raises(error, match=text):
        T.MixUp(5)(images, labels)


def block(level: int, **known: Any) -> T.Sample:
    """A grey picture with one bright block and all that is known of it."""
    image, masks = np.full((30, 40, 3), 20, np.uint8), np.zeros((1, 30, 40), bool)
    image[8:22, 10:30], masks[:, 8:22, 10:30] = level, True
    everything = {"boxes": [[10, 8, 30, 22]], "masks": masks, "keypoints": [[[20, 15, 2]]], "labels": [level]}
    return T.Sample(image, other={"area": np.array([280.0])}, **{**everything, **known})


def test_objects_of_a_mosaic_lie_where_their_pixels_are() -> None:
    levels, seen = (120, 160, 200, 240), set()
    for n in range(20):
        whole = T.Mosaic((64, 72), interpolation="nearest")([block(level) for level in levels], random.key(0, "augment", n))
        assert whole.image.shape == (64, 72, 3) and len(whole) == len(whole.labels) == len(whole.other["area"])
        for i, level in enumerate(whole.labels):
            there = (whole.image == level).all(axis=2)
            assert np.array_equal(there, whole.masks[i])
            rows, columns = np.nonzero(there)
            edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert whole.boxes[i].tolist() == pytest.approx(edges, abs=1.01)
            x, y, visible = whole.keypoints[i, 0]
            if visible:
                assert there[int(y), int(x)]
            seen.add(int(level))
    assert seen == set(levels)


def test_a_mosaic_of_maps_of_classes_is_one_map() -> None:
    classes = np.full((30, 40), 3, np.uint8)
    samples = [T.Sample(np.full((30, 40, 3), 50, np.uint8), masks=classes + i) for i in range(4)]
    whole = T.Mosaic(64, center=(0.85, 0.9), mask_fill=255)(samples, random.key(0, "augment"))
    assert set(np.unique(whole.masks)) == {3, 4, 5, 6, 255} and ((whole.masks == 255) == (whole.image[:, :, 0] == 114)).all()
    with pytest.raises(DataError, match="different kinds"):
        T.Mosaic(64)([*samples[:3], T.Sample(samples[0].image, masks=np.ones((1, 30, 40), bool))])
    with pytest.raises(DataError, match="only some have boxes"):
        T.Mosaic(64)([*samples[:3], samples[0].replace(boxes=[[0, 0, 1, 1]])])
    with pytest.raises(DataError, match="a mosaic of 3 pictures"):
        T.Mosaic(64)(samples[:3])
