"""Maps along dimensions, power spectra and pictures of bytes on CUDA: the reference's values, its bits where they are whole."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from nyala.core import devices, kernels
from nyala.core.kernels.reference import fft, pictures, spatial

pytestmark = pytest.mark.usefixtures("cuda", "schedule")

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
TOLERANCE = {"float32": 1e-6, "float64": 1e-14, "float16": 1e-3, "bfloat16": 8e-3}


def difference(a: Any, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(devices.move(a, "cpu").astype(np.float64) - b).max() / np.abs(b).max())


def maps(rng: np.random.Generator, sizes: dict[int, tuple[int, int, int]]) -> list[spatial.Map]:
    """For each axis a map from its size to a length, of so many taps."""
    return [
        spatial.Map(axis, rng.integers(0, size, (length, taps)), rng.standard_normal((length, taps)), {})
        for axis, (size, length, taps) in sizes.items()
    ]


@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_maps_along_dimensions(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 9, 11)).astype(DTYPES[dtype])
    some = maps(rng, {2: (9, 14, 4), 3: (11, 5, 3)})
    there = devices.move(x, "cuda:0")
    for view, plain in ((there, x), (there[:, ::2], x[:, ::2])):
        out = kernels.of(view).resample(view, some)
        assert out.dtype == x.dtype and difference(out, spatial.resample(plain.astype(float), some)) < TOLERANCE[dtype]


def test_what_has_no_weight_is_not_read_and_what_has_none_moves() -> None:
    x = np.array([[1.0, np.nan, 3.0]], np.float32)
    there = devices.move(x, "cuda:0")
    weighted = spatial.Map(1, np.array([[0, 1], [2, 1]]), np.array([[2.0, 0.0], [1.0, 0.0]]), {})
    assert devices.move(kernels.of(there).resample(there, [weighted]), "cpu").tolist() == [[2.0, 3.0]]
    moving = spatial.Map(1, np.array([[2], [2], [0]]), None, {})
    assert devices.move(kernels.of(there).resample(there, [moving]), "cpu").tolist() == [[3.0, 3.0, 1.0]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "n", "hop"), [((2, 100), 16, 5), ((1, 3, 90), 25, 10), ((400,), 400, 160)])
def test_power_spectra(shape: tuple[int, ...], n: int, hop: int, dtype: str) -> None:
    rng = np.random.default_rng(1)
    x, window = rng.standard_normal(shape).astype(dtype), np.hanning(n).astype(dtype)
    there = devices.move(x, "cuda:0")
    ours = kernels.of(there).power_spectrum(there, devices.move(window, "cuda:0"), hop)
    assert ours.dtype == x.dtype and difference(ours, fft.power_spectrum(x, window, hop)) < (
        1e-7 if dtype == "float32" else 1e-13
    )


def taps(rng: np.random.Generator, pictures_: int, size: int, length: int, most: int) -> pictures.Taps:
    count = rng.integers(1, most + 1, (pictures_, length))
    start = rng.integers(0, size - most + 1, (pictures_, length))
    weight = rng.integers(-(1 << 20), 1 << 21, (pictures_, length, most), dtype=np.int32)
    weight[np.arange(most) >= count[..., None]] = 0
    return pictures.Taps(start, count, weight)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("rows_first", [False, True])
def test_bytes_are_resized_with_the_references_bits(own: bool, rows_first: bool) -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(0, 256, (3, 13, 17, 4), np.uint8)
    number = 3 if own else 1
    rows, columns = taps(rng, number, 13, 6, 4), taps(rng, number, 17, 21, 3)
    there = devices.move(x, "cuda:0")
    for sides in ((rows, columns), (rows, None), (None, columns)):
        ours = kernels.of(there).resample_bytes(there, *sides, rows_first, 3)
        assert np.array_equal(devices.move(ours, "cpu"), pictures.resample_bytes(x, *sides, rows_first, 3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bytes_are_looked_up(dtype: str) -> None:
    rng = np.random.default_rng(3)
    x, table = rng.integers(0, 256, (2, 7, 5, 3), np.uint8), rng.standard_normal((3, 256)).astype(dtype)
    there = devices.move(x, "cuda:0")
    ours = kernels.of(there).look_up_planes(there, table)
    assert np.array_equal(devices.move(ours, "cpu"), pictures.look_up_planes(x, table))
