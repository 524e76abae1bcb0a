"""Colours change as Pillow changes them, to the bit, also where the pictures of a batch have factors of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from nyala.core.kernels import CPU, reference
from nyala.vision.transforms import pixels
from PIL import Image, ImageEnhance, ImageOps

RNG = np.random.default_rng(0)
COLOURS = np.stack(np.meshgrid(*[np.arange(0, 256, 5)] * 3), -1).reshape(-1, 52, 3).astype(np.uint8)
PICTURES = [
    COLOURS,
    RNG.integers(0, 256, (31, 37, 3), dtype=np.uint8),
    RNG.integers(100, 140, (50, 40, 3), dtype=np.uint8),
    np.full((5, 5, 3), 7, np.uint8),
    RNG.integers(0, 256, (2, 3, 3), dtype=np.uint8),
]


def hue(image: Image.Image, factor: float) -> Image.Image:
    """torchvision's, on PIL images."""
    h, s, v = image.convert("HSV").split()
    turned = np.array(h) + np.array(factor * 255).astype(np.int64).astype(np.uint8)
    return Image.merge("HSV", (Image.fromarray(turned.astype(np.uint8)), s, v)).convert("RGB")


def enhance(kind: Any) -> Callable[[Image.Image, float], Image.Image]:
    return lambda image, factor: kind(image).enhance(factor)


FACTORS = (0.0, 0.3, 0.77, 1.0, 1.4, 2.7)
CASES: list[tuple[Any, Any, tuple[Any, ...]]] = [
    (pixels.adjust_brightness, enhance(ImageEnhance.Brightness), FACTORS),
    (pixels.adjust_contrast, enhance(ImageEnhance.Contrast), FACTORS),
    (pixels.adjust_saturation, enhance(ImageEnhance.Color), FACTORS),
    (pixels.adjust_sharpness, enhance(ImageEnhance.Sharpness), FACTORS),
    (pixels.adjust_hue, hue, (-0.5, -0.31, -0.1, 0.0, 0.2, 0.49)),
    (pixels.posterize, ImageOps.posterize, (1, 2, 4, 8)),
    (pixels.solarize, ImageOps.solarize, (0, 100.5, 128, 256)),
    (pixels.invert, ImageOps.invert, ()),
    (pixels.autocontrast, ImageOps.autocontrast, ()),
    (pixels.equalize, ImageOps.equalize, ()),
    (pixels.to_grayscale, lambda image: image.convert("L").convert("RGB"), ()),
]


@pytest.mark.parametrize(("ours", "theirs", "factors"), CASES, ids=lambda c: getattr(c, "__name__", ""))
def test_equals_pillow(ours: Any, theirs: Any, factors: tuple[Any, ...]) -> None:
    for picture in PICTURES:
        for arguments in [(f,) for f in factors] or [()]:
            expected = np.asarray(theirs(Image.fromarray(picture), *arguments))
            assert np.array_equal(ours(picture[None], *arguments)[0], expected), arguments
        grey = picture[:, :, :1]
        if ours not in (pixels.adjust_hue, pixels.to_grayscale):
            expected = np.asarray(theirs(Image.fromarray(grey[:, :, 0]), *arguments))
            assert np.array_equal(ours(grey[None], *arguments)[0, :, :, 0], expected)


def test_colours_there_and_back_equal_pillows() -> None:
    """What turns hues on a GPU, for all bytes that Pillow's own conversion gives."""
    for picture in PICTURES:
        hsv = pixels._hsv(picture[None])[0]
        assert np.array_equal(hsv, np.asarray(Image.fromarray(picture).convert("HSV")))
        theirs = Image.frombytes("HSV", picture.shape[1::-1], picture.tobytes()).convert("RGB")
        assert np.array_equal(pixels._rgb(picture[None])[0], np.asarray(theirs))


@pytest.mark.parametrize(("ours", "theirs", "factors"), CASES, ids=lambda c: getattr(c, "__name__", ""))
def test_each_picture_of_a_batch_has_its_own_factor(ours: Any, theirs: Any, factors: tuple[Any, ...]) -> None:  # noqa: ARG001
    count = len(factors) or 3
    images = RNG.integers(0, 256, (count, 9, 8, 3), dtype=np.uint8) // np.arange(1, count + 1).reshape(-1, 1, 1, 1).astype(
        np.uint8
    )
    together = ours(images, np.array(factors)) if factors else ours(images)
    alone = [ours(images[i : i + 1], *factors[i : i + 1])[0] for i in range(count)]
    assert np.array_equal(together, np.stack(alone))


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("kernel", [reference.KERNELS["warp_bytes"], CPU.warp_bytes], ids=["reference", "cpu"])
def test_warps_equal_pillow(name: str, kernel: Any) -> None:
    random = np.random.default_rng(1)
    for case in range(24):
        picture = PICTURES[1 + case % 4]
        turn, scale, size = random.uniform(-3, 3), random.uniform(0.5, 2), random.integers(5, 40, 2)
        a, b, (c, f) = scale * np.cos(turn), scale * np.sin(turn), random.uniform(-20, 20, 2)
        numbers = [a, b, c, -b, a, f, *(random.uniform(-0.01, 0.01, 2) if case % 2 else (0, 0))]
        way = Image.Transform.PERSPECTIVE if case % 2 else Image.Transform.AFFINE
        image = Image.fromarray(picture)
        filter_ = getattr(Image.Resampling, name.upper())
        theirs = image.transform(
            tuple(int(s) for s in size[::-1]), way, numbers[: 8 if case % 2 else 6], filter_, fillcolor=(9, 8, 7)
        )
        many = kernel(np.stack([picture] * 2), np.array([numbers] * 2), tuple(size), name, np.array([9, 8, 7], np.uint8))
        alone = kernel(picture[None], np.array([numbers]), tuple(size), name, np.array([9, 8, 7], np.uint8))
        assert np.array_equal(alone[0], np.asarray(theirs)) and np.array_equal(many, np.stack([alone[0]] * 2))
