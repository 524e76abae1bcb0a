"""Optimizer steps on the CPU: the fused ones against the reference in float64, their bits, and the arrays they can write to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from nyala.core.kernels import CPU, reference
from nyala.core.kernels.cpu.running import parallel

Arrays = list[Any]
SHAPE = (330, 417)  # over two tiles, and no multiple of a vector


def arrays(*, positive: tuple[int, ...] = (), count: int = 4, shape: tuple[int, ...] = SHAPE) -> Arrays:
    rng = np.random.default_rng(7)
    made = [np.asarray(rng.normal(size=shape), np.float32) for _ in range(count)]
    return [np.asarray(abs(a)) if i in positive else a for i, a in enumerate(made)]


def adam(decoupled: bool, maximize: bool, amsgrad: bool, shape: tuple[int, ...] = SHAPE) -> Arrays:
    p, g, m, v, top = arrays(positive=(3, 4), count=5, shape=shape)
    return [p, g, m, v, top if amsgrad else None, 3, 1e-2, 0.9, 0.99, 1e-6, 0.1, decoupled, maximize]


def sgd(momentum: float, first: bool, nesterov: bool, maximize: bool) -> Arrays:
    p, g, b = arrays(count=3)
    return [p, g, b if momentum else None, first, 0.1, momentum, 0.0 if nesterov else 0.3, 0.2, nesterov, maximize]


def lamb(weight_decay: float, *flags: bool) -> Arrays:
    return [*arrays(positive=(3,)), 4, 1e-2, 0.9, 0.99, 1e-6, weight_decay, 0.5, *flags]


def muon(nesterov: bool, shape: tuple[int, ...] = (130, 60)) -> Arrays:
    return [*arrays(count=3, shape=shape), 0.02, 0.03, 0.1, 0.9, nesterov, (3.4445, -4.775, 2.0315), 1e-7, 5]


def adafactor(factored: bool, maximize: bool, shape: tuple[int, ...] = SHAPE) -> Arrays:
    p, g, whole = arrays(positive=(2,), count=3, shape=shape)
    rows, columns = whole.mean(-1, keepdims=True), whole.mean(-2, keepdims=True)
    state = [rows, columns, None] if factored else [None, None, whole]
    return [p, g, *state, 3, 0.1, -0.8, 1e-6, 1e-3, 0.9 if maximize else 1.5, 0.1, maximize]


CASES: dict[str, tuple[str, Callable[[], Arrays]]] = {
    "adamw": ("adamw_step", lambda: adam(True, False, False)),
    "adam up": ("adamw_step", lambda: adam(False, True, False)),
    "amsgrad": ("adamw_step", lambda: adam(True, False, True)),
    "vector": ("adamw_step", lambda: adam(True, False, False, (5,))),
    "number": ("adamw_step", lambda: adam(False, False, True, ())),
    "sgd": ("sgd_step", lambda: sgd(0.0, False, False, False)),
    "sgd first": ("sgd_step", lambda: sgd(0.9, True, False, True)),
    "sgd dampened": ("sgd_step", lambda: sgd(0.9, False, False, False)),
    "nesterov": ("sgd_step", lambda: sgd(0.9, False, True, False)),
    "lion": ("lion_step", lambda: [*arrays(count=3), 1e-2, 0.9, 0.99, 0.1, False]),
    "lion up": ("lion_step", lambda: [*arrays(count=3), 1e-2, 0.9, 0.99, 0.0, True]),
    "lamb": ("lamb_step", lambda: lamb(0.1, True, True, False, False)),
    "lamb plain": ("lamb_step", lambda: lamb(0.0, False, False, False, False)),
    "lamb clipped": ("lamb_step", lambda: lamb(0.0, True, True, True, True)),
    "adafactor": ("adafactor_step", lambda: adafactor(True, False)),
    "adafactor up": ("adafactor_step", lambda: adafactor(True, True, (600, 7))),
    "adafactor whole": ("adafactor_step", lambda: adafactor(False, False)),
    "muon": ("muon_step", lambda: muon(True)),
    "muon wide": ("muon_step", lambda: muon(False, (60, 130))),
    "ema": ("ema_step", lambda: [*arrays(count=2), 0.01]),
    "scale": ("scale_step", lambda: [*arrays(count=1), 0.3]),
}


MANY = {"adamw_step": 6, "sgd_step": 4, "lion_step": 3, "ema_step": 2, "scale_step": 1}
"""Kernels for many parameters at once, and how many of their arguments are lists, one entry a parameter."""


def kernel(table: Any, name: str) -> Callable[..., Any]:
    return reference.KERNELS[name] if table is None else getattr(table, name)


def step(table: Any, name: str, *given: Any) -> None:
    """One step of one parameter."""
    if name not in MANY:
        return kernel(table, name)(*given)
    one = [None if a is None else [a] for a in given[: MANY[name]]]
    return kernel(table, f"{name}s")(*one, *given[MANY[name] :])


def run(table: Any, name: str, given: Arrays, dtype: Any = None) -> Arrays:
    """The arrays after the kernel ran on copies of them, in the same memory order."""
    own = [a.astype(dtype or a.dtype, order="K", copy=True) if isinstance(a, np.ndarray) else a for a in given]
    step(table, name, *own)
    return [a for a in own if isinstance(a, np.ndarray)]


@pytest.mark.parametrize("case", CASES)
def test_a_step_equals_the_reference(case: str) -> None:
    name, make = CASES[case]
    for i, (got, expected, before) in enumerate(
        zip(run(CPU, name, make()), run(None, name, make(), np.float64), [a for a in make() if hasattr(a, "shape")], strict=True)
    ):
        # a sign may fall either way where momentum and gradient cancel to the last bit
        tolerance = 2e-5 if name == "muon_step" else 1e-6
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()), err_msg=f"array {i}")
        assert (i == 1) == (got.tobytes() == before.tobytes()), f"array {i}: the gradient alone stays as it was"


@pytest.mark.parametrize("case", CASES)
def test_the_bits_do_not_depend_on_the_number_of_threads(case: str) -> None:
    name, make = CASES[case]
    found, before = [], parallel.workers() + 1
    for threads in (1, 2, 3):
        parallel.start(threads)
        found.append(b"".join(a.tobytes() for a in run(CPU, name, make())))
    parallel.start(before)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("case", ["adamw", "sgd dampened", "lion", "lamb", "ema"])
def test_every_memory_order_gives_the_same_values(case: str) -> None:
    name, make = CASES[case]
    expected = run(CPU, name, make())
    turned = [np.asfortranarray(a) if isinstance(a, np.ndarray) else a for a in make()]
    mixed = [np.asfortranarray(a) if isinstance(a, np.ndarray) and i == 1 else a for i, a in enumerate(make())]
    spread = [np.repeat(a, 2, axis=1)[:, ::2] if isinstance(a, np.ndarray) else a for a in make()]
    for given in (turned, mixed):
        for got, want in zip(run(CPU, name, given), expected, strict=True):
            # the norms in LAMB are summed in memory order
            np.testing.assert_allclose(got, want, rtol=1e-6 if name == "lamb_step" else 0, atol=0)
    for got, want in zip(run(CPU, name, spread), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-6)


def test_a_write_reaches_the_memory_behind_a_strided_view() -> None:
    memory = np.ones((4, 6), np.float32)
    view = memory[:, ::2]
    step(CPU, "sgd_step", view, np.ones_like(view), None, False, 0.5, 0.0, 0.0, 0.0, False, False)
    np.testing.assert_array_equal(memory, [[0.5, 1.0] * 3] * 4)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("case", ["adamw", "amsgrad", "sgd", "sgd dampened", "lion", "lamb", "muon", "ema"])
def test_half_precision_is_rounded_once(case: str, dtype: Any) -> None:
    name, make = CASES[case]
    given = [a.astype(dtype) if isinstance(a, np.ndarray) and i < 2 and name != "ema_step" else a for i, a in enumerate(make())]
    given[1] = given[1].astype(dtype)
    wide = [a.astype(np.float32) if isinstance(a, np.ndarray) else a for a in given]
    got, expected = run(CPU, name, given), run(None, name, wide)
    assert got[0].dtype == (np.float32 if name == "ema_step" else dtype)
    assert all(a.dtype == np.float32 for a in got[2:])
    np.testing.assert_array_equal(got[0].astype(np.float32), expected[0].astype(got[0].dtype).astype(np.float32))


def test_adafactor_keeps_a_row_and_a_column() -> None:
    p, g = arrays(count=2, shape=(2, 3, 4))
    row, column = np.zeros((2, 3, 1), np.float32), np.zeros((2, 1, 4), np.float32)
    CPU.adafactor_step(p, g, row, column, None, 1, 0.1, -0.8, 1e-30, 1e-3, 1.0, 0.0, False)
    np.testing.assert_allclose(row[..., 0], (g * g).mean(-1), rtol=1e-6)
    np.testing.assert_allclose(column[:, 0], (g * g).mean(-2), rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 4), (5,), (2, 3, 4)])
def test_adafactor_of_a_gradient_of_zeros_moves_nothing(shape: tuple[int, ...]) -> None:
    p, g = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    state = [np.zeros((*shape[:-1], 1)), np.zeros((*shape[:-2], 1, shape[-1]))] if len(shape) > 1 else [None, None]
    rows, columns = (None if a is None else a.astype(np.float32) for a in state)
    whole = np.zeros(shape, np.float32) if rows is None else None
    CPU.adafactor_step(p, g, rows, columns, whole, 1, 0.1, -0.8, 1e-30, 1e-3, 1.0, 0.0, False)
    np.testing.assert_array_equal(p, 1)


def test_muon_makes_a_matrix_nearly_orthogonal() -> None:
    p, g, buffer = np.zeros((40, 20), np.float32), arrays(count=1, shape=(40, 20))[0], np.zeros((40, 20), np.float32)
    CPU.muon_step(p, g, buffer, 1.0, 1.0, 0.0, 0.0, False, (3.4445, -4.775, 2.0315), 1e-7, 5)
    values = np.linalg.svd(p, compute_uv=False)
    assert values.min() > 0.5 and values.max() < 1.4


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (300, 511)])
def test_sum_of_squares(dtype: Any, shape: tuple[int, ...]) -> None:
    x = np.asarray(np.random.default_rng(0).normal(size=shape)).astype(dtype)
    wide = x.astype(np.float64)
    found = CPU.sums_of_squares([x])
    assert isinstance(found, float) and found == pytest.approx(float((wide * wide).sum()), rel=1e-12)
    assert np.isnan(CPU.sums_of_squares([np.array([1.0, np.nan], dtype)]))
    assert CPU.sums_of_squares([np.array([np.inf], dtype)]) == np.inf


def test_sums_neither_overflow_nor_lose_what_float32_would() -> None:
    assert CPU.sums_of_squares([np.full(3, 1e30, np.float32)]) == pytest.approx(3e60, rel=1e-6)
    assert CPU.sums_of_squares([np.full(200_000, 1e-30, np.float32)]) == pytest.approx(2e-55, rel=1e-6)


def many() -> list[Arrays]:
    """Parameters of all sorts together: small, over several spans, empty, numbers, turned, strided, and of other dtypes."""
    shapes: list[tuple[int, ...]] = [(5,), (300, 500), (), (0, 3), (65_536,), (65_537,), (7, 11)]
    made = [arrays(positive=(3, 4), count=5, shape=s) for s in shapes]
    made.append([np.asfortranarray(a) for a in arrays(positive=(3, 4), count=5, shape=(33, 21))])
    made.append([np.repeat(a, 2, axis=1)[:, ::2] for a in arrays(positive=(3, 4), count=5, shape=(6, 9))])
    made.append([a.astype(np.float64) for a in arrays(positive=(3, 4), count=5, shape=(8,))])
    made.append([a if i > 1 else a.astype(np.float16) for i, a in enumerate(arrays(positive=(3, 4), count=5, shape=(40,)))])
    made.append([np.broadcast_to(np.float32(0.25), (9,)) if i == 1 else a for i, a in enumerate(arrays(count=5, shape=(9,)))])
    return [[a if a.size else abs(a) for a in m] for m in made[:-1]] + [[abs(a) if i > 2 else a for i, a in enumerate(made[-1])]]


STEPS = [3, 1, 3, 2, 7, 1, 4, 3, 3, 2, 5, 1]
FIRSTS = [n == 1 for n in STEPS]
PLURALS: dict[str, tuple[str, int, Callable[[Any, int], tuple[Any, ...]]]] = {
    "adamw": ("adamw_step", 4, lambda n, _: (None, n, 1e-2, 0.9, 0.99, 1e-6, 0.1, True, False)),
    "amsgrad": ("adamw_step", 5, lambda n, _: (n, 1e-2, 0.9, 0.99, 1e-6, 0.1, False, True)),
    "sgd": ("sgd_step", 2, lambda _, i: (None, FIRSTS[i], 0.1, 0.0, 0.0, 0.2, False, False)),
    "momentum": ("sgd_step", 3, lambda _, i: (FIRSTS[i], 0.1, 0.9, 0.1, 0.2, False, True)),
    "lion": ("lion_step", 3, lambda _, __: (1e-2, 0.9, 0.99, 0.1, False)),
    "ema": ("ema_step", 2, lambda _, __: (0.01,)),
    "scale": ("scale_step", 1, lambda _, __: (0.3,)),
}


@pytest.mark.parametrize("table", [CPU, None], ids=["cpu", "reference"])
@pytest.mark.parametrize("case", PLURALS)
def test_many_parameters_in_one_call_get_the_bits_that_each_gets_alone(case: str, table: Any) -> None:
    name, count, rest = PLURALS[case]
    apart = [[a.copy(order="K") for a in m[:count]] for m in many()]
    together = [[a.copy(order="K") for a in m[:count]] for m in many()]
    for i, own in enumerate(apart):
        step(table, name, *own, *rest(STEPS[i], i))
    settings = list(rest(STEPS, 0))
    if name == "sgd_step":
        settings[settings.index(FIRSTS[0], 1 if case == "sgd" else 0)] = FIRSTS
    kernel(table, f"{name}s")(*map(list, zip(*together, strict=True)), *settings)
    for i, (a, b) in enumerate(zip(apart, together, strict=True)):
        for one, other in zip(a, b, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=f"parameter {i}")
    assert any((a[0] != m[0]).any() for a, m in zip(apart, many(), strict=True))


def test_the_squares_of_many_arrays() -> None:
    given = [m[0] for m in many()]
    expected = sum(float((a.astype(np.float64) ** 2).sum()) for a in given)
    assert CPU.sums_of_squares(given) == pytest.approx(expected, rel=1e-12) and CPU.sums_of_squares([]) == 0.0
    assert reference.KERNELS["sums_of_squares"](given) == pytest.approx(expected, rel=1e-12)
    assert CPU.sums_of_squares(given[:2]) == CPU.sums_of_squares(given[:1]) + CPU.sums_of_squares(given[1:2])


def test_no_parameters_at_all() -> None:
    CPU.adamw_steps([], [], [], [], None, [], 1e-2, 0.9, 0.99, 1e-6, 0.1, True, False)
    CPU.scale_steps([], 0.5)
