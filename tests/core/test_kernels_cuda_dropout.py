"""Random bits and dropout on CUDA: the reference's, bit for bit."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from nyala.core import devices, kernels
from nyala.core.kernels.reference import dropout as reference
from nyala.core.kernels.reference.random import philox

pytestmark = pytest.mark.usefixtures("cuda", "schedule")

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
KEY = (0x89ABCDEF, 0xFEDCBA98)


def on_device(x: np.ndarray) -> Any:
    return devices.move(x, "cuda:0")


def table() -> Any:
    return kernels.of(on_device(np.zeros(1, np.float32)))


@pytest.mark.parametrize("count", [0, 1, 3, 4, 1030])
def test_bits(count: int) -> None:
    words = table().philox(devices.cupy(), KEY, count)
    assert np.array_equal(devices.move(words, "cpu"), philox(np, KEY, count))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (7, 9), (40, 64), (0, 3)])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_and_a_residual(shape: tuple[int, ...], dtype: Any, p: float) -> None:
    x, residual = (np.random.default_rng(i).standard_normal(shape).astype(dtype) for i in (0, 1))
    got = table().dropout(on_device(x), p, KEY)
    assert got.dtype == dtype and np.array_equal(devices.move(got, "cpu"), reference.dropout(x, p, KEY))
    got = table().add_dropout(on_device(residual), on_device(x), p, KEY)
    assert got.dtype == dtype and np.array_equal(devices.move(got, "cpu"), reference.add_dropout(residual, x, p, KEY))


@pytest.mark.parametrize("dtype", DTYPES)
def test_views(dtype: Any) -> None:
    x = np.random.default_rng(2).standard_normal((12, 33)).astype(dtype)
    for view in (np.s_[:, ::2], np.s_[1], np.s_[3:5, 1:30]):
        got = table().dropout(on_device(x)[view], 0.3, KEY)
        assert np.array_equal(devices.move(got, "cpu"), reference.dropout(x[view], 0.3, KEY))
