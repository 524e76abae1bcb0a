"""Products of a few rows with a weight that is read where it lies: the bits are those of many rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from nyala.core.kernels import CPU, reference
from nyala.core.kernels.cpu.matrix.gemv import FEW
from nyala.core.kernels.cpu.running import parallel
from nyala.core.kernels.cpu.running.threads import thread_count
from nyala.core.kernels.reference.after import After

MANY = 40  # rows that are multiplied in panels


def normal(*shape: int) -> Any:
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


@pytest.fixture
def threads() -> Iterator[Any]:
    yield parallel.start
    parallel.start(thread_count())


SIZES = [(1, 1), (15, 17), (16, 15), (17, 16), (64, 256), (65, 300), (130, 2048), (33, 4500)]
SIZED = pytest.mark.parametrize(("outputs", "width"), SIZES)


@SIZED
def test_a_row_alone_gets_what_it_gets_among_many(outputs: int, width: int) -> None:
    x, weight, bias = normal(MANY, width), normal(outputs, width), normal(outputs)
    residual = normal(MANY, outputs)
    for after in (None, After(activation="silu"), After(normal(outputs), bias, residual, "gelu")):
        whole = CPU.linear(x, weight, bias, after)
        for rows in range(1, FEW + 1):
            here = after if after is None or after.residual is None else after._replace(residual=residual[3 : 3 + rows])
            np.testing.assert_array_equal(CPU.linear(x[3 : 3 + rows], weight, bias, here), whole[3 : 3 + rows])


@SIZED
def test_equals_the_reference(outputs: int, width: int) -> None:
    x, weight, bias = normal(3, width), normal(outputs, width), normal(outputs)
    expected = reference.KERNELS["linear"](*(a.astype(np.float64) for a in (x, weight, bias)))
    np.testing.assert_allclose(CPU.linear(x, weight, bias), expected, rtol=0, atol=2e-6 * np.sqrt(width) * 4)


def test_the_bits_do_not_depend_on_the_threads(threads: Any) -> None:
    x, weight, found = normal(5, 700), normal(300, 700), []
    for number in (1, 2, 3):
        threads(number)
        found.append(CPU.linear(x, weight).tobytes())
    assert found[0] == found[1] == found[2]


def test_any_layout_gives_the_same_bits() -> None:
    x, weight = normal(4, 70), normal(50, 70)
    expected = CPU.linear(x, weight)
    wide, tall = normal(4, 140), normal(50, 100)
    wide[:, ::2], tall[:, 10:80] = x, weight
    frozen = weight.copy()
    frozen.setflags(write=False)
    memory = np.zeros(weight.nbytes + 2, np.uint8)
    crooked = memory[2:].view(np.float32).reshape(weight.shape)
    crooked[...] = weight
    for same, w in ((wide[:, ::2], weight), (np.asfortranarray(x), weight), (x, tall[:, 10:80]), (x, frozen), (x, crooked)):
        np.testing.assert_array_equal(CPU.linear(same, w), expected)
    np.testing.assert_array_equal(CPU.linear(x, np.asfortranarray(weight)), expected)  # packed: its columns lie together
    np.testing.assert_array_equal(CPU.linear(x.reshape(2, 2, 70), weight), expected.reshape(2, 2, 50))


def test_nothing_behind_a_row_is_read_into_a_result() -> None:
    x, memory = normal(2, 17), np.full((20, 40), np.nan, np.float32)
    memory[:19, :17] = weight = normal(19, 17)
    np.testing.assert_array_equal(CPU.linear(x, memory[:19, :17]), CPU.linear(x, weight))
    x[1, 3] = np.inf
    assert np.isfinite(CPU.linear(x, weight)[0]).all() and not np.isfinite(CPU.linear(x, weight)[1]).any()
