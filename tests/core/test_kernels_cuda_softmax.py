"""The softmax kernels against the reference in float64, in every order of threads, whatever the memory's alignment."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from nyala.core import devices, kernels
from nyala.core.kernels.cuda import softmax as launcher
from nyala.core.kernels.cuda.running.launching import contiguous
from nyala.core.kernels.reference import softmax as reference

pytestmark = pytest.mark.usefixtures("cuda", "schedule")

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
TOLERANCE = {"float32": 1e-6, "float64": 1e-14, "float16": 1e-3, "bfloat16": 8e-3}
SHAPES = [((5, 33), -1), ((3, 1028), -1), ((2, 1500), 1), ((3, 7, 5), 1), ((4, 6), 0), ((2, 64), -1)]


def on_device(x: np.ndarray, dtype: str) -> Any:
    return devices.move(x.astype(DTYPES[dtype]), "cuda:0")


def difference(a: Any, b: np.ndarray) -> float:
    return float(np.abs(devices.move(a, "cpu").astype(np.float64) - b).max() / np.abs(b).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_forward_and_backward(name: str, shape: tuple[int, ...], axis: int, dtype: str) -> None:
    rng = np.random.default_rng(1)
    x, g = on_device(3 * rng.standard_normal(shape), dtype), on_device(rng.standard_normal(shape), dtype)
    table, exact = kernels.of(x), [devices.move(a, "cpu").astype(np.float64) for a in (x, g)]
    y = getattr(table, name)(x, axis)
    assert y.dtype == x.dtype and difference(y, getattr(reference, name)(exact[0], axis)) < TOLERANCE[dtype]
    backward = getattr(reference, f"{name}_backward")(exact[1], devices.move(y, "cpu").astype(np.float64), axis)
    assert difference(getattr(table, f"{name}_backward")(g, y, axis), backward) < TOLERANCE[dtype]


@pytest.mark.parametrize("shape", [(1, 8), (1, 2048)])
def test_rows_of_infinities_and_of_nothing_known(shape: tuple[int, int]) -> None:
    x = np.zeros((4, shape[1]), np.float32)
    x[0] = -np.inf
    x[1, 1:] = -np.inf
    x[2, 3] = np.nan
    x[3, 0] = np.inf
    out = devices.move(kernels.of(devices.move(x, "cuda:0")).softmax(devices.move(x, "cuda:0"), 1), "cpu")
    with np.errstate(invalid="ignore"):
        expected = reference.softmax(x, 1)
    assert np.array_equal(out[:3], expected[:3], equal_nan=True) and np.isnan(out[3, 0])


def test_views_are_read_by_their_strides() -> None:
    x = on_device(np.random.default_rng(2).standard_normal((6, 40)), "float32")
    for view in (x.T, x[:, 1:34], x[::2]):
        exact = devices.move(view, "cpu").astype(np.float64)
        assert difference(kernels.of(view).softmax(view, -1), reference.softmax(exact, -1)) < 1e-6


def shifted(x: np.ndarray, dtype: str, by: int) -> Any:
    """The array on the device, its memory beginning ``by`` elements behind an address that packs begin at."""
    room = on_device(np.zeros(x.size + by), dtype)
    room[by:] = on_device(x.reshape(-1), dtype)
    return room[by:].reshape(x.shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [3, 37, 40])
@pytest.mark.parametrize("starts", [(1, 1, 1), (0, 1, 0), (1, 0, 2)])
def test_rows_may_begin_anywhere(starts: tuple[int, int, int], width: int, dtype: str) -> None:
    """Packs at the same places of all arrays, or at different ones."""
    rng = np.random.default_rng(6)
    first, second, third = (shifted(rng.standard_normal((5, width)), dtype, by) for by in starts)
    table, exact = kernels.of(first), [devices.move(a, "cpu").astype(np.float64) for a in (first, second, third)]
    for name in ("softmax", "log_softmax"):
        assert difference(getattr(table, name)(first, 1), getattr(reference, name)(exact[0], 1)) < TOLERANCE[dtype]
        expected = getattr(reference, f"{name}_backward")(exact[0], exact[1], 1)
        assert difference(getattr(table, f"{name}_backward")(first, second, 1), expected) < 2 * TOLERANCE[dtype]
    expected = reference.attention_weights_backward(exact[0].copy(), exact[1], exact[2], 0.7)
    assert difference(table.attention_weights_backward(first, second, third, 0.7), expected) < 2 * TOLERANCE[dtype]
    expected = reference.attention_weights(exact[1].copy(), 0.4, None, None)
    assert difference(table.attention_weights(second, 0.4, None, None), expected) < TOLERANCE[dtype]


def test_weights_that_nothing_was_dropped_of_are_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    laid = []
    monkeypatch.setattr(launcher, "contiguous", lambda x: laid.append(x) or contiguous(x))
    rng = np.random.default_rng(7)
    grad, wide = on_device(rng.standard_normal((4, 9)), "float32"), on_device(rng.random((4, 18)), "float32")
    weights = wide[:, ::2]
    exact = [devices.move(a, "cpu").astype(np.float64) for a in (grad, weights)]
    expected = reference.attention_weights_backward(exact[0], exact[1], exact[1], 0.5)
    assert difference(kernels.of(grad).attention_weights_backward(grad, weights, weights, 0.5), expected) < 1e-6
    assert [a is weights for a in laid] == [False, True]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "allowed", "mask"),
    [
        ((2, 3, 5, 33), (5, 33), (2, 1, 1, 33)),
        ((3, 4, 64), None, (4, 1)),
        ((2, 1, 3, 1040), (1, 1, 1, 1040), None),
        ((9,), (9,), (9,)),
    ],
)
def test_weights_of_attention(shape: tuple[int, ...], allowed: Any, mask: Any, dtype: str) -> None:
    rng = np.random.default_rng(4)
    scores, grad = (on_device(3 * rng.standard_normal(shape), dtype) for _ in range(2))
    looks = None if allowed is None else rng.random(allowed) < 0.6
    added = None if mask is None else on_device(rng.standard_normal(mask), dtype)
    if looks is not None and len(shape) == 4:
        looks[..., 2:3, :] = False  # rows that may look nowhere, where rows differ
    table, exact = kernels.of(scores), [devices.move(a, "cpu").astype(np.float64) for a in (scores, grad)]
    moved = None if looks is None else devices.move(looks, "cuda:0")
    expected = reference.attention_weights(
        exact[0], 0.4, looks, None if added is None else devices.move(added, "cpu").astype(np.float64)
    )
    weights = table.attention_weights(scores, 0.4, moved, added)
    assert weights.dtype == scores.dtype and difference(weights, expected) < TOLERANCE[dtype]
    dropped = weights * weights.dtype.type(0.5)
    given = [devices.move(a, "cpu").astype(np.float64) for a in (weights, dropped)]
    expected = reference.attention_weights_backward(exact[1], *given, 0.7)
    assert difference(table.attention_weights_backward(grad, weights, dropped, 0.7), expected) < TOLERANCE[dtype]
