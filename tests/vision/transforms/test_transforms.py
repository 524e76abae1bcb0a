"""What every transform promises: the same key the same bits, batches as one by one, places moved along, bad input refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nyala import random
from nyala.core import kernels
from nyala.core.kernels import reference
from nyala.errors import ArgumentError, DataError, NyalaError
from nyala.vision import transforms as T
from PIL import Image

KEY = random.key(3, "augment", 0, 1)
IMAGES = np.random.default_rng(0).integers(20, 180, (6, 24, 31, 3), dtype=np.uint8)

SAME_SIZE = [
    T.ColorJitter(0.5, 0.5, 0.5, 0.2),
    T.RandomGrayscale(0.5),
    T.RandomInvert(),
    T.RandomAutocontrast(),
    T.RandomEqualize(),
    T.RandomPosterize(3),
    T.RandomSolarize(100),
    T.RandomAdjustSharpness(2.0),
    T.RandomHorizontalFlip(),
    T.RandomVerticalFlip(),
    T.RandomAffine(30, (0.2, 0.1), (0.7, 1.3), (-10, 10, -5, 5), fill=(1, 2, 3)),
    T.RandomAffine((5, 90), interpolation="bicubic"),
    T.RandomRotation(45, interpolation="bilinear"),
    T.RandomPerspective(0.6, 0.7),
    T.GaussianBlur((5, 3)),
    T.RandomErasing(0.7),
    T.RandomErasing(0.7, value="random"),
    T.RandAugment(3, 25),
    T.RandAugment(interpolation="bilinear", fill=(9, 8, 7)),
    T.AutoAugment("imagenet"),
    T.AutoAugment("cifar10"),
    T.AutoAugment("svhn"),
    T.TrivialAugmentWide(),
    T.AugMix(),
    T.AugMix(severity=9, alpha=0.4, all_ops=False),
]
RESIZING = [
    T.Resize(12, "bicubic"),
    T.Resize((40, 9)),
    T.Resize(20, max_size=22),
    T.CenterCrop((10, 40)),
    T.RandomCrop(20, padding=4, fill=9),
    T.RandomCrop((30, 40), pad_if_needed=True),
    T.RandomResizedCrop((16, 18), interpolation="bicubic"),
    T.Pad((1, 2, 3, 4), fill=(5, 6, 7)),
]
COMPOSED = [
    T.Compose([T.RandomResizedCrop(20), T.RandomHorizontalFlip(), T.ColorJitter(0.4)]),
    T.RandomApply([T.RandomInvert(1.0), T.RandomRotation(90)], p=0.5),
    T.RandomChoice([T.RandomInvert(1.0), T.RandomVerticalFlip(1.0), T.RandomGrayscale(1.0)]),
    T.RandomChoice([T.RandomInvert(1.0), T.RandomVerticalFlip(1.0)], p=[0.2, 0.8]),
]
ALL = SAME_SIZE + RESIZING + COMPOSED


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_a_batch_is_as_its_pictures_one_by_one(transform: T.Transform, monkeypatch: pytest.MonkeyPatch) -> None:
    before = IMAGES.copy()
    together = transform(IMAGES, KEY)
    alone = np.stack([transform(image, KEY.fold(i)) for i, image in enumerate(IMAGES)])
    assert np.array_equal(together, alone) and together.dtype == np.uint8
    assert np.array_equal(transform(T.Sample(IMAGES[2]), KEY.fold(2)).image, alone[2])
    assert np.array_equal(IMAGES, before), "the input was written to"
    plain = type("Plain", (), {name: staticmethod(kernel) for name, kernel in reference.KERNELS.items()})
    monkeypatch.setattr(kernels, "of", lambda _: plain)
    assert np.array_equal(transform(IMAGES, KEY), together), "the plain kernels, which also run on a GPU, differ"


@pytest.mark.parametrize("transform", SAME_SIZE + COMPOSED, ids=repr)
def test_draws_depend_on_the_key_alone(transform: T.Transform) -> None:
    first = [transform(IMAGES[0], random.key(0, "augment", n)).tobytes() for n in range(40)]
    again = [transform(IMAGES[0], random.key(0, "augment", n)).tobytes() for n in range(40)]
    assert first == again and len(set(first)) > 1


def test_without_a_key_the_ambient_stream_draws() -> None:
    transform = T.ColorJitter(0.5)
    random.manual_seed(5)
    first = transform(IMAGES[0]), transform(IMAGES[0])
    random.manual_seed(5)
    assert np.array_equal(transform(IMAGES[0]), first[0]) and not np.array_equal(first[0], first[1])


def scene() -> T.Sample:
    """Three blocks of colour in the black, each with box, mask and a keypoint in its middle."""
    image, masks, boxes = np.zeros((60, 80, 3), np.uint8), np.zeros((3, 60, 80), bool), []
    for n, (left, top, right, bottom) in enumerate([(10, 12, 30, 32), (44, 8, 70, 20), (40, 34, 60, 54)]):
        image[top:bottom, left:right, n] = 200
        masks[n, top:bottom, left:right] = True
        boxes.append((left, top, right, bottom))
    points = [[[(b[0] + b[2]) / 2, (b[1] + b[3]) / 2, 2.0]] for b in boxes]
    return T.Sample(image, boxes=boxes, masks=masks, keypoints=points, labels=[0, 1, 2])


MOVING = [
    T.RandomHorizontalFlip(1.0),
    T.RandomVerticalFlip(1.0),
    T.RandomAffine(30, (0.1, 0.1), (0.8, 1.2), (-10, 10)),
    T.RandomRotation(60),
    T.RandomPerspective(0.4, 1.0, interpolation="nearest"),
    T.Resize((33, 90), "nearest"),
    T.CenterCrop((50, 90)),
    T.RandomCrop((48, 64), padding=6),
    T.RandomResizedCrop((50, 50), scale=(0.4, 1.0), interpolation="nearest"),
    T.Pad(7),
    T.RandomZoomOut(side_range=(1.5, 2.0), p=1.0),
    T.RandomIoUCrop(),
    T.RandAugment(2, 20),
    T.Compose([T.RandomHorizontalFlip(), T.RandomResizedCrop(64, (0.5, 1.0), interpolation="nearest"), T.RandomRotation(20)]),
]


@pytest.mark.parametrize("transform", MOVING, ids=repr)
def test_places_move_with_the_picture(transform: T.Transform) -> None:
    seen = 0
    for n in range(12):
        sample = transform(scene(), random.key(1, "augment", n))
        colours = sample.image.astype(int)
        for i, label in enumerate(sample.labels):
            there = colours[:, :, label] > 100
            rows, columns = np.nonzero(there)
            if len(rows) < 30:  # hardly anything is left
                continue
            seen += 1
            assert (there & ~sample.masks[i]).sum() + (sample.masks[i] & ~there).sum() <= 0.08 * len(rows)
            left, top, right, bottom = sample.boxes[i]
            assert left - 1.5 <= columns.min() and columns.max() < right + 1.5
            assert top - 1.5 <= rows.min() and rows.max() < bottom + 1.5
            x, y, visible = sample.keypoints[i, 0]
            if visible:
                assert there[max(int(y) - 1, 0) : int(y) + 2, max(int(x) - 1, 0) : int(x) + 2].any()
            else:
                assert not (0 <= x < sample.width and 0 <= y < sample.height)
        assert sample.boxes.min(initial=0) >= 0
        assert (sample.boxes[:, 2:] <= [sample.width, sample.height]).all()
    assert seen > 12


def test_boxes_are_tight_where_the_map_keeps_right_angles() -> None:
    for transform in (T.RandomHorizontalFlip(1.0), T.RandomVerticalFlip(1.0), T.RandomRotation((90, 90)), T.Pad(3)):
        moved = transform(scene(), KEY)
        for i in range(len(moved)):
            rows, columns = np.nonzero(moved.masks[i])
            assert moved.boxes[i].tolist() == pytest.approx([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def test_mirrored_people_keep_their_left_on_the_left() -> None:
    sample = T.Sample(IMAGES[0], keypoints=[[[1, 2, 2], [20, 2, 1], [5, 5, 2]]])
    flipped = T.RandomHorizontalFlip(1.0, pairs=[(0, 1)])(sample, KEY)
    assert flipped.keypoints[0].tolist() == [[11, 2, 1], [30, 2, 2], [26, 5, 2]]
    with pytest.raises(ArgumentError, match="the objects have 3"):
        T.RandomHorizontalFlip(1.0, pairs=[(1, 3)])(sample, KEY)


def test_a_map_of_classes_gets_its_own_filling() -> None:
    classes = np.full((24, 31), 3, np.uint8)
    padded = T.Pad(2, fill=9, mask_fill=255)(T.Sample(IMAGES[0], masks=classes), KEY)
    assert padded.masks[0, 0] == 255 and padded.masks[5, 5] == 3 and padded.image[0, 0].tolist() == [9, 9, 9]
    turned = T.RandomRotation((45, 45), mask_fill=255)(T.Sample(IMAGES[0], masks=classes), KEY)
    assert set(np.unique(turned.masks)) == {3, 255}
    objects = T.Pad(2, mask_fill=255)(T.Sample(IMAGES[0], masks=np.ones((1, 24, 31), bool)), KEY)
    assert not objects.masks[0, 0, 0]


def test_a_window_beside_the_picture_shows_only_the_filling() -> None:
    white = np.full((24, 31, 3), 255, np.uint8)
    shares = set()
    for n in range(60):
        crop = T.RandomCrop((8, 9), padding=30, fill=7)(
            T.Sample(white, masks=np.ones((24, 31), np.uint8)), random.key(0, "augment", n)
        )
        assert set(np.unique(crop.image)) <= {7, 255} and np.array_equal(crop.image[:, :, 0] == 255, crop.masks == 1)
        shares.add(float((crop.masks == 1).mean()))
    assert min(shares) == 0 and max(shares) > 0.9


def test_resize_takes_the_sizes_that_torchvision_takes() -> None:
    shapes = {12: (12, 15), 100: (100, 129)}
    for side, shape in shapes.items():
        assert T.Resize(side)(IMAGES[0]).shape[:2] == shape
        assert T.Resize(side)(IMAGES[0].swapaxes(0, 1)).shape[:2] == shape[::-1]
    assert T.Resize(20, max_size=22)(IMAGES[0]).shape[:2] == (17, 22)


@pytest.mark.parametrize("kind", ["pil", "grey", "one channel"])
def test_the_kind_of_input_comes_back(kind: str) -> None:
    transform = T.Compose([T.Resize(10), T.RandomAdjustSharpness(2.0, 1.0), T.ColorJitter(0.1, 0.1, 0.1, 0.1)])
    if kind == "pil":
        out = transform(Image.fromarray(IMAGES[0]), KEY)
        assert isinstance(out, Image.Image) and np.array_equal(np.asarray(out), transform(IMAGES[0], KEY))
    else:
        grey = IMAGES[0, :, :, 0] if kind == "grey" else IMAGES[0, :, :, :1]
        assert transform(grey, KEY).shape == ((10, 12) if kind == "grey" else (10, 12, 1))


@pytest.mark.parametrize("bad", ["cat.png", b"abc", None, [[1, 2]], np.zeros((4, 4, 3)), np.zeros((3, 4, 4), np.uint8), 7])
def test_other_kinds_of_input_are_errors(bad: Any) -> None:
    with pytest.raises(DataError, match="cannot be transformed"):
        T.RandomInvert()(bad)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: T.RandomInvert(1.5), r"p=1\.5: a chance is a number from 0 to 1"),
        (lambda: T.ColorJitter(brightness=-1), "brightness=-1"),
        (lambda: T.ColorJitter(hue=0.6), "hue=0.6"),
        (lambda: T.ColorJitter(contrast=(2, 1)), r"contrast=\(2, 1\)"),
        (lambda: T.RandomPosterize(9), "bits=9"),
        (lambda: T.Resize((3, 4, 5)), r"size=\(3, 4, 5\)"),
        (lambda: T.Resize(0), "size=0"),
        (lambda: T.Resize(4, "cubic"), "interpolation='cubic'"),
        (lambda: T.Resize(20, max_size=20), "max_size"),
        (lambda: T.RandomResizedCrop(4, scale=(0, 2)), r"scale=\(0, 2\)"),
        (lambda: T.RandomCrop(40)(IMAGES[0]), "the picture is smaller"),
        (lambda: T.Pad((1, 2, 3)), "padding"),
        (lambda: T.Pad(1, fill=300)(IMAGES[0]), "fill=300"),
        (lambda: T.Pad(1, fill=(1, 2))(IMAGES[0]), "3 channels"),
        (lambda: T.RandomAffine(-5), "degrees=-5"),
        (lambda: T.RandomAffine(5, interpolation="lanczos"), "lanczos"),
        (lambda: T.RandomPerspective(2.0), "distortion_scale"),
        (lambda: T.RandomHorizontalFlip(pairs=[(0, 0)]), "name each keypoint once"),
        (lambda: T.RandomIoUCrop()(IMAGES[0]), "call it on a Sample"),
        (lambda: T.RandomIoUCrop()(T.Sample(IMAGES[0])), "without boxes"),
        (lambda: T.RandomZoomOut()(IMAGES), "many sizes"),
        (lambda: T.RandomApply([T.Resize(9)])(IMAGES, KEY), "some pictures of a batch became 9 x 11"),
        (lambda: T.GaussianBlur(4), "kernel_size=4"),
        (lambda: T.GaussianBlur(3, (2.0, 1.0)), "sigma"),
        (lambda: T.GaussianBlur(61)(IMAGES[0]), "a side of 24"),
        (lambda: T.RandomErasing(value="noise"), "value='noise'"),
        (lambda: T.RandAugment(magnitude=31), "magnitude=31"),
        (lambda: T.AutoAugment("coco"), "use one of imagenet, cifar10, svhn"),
        (lambda: T.TrivialAugmentWide(1), "num_magnitude_bins=1"),
        (lambda: T.AugMix(severity=11), "severity=11"),
        (lambda: T.AugMix()(scene()), "several places"),
        (lambda: T.Compose([len]), "Compose was given"),
        (lambda: T.RandomChoice([]), "at least one"),
        (lambda: T.RandomChoice([T.Pad(1)], p=[0.0]), "chances"),
    ],
)
def test_nonsense_is_refused(make: Any, text: str) -> None:
    with pytest.raises(NyalaError, match=text):
        make()
