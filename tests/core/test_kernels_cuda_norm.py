"""The kernels of layer, RMS and group norm against the reference in float64, in every order of threads."""

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
# a warp a row, with packs and without; one element; a block a row; a row that no team holds
SHAPES = [(5, 33), (2, 3, 72), (1, 1), (19, 8), (2, 1100), (3, 1037)]
LONG = [(2, 8200), (2, 8195)]
GROUPS = [((2, 6, 5), 3), ((1, 4, 2, 3), 1), ((3, 8), 2), ((2, 4, 24), 4), ((1, 2, 40, 20), 1), ((1, 2, 90, 91), 1)]
EPS = 1e-5


def on_device(x: np.ndarray, dtype: str) -> Any:
    return devices.move(x.astype(DTYPES[dtype]), "cuda:0")


def exact(x: Any) -> Any:
    return None if x is None else devices.move(x, "cpu").astype(np.float64)


def same(got: Any, expected: Any, dtype: str) -> None:
    """Arrays, one for one; None where there is to be none."""
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.shape == b.shape
            floor = (expected[0].size / b.size) ** 0.5  # what is added up may cancel out, its roundings do not
            assert np.abs(exact(a) - b).max() <= TOLERANCE[dtype] * max(np.abs(b).max(), floor)


def drawn(*shapes: tuple[int, ...], dtype: str) -> list[Any]:
    rng = np.random.default_rng(3)
    return [on_device(rng.standard_normal(shape) + 0.3, dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_layer_norm(shape: tuple[int, ...], dtype: str) -> None:
    x, g, weight, bias = drawn(shape, shape, shape[-1:], shape[-1:], dtype=dtype)
    check_layer_norm(x, g, weight, bias, dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", LONG)
def test_layer_norm_of_rows_that_no_team_holds(shape: tuple[int, ...], dtype: str, schedule: str) -> None:
    if schedule == "random-1" and dtype == "bfloat16":
        dtype = "float64"
    x, g, weight, bias = drawn(shape, shape, shape[-1:], shape[-1:], dtype=dtype)
    check_layer_norm(x, g, weight, bias, dtype)


def check_layer_norm(x: Any, g: Any, weight: Any, bias: Any, dtype: str) -> None:
    y, mean, inverse = kernels.of(x).layer_norm(x, weight, bias, EPS)
    assert y.dtype == x.dtype and mean.dtype == inverse.dtype
    expected = reference.layer_norm(exact(x), exact(weight), exact(bias), EPS)
    same((y, mean, inverse), expected, dtype)
    got = kernels.of(x).layer_norm_backward(g, x, weight, mean, inverse)
    same(got, reference.layer_norm_backward(exact(g), exact(x), exact(weight), *expected[1:]), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_rms_norm(shape: tuple[int, ...], dtype: str) -> None:
    x, g, weight = drawn(shape, shape, shape[-1:], dtype=dtype)
    y, inverse = kernels.of(x).rms_norm(x, weight, EPS)
    expected = reference.rms_norm(exact(x), exact(weight), EPS)
    same((y, inverse), expected, dtype)
    got = kernels.of(x).rms_norm_backward(g, x, weight, inverse)
    same(got, reference.rms_norm_backward(exact(g), exact(x), exact(weight), expected[1]), dtype)


def test_rows_in_parts_of_several_blocks() -> None:
    """More rows than blocks that leave a part: a team has several."""
    x, g, weight, bias = drawn((2200, 5), (2200, 5), (5,), (5,), dtype="float32")
    check_layer_norm(x, g, weight, bias, "float32")


def test_without_parameters_and_without_their_gradients() -> None:
    x, g, weight = drawn((7, 24), (7, 24), (24,), dtype="float32")
    table = kernels.of(x)
    for w in (None, weight):
        y, mean, inverse = table.layer_norm(x, w, None, EPS)
        expected = reference.layer_norm(exact(x), exact(w), None, EPS)
        same((y, mean, inverse), expected, "float32")
        got = table.layer_norm_backward(g, x, w, mean, inverse, False)
        same(got, reference.layer_norm_backward(exact(g), exact(x), exact(w), *expected[1:], False), "float32")
        inverse = table.rms_norm(x, w, EPS)[1]
        for affine in (False, True):
            got = table.rms_norm_backward(g, x, w, inverse, affine)
            same(got, reference.rms_norm_backward(exact(g), exact(x), exact(w), exact(inverse), affine), "float32")


def test_views_and_unaligned_rows() -> None:
    x, g, weight, bias = drawn((6, 40), (6, 40), (41,), (40,), dtype="bfloat16")
    for xs, gs in ((x[::2], g[::2]), (x[:, 1:33], g[:, :32]), (x.T[:32].T, g[:, 8:])):
        check_layer_norm(xs, gs, weight[1 : 1 + xs.shape[1]], bias[: xs.shape[1]], "bfloat16")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "groups"), GROUPS)
def test_group_norm(shape: tuple[int, ...], groups: int, dtype: str) -> None:
    if shape[-1] == 91 and dtype not in ("float32", "bfloat16"):
        pytest.skip("long rows are tried in two dtypes")
    x, g, weight, bias = drawn(shape, shape, shape[1:2], shape[1:2], dtype=dtype)
    for w, b in ((weight, bias), (None, None)):
        y, mean, inverse = kernels.of(x).group_norm(x, groups, w, b, EPS)
        expected = reference.group_norm(exact(x), groups, exact(w), exact(b), EPS)
        same((y, mean, inverse), expected, dtype)
        got = kernels.of(x).group_norm_backward(g, x, groups, w, mean, inverse)
        same(got, reference.group_norm_backward(exact(g), exact(x), groups, exact(w), *expected[1:]), dtype)


def test_numbers_far_from_zero_keep_their_variance() -> None:
    """All that is lost is what the mean, a float32 too, cannot hold: 5e-4 of 1e4."""
    x = on_device(1e4 + np.random.default_rng(5).standard_normal((3, 64)), "float32")
    y, _, inverse = kernels.of(x).layer_norm(x, None, None, EPS)
    expected = reference.layer_norm(exact(x), None, None, EPS)
    assert np.abs(exact(y) - expected[0]).max() < 1e-3
    assert np.abs(exact(inverse) / expected[2] - 1).max() < 1e-6
