"""The CPU kernels over images: depthwise convolutions, pooling and resizing against the reference in float64, and their bits."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from nyala.core.kernels import CPU, reference
from nyala.core.kernels.cpu.running import parallel
from nyala.core.kernels.cpu.running.threads import thread_count
from nyala.core.kernels.reference.after import After
from nyala.core.kernels.reference.spatial import Map
from nyala.core.kernels.reference.windows import output_size
from nyala.core.ops import pool
from nyala.core.ops.resample import _taps
from nyala.testing import Sampler


@pytest.fixture
def threads() -> Iterator[Any]:
    """``parallel.start``, undone afterwards."""
    yield parallel.start
    parallel.start(thread_count())


def last(x: Any) -> Any:
    """The same values with the channels side by side in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def wide(given: Any) -> Any:
    """Arguments with every array in float64."""
    if isinstance(given, np.ndarray):
        return given.astype(np.float64) if given.dtype.kind == "f" else given
    return type(given)(*map(wide, given)) if isinstance(given, After) else given


# ---- depthwise convolutions: channels, size, kernel, stride, padding, dilation

DEPTHWISE = {
    "3x3": (48, (13, 30), (3, 3), (1, 1), (1, 1), (1, 1)),
    "3x3, wide enough to be read as it lies": (40, (9, 61), (3, 3), (1, 1), (1, 1), (1, 1)),
    "3x3 of 1 channel": (1, (9, 8), (3, 3), (1, 1), (1, 1), (1, 1)),
    "3x3 of 17 channels": (17, (5, 9), (3, 3), (1, 1), (1, 1), (1, 1)),
    "3x3 strided, uneven": (33, (14, 57), (3, 3), (2, 2), ((0, 1), (0, 1)), (1, 1)),
    "5x5 strided, uneven": (50, (15, 60), (5, 5), (2, 2), ((1, 2), (2, 1)), (1, 1)),
    "5x5 of an image of 7": (112, (7, 7), (5, 5), (1, 1), (2, 2), (1, 1)),
    "7x7": (96, (8, 43), (7, 7), (1, 1), (3, 3), (1, 1)),
    "7x7 strided": (20, (16, 50), (7, 7), (2, 2), (3, 3), (1, 1)),
    "2x2, more behind than before": (24, (9, 30), (2, 2), (1, 1), ((0, 1), (0, 1)), (1, 1)),
    "wider than the image": (20, (2, 3), (5, 5), (1, 1), (2, 2), (1, 1)),
    "more padding than kernel": (18, (3, 4), (2, 2), (1, 1), (3, 2), (1, 1)),
    "dilated": (16, (20, 31), (3, 3), (1, 1), (4, (4, 3)), (4, 3)),
    "dilated and strided": (19, (20, 31), (3, 5), (2, 3), (2, 4), (3, 2)),
    "stride beyond the kernel": (16, (11, 40), (1, 1), (3, 2), (0, 0), (1, 1)),
    "a row of 2000": (16, (1, 2000), (1, 31), (1, 1), (0, 15), (1, 1)),
    "a kernel of 9": (32, (11, 33), (9, 9), (1, 1), (4, 4), (1, 1)),
}
KERNELS = ("conv_forward", "conv_input_grad", "conv_weight_grad")


def depthwise(name: str, images: int = 2) -> list[list[Any]]:
    """For each of the three kernels its arguments."""
    c, size, kernel, *geometry = DEPTHWISE[name]
    s, out = Sampler(name), output_size(size, kernel, *geometry)
    x, g = (last(s.normal(images, c, *shape).astype(np.float32)) for shape in (size, out))
    w, bias = s.normal(c, 1, *kernel).astype(np.float32), s.normal(c).astype(np.float32)
    return [[x, w, *geometry, c, bias], [g, w, x.shape, *geometry, c], [g, x, w.shape, *geometry, c]]


@pytest.mark.parametrize("name", DEPTHWISE)
def test_depthwise_kernels_equal_the_reference_in_float64(name: str) -> None:
    for kernel, given in zip(KERNELS, depthwise(name), strict=True):
        got, expected = getattr(CPU, kernel)(*given), reference.KERNELS[kernel](*map(wide, given))
        assert got.shape == expected.shape and got.dtype == np.float32
        assert np.abs(got - expected).max() <= 3e-6 * np.abs(expected).max(), f"{kernel}: {np.abs(got - expected).max()}"


