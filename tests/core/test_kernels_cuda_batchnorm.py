"""The kernels of batch norm against the reference in float64, in every order of threads and both orders of channels."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from nyala.core import devices, kernels
from nyala.core.kernels.reference import norm as reference

pytestmark = pytest.mark.usefixtures("cuda", "schedule")

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
TOLERANCE = {"float32": 2e-6, "float64": 1e-13, "float16": 2e-3, "bfloat16": 1.6e-2}
# planes of a warp and of a block; columns alone and in packs; columns that several blocks share
SHAPES = [(3, 5, 7), (2, 3, 4, 6), (1, 2, 33, 33), (6, 3), (9, 16), (1200, 2)]
EPS = 1e-5


def on_device(x: np.ndarray, dtype: str) -> Any:
    return devices.move(x.astype(DTYPES[dtype]), "cuda:0")


def exact(x: Any) -> Any:
    return None if x is None else devices.move(x, "cpu").astype(np.float64)


def same(got: Any, expected: Any, dtype: str) -> None:
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape
        floor = (expected[0].size / b.size) ** 0.5  # what is added up may cancel out, its roundings do not
        assert np.abs(exact(a) - b).max() <= TOLERANCE[dtype] * max(np.abs(b).max(), floor)


def drawn(shape: tuple[int, ...], dtype: str, last: bool = False) -> list[Any]:
    """x and a gradient, weight, bias, mean, and variance; with ``last`` x has its channels last in memory."""
    rng = np.random.default_rng(3)
    x, g = (on_device(rng.standard_normal(shape) + 0.3, dtype) for _ in range(2))
    if last:
        xp = devices.cupy()
        x, g = (xp.moveaxis(xp.ascontiguousarray(xp.moveaxis(a, 1, -1)), -1, 1) for a in (x, g))
    return [x, g, *(on_device(0.5 + rng.random(shape[1]), dtype) for _ in range(4))]


def check(x: Any, g: Any, weight: Any, bias: Any, activation: str, dtype: str) -> None:
    table = kernels.of(x)
    y, mean, var = table.batch_norm(x, weight, bias, EPS, activation)
    assert y.dtype == x.dtype
    expected = reference.batch_norm(exact(x), exact(weight), exact(bias), EPS, activation)
    same((y, mean, var), expected, dtype)
    got = table.batch_norm_backward(g, x, weight, mean, var, EPS, bias, activation)
    given = exact(g), exact(x), exact(weight), *expected[1:], EPS, exact(bias), activation
    same(got, reference.batch_norm_backward(*given), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_training(shape: tuple[int, ...], dtype: str) -> None:
    x, g, weight, bias, *_ = drawn(shape, dtype)
    check(x, g, weight, bias, "none", dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 8, 3, 4), (2, 5, 9)])
def test_channels_that_lie_last(shape: tuple[int, ...], dtype: str) -> None:
    x, g, weight, bias, *_ = drawn(shape, dtype, last=True)
    for activation in ("none", "relu6"):
        check(x, g, weight, bias, activation, dtype)
    y = kernels.of(x).batch_norm(x, weight, bias, EPS)[0]
    assert y.strides == x.strides


@pytest.mark.parametrize("activation", ["relu", "relu6"])
@pytest.mark.parametrize("shape", [(3, 5, 7), (9, 16)])
def test_activations_and_no_parameters(shape: tuple[int, ...], activation: str) -> None:
    x, g, weight, bias, *_ = drawn(shape, "float32")
    check(x, g, 4 * weight, bias, activation, "float32")
    check(x, g, None, None, activation, "float32")
    check(x, g, None, bias, activation, "float32")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "last"), [((3, 5, 7), False), ((9, 16), False), ((3, 8, 3, 4), True)])
def test_evaluation(shape: tuple[int, ...], last: bool, dtype: str) -> None:
    x, g, weight, bias, mean, var = drawn(shape, dtype, last)
    table = kernels.of(x)
    for w, b in ((weight, bias), (None, None)):
        expected = reference.batch_norm_scale(exact(w), exact(b), exact(mean), exact(var), EPS)
        same(table.batch_norm_scale(w, b, mean, var, EPS), expected, dtype)
        expected = reference.batch_norm_eval(exact(x), exact(mean), exact(var), exact(w), exact(b), EPS)
        same([table.batch_norm_eval(x, mean, var, w, b, EPS)], [expected], dtype)
        expected = reference.batch_norm_eval_backward(exact(g), exact(x), exact(mean), exact(var), exact(w), EPS)
        same(table.batch_norm_eval_backward(g, x, mean, var, w, EPS), expected, dtype)


def test_half_precision_with_parameters_in_float32() -> None:
    x, g, *_ = drawn((3, 5, 7), "float16")
    weight, bias = drawn((3, 5, 7), "float32")[2:4]
    check(x, g, weight, bias, "relu", "float16")


def test_views_and_unaligned_columns() -> None:
    x, g, weight, bias, *_ = drawn((9, 20), "bfloat16")
    check(x[:, 1:17], g[:, :16], weight[:16], bias[4:], "none", "bfloat16")
    flat = x.reshape(-1)[1:145].reshape(9, 16)
    check(flat, g.reshape(-1)[:144].reshape(9, 16), weight[:16], bias[4:], "none", "bfloat16")


@pytest.mark.parametrize("shape", [(4, 3, 17), (70, 4)])
def test_numbers_far_from_zero_keep_their_variance(shape: tuple[int, ...]) -> None:
    """To what the parts' means, float32 too, can hold: 6e-5 of 1e3. Sums of squares would lose a digit."""
    x = on_device(1e3 + np.random.default_rng(5).standard_normal(shape), "float32")
    var = kernels.of(x).batch_norm(x, None, None, EPS)[2]
    assert np.abs(exact(var) / reference.batch_norm(exact(x), None, None, EPS)[2] - 1).max() < 6e-5
