"""The element-wise CPU kernels: errors in units in the last place, special values, layouts, threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from nyala.core.kernels import CPU, reference
from nyala.core.kernels.cpu.lanes.spans import SPAN
from nyala.core.kernels.cpu.running import parallel
from nyala.core.kernels.cpu.running.threads import thread_count

FLOAT32 = np.dtype(np.float32)
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 1e-38, 3e38, -3e38, 88.7, 88.8, -104, -105], np.float32)
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # what overflows in the reference is meant to


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """How many threads there are, set for one test."""
    yield parallel.start
    parallel.start(thread_count())


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def everywhere(step: int = 1999) -> Any:
    """Two million float32 numbers over all exponents and both signs, infinities and NaN among them."""
    return np.arange(0, 2**32, step, dtype=np.uint64).astype(np.uint32).view(np.float32)


# ---- functions of one number


def sigmoid64(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1 + e)


# the bounds that vector_math states
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], float]] = {
    "exp": (np.exp, 1.1),
    "expm1": (np.expm1, 1.5),
    "log": (np.log, 0.9),
    "log1p": (np.log1p, 1.6),
    "tanh": (np.tanh, 1.4),
    "erf": (reference.KERNELS["erf"], 1.1),
    "sigmoid": (sigmoid64, 2.4),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_right_to_the_stated_units_in_the_last_place(name: str) -> None:
    exact, bound = FUNCTIONS[name]
    x = everywhere()
    if name == "sigmoid":
        x = x[~(x < -87.3)]  # below, the result is 0 where it should be below every normal number
    got, wide = getattr(CPU, name)(x), exact(x.astype(np.float64))
    near = wide.astype(np.float32)
    finite = np.isfinite(wide) & (np.abs(wide) <= np.finfo(np.float32).max) & np.isfinite(near)
    np.testing.assert_array_equal(got[~finite], near[~finite])
    error = np.abs(got[finite].astype(np.float64) - wide[finite]) / np.spacing(np.abs(near[finite])).astype(np.float64)
    worst = int(error.argmax())
    assert error[worst] <= bound, (x[finite][worst], got[finite][worst], wide[finite][worst])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values_are_numpys(name: str) -> None:
    expected = FUNCTIONS[name][0](SPECIAL.astype(np.float64)).astype(np.float32)
    got = getattr(CPU, name)(SPECIAL)
    np.testing.assert_array_almost_equal_nulp(np.nan_to_num(got), np.nan_to_num(expected), 2)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    if name in ("expm1", "log1p", "tanh", "erf"):
        np.testing.assert_array_equal(np.signbit(got[3:7]), np.signbit(SPECIAL[3:7]))


def test_roots_are_numpys_to_the_bit() -> None:
    x = everywhere()
    np.testing.assert_array_equal(CPU.sqrt(x), np.sqrt(x))
    np.testing.assert_array_equal(CPU.rsqrt(x), np.float32(1) / np.sqrt(x))
    np.testing.assert_array_equal(CPU.sqrt(SPECIAL), np.sqrt(SPECIAL))


def test_gelu_is_right_to_a_tenth_of_a_millionth() -> None:
    x = np.linspace(-12, 12, 200_001).astype(np.float32)
    normal = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x.astype(np.float64)])
    got = CPU.gelu(x, "none")
    assert np.abs(got - x * normal)[x < 1].max() < 1.1e-7
    assert (np.abs(got - x * normal) / np.abs(x))[x >= 1].max() < 1.5e-7


# ---- activations and gradients

ACTIVATIONS: list[tuple[str, tuple[Any, ...]]] = [
    ("relu", ()), ("silu", ()), ("mish", ()), ("hardsigmoid", ()), ("hardswish", ()), ("tanh", ()), ("sigmoid", ()),
    ("gelu", ("none",)), ("gelu", ("tanh",)), ("gelu", ("quick",)), ("softplus", (1.0, 20.0)), ("softplus", (0.7, 3.0)),
    ("elu", (1.3,)), ("leaky_relu", (0.1,)),
]  # fmt: skip
CUTS: list[tuple[str, tuple[Any, ...]]] = [("clip", (0.0, 6.0)), ("clip", (None, 0.5)), ("clip", (-0.5, None))]
GRADIENTS: list[tuple[str, tuple[Any, ...]]] = [
    *[(f"{name}_backward", numbers) for name, numbers in ACTIVATIONS], ("hardtanh_backward", (-0.5, 0.5)),
]  # fmt: skip


def named(cases: list[tuple[str, tuple[Any, ...]]]) -> list[str]:
    return [" ".join(map(str, (name, *numbers))) for name, numbers in cases]


def arguments(name: str, x: Any) -> tuple[Any, ...]:
    return (normal(x.size, seed=7).reshape(x.shape), x) if name.endswith("_backward") else (x,)


def widened(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(v.astype(np.float64) for v in values)


@pytest.mark.parametrize("size", [1, 17, SPAN - 1, 2 * SPAN + 3])
@pytest.mark.parametrize(("name", "numbers"), [*ACTIVATIONS, *CUTS, *GRADIENTS], ids=named([*ACTIVATIONS, *CUTS, *GRADIENTS]))
def test_activations_equal_the_reference_in_float64(name: str, numbers: tuple[Any, ...], size: int) -> None:
    values = arguments(name, normal(size, seed=3) * 4)
    got, expected = getattr(CPU, name)(*values, *numbers), reference.KERNELS[name](*widened(values), *numbers)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "numbers"), [*ACTIVATIONS, *CUTS, *GRADIENTS], ids=named([*ACTIVATIONS, *CUTS, *GRADIENTS]))
def test_nan_and_infinity_come_through_as_in_the_reference(name: str, numbers: tuple[Any, ...]) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 200.0, -200.0], np.float32)
    values = (np.ones_like(x), x) if name.endswith("_backward") else (x,)
    got, expected = getattr(CPU, name)(*values, *numbers), reference.KERNELS[name](*widened(values), *numbers)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "numbers"), [*ACTIVATIONS, *GRADIENTS], ids=named([*ACTIVATIONS, *GRADIENTS]))
def test_an_element_has_the_same_bits_wherever_it_stands(name: str, numbers: tuple[Any, ...]) -> None:
    values = arguments(name, normal(SPAN + 77, seed=5) * 3)
    kernel = getattr(CPU, name)
    whole = kernel(*values, *numbers)
    for part in (slice(5, 6), slice(13, 47), slice(SPAN - 9, SPAN + 31)):
        np.testing.assert_array_equal(kernel(*[v[part].copy() for v in values], *numbers), whole[part])


@pytest.mark.parametrize("name", ["exp", "gelu", "gelu_backward", "tanh_backward", "hardswish"])
def test_every_layout_gives_the_same(name: str) -> None:
    numbers = ("none",) if "gelu" in name else ()
    kernel, x, g = getattr(CPU, name), normal(6, 5, 7, 3), normal(6, 5, 7, 3, seed=1)
    first = (g,) if name.endswith("_backward") else ()
    expected = kernel(*first, x, *numbers)
    frozen, last = x.copy(), np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    frozen.setflags(write=False)
    unaligned = np.empty(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
    unaligned[...] = x
    for same in (frozen, last, unaligned, np.repeat(x, 2, axis=3)[..., ::2], x[::-1][::-1], np.asfortranarray(x)):
        np.testing.assert_array_equal(kernel(*first, same, *numbers), expected)
    assert kernel(*first, last, *numbers).strides == last.strides
    if first:
        wide = np.broadcast_to(np.float32(2.0), x.shape)
        for same in (x, last):
            np.testing.assert_array_equal(kernel(wide, same, *numbers), kernel(wide.copy(), x, *numbers))
        rows = np.broadcast_to(g[:1], x.shape)
        np.testing.assert_array_equal(kernel(rows, x, *numbers), kernel(rows.copy(), x, *numbers))


def test_empty_arrays_and_single_numbers() -> None:
    for shape in ((0,), (3, 0, 2), ()):
        x = np.full(shape, 0.5, np.float32)
        for name in ("exp", "relu", "silu"):
            got = getattr(CPU, name)(x)
            assert got.shape == shape and got.dtype == np.float32
            np.testing.assert_allclose(got, reference.KERNELS[name](x), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_dtypes_go_to_the_reference(dtype: str) -> None:
    x = normal(40).astype(dtype)
    for name, numbers in [*ACTIVATIONS, *CUTS]:
        got = getattr(CPU, name)(x, *numbers)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, reference.KERNELS[name](x, *numbers))


@pytest.mark.parametrize("name", ["exp", "gelu_backward", "add", "dropout", "cast", "philox"])
def test_the_bits_do_not_depend_on_the_number_of_threads(name: str, threads: Callable[[int], None]) -> None:
    x = normal(5 * SPAN + 11)
    values: dict[str, tuple[Any, ...]] = {
        "exp": (x,), "gelu_backward": (x[::-1].copy(), x, "none"), "add": (x, x[::-1].copy()),
        "dropout": (x, 0.3, (5, 6)), "cast": (x, np.dtype(np.float16)), "philox": (np, (5, 6), x.size),
    }  # fmt: skip
    found = []
    for count in (1, 2, 3):
        threads(count)
        found.append(getattr(CPU, name)(*values[name]).tobytes())
    assert found[0] == found[1] == found[2]


# ---- arithmetic

TWO = ["add", "subtract", "multiply", "true_divide", "maximum", "minimum"]
LARGE = (300, 400)
PAIRS: list[tuple[str, Callable[[], tuple[Any, Any]]]] = [
    ("same shape", lambda: (normal(*LARGE), normal(*LARGE, seed=1))),
    ("small", lambda: (normal(3, 4), normal(4))),
    ("a row", lambda: (normal(*LARGE), normal(400))),
    ("a row first", lambda: (normal(400), normal(*LARGE))),
    ("a column", lambda: (normal(*LARGE), normal(300, 1))),
    ("a column first", lambda: (normal(300, 1), normal(*LARGE))),
    ("a channel", lambda: (normal(4, 30, 40, 50), normal(1, 30, 1, 1))),
    ("a channel, channels last", lambda: (normal(4, 30, 40, 50).transpose(0, 3, 1, 2), normal(50, 1, 1))),
    ("a number", lambda: (normal(*LARGE), np.float32(2.5) * np.ones((), np.float32))),
    ("a number first", lambda: (np.ones((), np.float32), normal(*LARGE))),
    ("turned", lambda: (normal(*LARGE), normal(400, 300).T)),
    ("both turned", lambda: (normal(*LARGE).T, normal(*LARGE, seed=1).T)),
    ("short rows", lambda: (normal(70_000, 3), normal(3))),
    ("a matrix for each", lambda: (normal(8, 300, 40), normal(300, 40))),
    ("in the middle", lambda: (normal(8, 300, 40), normal(8, 1, 40))),
    ("stretching both", lambda: (normal(600, 1), normal(1, 600))),
    ("strided", lambda: (normal(300, 800)[:, ::2], normal(300, 1))),
    ("a number over and over", lambda: (normal(*LARGE), np.broadcast_to(np.float32(1.5), LARGE))),
    ("a number over and over first", lambda: (np.broadcast_to(np.float32(1.5), LARGE), normal(*LARGE).T.copy().T)),
    ("two numbers over and over", lambda: (np.broadcast_to(np.float32(1.5), LARGE), np.broadcast_to(np.float32(3), LARGE))),
    ("read-only", lambda: (np.broadcast_to(normal(400), LARGE), normal(*LARGE))),
    ("more dimensions, fewer elements", lambda: (normal(70_000), normal(1, 1, 1))),
    ("rows longer than a span", lambda: (normal(5, 2 * SPAN + 1), normal(2 * SPAN + 1))),
    ("special", lambda: tuple(np.tile(np.stack(np.meshgrid(SPECIAL, SPECIAL), -1).reshape(-1, 2), (400, 1)).T.copy())),  # type: ignore[return-value]
]  # fmt: skip


@pytest.mark.parametrize("name", TWO)
@pytest.mark.parametrize("make", [m for _, m in PAIRS], ids=[i for i, _ in PAIRS])
def test_arithmetic_is_numpys_to_the_bit(name: str, make: Callable[[], tuple[Any, Any]]) -> None:
    a, b = make()
    got, expected = getattr(CPU, name)(a, b), getattr(np, name)(a, b)
    assert got.dtype == np.float32 and got.shape == expected.shape
    np.testing.assert_array_equal(got, expected)
    if name not in ("maximum", "minimum"):  # of two zeros NumPy's vectors and its loops take different ones
        number = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(expected[number]))


@pytest.mark.parametrize("exponent", [2, 0.5, 3, -1.5])
def test_powers_are_the_references(exponent: float) -> None:
    x = np.abs(normal(*LARGE))
    np.testing.assert_array_equal(CPU.power_number(x, exponent), reference.KERNELS["power_number"](x, exponent))


def test_shapes_that_do_not_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        CPU.add(normal(*LARGE), normal(300))


def test_arithmetic_of_other_dtypes_is_numpys() -> None:
    a, b = normal(*LARGE).astype(np.float64), np.arange(400)
    np.testing.assert_array_equal(CPU.add(a, b), a + b)
    np.testing.assert_array_equal(CPU.multiply(normal(*LARGE), a), normal(*LARGE) * a)


# ---- conversions and random words


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)], ids=str)
def test_conversions_are_numpys(dtype: Any) -> None:
    x = everywhere()
    got, expected = CPU.cast(x, dtype), x.astype(dtype)
    number = ~np.isnan(x)
    np.testing.assert_array_equal(got.view(np.uint16)[number], expected.view(np.uint16)[number])
    assert np.isnan(got[~number].astype(np.float32)).all()
    every = np.arange(1 << 16).astype(np.uint16).view(dtype)
    np.testing.assert_array_equal(CPU.cast(every, FLOAT32), every.astype(np.float32))


def test_conversions_take_any_layout_and_other_dtypes() -> None:
    x = normal(40, 50)
    for same in (x.T, x[:, ::2], x[:3, :3], np.broadcast_to(x[0], (60, 50))):
        np.testing.assert_array_equal(CPU.cast(same, np.dtype(np.float16)), same.astype(np.float16))
        half = same.astype(np.float16)
        np.testing.assert_array_equal(CPU.cast(half.T, FLOAT32), half.T.astype(np.float32))
    np.testing.assert_array_equal(CPU.cast(x, np.dtype(np.int32)), x.astype(np.int32))
    np.testing.assert_array_equal(CPU.cast(x + 1j * x, FLOAT32), x)


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, SPAN + 5])
def test_random_words_and_dropout_are_the_references(count: int) -> None:
    x = normal(count)
    for key in ((1, 2), (2**32 - 1, 2**32 - 2)):
        np.testing.assert_array_equal(CPU.philox(np, key, count), reference.KERNELS["philox"](np, key, count))
        for p in (0.1, 0.5):
            np.testing.assert_array_equal(CPU.dropout(x, p, key), reference.KERNELS["dropout"](x, p, key))
