"""The pixels of Pillow's pictures without a copy: right, kept while they are looked at, and never written to."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from nyala.vision.memory import pixels_in_place
from PIL import Image


def picture(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (375, 500)])
def test_they_are_the_pictures(size: tuple[int, int]) -> None:
    image = picture(*size)
    assert np.array_equal(pixels_in_place(image)[..., :3], np.asarray(image))
    part = image.crop((0, 0, (size[1] + 1) // 2, (size[0] + 1) // 2))
    assert np.array_equal(pixels_in_place(part)[..., :3], np.asarray(part))


def test_nothing_is_copied_and_nothing_can_be_written() -> None:
    image = picture(9, 8)
    seen = pixels_in_place(image)
    if seen.shape[2] == 3:
        pytest.skip("this Pillow does not show its memory")
    image.putpixel((2, 1), (1, 2, 3))
    assert seen[1, 2, :3].tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        seen[0, 0, 0] = 1


def test_the_memory_outlives_the_picture() -> None:
    image = picture(60, 50)
    right, seen = np.array(image), pixels_in_place(image)
    del image
    gc.collect()
    others = [Image.new("RGB", (50, 60), (9, 9, 9)) for _ in range(50)]
    assert np.array_equal(seen[..., :3], right) and len(others) == 50


def test_where_pillow_does_not_show_its_memory_it_is_a_copy() -> None:
    size = (2100, 2000)  # over 16 MB, in several places

    class Old:
        def __init__(self, image: Image.Image) -> None:
            self.__array_interface__ = image.__array_interface__

    for given in (picture(*size), Old(picture(3, 4))):
        seen = pixels_in_place(given)
        assert seen.shape[2] == 3 and np.array_equal(seen, np.asarray(given))
