"""Sums, means, variances, extremes and rows of tables on the CPU against float64, NumPy and themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from nyala.core.kernels import CPU, reference
from nyala.core.kernels.cpu.running import parallel
from nyala.core.kernels.cpu.running.threads import thread_count

KERNELS = reference.KERNELS
CASES = [
    ((7,), (0,)), ((1,), (0,)), ((), ()), ((5, 1, 3), (1,)), ((3, 5), ()), ((33, 65), (1,)), ((64, 1536), (1,)),
    ((700, 1025), (0,)), ((40, 3000), (0, 1)), ((3, 200_001), (1,)), ((3, 2, 200_001), (0, 2)), ((1000, 17), (0,)),
    ((1000, 15), (0,)), ((4, 16, 30, 31), (0, 2, 3)), ((4, 16, 30, 31), (2, 3)), ((2, 3, 4, 5), (0, 2)), ((2, 3, 4, 5), (3,)),
    ((9, 300, 40), (1,)), ((20_000, 16), (0,)), ((20_000, 3), (1,)), ((300, 1), (0,)), ((1, 300), (0,)),
]  # fmt: skip
IDS = [f"{shape} over {axes}" for shape, axes in CASES]


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """How many threads there are, set for one test."""
    yield parallel.start
    parallel.start(thread_count())


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def channels_last(x: Any) -> Any:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("name", ["sum", "mean"])
@pytest.mark.parametrize(("shape", "axes"), CASES, ids=IDS)
def test_sums_are_at_least_as_right_as_numpys(name: str, shape: tuple[int, ...], axes: tuple[int, ...], keepdim: bool) -> None:
    x = normal(*shape) + np.float32(0.3)
    got, numpys = getattr(CPU, name)(x, axes, keepdim), KERNELS[name](x, axes, keepdim)
    exact = KERNELS[name](x.astype(np.float64), axes, keepdim)
    assert got.dtype == np.float32 and got.shape == exact.shape
    size = KERNELS[name](np.abs(x).astype(np.float64), axes, keepdim)
    assert (np.abs(got - exact) / size).max() <= max((np.abs(numpys - exact) / size).max(), 2.0**-24)


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize(("shape", "axes"), CASES, ids=IDS)
def test_variances_and_extremes_equal_the_reference(shape: tuple[int, ...], axes: tuple[int, ...], keepdim: bool) -> None:
    x = normal(*shape) + np.float32(3)
    for correction in (0, 1):
        if int(np.prod([shape[i] for i in axes])) > correction:
            got = CPU.var(x, axes, keepdim, correction)
            exact = KERNELS["var"](x.astype(np.float64), axes, keepdim, correction)
            assert got.shape == exact.shape
            np.testing.assert_allclose(got, exact, rtol=1e-6, atol=1e-12)
        else:
            assert np.isnan(CPU.var(x, axes, keepdim, correction)).all()
    for name in ("amax", "amin"):
        np.testing.assert_array_equal(getattr(CPU, name)(x, axes, keepdim), KERNELS[name](x, axes, keepdim))
    for name in ("argmax", "argmin"):
        for axis in range(x.ndim):
            np.testing.assert_array_equal(getattr(CPU, name)(x, axis), KERNELS[name](x, axis))


@pytest.mark.parametrize("axes", [(0, 2, 3), (2, 3), (1,), (0,), (0, 1, 2, 3), (0, 1)], ids=str)
def test_every_layout_gives_sums_and_extremes(axes: tuple[int, ...]) -> None:
    x = normal(8, 40, 9, 7)
    frozen = x.copy()
    frozen.setflags(write=False)
    layouts = (frozen, channels_last(x), np.repeat(x, 2, axis=3)[..., ::2], x[::-1][::-1], np.asfortranarray(x))
    for same in layouts:
        for keepdim in (False, True):
            np.testing.assert_allclose(CPU.sum(same, axes, keepdim), x.sum(axes, keepdims=keepdim), atol=2e-3)
            np.testing.assert_allclose(CPU.var(same, axes, keepdim, 1), x.var(axes, keepdims=keepdim, ddof=1), rtol=1e-4)
            np.testing.assert_array_equal(CPU.amax(same, axes, keepdim), x.max(axes, keepdims=keepdim))
    wide = np.broadcast_to(np.float32(2.0), (300, 400))
    assert (CPU.sum(wide, (0,), False) == 600).all()


@pytest.mark.parametrize(
    ("shape", "axes"), [((64, 1536), (1,)), ((64, 50, 48), (1,)), ((64, 3, 9, 11), (2, 3)), ((5, 300_000), (1,))]
)
def test_a_row_gives_the_same_bits_alone(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = normal(*shape)
    for name, numbers in (("sum", ()), ("mean", ()), ("var", (1,))):
        whole = getattr(CPU, name)(x, axes, False, *numbers)
        for i in (0, 3):
            np.testing.assert_array_equal(getattr(CPU, name)(x[i : i + 1].copy(), axes, False, *numbers)[0], whole[i])


@pytest.mark.parametrize("name", ["sum", "var", "amax", "argmax", "add_rows"])
def test_the_bits_do_not_depend_on_the_number_of_threads(name: str, threads: Callable[[int], None]) -> None:
    x = normal(300, 1537)
    places = np.random.default_rng(0).integers(0, 70, 300)
    calls: dict[str, list[Callable[[], Any]]] = {
        "sum": [lambda: CPU.sum(x, (1,), False), lambda: CPU.sum(x, (0,), False), lambda: CPU.sum(x, (0, 1), False)],
        "var": [lambda: CPU.var(x, (1,), False, 1)],
        "amax": [lambda: CPU.amax(x, (0, 1), False)],
        "argmax": [lambda: CPU.argmax(x, 1)],
        "add_rows": [lambda: CPU.add_rows(70, places, x), lambda: CPU.take_rows(x, places)],
    }
    found = []
    for count in (1, 2, 3):
        threads(count)
        found.append([call().tobytes() for call in calls[name]])
    assert found[0] == found[1] == found[2]


def test_nan_and_infinity() -> None:
    x = np.zeros((9, 1000), np.float32)
    x[1, 990], x[2, 3], x[3, [5, 700]], x[4, 8] = np.nan, np.inf, -np.inf, -np.nan
    x[5, [2, 900]] = np.inf, -np.inf
    x[6], x[7, 500:], x[8] = -np.inf, -0.0, 99
    with np.errstate(invalid="ignore"):
        for name in ("sum", "mean"):
            np.testing.assert_array_equal(getattr(CPU, name)(x, (1,), False), KERNELS[name](x, (1,), False))
            np.testing.assert_array_equal(getattr(CPU, name)(x, (0,), False), KERNELS[name](x, (0,), False))
    for name in ("amax", "amin"):
        np.testing.assert_array_equal(getattr(CPU, name)(x, (1,), False), KERNELS[name](x, (1,), False))
    for name in ("argmax", "argmin"):  # the first of equal ones, among them both zeros, and the first NaN
        np.testing.assert_array_equal(getattr(CPU, name)(x, 1), KERNELS[name](x, 1))
    assert np.isnan(CPU.amax(x, (0, 1), False)) and np.isnan(CPU.amin(x, (0, 1), False))


def test_sums_of_nothing() -> None:
    assert CPU.sum(np.zeros((0, 3), np.float32), (0,), False).tolist() == [0, 0, 0]
    assert np.isnan(CPU.mean(np.zeros((2, 0), np.float32), (1,), False)).all()
    assert CPU.sum(np.zeros((0, 3), np.float32), (1,), True).shape == (0, 1)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32"])
def test_other_dtypes_go_to_the_reference(dtype: str) -> None:
    x = (normal(30, 40) * 9).astype(dtype)
    for name in ("sum", "amax", "amin"):
        got = getattr(CPU, name)(x, (1,), False)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, KERNELS[name](x, (1,), False))
    np.testing.assert_array_equal(CPU.argmax(x, 1), x.argmax(1))


@pytest.mark.parametrize(
    ("count", "width", "rows"), [(50, 130, 3000), (5, 3, 0), (7, 1, 20), (3, 70_000, 9), (1, 1, 1), (30_000, 64, 500)]
)
def test_rows_of_tables_are_taken_and_added(count: int, width: int, rows: int) -> None:
    places = np.random.default_rng(0).integers(0, count, rows)
    values, table = normal(rows, width), normal(count, width)
    exact = KERNELS["add_rows"](count, places, values.astype(np.float64))
    np.testing.assert_allclose(CPU.add_rows(count, places, values), exact, atol=1e-4)
    np.testing.assert_array_equal(
        CPU.add_rows(count, places.astype(np.int32), values[:, ::-1])[:, ::-1], CPU.add_rows(count, places, values)
    )
    frozen = table.copy()
    frozen.setflags(write=False)
    for same in (table, frozen, np.asfortranarray(table), np.repeat(table, 2, axis=0)[::2]):
        np.testing.assert_array_equal(CPU.take_rows(same, places), table[places])
    np.testing.assert_array_equal(CPU.take_rows(table, places.reshape(1, rows, 1)), table[places.reshape(1, rows, 1)])


def test_rows_outside_the_table_are_refused() -> None:
    for bad in ([0, 3], [5]):
        with pytest.raises(IndexError):
            CPU.add_rows(3, np.array(bad), normal(len(bad), 4))
        with pytest.raises(IndexError):
            CPU.take_rows(normal(3, 4), np.array(bad))