@pytest.mark.parametrize("name", DEPTHWISE)
def test_depthwise_bits_depend_neither_on_threads_nor_on_the_batch(name: str, threads: Any) -> None:
    for i, (kernel, given) in enumerate(zip(KERNELS, depthwise(name, images=3), strict=True)):
        found = []
        for count in (1, 2):
            threads(count)
            found.append(getattr(CPU, kernel)(*given))
        np.testing.assert_array_equal(*found)
        if i < 2:
            alone = [given[0][1:2], given[1], (1, *given[2][1:]) if i else given[2], *given[3:]]
            np.testing.assert_array_equal(getattr(CPU, kernel)(*alone)[0], found[0][1])


@pytest.mark.parametrize("activation", ["none", "relu", "relu6", "gelu", "silu"])
@pytest.mark.parametrize("name", ["3x3, wide enough to be read as it lies", "5x5 of an image of 7", "3x3 of 17 channels"])
def test_what_follows_a_depthwise_convolution_gives_the_bits_it_gives_alone(name: str, activation: str) -> None:
    x, w, *geometry, bias = depthwise(name)[0]
    s, plain = Sampler("after"), CPU.conv_forward(x, w, *geometry)
    scale, shift = (s.normal(plain.shape[1]).astype(np.float32) for _ in range(2))
    after = After(scale, shift, last(s.normal(*plain.shape).astype(np.float32)), activation)
    fused, packs = CPU.conv_forward(x, w, *geometry, bias, after, {}), {}
    from nyala.core.kernels.cpu.matrix.after import then

    np.testing.assert_array_equal(fused, then(plain.copy("K"), bias, after, 1))
    for _ in range(2):  # the second time from the packed weight
        np.testing.assert_array_equal(CPU.conv_forward(x, w, *geometry, bias, after, packs), fused)
    expected = reference.KERNELS["conv_forward"](*map(wide, (x, w, *geometry, bias, after)))
    np.testing.assert_allclose(fused, expected, rtol=2e-5, atol=2e-5)


def test_depthwise_kernels_take_any_memory() -> None:
    for kernel, given in zip(KERNELS, depthwise("3x3"), strict=True):
        expected = getattr(CPU, kernel)(*given)
        for change in (
            np.ascontiguousarray,
            lambda a: np.asfortranarray(a),
            lambda a: np.repeat(a, 2, -1)[..., ::2],
            misaligned,
            frozen,
        ):
            changed = [change(a) if isinstance(a, np.ndarray) and a.ndim == 4 else a for a in given]
            np.testing.assert_array_equal(getattr(CPU, kernel)(*changed), expected)


def misaligned(x: Any) -> Any:
    """The same values, one byte off."""
    held = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    held[...] = x
    return held


def frozen(x: Any) -> Any:
    """The same values, read-only."""
    x = x.copy("K")
    x.flags.writeable = False
    return x


def test_eight_threads_may_convolve_at_once() -> None:
    work = [
        (kernel, given) for name in ("3x3", "5x5 strided, uneven") for kernel, given in zip(KERNELS, depthwise(name), strict=True)
    ]
    expected = [getattr(CPU, kernel)(*given) for kernel, given in work]
    with ThreadPoolExecutor(8) as pool_of_threads:
        found = list(pool_of_threads.map(lambda i: getattr(CPU, work[i % 6][0])(*work[i % 6][1]), range(96)))
    for i, got in enumerate(found):
        np.testing.assert_array_equal(got, expected[i % 6])


def test_depthwise_kernels_carry_nan_and_infinity_to_the_pixels_they_reach() -> None:
    x, w, *rest = depthwise("3x3, wide enough to be read as it lies")[0]
    x = x.copy("K")
    x[0, 3, 4, 30], x[1, 5, 0, 0] = np.nan, np.inf
    got, expected = CPU.conv_forward(x, w, *rest), reference.KERNELS["conv_forward"](x, w, *rest)
    assert np.isnan(got).sum() == 9
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(expected))


# ---- maximum pooling: channels, size, kernel, stride, padding, dilation

POOLS = {
    "3x3 stride 2": (64, (13, 18), 3, 2, 1, 1),
    "2x2": (70, (8, 8), 2, 2, 0, 1),
    "of 5 channels": (5, (7, 9), 3, 1, 1, 1),
    "of 1 channel, dilated": (1, (11, 12), 3, 2, 1, 2),
    "of a sequence": (33, (50,), 3, 2, 1, 1),
    "of tall images": (48, (300, 9), 5, 1, 2, 1),
}


