"""The convolution kernels where arrays, not tensors, meet them: uneven padding, odd layouts, threads, what follows them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from nyala.core import kernels
from nyala.core.kernels.cpu.conv import dense, grouped
from nyala.core.kernels.cpu.running import parallel
from nyala.core.kernels.cpu.running.threads import thread_count
from nyala.core.kernels.reference import conv as reference
from nyala.core.kernels.reference.after import After
from nyala.core.kernels.reference.windows import output_size, sides
from nyala.testing import Sampler

NAMES = ("conv_forward", "conv_input_grad", "conv_weight_grad")


def zeros_around(x: Any, padding: Any) -> Any:
    return np.pad(x, [(0, 0), (0, 0), *sides(padding)])


@pytest.mark.parametrize("padding", [((1, 0), (0, 2)), (1, (3, 0)), ((0, 0), (2, 1))])
def test_the_reference_pads_each_side_by_its_own_number(padding: Any) -> None:
    s, even = Sampler("sides"), (0, 0)
    x, w = s.normal(2, 4, 6, 5), s.normal(6, 2, 3, 2)
    rest = (1, 1), 2
    wide = zeros_around(x, padding)
    y = reference.conv_forward(x, w, (2, 1), padding, *rest)
    np.testing.assert_array_equal(y, reference.conv_forward(wide, w, (2, 1), even, *rest))
    (top, bottom), (left, right) = sides(padding)
    back = reference.conv_input_grad(y, w, wide.shape, (2, 1), even, *rest)
    inner = back[:, :, top : back.shape[2] - bottom, left : back.shape[3] - right]
    np.testing.assert_array_equal(reference.conv_input_grad(y, w, x.shape, (2, 1), padding, *rest), inner)
    expected = reference.conv_weight_grad(y, wide, w.shape, (2, 1), even, *rest)
    np.testing.assert_array_equal(reference.conv_weight_grad(y, x, w.shape, (2, 1), padding, *rest), expected)


def last(x: Any) -> Any:
    """The same array in channels-last memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


LAYOUTS = {
    "channels first": lambda x: x,
    "channels last": last,
    "every other pixel": lambda x: np.repeat(last(x), 2, axis=-1)[..., ::2],
    "every other channel": lambda x: np.repeat(last(x), 2, axis=1)[:, ::2],
    "backwards": lambda x: np.flip(np.flip(last(x), -1).copy("K"), -1),
    "read-only": lambda x: readonly(x),
    "misaligned": lambda x: misaligned(x),
    "one image for all": lambda x: np.broadcast_to(last(x[:1]), x.shape),
}


def readonly(x: Any) -> Any:
    x = last(x).copy("K")
    x.flags.writeable = False
    return x


def misaligned(x: Any) -> Any:
    memory = np.empty(x.nbytes + 1, np.uint8)
    out = memory[1:].view(x.dtype).reshape(x.shape)
    out[...] = x
    return out


def arrays(shape: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> tuple[list[Any], tuple[Any, ...]]:
    """x, w, g and the geometry."""
    out = output_size(shape[2:], weight[2:], stride, padding, dilation)
    s = Sampler(f"{shape} {weight} {stride}")
    made = [s.normal(*size).astype(np.float32) for size in (shape, weight, (shape[0], weight[0], *out))]
    return made, (stride, padding, dilation, groups)


def calls(x: Any, w: Any, g: Any, geometry: Any) -> list[tuple[Any, ...]]:
    """The arguments of each of the three kernels."""
    return [(x, w, *geometry), (g, w, x.shape, *geometry), (g, x, w.shape, *geometry)]


def check(x: Any, w: Any, g: Any, geometry: Any) -> None:
    wide = [a.astype(np.float64) for a in (x, w, g)]
    for name, given, exact in zip(NAMES, calls(x, w, g, geometry), calls(*wide, geometry), strict=True):
        got, expected = getattr(kernels.CPU, name)(*given), getattr(reference, name)(*exact)
        assert got.shape == expected.shape and got.dtype == np.float32
        error = np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-30)
        assert error <= 4e-6, f"{name} of {x.shape}, {w.shape}, {geometry}: {error}"


