"""Products with a gate: CUDA kernels against the reference in float64, and the operation against its definition."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import nyala
import pytest
from nyala.core import devices, kernels
from nyala.core.kernels.reference import gates as reference
from nyala.core.ops.activation import GATES

pytestmark = pytest.mark.usefixtures("cuda", "schedule")

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
TOLERANCE = {"float32": 1e-6, "float64": 1e-14, "float16": 1e-3, "bfloat16": 8e-3}


def drawn(count: int, shape: tuple[int, ...], dtype: str) -> list[Any]:
    rng = np.random.default_rng(7)
    return [devices.move((2 * rng.standard_normal(shape)).astype(DTYPES[dtype]), "cuda:0") for _ in range(count)]


def check(grad: Any, gate: Any, x: Any, kind: str, dtype: str) -> None:
    table, exact = kernels.of(x), [devices.move(a, "cpu").astype(np.float64) for a in (grad, gate, x)]
    got = table.gated(gate, x, kind), *table.gated_backward(grad, gate, x, kind)
    expected = reference.gated(*exact[1:], kind), *reference.gated_backward(*exact, kind)
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == x.dtype and a.shape == b.shape
        difference = np.abs(devices.move(a, "cpu").astype(np.float64) - b).max(initial=0)
        assert difference <= TOLERANCE[dtype] * max(np.abs(b).max(initial=0), 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", reference.KINDS)
@pytest.mark.parametrize("shape", [(), (1,), (3, 7), (2, 5, 64), (0, 4)])
def test_value_and_gradients(shape: tuple[int, ...], kind: str, dtype: str) -> None:
    check(*drawn(3, shape, dtype), kind, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [16, 9])
def test_halves_of_one_array_and_rows_with_gaps(width: int, dtype: str) -> None:
    (both, others) = drawn(2, (2, 3, 2 * width), dtype)
    check(others[..., :width], both[..., :width], both[..., width:], "silu", dtype)
    check(others[:, ::2, :width], both[:, ::2, width:], both[:, ::2, 1 : 1 + width], "gelu", dtype)
    check(others.T, both.T, both.T, "gelu_tanh", dtype)


@pytest.mark.parametrize("act", ["silu", "gelu", "gelu_new"])
def test_a_gated_network_trains_as_on_the_cpu(act: str) -> None:
    assert set(GATES) == set(reference.KINDS)
    found = {}
    for device in ("cpu", "cuda:0"):
        nyala.manual_seed(0)
        layer = nyala.nn.MLP(6, 8, act=act, gated=True, bias=False).to(device)
        x = nyala.Tensor(devices.move(np.random.default_rng(1).standard_normal((2, 3, 6)).astype(np.float32), device))
        x.requires_grad = True
        slopes = nyala.autograd.grad((layer(x) ** 2).sum(), [x, *layer.parameters()], create_graph=True)
        twice = nyala.autograd.grad(slopes[0].sum(), [x])
        found[device] = [devices.move(t.detach().array, "cpu") for t in (*slopes, *twice)]
    for a, b in zip(found["cpu"], found["cuda:0"], strict=True):
        assert np.abs(a - b).max() < 1e-5 * np.abs(a).max()
