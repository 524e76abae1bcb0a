"""Rows added up by CUDA kernels against the reference in float64, in every order of threads."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from nyala.core import devices, kernels
from nyala.core.kernels.reference import index as reference

pytestmark = pytest.mark.usefixtures("cuda", "schedule")

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
TOLERANCE = {"float32": 1e-6, "float64": 1e-14, "float16": 1e-3, "bfloat16": 8e-3}
# how often each row is named: once, in runs of all lengths, nearly always one, one alone
ROWS = {
    "each once": lambda n, rng: rng.permutation(n),
    "runs": lambda n, rng: np.sort(rng.integers(0, max(n // 20, 1), n))[::-1].copy(),
    "mostly one": lambda n, rng: np.where(rng.random(n) < 0.9, 3, rng.integers(0, n, n)),
    "one": lambda n, _: np.full(n, 2),
}


def on_device(x: np.ndarray) -> Any:
    return devices.move(x, "cuda:0")


def check(count: int, rows: np.ndarray, values: np.ndarray, dtype: str) -> None:
    given = on_device(values.astype(DTYPES[dtype]))
    expected = reference.add_rows(count, rows, devices.move(given, "cpu").astype(np.float64))
    out = kernels.of(given).add_rows(count, on_device(rows), given)
    assert out.dtype == given.dtype and out.shape == expected.shape
    got = devices.move(out, "cpu").astype(np.float64)
    assert np.abs(got - expected).max() <= TOLERANCE[dtype] * max(np.abs(expected).max(), 1)
    again = kernels.of(given).add_rows(count, on_device(rows), given)
    assert np.array_equal(got, devices.move(again, "cpu").astype(np.float64))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [1, 5, 16])
@pytest.mark.parametrize("kind", ROWS)
def test_rows_are_added_up(kind: str, columns: int, dtype: str) -> None:
    rng = np.random.default_rng(columns)
    for n in (4, 32, 65, 200):
        check(n, ROWS[kind](n, rng), rng.standard_normal((n, columns)), dtype)


def test_rows_of_other_shapes_and_integers() -> None:
    rng = np.random.default_rng(0)
    check(6, rng.integers(0, 6, 40).astype(np.int32), rng.standard_normal((40, 2, 3)), "float32")
    check(3, np.zeros(0, np.int64), np.zeros((0, 4)), "float32")
    whole = on_device(np.arange(6).reshape(3, 2))
    assert devices.move(kernels.of(whole).add_rows(2, on_device(np.array([1, 0, 1])), whole), "cpu").tolist() == [[2, 3], [4, 6]]


def test_unaligned_values() -> None:
    values, rows = np.random.default_rng(1).standard_normal((50, 9)).astype(np.float32), np.arange(50) % 7
    got = kernels.of(on_device(values)).add_rows(7, on_device(rows), on_device(values)[:, 1:])
    assert np.abs(devices.move(got, "cpu") - reference.add_rows(7, rows, values[:, 1:].astype(float))).max() < 1e-5


@pytest.mark.parametrize("dtype", DTYPES)
def test_places_that_any_index_names(dtype: str) -> None:
    rng = np.random.default_rng(2)
    places, values = rng.integers(-4, 4, 90), rng.standard_normal((90, 3)).astype(DTYPES[dtype])
    expected = reference.add_at((4, 3), np.float64, (places,), values.astype(np.float64))
    got = kernels.of(on_device(values)).add_at((4, 3), values.dtype, (on_device(places),), on_device(values))
    assert np.abs(devices.move(got, "cpu").astype(float) - expected).max() <= TOLERANCE[dtype] * 10
