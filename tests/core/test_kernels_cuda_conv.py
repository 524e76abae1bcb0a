"""Convolutions on CUDA without a library, against the reference in float64: dimensions, strides, dilations, groups, tiles."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from nyala.core import devices, kernels
from nyala.core.kernels.reference import conv as reference
from nyala.core.kernels.reference.after import After

pytestmark = pytest.mark.usefixtures("cuda", "schedule")

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
TOLERANCE = {"float32": 2e-6, "float64": 1e-14, "float16": 2e-3, "bfloat16": 1.2e-2}
# shape of x, shape of w, stride, padding, dilation, groups
CASES: dict[str, tuple[Any, ...]] = {
    "1-d": ((2, 3, 20), (5, 3, 3), (1,), (1,), (1,), 1),
    "2-d, strided, several tiles": ((2, 4, 15, 13), (70, 4, 3, 3), (2, 2), (1, 1), (1, 1), 1),
    "2-d, dilated, uneven zeros, groups": ((1, 6, 11, 9), (8, 3, 2, 3), (1, 2), ((0, 1), (2, 1)), (2, 1), 2),
    "pointwise": ((2, 37, 5, 4), (9, 37, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    "3-d": ((1, 2, 4, 5, 6), (3, 2, 2, 3, 2), (1, 2, 1), (0, 1, 1), (1, 1, 2), 1),
    "depthwise": ((2, 5, 9, 7), (5, 1, 3, 3), (2, 1), (1, 1), (1, 1), 5),
    "depthwise, two results a channel": ((1, 4, 12), (8, 1, 5), (1,), (2,), (1,), 4),
}


def difference(a: Any, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(devices.move(a, "cpu").astype(np.float64) - b).max() / np.abs(b).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_convolutions_and_their_adjoints(name: str, dtype: str) -> None:
    x_shape, w_shape, *geometry = CASES[name]
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(DTYPES[dtype]) for s in (x_shape, w_shape))
    bias = rng.standard_normal(w_shape[0]).astype(DTYPES[dtype])
    wide = [a.astype(np.float64) for a in (x, w, bias)]
    expected = reference.conv_forward(wide[0], wide[1], *geometry, wide[2], After(activation="relu"))
    there = [devices.move(a, "cuda:0") for a in (x, w, bias)]
    table = kernels.of(there[0])
    y = table.conv_forward(there[0], there[1], *geometry, there[2], After(activation="relu"))
    assert y.dtype == x.dtype and difference(y, expected) < TOLERANCE[dtype]
    g = rng.standard_normal(expected.shape).astype(DTYPES[dtype])
    moved, exact = devices.move(g, "cuda:0"), g.astype(np.float64)
    gx = table.conv_input_grad(moved, there[1], x_shape, *geometry)
    assert difference(gx, reference.conv_input_grad(exact, wide[1], x_shape, *geometry)) < TOLERANCE[dtype]
    gw = table.conv_weight_grad(moved, there[0], w_shape, *geometry)
    assert gw.dtype == x.dtype
    assert difference(gw, reference.conv_weight_grad(exact, wide[0], w_shape, *geometry)) < TOLERANCE[dtype]


def test_many_terms_are_summed_in_stretches() -> None:
    rng = np.random.default_rng(1)
    x, g = (rng.standard_normal((1, 2, 9000)).astype(np.float32) for _ in range(2))
    there = [devices.move(a, "cuda:0") for a in (g, x)]
    gw = kernels.of(there[0]).conv_weight_grad(*there, (2, 2, 3), (1,), (1,), (1,), 1)
    exact = reference.conv_weight_grad(g.astype(float), x.astype(float), (2, 2, 3), (1,), (1,), (1,), 1)
    assert difference(gw, exact) < 2e-6


def test_what_comes_after_and_views() -> None:
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((6, 5, 3, 2)).astype(np.float32), rng.standard_normal((4, 3, 1, 1)).astype(np.float32)
    residual, scale, shift = (rng.standard_normal(s).astype(np.float32) for s in ((2, 4, 5, 6), (4,), (4,)))
    after = After(scale, shift, residual, "silu")
    expected = reference.conv_forward(x.T.astype(float), w.astype(float), (1, 1), (0, 0), (1, 1), 1, None, after)
    there = After(*(devices.move(a, "cuda:0") for a in (scale, shift, residual)), "silu")
    y = kernels.of(devices.move(w, "cuda:0")).conv_forward(
        devices.move(x, "cuda:0").T, devices.move(w, "cuda:0"), (1, 1), (0, 0), (1, 1), 1, None, there
    )
    assert difference(y, expected) < 2e-6
