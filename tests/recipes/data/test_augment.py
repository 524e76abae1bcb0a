"""Random changes: keyed by (seed, epoch, index) alone, of the right shape, and what they say they are."""

from __future__ import annotations

import numpy as np
import pytest
from nyala import random
from nyala.recipes.data import augment, mixing, tasks
from nyala.recipes.language import schema
from nyala.vision.preprocess import ImagePreprocess
from PIL import Image

PICTURE = np.arange(3 * 12 * 10, dtype=np.float32).reshape(3, 12, 10)


def key(seed: int, epoch: int, index: int) -> random.Key:
    return random.key(seed, "augment", epoch, index)


ALL = [schema.HorizontalFlip(), schema.RandomCrop(3), schema.RandomResizedCrop(), schema.RandomErasing(p=1.0)]


@pytest.mark.parametrize("kind", ALL, ids=lambda a: type(a).__name__)
def test_each_change_repeats_by_its_key_and_keeps_shape_and_input(kind: schema.Augment) -> None:
    before = PICTURE.copy()
    drawn = [augment.image(PICTURE, [kind], key(1, epoch, index)) for epoch in range(3) for index in range(4)]
    again = [augment.image(PICTURE, [kind], key(1, epoch, index)) for epoch in range(3) for index in range(4)]
    assert all(
        np.array_equal(a, b) and a.shape == PICTURE.shape and a.dtype == np.float32 for a, b in zip(drawn, again, strict=True)
    )
    assert len({a.tobytes() for a in drawn}) > 1
    assert np.array_equal(PICTURE, before)


def test_flips_are_mirror_images_half_of_the_time() -> None:
    results = [augment.image(PICTURE, [schema.HorizontalFlip()], key(0, 0, i)) for i in range(200)]
    flipped = [np.array_equal(r, PICTURE[:, :, ::-1]) for r in results]
    assert all(f or np.array_equal(r, PICTURE) for f, r in zip(flipped, results, strict=True))
    assert 70 <= sum(flipped) <= 130


def test_crops_reach_every_offset_and_repeat_the_edge() -> None:
    corner = {float(augment.image(PICTURE, [schema.RandomCrop(1)], key(0, 0, i))[0, 0, 0]) for i in range(100)}
    assert corner == {0.0, 1.0, 10.0, 11.0}  # shifted by -1, 0 or 1 both ways; shifts over the edge repeat it


def test_erasing_zeroes_one_rectangle_of_the_asked_area() -> None:
    ones = np.ones((3, 40, 40), np.float32)
    result = augment.image(ones, [schema.RandomErasing(p=1.0, scale=(0.2, 0.2), ratio=(1.0, 1.0))], key(0, 0, 0))
    rows, columns = np.nonzero(result[0] == 0)
    assert (np.ptp(rows) + 1) * (np.ptp(columns) + 1) == len(rows)
    assert len(rows) / 1600 == pytest.approx(0.2, abs=0.02)


def test_a_whole_resized_crop_is_the_picture_itself() -> None:
    square = np.random.default_rng(0).normal(size=(3, 16, 16)).astype(np.float32)
    result = augment.image(square, [schema.RandomResizedCrop(scale=(1.0, 1.0), ratio=(1.0, 1.0))], key(0, 0, 0))
    np.testing.assert_allclose(result, square, atol=1e-6)


def test_words_drop_out_and_one_always_stays() -> None:
    words = " ".join(f"w{i}" for i in range(1000))
    kept = augment.text(words, [schema.WordDropout(0.3)], key(0, 0, 0)).split()
    assert 640 <= len(kept) <= 760 and kept == [w for w in words.split() if w in set(kept)]
    assert augment.text("one", [schema.WordDropout(0.99)], key(0, 0, 0)) == "one"
    assert augment.text("", [schema.WordDropout(0.5)], key(0, 0, 0)) == ""


IMAGES = np.stack([np.full((1, 8, 8), float(i), np.float32) for i in range(6)])
TARGETS = mixing.one_hot(np.arange(6), 6)


@pytest.mark.parametrize("blend", [mixing.mixup, mixing.cutmix])
def test_labels_are_blended_as_the_pictures_are(blend: object) -> None:
    for step in range(20):
        images, targets = blend(IMAGES, TARGETS, 1.0, 3, step, 0)  # type: ignore[operator]
        np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)
        # the mean of a constant picture's pixels is the blend of the class numbers
        np.testing.assert_allclose(images.mean((1, 2, 3)), targets @ np.arange(6), rtol=1e-5, atol=1e-5)


def test_mixing_is_keyed_by_the_step() -> None:
    drawn = [mixing.mixup(IMAGES, TARGETS, 0.4, 3, step, 0)[0].tobytes() for step in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("alpha", [0.1, 1.0, 4.0])
def test_the_share_is_beta_distributed(alpha: float) -> None:
    drawn = np.array([mixing.beta(alpha, 0, i) for i in range(600)])
    assert drawn.mean() == pytest.approx(0.5, abs=0.06)
    assert drawn.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.2)


def test_a_resized_crop_at_the_head_cuts_out_of_the_picture_itself() -> None:
    """One scaling, at the picture's own resolution; what follows in the list draws as it would after any other."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    prepare = ImagePreprocess((16, 16), "bilinear")
    crop, flip = schema.RandomResizedCrop(scale=(0.1, 0.5)), schema.HorizontalFlip(p=1.0)
    result = tasks.Images(prepare).prepare(pixels, [crop, flip], key(0, 0, 3))
    left, top, right, bottom = augment.resized_crop_box((90, 60), crop, key(0, 0, 3).fold(0))
    assert 0 <= left < right <= 90
    assert 0 <= top < bottom <= 60
    expected = Image.fromarray(pixels).resize((16, 16), Image.Resampling.BILINEAR, box=(left, top, right, bottom))
    assert np.array_equal(result, prepare.normalise(np.asarray(expected))[:, :, ::-1])


def test_areas_and_aspect_ratios_of_resized_crops_are_within_their_bounds() -> None:
    crop = schema.RandomResizedCrop(scale=(0.2, 0.6), ratio=(0.8, 1.25))
    boxes = np.array([augment.resized_crop_box((400, 300), crop, key(0, 0, i)) for i in range(300)])
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    area, ratio = widths * heights / 120_000, widths / heights
    assert 0.195 < area.min() < 0.25 < 0.5 < area.max() < 0.61
    assert 0.78 < ratio.min() < 0.85 < 1.15 < ratio.max() < 1.28


def test_a_resized_crop_further_down_works_on_the_prepared_picture() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    prepare, changes = ImagePreprocess((16, 16)), [schema.RandomCrop(2), schema.RandomResizedCrop()]
    result = tasks.Images(prepare).prepare(pixels, changes, key(0, 0, 3))
    assert np.array_equal(result, augment.image(prepare.one(pixels), changes, key(0, 0, 3)))


def test_without_a_key_nothing_is_changed() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    prepare = ImagePreprocess((16, 16))
    assert np.array_equal(tasks.Images(prepare).prepare(pixels, [schema.RandomResizedCrop()]), prepare.one(pixels))
