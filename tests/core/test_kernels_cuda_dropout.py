"""Random bits and dropout on CUDA: the reference's, bit for bit."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import nyala
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


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_block_drops_the_same_as_on_the_cpu(norm_first: bool) -> None:
    found = {}
    for device in ("cpu", "cuda:0"):
        nyala.manual_seed(3)
        block = nyala.nn.TransformerBlock(8, 2, 12, norm_first=norm_first, dropout=0.4).to(device)
        x = nyala.Tensor(devices.move(np.random.default_rng(1).standard_normal((2, 3, 8)).astype(np.float32), device))
        x.requires_grad = True
        y = block(x)
        slopes = nyala.autograd.grad((y * y).sum(), [x, *block.parameters()])
        found[device] = [devices.move(t.detach().array, "cpu") for t in (y, *slopes)]
    for a, b in zip(found["cpu"], found["cuda:0"], strict=True):
        assert np.abs(a - b).max() < 1e-5 * max(np.abs(a).max(), 1)


def test_a_hooked_dropout_is_called() -> None:
    block, seen = nyala.nn.TransformerBlock(8, 2, 12, dropout=0.4, names={"drop1": "drop1"}).to("cuda:0"), []
    block.get_submodule("drop1").register_forward_hook(lambda *given: seen.append(given[2].shape))
    block(nyala.ones(1, 2, 8, device="cuda:0"))
    assert seen == [(1, 2, 8)]
