"""Steps of optimizers on lists of arrays against the reference in float64: sizes over several chunks, mixed dtypes, views."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from nyala.core import devices, kernels
from nyala.core.kernels.reference import optim as reference
from nyala.core.kernels.reference import optim_scaled

pytestmark = pytest.mark.usefixtures("cuda", "schedule")

SHAPES = [(5,), (3, 7), (1,), (16385,), (0,), (130, 131)]
DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
TOLERANCE = {"float32": 1e-6, "float64": 1e-13, "float16": 1e-3, "bfloat16": 8e-3}


def lists_of(dtype: str, states: int, seed: int = 0) -> list[list[np.ndarray]]:
    """Parameters, gradients and non-negative states of every shape."""
    rng, kind = np.random.default_rng(seed), DTYPES[dtype]
    wide = np.float64 if dtype == "float64" else np.float32
    typed = [[rng.standard_normal(s).astype(kind) for s in SHAPES] for _ in range(2)]
    return typed + [[np.abs(rng.standard_normal(s)).astype(wide) for s in SHAPES] for _ in range(states)]


def moved(lists: Any) -> list[list[Any]]:
    return [[devices.move(a, "cuda:0") for a in arrays] for arrays in lists]


def exact(lists: Any) -> list[list[np.ndarray]]:
    return [[a.astype(np.float64) for a in arrays] for arrays in lists]


def assert_near(ours: Any, expected: Any, tolerance: float) -> None:
    for arrays, others in zip(ours, expected, strict=True):
        for a, b in zip(arrays, others, strict=True):
            assert a.shape == b.shape
            if b.size:
                assert np.abs(devices.move(a, "cpu").astype(np.float64) - b).max() <= tolerance * (1 + np.abs(b).max())


def compared(name: str, lists: list[list[np.ndarray]], dtype: str, *options: Any) -> None:
    here, there = exact(lists), moved(lists)
    getattr(kernels.of(there[0][0]), name)(*there, *options)
    getattr(reference, name)(*here, *options)
    assert_near(there, here, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decoupled", [True, False])
def test_adamw(dtype: str, decoupled: bool) -> None:
    steps = [1, 3, 3, 3, 1, 1]
    compared("adamw_steps", lists_of(dtype, 3), dtype, steps, 0.01, 0.9, 0.99, 1e-8, 0.1, decoupled, not decoupled)


def test_adamw_without_a_maximum() -> None:
    lists = lists_of("float32", 2)
    here, there = exact(lists), moved(lists)
    options = ([2] * len(SHAPES), 0.01, 0.9, 0.99, 1e-8, 0.0, True, False)
    kernels.of(there[0][0]).adamw_steps(*there, None, *options)
    reference.adamw_steps(*here, None, *options)
    assert_near(there, here, 1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd(dtype: str, nesterov: bool) -> None:
    firsts = [True, False, False, True, True, False]
    compared("sgd_steps", lists_of(dtype, 1), dtype, firsts, 0.1, 0.9, 0.0 if nesterov else 0.2, 0.01, nesterov, False)


def test_sgd_without_momentum_keeps_no_state() -> None:
    lists = lists_of("float32", 0)
    here, there = exact(lists), moved(lists)
    options = (None, [True] * len(SHAPES), 0.1, 0.0, 0.0, 0.0, False, True)
    kernels.of(there[0][0]).sgd_steps(*there, *options)
    reference.sgd_steps(*here, *options)
    assert_near(there, here, 1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_lion(dtype: str) -> None:
    compared("lion_steps", lists_of(dtype, 1), dtype, 0.01, 0.9, 0.99, 0.1, False)


@pytest.mark.parametrize("dtype", DTYPES)
def test_scaling_and_averaging(dtype: str) -> None:
    for total in (np.float32(3.0), np.float64(0.1), np.float32(np.inf)):  # scaled down, left alone, made zeros
        here, there = exact(lists_of(dtype, 0)[:1]), moved(lists_of(dtype, 0)[:1])
        reference.clip_held(here[0], 0.7, np.asarray(total))
        kernels.of(there[0][0]).clip_held(there[0], 0.7, devices.move(np.asarray(total), "cuda:0"))
        assert_near(there, here, TOLERANCE[dtype])
    values, _, averages = lists_of(dtype, 1)
    compared("ema_steps", [averages, values], dtype, 0.1)


def test_the_sum_of_squares_of_arrays_of_several_dtypes() -> None:
    arrays = [a for dtype in DTYPES for a in lists_of(dtype, 0)[0]]
    ours = kernels.of(devices.move(arrays[0], "cuda:0")).sums_of_squares(moved([arrays])[0])
    assert float(ours) == pytest.approx(reference.sums_of_squares(exact([arrays])[0]), rel=1e-13)


def test_views_and_mixed_dtypes_are_stepped_too() -> None:
    param, grad = np.ones((6, 8), np.float32), np.full((8, 6), 2.0, np.float32)
    p, g = devices.move(param, "cuda:0"), devices.move(grad, "cuda:0")
    kernels.of(p).sgd_steps([p.T, p], [g, g.T.astype(np.float64)], None, [True, True], 0.1, 0.0, 0.0, 0.0, False, False)
    assert np.allclose(devices.move(p, "cpu"), 0.6)


SCALED = {
    "lamb": (
        [(7, 9), (3, 7), (5,)],
        lambda: optim_scaled.lamb_numbers(3, 0.1, 0.9, 0.99, 1e-6, 0.1, True, True),
        (0.5, False, False),
        lambda p, g, a, b, _: optim_scaled.lamb_step(p, g, a, b, 3, 0.1, 0.9, 0.99, 1e-6, 0.1, 0.5, True, True, False, False),
    ),
    "adafactor": (
        [(7, 9), (3, 7), (5,)],
        lambda: optim_scaled.adafactor_numbers(3, 0.1, -0.8, 1e-7, 1e-3, 1.0, 0.1, np.dtype(np.float32)),
        (True,),
        lambda p, g, a, b, c: optim_scaled.adafactor_step(p, g, a, b, c, 3, 0.1, -0.8, 1e-7, 1e-3, 1.0, 0.1, True),
    ),
    "muon": (
        [(7, 9), (12, 5)],
        lambda: optim_scaled.muon_numbers(0.1, 0.2, 0.1, 0.9, (3.4445, -4.775, 2.0315), 1e-7),
        (True, 5),
        lambda p, g, a, *_: optim_scaled.muon_step(p, g, a, 0.1, 0.2, 0.1, 0.9, True, (3.4445, -4.775, 2.0315), 1e-7, 5),
    ),
}


def given_to(name: str, shapes: list[tuple[int, ...]], kind: Any, wide: Any) -> list[list[Any]]:
    """Parameters, gradients and states; Adafactor's of rows and columns for matrices, whole ones for vectors."""
    rng = np.random.default_rng(0)
    shown = [[rng.standard_normal(s).astype(kind) for s in shapes] for _ in range(2)]

    def states(of: Any) -> list[Any]:
        return [None if shape is None else np.abs(rng.standard_normal(shape)).astype(wide) for shape in map(of, shapes)]

    if name == "adafactor":
        rows = states(lambda s: (*s[:-1], 1) if len(s) > 1 else None)
        return [*shown, rows, states(lambda s: (1, s[1]) if len(s) > 1 else None), states(lambda s: s if len(s) == 1 else None)]
    return [*shown, *[states(lambda s: s) for _ in range(2 if name == "lamb" else 1)]]


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_scaled_by_norms_leave_themselves_out(dtype: str, name: str, held: bool) -> None:
    shapes, numbers, options, step = SCALED[name]
    wide = np.float64 if dtype == "float64" else np.float32
    here = given_to(name, shapes, DTYPES[dtype], wide)
    there = [[None if a is None else devices.move(a, "cuda:0") for a in arrays] for arrays in here]
    given = devices.move(np.array(numbers()), "cuda:0") if held else numbers()
    run = getattr(kernels.of(there[0][0]), f"{name}_held")
    run(*there, given, *options, devices.move(np.ones((), np.float32), "cuda:0"))
    for ours, before in zip(there, here, strict=True):
        assert all(b is None or devices.move(a, "cpu").tobytes() == b.tobytes() for a, b in zip(ours, before, strict=True))
    run(*there, given, *options, None)
    exactly = [[None if a is None else a.astype(np.float64) for a in arrays] for arrays in here]
    for i in range(len(shapes)):
        step(*[*[arrays[i] for arrays in exactly], None, None][:5])
    tolerance = max(TOLERANCE[dtype], 2e-5 if name == "muon" and dtype == "float32" else 0.0)
    pairs = [[(a, b) for a, b in zip(*both, strict=True) if b is not None] for both in zip(there, exactly, strict=True)]
    assert_near([[a for a, _ in p] for p in pairs], [[b for _, b in p] for p in pairs], tolerance)