def random_case(seed: int) -> tuple[list[Any], tuple[Any, ...]]:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 4))
    groups = int(rng.choice([1, 1, 1, 2, 3]))
    inner, outer = int(rng.choice([1, 2, 3, 5, 8, 17, 33])), int(rng.choice([1, 2, 4, 7, 16, 19, 65]))
    kernel = [int(k) for k in rng.integers(1, (13, 6, 4)[n - 1], n)]
    dilation = [int(d) for d in rng.integers(1, 4, n)]
    stride = tuple(int(s) for s in rng.integers(1, 4, n))
    padding = tuple(int(rng.integers(0, 4)) if rng.random() < 0.5 else tuple(map(int, rng.integers(0, 4, 2))) for _ in range(n))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [max(1, r - sum(p)) + int(rng.integers(0, (60, 14, 6)[n - 1])) for r, p in zip(reach, sides(padding), strict=True)]
    shape = (int(rng.integers(1, 4)), inner * groups, *size)
    return arrays(shape, (outer * groups, inner, *kernel), stride, padding, tuple(dilation), groups)


@pytest.mark.parametrize("seed", range(40))
def test_random_geometries_equal_the_reference_in_float64(seed: int) -> None:
    (x, w, g), geometry = random_case(seed)
    change = list(LAYOUTS.values())[seed % len(LAYOUTS)]
    check(change(x), w, change(g), geometry)


