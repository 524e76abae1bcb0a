"""Transforms of batches on ``device="cuda"``: the bytes that the processor gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nyala import random
from nyala.core.devices import move
from nyala.vision import transforms as T
from nyala.vision.preprocess import ImagePreprocess

IMAGES = np.random.default_rng(0).integers(20, 180, (6, 24, 31, 3), dtype=np.uint8)
CHANGES = [
    T.Resize(12, "bicubic"),
    T.Compose([T.RandomResizedCrop(20), T.RandomHorizontalFlip(), T.ColorJitter(0.4, 0.4, 0.4, 0.1)]),
    T.RandomCrop(20, padding=4, fill=9),
    T.RandomAffine(30, (0.2, 0.1), (0.7, 1.3), 5, interpolation="bilinear"),
    T.RandomPerspective(0.6, 0.7, interpolation="bicubic"),
    T.GaussianBlur(5),
    T.RandomErasing(0.7, value="random"),
    T.RandAugment(3, 25),
    T.AutoAugment(),
    T.TrivialAugmentWide(),
    T.AugMix(),
    T.Pad((1, 2, 3, 4), fill=(5, 6, 7)),
    T.RandomRotation(45),
    T.RandomVerticalFlip(),
    T.RandomGrayscale(0.5),
    T.RandomPosterize(3),
    T.RandomSolarize(100),
    T.RandomInvert(),
    T.RandomAutocontrast(),
    T.RandomEqualize(),
    T.RandomAdjustSharpness(2.0),
]


@pytest.mark.parametrize("transform", CHANGES, ids=repr)
def test_bytes_are_the_processors(transform: T.Transform, cuda: str) -> None:
    key = random.key(3, "augment")
    changed: Any = transform(move(IMAGES, cuda), key)
    assert not isinstance(changed, np.ndarray)
    assert np.array_equal(move(changed, "cpu"), transform(IMAGES, key))


def test_normalised_and_mixed_batches_are_the_processors(cuda: str) -> None:
    key, prepare = random.key(3, "augment"), ImagePreprocess((24, 31))
    labels, here = np.arange(6) % 3, prepare.normalise(IMAGES)
    there: Any = prepare.normalise(move(IMAGES, cuda))
    assert np.array_equal(move(there, "cpu"), here)
    for mix in (T.MixUp(3), T.CutMix(3)):
        for one, other in zip(mix(there, labels, key), mix(here, labels, key), strict=True):
            assert np.abs(move(one, "cpu") - other).max() < 1e-6
