"""Winograd's convolution against sums in float64: odd sizes, odd layouts, accuracy, threads, batches, what follows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from nyala.core.kernels.cpu import parallel, winograd
from nyala.core.kernels.cpu.after import PLAIN, ends, then
from nyala.core.kernels.cpu.threads import thread_count
from nyala.core.kernels.reference import conv as reference
from nyala.core.kernels.reference.after import ACTIVATIONS, After
from nyala.testing import Sampler

ONE = (1, 1)


def normal(s: Sampler, *shape: int) -> Any:
    return s.normal(*shape).astype(np.float32)


def weight(s: Sampler, out: int, channels: int) -> Any:
    return normal(s, out, channels, 3, 3) / np.float32(3 * channels**0.5)


def exact(x: Any, w: Any, padding: Any) -> Any:
    """In float64."""
    return reference.conv_forward(x.astype(np.float64), w.astype(np.float64), ONE, padding, ONE, 1)


def computed(x: Any, w: Any, padding: Any, codes: Any = PLAIN) -> Any:
    """x (N, C, H, W), ``padding`` ((top, bottom), (left, right))."""
    (top, bottom), (left, right) = padding
    out = x.shape[2] + top + bottom - 2, x.shape[3] + left + right - 2
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    y = winograd.forward(last, winograd.packed_weight(w), (top, left), out, len(w), codes)
    return y.transpose(0, 3, 1, 2)


def distance(got: Any, wanted: Any) -> float:
    """The largest difference, as a part of the largest element."""
    assert got.shape == wanted.shape
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


@pytest.fixture
def pool() -> Iterator[Any]:
    """The kernels' pool, restored afterwards."""
    yield parallel
    parallel.start(thread_count())


@pytest.mark.parametrize("channels", [(1, 1), (3, 17), (16, 16), (33, 5), (40, 70)])
@pytest.mark.parametrize("size", [(h, 14 - h) for h in range(1, 14)])
def test_any_size_agrees_with_sums_in_float64(size: tuple[int, int], channels: tuple[int, int]) -> None:
    s = Sampler(f"size {size} {channels}")
    x, w = normal(s, 2, channels[0], *size), weight(s, channels[1], channels[0])
    for padding in [((1, 1), (1, 1)), ((2, 2), (2, 2)), ((0, 2), (2, 1)), ((5, 1), (1, 7))]:
        assert distance(computed(x, w, padding), exact(x, w, padding)) < 3e-6
    if min(size) > 2:
        none = ((0, 0), (0, 0))
        assert distance(computed(x, w, none), exact(x, w, none)) < 3e-6


@pytest.mark.parametrize("channels", [64, 128, 256, 512])
def test_the_error_stays_near_that_of_direct_sums(channels: int) -> None:
    s, padding = Sampler("error"), ((1, 1), (1, 1))
    x, w = normal(s, 1, channels, 14, 14), weight(s, 64, channels)
    wanted = exact(x, w, padding)
    error = np.abs(computed(x, w, padding) - wanted)
    assert error.max() < 5e-6 * np.abs(wanted).max()
    assert np.sqrt(np.mean(error**2)) < 2.5e-6 * wanted.std()


def test_bits_depend_neither_on_the_threads_nor_on_the_batch(pool: Any) -> None:
    s, padding = Sampler("bits"), ((1, 1), (1, 1))
    for channels, out, side in [(64, 64, 14), (20, 36, 9), (256, 256, 7)]:
        x, w = normal(s, 5, channels, side, side), weight(s, out, channels)
        pool.start(1)
        alone = computed(x, w, padding)
        pool.start(2)
        np.testing.assert_array_equal(computed(x, w, padding), alone)
        for i in range(len(x)):
            np.testing.assert_array_equal(computed(x[i : i + 1], w, padding), alone[i : i + 1])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_follows_gives_the_bits_that_it_gives_on_its_own(activation: str) -> None:
    s, padding = Sampler("after"), ((1, 1), (1, 1))
    for channels, size in [(24, (7, 10)), (48, (8, 8))]:
        x, w, bias = normal(s, 2, 16, *size), weight(s, channels, 16), normal(s, channels)
        residual = np.ascontiguousarray(normal(s, 2, *size, channels))
        for after in (After(activation=activation), After(normal(s, channels), normal(s, channels), residual, activation)):
            codes, held = ends(bias, after)
            fused = computed(x, w, padding, codes)
            del held
            after = after._replace(residual=None if after.residual is None else residual.transpose(0, 3, 1, 2))
            apart = then(computed(x, w, padding), bias, after, 1)
            np.testing.assert_array_equal(fused, apart)
