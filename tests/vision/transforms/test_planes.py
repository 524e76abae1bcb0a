"""Bytes become planes of numbers as the arithmetic of three passes has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nyala.core.kernels import CPU, reference
from nyala.vision.preprocess import ImagePreprocess


@pytest.mark.parametrize("kernel", [reference.KERNELS["look_up_planes"], CPU.look_up_planes], ids=["reference", "cpu"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_planes_are_looked_up(kernel: Any, channels: int) -> None:
    random = np.random.default_rng(0)
    pictures, table = random.integers(0, 256, (3, 5, 7, channels), dtype=np.uint8), random.normal(size=(channels, 256))
    for dtype in (np.float32, np.float64):
        planes = kernel(pictures[:, :, ::-1], table.astype(dtype))
        assert planes.dtype == dtype and planes.shape == (3, channels, 5, 7)
        for c in range(channels):
            assert np.array_equal(planes[:, c], table.astype(dtype)[c][pictures[:, :, ::-1, c]])


def test_normalising_is_the_three_steps_it_always_was() -> None:
    prepare = ImagePreprocess((2, 2))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    expected = np.ascontiguousarray(np.moveaxis(pixels, -1, -3), np.float32)
    expected /= np.float32(255)
    expected -= np.asarray(prepare.mean, np.float32).reshape(3, 1, 1)
    expected /= np.asarray(prepare.std, np.float32).reshape(3, 1, 1)
    assert np.array_equal(prepare.normalise(pixels), expected) and np.array_equal(prepare.normalise(pixels[0]), expected[0])
