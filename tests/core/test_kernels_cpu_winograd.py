"""Winograd's convolution against sums in float64: odd sizes, odd layouts, accuracy, threads, batches, what follows it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from nyala.core.kernels.cpu.conv import winograd, winograd_grad
from nyala.core.kernels.cpu.matrix.after import then
from nyala.core.kernels.cpu.running import parallel
from nyala.core.kernels.cpu.running.threads import thread_count
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
        assert distance(winograd.forward(x, w, ONE, padding, ONE, 1), exact(x, w, padding)) < 3e-6
    if min(size) > 2:
        none = ((0, 0), (0, 0))
        assert distance(winograd.forward(x, w, ONE, none, ONE, 1), exact(x, w, none)) < 3e-6


@pytest.mark.parametrize("channels", [64, 128, 256, 512])
def test_the_error_stays_near_that_of_direct_sums(channels: int) -> None:
    s, padding = Sampler("error"), ((1, 1), (1, 1))
    x, w = normal(s, 1, channels, 14, 14), weight(s, 64, channels)
    wanted = exact(x, w, padding)
    error = np.abs(winograd.forward(x, w, ONE, padding, ONE, 1) - wanted)
    assert error.max() < 5e-6 * np.abs(wanted).max()
    assert np.sqrt(np.mean(error**2)) < 2.5e-6 * wanted.std()


def test_bits_depend_neither_on_the_threads_nor_on_the_batch(pool: Any) -> None:
    s, padding = Sampler("bits"), ((1, 1), (1, 1))
    for channels, out, side in [(64, 64, 14), (20, 36, 9), (256, 256, 7)]:
        x, w = normal(s, 5, channels, side, side), weight(s, out, channels)
        pool.start(1)
        alone = winograd.forward(x, w, ONE, padding, ONE, 1)
        pool.start(2)
        np.testing.assert_array_equal(winograd.forward(x, w, ONE, padding, ONE, 1), alone)
        for i in range(len(x)):
            np.testing.assert_array_equal(winograd.forward(x[i : i + 1], w, ONE, padding, ONE, 1), alone[i : i + 1])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_follows_gives_the_bits_that_it_gives_on_its_own(activation: str) -> None:
    s, padding = Sampler("after"), ((1, 1), (1, 1))
    for channels, size in [(24, (7, 10)), (48, (8, 8))]:
        x, w, bias = normal(s, 2, 16, *size), weight(s, channels, 16), normal(s, channels)
        residual = normal(s, 2, channels, *size)
        for after in (After(activation=activation), After(normal(s, channels), normal(s, channels), residual, activation)):
            fused = winograd.forward(x, w, ONE, padding, ONE, 1, bias, after)
            np.testing.assert_array_equal(fused, then(winograd.forward(x, w, ONE, padding, ONE, 1), bias, after, 1))


@pytest.mark.parametrize("channels", [(1, 1), (17, 3), (16, 64), (128, 256)])
def test_the_gradient_of_the_input_agrees_with_sums_in_float64(channels: tuple[int, int]) -> None:
    s = Sampler(f"back {channels}")
    for size, padding in [
        ((9, 6), ((1, 1), (1, 1))),
        ((5, 11), ((0, 2), (2, 1))),
        ((8, 8), ((0, 0), (0, 0))),
        ((4, 3), ((3, 3), (4, 1))),
    ]:
        shape = (2, channels[0], *size)
        g = normal(s, 2, channels[1], *[n + sum(p) - 2 for n, p in zip(size, padding, strict=True)])
        w = weight(s, channels[1], channels[0])
        wanted = reference.conv_input_grad(g.astype(np.float64), w.astype(np.float64), shape, ONE, padding, ONE, 1)
        assert distance(winograd.input_grad(g, w, shape, ONE, padding, ONE, 1), wanted) < 5e-6


def test_layouts_that_kernels_do_not_read_are_copied() -> None:
    s, padding = Sampler("layouts"), ((1, 1), (1, 1))
    x, w = normal(s, 2, 24, 9, 9), weight(s, 40, 24)
    y = winograd.forward(x, w, ONE, padding, ONE, 1)
    wide = np.zeros((2, 24, 9, 18), np.float32)
    wide[..., ::2] = x
    memory = np.zeros(4 * x.size + 1, np.uint8)
    shifted = memory[1:].view(np.float32).reshape(x.shape)
    shifted[...] = x
    fixed, turned = x.copy(), np.asfortranarray(w)
    fixed.flags.writeable = False
    for given in (wide[..., ::2], shifted, fixed, np.asfortranarray(x)):
        np.testing.assert_array_equal(winograd.forward(given, turned, ONE, padding, ONE, 1), y)


def test_what_is_not_finite_shows_wherever_it_does_in_direct_sums() -> None:
    s, padding = Sampler("infinite"), ((1, 1), (1, 1))
    x, w = normal(s, 1, 20, 11, 9), weight(s, 24, 20)
    for value in (np.nan, np.inf, -np.inf):
        spoilt = x.copy()
        spoilt[0, 3, 5, 2] = spoilt[0, 7, 0, 8] = value
        direct = np.isfinite(reference.conv_forward(spoilt, w, ONE, padding, ONE, 1))
        ours = np.isfinite(winograd.forward(spoilt, w, ONE, padding, ONE, 1))
        assert not np.any(ours & ~direct)
        assert np.all(ours[..., 8:, :4])  # tiles away from both are as they were


@pytest.mark.parametrize("channels", [(1, 1), (17, 3), (16, 64), (100, 270), (260, 16)])
def test_the_gradient_of_the_weight_agrees_with_sums_in_float64(channels: tuple[int, int]) -> None:
    s = Sampler(f"weight {channels}")
    for size, padding in [
        ((9, 6), ((1, 1), (1, 1))),
        ((5, 11), ((0, 2), (2, 1))),
        ((66, 68), ((1, 1), (1, 1))),
        ((1, 3), ((1, 1), (3, 0))),
    ]:
        x = normal(s, 3, channels[0], *size)
        g = normal(s, 3, channels[1], *[n + sum(p) - 2 for n, p in zip(size, padding, strict=True)])
        shape = (channels[1], channels[0], 3, 3)
        wanted = reference.conv_weight_grad(g.astype(np.float64), x.astype(np.float64), shape, ONE, padding, ONE, 1)
        assert distance(winograd_grad.weight_grad(g, x, shape, ONE, padding, ONE, 1), wanted) < 5e-6


def test_bits_of_gradients_do_not_depend_on_the_threads(pool: Any) -> None:
    s, padding = Sampler("gradients"), ((1, 1), (1, 1))
    for channels, out, side in [(40, 24, 30), (256, 130, 7)]:
        x, w, g = normal(s, 5, channels, side, side), weight(s, out, channels), normal(s, 5, out, side, side)
        found = []
        for threads in (1, 2):
            pool.start(threads)
            back = winograd.input_grad(g, w, x.shape, ONE, padding, ONE, 1)
            found.append((back, winograd_grad.weight_grad(g, x, w.shape, ONE, padding, ONE, 1)))
        for one, two in zip(*found, strict=True):
            np.testing.assert_array_equal(one, two)


def test_several_threads_may_convolve_at_once() -> None:
    s, padding = Sampler("callers"), ((1, 1), (1, 1))
    x, w = normal(s, 2, 48, 20, 20), weight(s, 48, 48)
    g = normal(s, 2, 48, 20, 20)

    def all_three() -> tuple[Any, ...]:
        geometry = ONE, padding, ONE, 1
        return (
            winograd.forward(x, w, *geometry), winograd.input_grad(g, w, x.shape, *geometry),
            winograd_grad.weight_grad(g, x, w.shape, *geometry),
        )  # fmt: skip

    alone = all_three()
    with ThreadPoolExecutor(8) as callers:
        for found in callers.map(lambda _: all_three(), range(64)):
            for one, other in zip(found, alone, strict=True):
                np.testing.assert_array_equal(one, other)
