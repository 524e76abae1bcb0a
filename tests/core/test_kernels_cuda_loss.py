"""The kernels of cross entropy against the reference in float64, in every order of threads."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala.core import devices, kernels
from nyala.core.kernels.reference import loss as reference

pytestmark = pytest.mark.usefixtures("cuda", "schedule")

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
TOLERANCE = {"float32": 2e-6, "float64": 1e-13, "float16": 2e-3, "bfloat16": 8e-3}
SHAPES = [(6, 33), (3, 64), (1, 1), (2, 1301)]  # a warp a row, in packs from the first number or a later one; a block a row


def on_device(x: np.ndarray, dtype: str | None = None) -> Any:
    return devices.move(x.astype(DTYPES[dtype]) if dtype else x, "cuda:0")


def exact(x: Any) -> Any:
    return None if x is None else devices.move(x, "cpu").astype(np.float64)


def near(got: Any, expected: Any, dtype: str) -> None:
    assert got.shape == expected.shape
    assert np.allclose(exact(got), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], equal_nan=True)


def drawn(shape: tuple[int, int], dtype: str) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(shape[1])
    target = rng.integers(0, shape[1], shape[0])
    target[1:2] = -1
    return on_device(3 * rng.standard_normal(shape), dtype), target, on_device(0.2 + rng.random(shape[1]), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("weighted", "smoothing"), [(False, 0.0), (True, 0.0), (False, 0.2), (True, 0.1)])
def test_loss_and_gradient(shape: tuple[int, int], weighted: bool, smoothing: float, dtype: str) -> None:
    x, target, weight = drawn(shape, dtype)
    weight, labels, table = weight if weighted else None, on_device(target), kernels.of(x)
    given = (target, exact(weight), smoothing)
    loss, row_weight, kept = table.cross_entropy(x, labels, weight, smoothing)
    expected = reference.cross_entropy(exact(x), *given)
    for a, b in zip((loss, row_weight, kept), expected, strict=True):
        near(a, b, "float64" if dtype == "float64" else "float32")
    grad = on_device(np.linspace(0.5, 2, shape[0]), "float64" if dtype == "float64" else "float32")
    gx = table.cross_entropy_backward(grad, x, kept, labels, weight, smoothing)
    assert gx.dtype == x.dtype
    near(gx, reference.cross_entropy_backward(exact(grad), exact(x), expected[2], *given), dtype)
    for mean in (False, True):
        found = table.cross_entropy_step(x, labels, weight, smoothing, mean)
        assert found[0].dtype == x.dtype and found[0].shape == ()
        for a, b in zip(found, reference.cross_entropy_step(exact(x), *given, mean), strict=True):
            near(a, b, dtype)


def test_rows_that_know_nothing() -> None:
    x = np.zeros((4, 20), np.float32)
    x[0] = -np.inf
    x[1, 3], x[2, 5], x[3, 1:] = np.nan, np.inf, -np.inf
    labels = np.zeros(4, np.int64)
    with np.errstate(invalid="ignore"):
        expected = reference.cross_entropy(x, labels, None, 0.0)[0]
    assert np.array_equal(exact(kernels.of(on_device(x)).cross_entropy(on_device(x), on_device(labels), None, 0.0)[0]), expected,
                          equal_nan=True)  # fmt: skip


def test_nothing_counted_is_no_number() -> None:
    x, labels = on_device(np.ones((3, 5), np.float32)), on_device(np.full(3, -1))
    loss, _, factor, _, gx = kernels.of(x).cross_entropy_step(x, labels, None, 0.0, True)
    assert np.isnan(exact(loss)) and np.isnan(exact(factor)) and np.array_equal(exact(gx), np.zeros((3, 5)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_scaling_in_place(factor: float, dtype: str) -> None:
    x = on_device(np.random.default_rng(0).standard_normal((7, 11)), dtype)
    before = exact(x)
    kernels.of(x).scale_unless_one(x, on_device(np.asarray(factor), dtype))
    assert np.array_equal(exact(x), before * factor)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_operation_walked_twice_and_scaled(reduction: str, dtype: str) -> None:
    """Float16 takes the loss and the gradient one by one, float32 both in one kernel."""
    data, target, _ = drawn((6, 33), dtype)
    found = {}
    for device in ("cpu", "cuda:0"):
        x = nyala.Tensor(devices.move(data, device), requires_grad=True)
        loss = F.cross_entropy(x, nyala.tensor(target, device=device), ignore_index=-1, reduction=reduction, label_smoothing=0.1)
        (loss * 3.0).backward(retain_graph=True)
        (loss * 0.5).backward()
        again = F.cross_entropy(x, nyala.tensor(target, device=device), ignore_index=-1, reduction=reduction)
        (slope,) = nyala.autograd.grad(again, [x], create_graph=True)
        found[device] = [loss.detach().array, x.grad.array, nyala.autograd.grad((slope * slope).sum(), [x])[0].array]
    for a, b in zip(found["cuda:0"], found["cpu"], strict=True):
        near(a, b.astype(np.float64), dtype)
