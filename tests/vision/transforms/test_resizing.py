"""Resizing equals Pillow's to the bit, for every filter, on parts, and for many pictures at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL
import pytest
from nyala.core import kernels
from nyala.core.kernels import CPU, reference
from nyala.errors import ArgumentError, DataError
from nyala.vision.transforms.resizing import FILTERS, resize, resize_image
from PIL import Image

ROWS_FIRST = int(PIL.__version__.split(".")[0]) >= 13
SIZES = [
    (20, 30, 8, 8),
    (40, 33, 13, 24),
    (7, 5, 40, 3),
    (90, 2, 31, 64),
    (1, 1, 5, 7),
    (64, 64, 64, 20),
    (33, 64, 70, 64),
    (97, 61, 30, 61),
]
PLAIN = type("Plain", (), {name: staticmethod(reference.KERNELS[name]) for name in ("filter_taps", "resample_bytes")})


def pillow(pixels: np.ndarray, size: tuple[int, int], name: str, box: Any = None) -> np.ndarray:
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    resized = np.asarray(image.resize(size[::-1], getattr(Image.Resampling, name.upper()), box=box))
    return resized.reshape(*size, -1)


def pictures(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_equals_pillow(name: str, sizes: tuple[int, int, int, int]) -> None:
    height, width, *target = sizes
    rows_first = target[0] < height and height - target[0] > 2 * (width - target[1])
    if rows_first and not ROWS_FIRST:
        pytest.skip("this Pillow combines columns first here")
    size = target[0], target[1]
    for channels in (3, 1):
        pixels = pictures(height, width, channels)
        for image in (pixels, (pixels > 127).astype(np.uint8) * 255):  # hard edges overshoot
            assert np.array_equal(resize(image, size, name), pillow(image, size, name))
            box = (0.25 * width, 0.1 * height, 0.9 * width, height)
            assert np.array_equal(resize(image, size, name, box), pillow(image, size, name, box))


@pytest.mark.parametrize("name", FILTERS)
def test_many_at_once_are_as_one_by_one_on_both_backends(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(3, 21, 34, 3)
    boxes = [(0, 0, 34, 21), (3, 2, 12, 19), (1.5, 0, 33.5, 20.5)]
    for size in ((16, 9), (5, 40)):
        single = np.stack([resize(x, size, name, box) for x, box in zip(images, boxes, strict=True)])
        assert np.array_equal(resize(images, size, name, boxes), single)
        with monkeypatch.context() as patched:
            patched.setattr(kernels, "of", lambda _: PLAIN)
            assert np.array_equal(resize(images, size, name, boxes), single)
            assert np.array_equal(resize(images, size, name)[1], resize(images[1], size, name))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((pictures(4, 4, 3), (0, 4)), ArgumentError, "0 x 4 pixels"),
        ((pictures(4, 4, 3), (4, 2), "cubic"), ArgumentError, "use one of nearest"),
        ((pictures(4, 4, 3), (4, 2), "box", (0, 0, 5, 4)), ArgumentError, "reaches beyond"),
        ((pictures(4, 4, 3), (4, 2), "box", (2, 0, 2, 4)), ArgumentError, "empty"),
        ((pictures(2, 4, 4, 3), (4, 2), "box", [(0, 0, 1, 1)] * 3), ArgumentError, "3 parts of 2 pictures"),
        ((np.zeros((4, 4, 3), np.float32), (2, 2)), DataError, "float32"),
        ((pictures(4, 4), (2, 2)), DataError, r"\(4, 4\)"),
        ((pictures(0, 4, 3), (2, 2)), DataError, r"\(0, 4, 3\)"),
    ],
)
def test_bad_input_is_named(arguments: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        resize(*arguments)


@pytest.mark.parametrize("name", FILTERS)
def test_tables_are_the_same_on_both_backends(name: str) -> None:
    random = np.random.default_rng(1)
    for size, out in ((500, 224), (375, 224), (7, 96), (1, 3), (4000, 17)):
        corners = np.sort(random.uniform(0, size, (40, 2)), axis=1)
        whole = np.stack([np.floor(corners[:, 0]), np.ceil(corners[:, 1])], axis=1)
        for parts in (corners.astype(np.float32), whole.astype(np.float32)):
            made, right = CPU.filter_taps(parts, size, out, name), reference.KERNELS["filter_taps"](parts, size, out, name)
            for field in ("start", "count", "weight"):
                values, wanted = getattr(made, field), getattr(right, field)
                assert values.dtype == wanted.dtype and np.array_equal(values, wanted), (field, size, out)


@pytest.mark.parametrize("name", FILTERS)
def test_pictures_are_read_where_they_lie(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for height, width, size in (
        (40, 33, (13, 24)),
        (90, 20, (31, 64)),
        (64, 64, (64, 20)),
        (33, 64, (70, 64)),
        (21, 34, (21, 34)),
    ):
        image = Image.fromarray(pictures(height, width, 3))
        pixels, box = np.asarray(image), (0.25 * width, 1, width, height - 2)
        for part in (None, box):
            right = resize(pixels, size, name, part)
            assert np.array_equal(resize_image(image, size, name, part), right)
            window = resize_image(image, size, name, part, window=(2, 3, 9, 11))
            assert np.array_equal(window, right[2:11, 3:14]) and window.shape == (9, 11, 3)
            with monkeypatch.context() as patched:
                patched.setattr(kernels, "of", lambda _: PLAIN)
                assert np.array_equal(resize_image(image, size, name, part), right)
