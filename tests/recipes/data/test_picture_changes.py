"""A recipe's changes of bytes: each is the transform of its name, drawn by (seed, epoch, index), before normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nyala import random
from nyala.errors import RecipeError
from nyala.recipes.data import augment, picture_changes, tasks
from nyala.recipes.language import config, pictures, schema
from nyala.vision import transforms as T
from nyala.vision.preprocess import ImagePreprocess

PICTURE = np.random.default_rng(0).integers(20, 200, (40, 50, 3), dtype=np.uint8)
PREPARE = ImagePreprocess((32, 32), "bilinear")
MADE: list[tuple[Any, T.Transform]] = [
    (pictures.VerticalFlip(0.4), T.RandomVerticalFlip(0.4)),
    (pictures.ColorJitter(0.3, 0.2, 0.1, 0.05), T.ColorJitter(0.3, 0.2, 0.1, 0.05)),
    (pictures.Grayscale(0.3), T.RandomGrayscale(0.3)),
    (pictures.GaussianBlur(0.7, (0.5, 1.0)), T.RandomApply([T.GaussianBlur(7, (0.5, 1.0))], 0.7)),
    (pictures.RandomAffine(20, 0.2, (0.8, 1.0), 5), T.RandomAffine(20, (0.2, 0.2), (0.8, 1.0), 5, "bilinear")),
    (pictures.RandomPerspective(0.8, 0.3), T.RandomPerspective(0.3, 0.8)),
    (pictures.RandAugment(3, 20), T.RandAugment(3, 20, interpolation="bilinear")),
    (pictures.TrivialAugment(), T.TrivialAugmentWide(interpolation="bilinear")),
    (pictures.AutoAugment("svhn"), T.AutoAugment("svhn", "bilinear")),
    (pictures.AugMix(5, 2, 1), T.AugMix(5, 2, 1)),
]


def test_every_change_of_the_schema_is_tried() -> None:
    assert {type(table) for table, _ in MADE} == set(picture_changes.CHANGES)


@pytest.mark.parametrize(("table", "transform"), MADE, ids=lambda c: type(c).__name__)
def test_each_change_is_the_transform_of_its_name(table: Any, transform: T.Transform) -> None:
    changed = 0
    for index in range(12):
        key = random.key(0, "augment", 0, index)
        prepared = tasks.Images(PREPARE).prepare(PICTURE, [table], key)
        assert np.array_equal(prepared, PREPARE.normalise(transform(PREPARE.crop(PICTURE), key.fold(0))))
        changed += not np.array_equal(prepared, PREPARE.one(PICTURE))
    assert changed


def test_lists_go_from_the_part_cut_out_over_bytes_to_numbers() -> None:
    crop, jitter, erase = schema.RandomResizedCrop(), pictures.ColorJitter(), schema.RandomErasing(p=1.0)
    flip, key = schema.HorizontalFlip(p=1.0), random.key(0, "augment", 0, 1)
    prepared = tasks.Images(PREPARE).prepare(PICTURE, [crop, jitter, flip, erase], key)
    box = augment.resized_crop_box((50, 40), crop, key.fold(0))
    pixels = T.resize(PICTURE, (32, 32), "bilinear", box)
    changed = PREPARE.normalise(T.ColorJitter(0.4, 0.4, 0.4)(pixels, key.fold(1))[:, ::-1])
    assert np.array_equal(prepared, augment.image(changed, [crop, jitter, flip, erase], key, done=3))


def test_mirroring_bytes_is_mirroring_numbers() -> None:
    """What a flip drew before it worked on bytes it draws still: recorded runs repeat."""
    flip = [schema.HorizontalFlip()]
    for index in range(20):
        key = random.key(3, "augment", 1, index)
        assert np.array_equal(tasks.Images(PREPARE).prepare(PICTURE, flip, key), augment.image(PREPARE.one(PICTURE), flip, key))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ("[{type='random_erasing'}, {type='color_jitter'}]", "color_jitter comes after random_crop or random_erasing"),
        ("[{type='grayscale'}, {type='random_resized_crop'}, {type='aug_mix'}]", "aug_mix comes after random_resized_crop"),
        ("[{type='rand_augment', magnitude=31}]", "magnitude"),
        ("[{type='gaussian_blur', sigma=[2.0, 1.0]}]", "the lower bound 2 is above the upper bound 1"),
        ("[{type='auto_augment', policy='coco'}]", "policy"),
    ],
)
def test_orders_and_values_that_make_no_sense_are_named(changes: str, text: str) -> None:
    with pytest.raises(RecipeError, match=text):
        config.load("vision/fashion-probe", [f"data.augment={changes}"])
