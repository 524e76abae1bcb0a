"""Maxima over windows on CUDA: the reference's bits, in one to three dimensions, with rows that overlap, dilate and repeat."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from nyala.core import devices, kernels
from nyala.core.kernels.reference import pool as reference

pytestmark = pytest.mark.usefixtures("cuda", "schedule")

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
WINDOWS = {
    "1-d": ((2, 3, 17), [np.arange(8)[:, None] * 2 + np.arange(3)]),
    "2-d, clipped at the edges": (
        (2, 2, 9, 8),
        [np.clip(np.arange(5)[:, None] * 2 - 1 + np.arange(3), 0, 8), np.arange(4)[:, None] * 2 + np.arange(2)],
    ),
    "3-d, dilated": (
        (1, 2, 6, 5, 7),
        [np.arange(4)[:, None] + np.arange(2) * 2, np.arange(5)[:, None], np.arange(3)[:, None] * 2 + np.arange(3)],
    ),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", WINDOWS)
def test_maxima_places_and_gradients(name: str, dtype: str) -> None:
    shape, tables = WINDOWS[name]
    rng = np.random.default_rng(0)
    x = rng.integers(-4, 5, shape).astype(DTYPES[dtype])  # with equal elements
    x.reshape(-1)[3] = np.nan
    there: Any = devices.move(x, "cuda:0")
    y, index = kernels.of(there).max_pool(there, tuple(tables))
    expected, places = reference.max_pool(x, tuple(tables))
    assert np.array_equal(devices.move(y, "cpu").astype(float), expected.astype(float), equal_nan=True) and y.dtype == x.dtype
    assert np.array_equal(devices.move(index, "cpu"), places)
    assert kernels.of(there).max_pool(there, tuple(tables), False)[1] is None
    g = rng.integers(-3, 4, expected.shape).astype(DTYPES[dtype])
    gx = kernels.of(there).scatter_planes(devices.move(g, "cuda:0"), index, shape[2:], tuple(tables))
    assert np.array_equal(devices.move(gx, "cpu").astype(float), reference.scatter_planes(g, places, shape[2:]).astype(float))


def test_views_and_indices_of_the_users_own() -> None:
    x = np.random.default_rng(1).standard_normal((3, 2, 8, 6)).astype(np.float32)
    there = devices.move(x, "cuda:0")[:, :, ::2]
    tables = (np.arange(2)[:, None] * 2 + np.arange(2), np.arange(3)[:, None] * 2 + np.arange(2))
    y, index = kernels.of(there).max_pool(there, tables)
    expected, places = reference.max_pool(x[:, :, ::2], tables)
    assert np.array_equal(devices.move(y, "cpu"), expected)
    spread = kernels.of(y).scatter_planes(y, devices.move(places, "cuda:0"), (4, 6))
    assert np.array_equal(devices.move(spread, "cpu"), reference.scatter_planes(expected, places, (4, 6)))
    assert index.dtype == np.int32