# shape of x, of w, stride, padding, dilation, groups: for each way of reading and cutting
CASES: dict[str, Any] = {
    "strided over single pixels": ((8, 8, 1, 1), (8, 8, 1, 1), (2, 2), (0, 0), (1, 1), 1),
    "strided over single columns": ((3, 8, 5, 1), (16, 8, 1, 1), (2, 2), (0, 0), (1, 1), 1),
    "strided windows over single columns": ((3, 8, 7, 1), (8, 8, 3, 1), (2, 3), (1, 0), (1, 1), 1),
    "rows as they lie": ((3, 24, 13, 11), (70, 24, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    "pointwise, strided": ((3, 24, 13, 11), (16, 24, 1, 1), (2, 3), (0, 0), (1, 1), 1),
    "sums in several parts of the depth": ((2, 300, 7, 7), (65, 300, 5, 3), (2, 1), (2, 1), (1, 1), 1),
    "taps of odd channels": ((2, 37, 9, 8), (18, 37, 3, 2), (1, 1), (1, (0, 2)), (2, 1), 1),
    "planar": ((3, 3, 33, 31), (20, 3, 7, 7), (2, 2), (3, (2, 3)), (1, 1), 1),
    "planar, one dimension": ((2, 1, 401), (33, 1, 10), (5,), (0,), (1,), 1),
    "patches": ((2, 3, 32, 48), (40, 3, 16, 16), (16, 16), (0, 0), (1, 1), 1),
    "one dimension": ((2, 48, 101), (64, 48, 3), (2,), (1,), (1,), 1),
    "a long window in groups": ((1, 96, 40), (96, 24, 32), (1,), (16,), (1,), 4),
    "stride beyond the kernel": ((2, 20, 10, 11), (9, 20, 2, 1), (3, 4), (0, 0), (1, 1), 1),
    "many parts of the places": ((4, 8, 50, 40), (6, 8, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    "more than 16 taps": ((1, 64, 9, 8), (20, 32, 5, 5), (1, 1), (2, 2), (1, 1), 2),
    "groups of four": ((2, 32, 9, 7), (32, 4, 3, 3), (1, 1), (1, 1), (1, 1), 8),
    "groups of two, strided": ((2, 16, 12, 9), (16, 2, 3, 2), (2, 3), (1, (0, 1)), (1, 2), 8),
    "groups of eight, one dimension": ((3, 48, 50), (48, 8, 5), (1,), (2,), (1,), 6),
    "groups of four, stride beyond the kernel": ((2, 32, 9, 7), (32, 4, 1, 1), (2, 2), (0, 0), (1, 1), 8),
    "groups of sixteen": ((2, 64, 7, 9), (64, 16, 3, 3), (1, 1), (1, 1), (1, 1), 4),
    "three dimensions": ((2, 6, 5, 6, 7), (10, 6, 3, 2, 3), (1, 2, 1), (1, (0, 1), 1), (1, 1, 2), 1),
    "one pixel": ((2, 20, 1, 1), (17, 20, 3, 3), (1, 1), (1, 1), (1, 1), 1),
}


def case(name: str) -> tuple[list[Any], tuple[Any, ...]]:
    return arrays(*CASES[name])


def every_result(name: str) -> list[Any]:
    (x, w, g), geometry = case(name)
    return [getattr(kernels.CPU, kernel)(*given) for kernel, given in zip(NAMES, calls(x, w, g, geometry), strict=True)]


@pytest.mark.parametrize("name", CASES)
def test_each_way_of_reading_equals_the_reference_in_float64(name: str) -> None:
    (x, w, g), geometry = case(name)
    check(last(x), w, last(g), geometry)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["rows as they lie", "taps of odd channels", "planar", "one dimension"])
def test_the_layout_changes_no_bit(name: str, layout: str) -> None:
    (x, w, g), geometry = case(name)
    if layout == "one image for all":
        x, g = (np.broadcast_to(a[:1], a.shape).copy() for a in (x, g))
    other = [LAYOUTS[layout](a) for a in (x, g)]
    for kernel, plain, changed in zip(NAMES, calls(x, w, g, geometry), calls(other[0], w, other[1], geometry), strict=True):
        np.testing.assert_array_equal(getattr(kernels.CPU, kernel)(*changed), getattr(kernels.CPU, kernel)(*plain))


def test_a_weight_may_lie_anyhow() -> None:
    (x, w, g), geometry = case("taps of odd channels")
    for other in (last(w), readonly(w), misaligned(w), np.repeat(w, 2, axis=0)[::2]):
        for kernel, plain, changed in zip(NAMES[:2], calls(x, w, g, geometry), calls(x, other, g, geometry), strict=False):
            np.testing.assert_array_equal(getattr(kernels.CPU, kernel)(*changed), getattr(kernels.CPU, kernel)(*plain))


@pytest.fixture
def threads() -> Iterator[Any]:
    yield parallel.start
    parallel.start(thread_count())


@pytest.mark.parametrize("name", CASES)
def test_the_number_of_threads_changes_no_bit(name: str, threads: Any) -> None:
    found = []
    for count in (1, 2, 3):
        threads(count)
        found.append(every_result(name))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_eight_threads_may_call_at_once() -> None:
    names = [name for name in CASES for _ in range(3)]
    expected = {name: every_result(name) for name in CASES}
    with ThreadPoolExecutor(8) as pool:
        for name, found in zip(names, pool.map(every_result, names), strict=True):
            for a, b in zip(found, expected[name], strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", CASES)
def test_an_image_gets_the_same_bits_alone_and_in_a_batch(name: str) -> None:
    (x, w, g), geometry = case(name)
    batch, back = kernels.CPU.conv_forward(x, w, *geometry), kernels.CPU.conv_input_grad(g, w, x.shape, *geometry)
    for i in range(len(x)):
        one = x[i : i + 1]
        np.testing.assert_array_equal(kernels.CPU.conv_forward(one, w, *geometry)[0], batch[i])
        np.testing.assert_array_equal(kernels.CPU.conv_input_grad(g[i : i + 1], w, one.shape, *geometry)[0], back[i])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", CASES)
def test_what_is_not_finite_stays_in_its_windows(name: str, value: float) -> None:
    (x, w, g), geometry = case(name)
    way = grouped if name.startswith("groups of") else dense
    for kernel, source, shape in ((way.forward, x, ()), (way.input_grad, g, (x.shape,))):
        spoilt = last(source).copy("K")
        steps = (1, 1, *geometry[0])  # each window has a tap at its own beginning
        place = tuple(n // 2 - n // 2 % step for n, step in zip(source.shape, steps, strict=True))
        spoilt[place] = value
        reach = source * 0
        reach[place] = 1
        plain, got = (kernel(a, w, *shape, *geometry) for a in (source, spoilt))
        touched = kernel(reach, np.ones_like(w), *shape, *geometry) != 0
        np.testing.assert_array_equal(got[~touched], plain[~touched])
        assert touched.any() and not np.isfinite(got[touched]).any()


def test_padding_is_zeros_not_what_lies_beside_the_picture() -> None:
    (x, w, _), geometry = case("taps of odd channels")
    memory = np.full((2, 40, 20, 20), np.nan, np.float32)
    inside = last(memory)[:, :37, 5:14, 6:14]
    inside[...] = x
    np.testing.assert_array_equal(kernels.CPU.conv_forward(inside, w, *geometry), kernels.CPU.conv_forward(x, w, *geometry))


@pytest.mark.parametrize("shape", [(0, 24, 9, 8), (2, 24, 0, 8)])
def test_empty_arrays(shape: Any) -> None:
    (x, w, g), geometry = arrays(shape, (8, 24, 3, 3), (2, 2), (2, 2), (1, 1), 1)
    assert kernels.CPU.conv_forward(x, w, *geometry).shape == g.shape
    assert kernels.CPU.conv_input_grad(g, w, x.shape, *geometry).shape == x.shape
    assert not kernels.CPU.conv_weight_grad(g, x, w.shape, *geometry).any()


def finished(y: Any, bias: Any, after: After) -> Any:
    """One rounding for each step, the product and the sum of scale and shift rounded together."""
    column = (-1, *[1] * (y.ndim - 2))
    y = y + bias.reshape(column)
    exact = y.astype(np.float64) * after.scale.astype(np.float64).reshape(column) + after.shift.astype(np.float64).reshape(column)
    y = exact.astype(np.float32) + after.residual
    return np.minimum(np.maximum(y, 0), 6) if after.activation == "relu6" else np.maximum(y, 0)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_what_follows_is_done_at_once_to_the_same_bits(name: str, activation: str) -> None:
    (x, w, g), geometry = case(name)
    s, o = Sampler("after"), w.shape[0]
    bias, scale, shift = (s.normal(o).astype(np.float32) for _ in range(3))
    for layout in (last, np.ascontiguousarray):
        after = After(scale, shift, layout(g), activation)
        got = kernels.CPU.conv_forward(x, w, *geometry, bias, after)
        np.testing.assert_array_equal(got, finished(kernels.CPU.conv_forward(x, w, *geometry), bias, after))


def test_a_bias_of_another_dtype_is_added_as_the_reference_does() -> None:
    (x, w, g), geometry = case("one dimension")
    bias = Sampler("bias").normal(w.shape[0])
    after = After(None, None, g, "relu")
    got, expected = (k(x, w, *geometry, bias, after) for k in (kernels.CPU.conv_forward, reference.conv_forward))
    assert got.dtype == expected.dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["rows as they lie", "taps of odd channels", "planar", "groups of four"])
def test_a_kept_weight_gives_the_same_bits(name: str) -> None:
    (x, w, _), geometry = case(name)
    packs: dict[str, Any] = {}
    first = kernels.CPU.conv_forward(x, w, *geometry, None, None, packs)
    assert packs, "a weight with so few places is worth keeping"
    kept = {key: value.tobytes() for key, value in packs.items()}
    np.testing.assert_array_equal(kernels.CPU.conv_forward(x, w, *geometry, None, None, packs), first)
    np.testing.assert_array_equal(kernels.CPU.conv_forward(x, w, *geometry), first)
    assert kept == {key: value.tobytes() for key, value in packs.items()}


def test_the_choice_of_what_is_kept_does_not_look_at_the_batch() -> None:
    (x, w, _), geometry = arrays((3, 8, 40, 40), (8, 8, 5, 5), (1, 1), (2, 2), (1, 1), 1)
    for images in (x, x[:1]):
        packs: dict[str, Any] = {}
        kernels.CPU.conv_forward(images, w, *geometry, None, None, packs)
        assert not packs