def pooling(name: str) -> tuple[Any, tuple[Any, ...], tuple[int, ...]]:
    """An input with many equal elements and some NaNs, the tables of its windows, and its size."""
    c, size, kernel, stride, padding, dilation = POOLS[name]
    x = last(np.round(3 * Sampler(name).normal(3, c, *size)).astype(np.float32))
    x[1].reshape(-1)[::37] = np.nan
    out = output_size(size, *[(number,) * len(size) for number in (kernel, stride, padding, dilation)])
    tables = tuple(pool._max_table(s, kernel, stride, padding, dilation, o) for s, o in zip(size, out, strict=True))
    return x, tables, size


@pytest.mark.parametrize("name", POOLS)
def test_maxima_and_their_gradients_equal_the_reference(name: str, threads: Any) -> None:
    x, tables, size = pooling(name)
    expected, places = reference.KERNELS["max_pool"](x, tables)
    g = Sampler("gradient").normal(*expected.shape).astype(np.float32)
    back = reference.KERNELS["scatter_planes"](wide(g), places, size)
    for count in (1, 2):
        threads(count)
        for source in (x, np.ascontiguousarray(x), frozen(x)):
            best, index = CPU.max_pool(source, tables)
            np.testing.assert_array_equal(best, expected)
            np.testing.assert_array_equal(index, places)
            best, index = CPU.max_pool(source, tables, False)
            np.testing.assert_array_equal(best, expected)
            assert index is None
        index = CPU.max_pool(x, tables)[1]
        got = CPU.scatter_planes(g, index, size, tables)
        np.testing.assert_allclose(got, back, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(got, CPU.scatter_planes(g, places, size))


# ---- linear maps along dimensions: channels, size, the tables of the dimensions

RESIZES = {
    "bilinear up": (3, (17, 21), ("bilinear", "bilinear"), (30, 50)),
    "bilinear down": (20, (40, 33), ("bilinear", "bilinear"), (17, 16)),
    "bicubic": (5, (14, 14), ("bicubic", "bicubic"), (16, 15)),
    "nearest up": (7, (9, 11), ("nearest", "nearest"), (18, 40)),
    "nearest down": (33, (9, 11), ("nearest", "nearest"), (5, 4)),
    "area": (16, (13, 19), ("area", "area"), (4, 5)),
    "rows alone": (6, (12, 20), ("bilinear", None), (30, 20)),
    "columns alone": (6, (12, 20), (None, "bicubic"), (12, 17)),
    "a sequence": (4, (50,), ("bilinear",), (133,)),
    "volumes": (3, (6, 7, 8), ("bilinear", "bilinear", "bilinear"), (9, 5, 18)),
    "outer dimensions of a volume": (18, (6, 7, 8), ("bilinear", None, "nearest"), (9, 7, 18)),
    "one pixel": (2, (1, 1), ("bilinear", "bilinear"), (3, 20)),
}


def maps(name: str, back: bool = False) -> list[Map]:
    _, size, modes, out = RESIZES[name]
    tables = [None if m is None else _taps(m, s, o, False, None, False, False) for m, s, o in zip(modes, size, out, strict=True)]
    tables = [t.transposed if t is not None and back else t for t in tables]
    return [Map(2 + i, t.index, t.weight, {}) for i, t in enumerate(tables) if t is not None]


@pytest.mark.parametrize("back", [False, True], ids=["there", "back"])
@pytest.mark.parametrize("name", RESIZES)
def test_linear_maps_equal_the_reference_in_any_memory(name: str, back: bool, threads: Any) -> None:
    c, size, _, out = RESIZES[name]
    x = Sampler(name).normal(3, c, *(out if back else size)).astype(np.float32)
    given = maps(name, back)
    expected = reference.KERNELS["resample"](wide(x), given)
    found = []
    for count in (1, 2):
        threads(count)
        for source in (x, last(x), frozen(x), misaligned(x), np.repeat(x, 2, -1)[..., ::2]):
            got = CPU.resample(source, given)
            assert got.shape == expected.shape and got.dtype == np.float32
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
            found.append(got)
    for got in found[1:]:
        np.testing.assert_array_equal(got, found[0])
    np.testing.assert_array_equal(CPU.resample(x[1:2], given)[0], found[0][1])


def test_what_has_no_weight_is_not_read() -> None:
    x = np.ones((1, 1, 3, 40), np.float32)
    x[0, 0, 0] = np.nan
    index, weight = np.array([[0, 1], [2, 0]]), np.array([[0.0, 2.0], [3.0, 0.0]])
    for kernels in (CPU, reference.KERNELS["resample"]):
        got = getattr(kernels, "resample", kernels)(x, [Map(2, index, weight, {})])
        np.testing.assert_array_equal(got[0, 0], [[2.0] * 40, [3.0] * 40])
