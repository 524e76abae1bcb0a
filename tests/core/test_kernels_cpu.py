"""The vectorised CPU kernels against the reference in float64, and their bits under different numbers of threads."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from nyala.core.kernels import CPU, cpu, reference
from nyala.core.kernels.cpu.running import parallel
from nyala.core.kernels.interface import parameters

Arrays = tuple[Any, ...]


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def channels_last(x: Any) -> Any:
    """The same values with the channels side by side in memory."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def norm_rows(rows: int, width: int) -> Arrays:
    return normal(rows, width) * 2 + 1, normal(width), normal(width, seed=1), 1e-5


def norm_rows_backward(rows: int, width: int) -> Arrays:
    x, weight, bias, eps = norm_rows(rows, width)
    return normal(rows, width, seed=2), x, weight, *reference.KERNELS["layer_norm"](x, weight, bias, eps)[1:]


def batch(shape: tuple[int, ...], last: bool) -> Arrays:
    x = normal(*shape) * 2 + 5
    return channels_last(x) if last else x, normal(shape[1]), normal(shape[1], seed=1), 1e-5


def batch_backward(shape: tuple[int, ...], last: bool) -> Arrays:
    x, weight, bias, eps = batch(shape, last)
    grad = normal(*shape, seed=2)
    return channels_last(grad) if last else grad, x, weight, *reference.KERNELS["batch_norm"](x, weight, bias, eps)[1:], eps


def batch_eval(shape: tuple[int, ...], last: bool) -> Arrays:
    x, weight, bias, eps = batch(shape, last)
    return x, *reference.KERNELS["batch_norm"](x, weight, bias, eps)[1:], weight, bias, eps


def batch_eval_backward(shape: tuple[int, ...], last: bool) -> Arrays:
    grad, x, weight, mean, var, eps = batch_backward(shape, last)
    return grad, x, mean, var, weight, eps


def scores(allowed: Any = None, mask: Any = None) -> Arrays:
    return normal(3, 4, 70, 90) * 4, 0.3, allowed, mask


def padding() -> Any:
    mask = np.ones((3, 1, 1, 90), bool)
    mask[1, ..., 40:] = False
    mask[2] = False
    return mask


X = np.concatenate([np.linspace(-12, 12, 150_000), np.random.default_rng(0).normal(size=50_001)]).astype(np.float32)
SHAPES = [((300, 7, 9, 11), False), ((5, 70, 33, 20), True), ((4000, 40), False), ((2, 3, 5), False), ((9, 3, 1, 1), False)]
ABSOLUTE = 2e-6  # of the largest element
CASES: list[tuple[str, str, Callable[[], Arrays]]] = [
    ("erf", "", lambda: (X,)),
    *[(name, mode, lambda name=name, mode=mode: (*([normal(X.size)] if "backward" in name else []), X, mode))
      for name in ("gelu", "gelu_backward") for mode in ("none", "tanh", "quick")],
    ("silu", "", lambda: (X,)),
    ("silu_backward", "", lambda: (normal(X.size), X)),
    *[(name, f"{rows}x{width}", lambda f=f, rows=rows, width=width: f(rows, width))
      for name, f in (("layer_norm", norm_rows), ("layer_norm_backward", norm_rows_backward))
      for rows, width in ((1000, 384), (3, 5), (1, 70_000))],
    *[(name, f"{shape} {'last' if last else 'first'}", lambda f=f, shape=shape, last=last: f(shape, last))
      for name, f in (("batch_norm", batch), ("batch_norm_backward", batch_backward), ("batch_norm_eval", batch_eval),
                      ("batch_norm_eval_backward", batch_eval_backward)) for shape, last in SHAPES],
    ("softmax", "", lambda: (normal(700, 131) * 5, 1)),
    ("softmax", "first axis", lambda: (normal(700, 31), 0)),
    ("softmax_backward", "", lambda: (normal(700, 131), reference.KERNELS["softmax"](normal(700, 131, seed=1), 1), 1)),
    ("attention_weights", "plain", scores),
    ("attention_weights", "padding", lambda: scores(padding())),
    ("attention_weights", "causal", lambda: scores(np.tri(70, 90, dtype=bool))),
    ("attention_weights", "added", lambda: scores(None, normal(4, 70, 90))),
    ("attention_weights", "both", lambda: scores(padding(), normal(1, 1, 70, 1))),
    (
        "attention_weights_backward",
        "",
        lambda: (normal(9, 70, 90), abs(normal(9, 70, 90, seed=1)), abs(normal(9, 70, 90, seed=2)), 0.3),
    ),
    ("add_rows", "", lambda: (50, np.random.default_rng(0).integers(0, 50, 3000), normal(3000, 130))),
    ("add_rows", "none", lambda: (5, np.zeros(0, np.int64), normal(0, 3))),
]  # fmt: skip
IDS = [f"{name} {what}".strip() for name, what, _ in CASES]


def own(arguments: Arrays) -> Arrays:
    """Copies in the same memory order, for kernels that may write to their inputs."""
    return tuple(a.copy(order="K") if isinstance(a, np.ndarray) else a for a in arguments)


def widened(arguments: Arrays) -> Arrays:
    return tuple(a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype == np.float32 else a for a in arguments)


def results(name: str, arguments: Arrays, table: Any = CPU) -> Arrays:
    out = (reference.KERNELS[name] if table is None else getattr(table, name))(*own(arguments))
    return out if isinstance(out, tuple) else (out,)


@pytest.mark.parametrize(("name", "what", "make"), CASES, ids=IDS)
def test_a_kernel_equals_the_reference(name: str, what: str, make: Callable[[], Arrays]) -> None:
    arguments = make()
    for got, expected in zip(results(name, arguments), results(name, widened(arguments), None), strict=True):
        assert got.dtype == np.float32 and got.shape == expected.shape
        np.testing.assert_allclose(
            got, expected, rtol=0, atol=ABSOLUTE * max(np.abs(expected).max(initial=0), 1e-3), err_msg=what
        )


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = parallel.workers() + 1
    yield parallel.start
    parallel.start(before)


@pytest.mark.parametrize(("name", "what", "make"), CASES, ids=IDS)
def test_the_bits_do_not_depend_on_the_number_of_threads(
    name: str, what: str, make: Callable[[], Arrays], threads: Callable[[int], None]
) -> None:
    arguments = make()
    found = []
    for count in (1, 2, 3):
        threads(count)
        found.append(results(name, arguments))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert a.tobytes() == b.tobytes(), what


@pytest.mark.parametrize("name", ["batch_norm", "batch_norm_eval"])
def test_channels_last_memory_stays_so(name: str) -> None:
    arguments = (batch if name == "batch_norm" else batch_eval)((4, 6, 5, 3), True)
    assert results(name, arguments)[0].strides == arguments[0].strides


def test_a_gradient_in_another_memory_order_is_taken_in_the_order_of_the_input() -> None:
    grad, *rest = batch_backward((4, 6, 5, 3), True)
    for a, b in zip(
        results("batch_norm_backward", (np.ascontiguousarray(grad), *rest)),
        results("batch_norm_backward", (grad, *rest)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_read_only_and_strided_inputs() -> None:
    x = normal(6, 8)
    frozen = x.copy()
    frozen.setflags(write=False)
    for same in (frozen, np.repeat(x, 2, axis=1)[:, ::2], np.asfortranarray(x)):
        np.testing.assert_array_equal(CPU.gelu(same, "none"), CPU.gelu(x, "none"))
        np.testing.assert_array_equal(CPU.softmax(same, 1), CPU.softmax(x, 1))
        np.testing.assert_array_equal(CPU.layer_norm(same, None, None, 1e-5)[0], CPU.layer_norm(x, None, None, 1e-5)[0])


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_dtypes_go_to_the_reference(dtype: str) -> None:
    x = normal(4, 6).astype(dtype)
    assert CPU.gelu(x, "none").dtype == CPU.softmax(x, 1).dtype == CPU.layer_norm(x, None, None, 1e-5)[0].dtype == dtype
    np.testing.assert_array_equal(CPU.softmax(x, 1), reference.KERNELS["softmax"](x, 1))


def test_special_values() -> None:
    x = np.array([np.nan, np.inf, 100.0, -100.0, 0.0, -0.0], np.float32)
    np.testing.assert_array_equal(CPU.erf(x), [np.nan, 1, 1, -1, 0, 0])
    np.testing.assert_array_equal(CPU.gelu(x, "none"), [np.nan, np.inf, 100, 0, 0, 0])
    np.testing.assert_array_equal(CPU.gelu_backward(np.ones_like(x), x, "none")[2:], [1, 0, 0.5, 0.5])
    rows = np.array([[-np.inf] * 40, [np.nan, *[0.0] * 39], [-np.inf, *[0.0] * 39], [-np.nan, *[1e30] * 39]], np.float32)
    out = CPU.softmax(rows, 1)
    assert np.isnan(out[[0, 1, 3]]).all() and out[2, 0] == 0 and np.allclose(out[2, 1:], 1 / 39)
    weights = CPU.attention_weights(rows.copy(), 1.0, None, None)
    assert (weights[0] == 0).all() and np.isnan(weights[1]).all()


def test_rows_outside_the_table_are_refused() -> None:
    with pytest.raises(IndexError):
        CPU.add_rows(3, np.array([0, 3]), normal(2, 4))


def test_every_cpu_kernel_takes_the_parameters_of_the_reference() -> None:
    for name, place in cpu.KERNELS.items():
        if not place.startswith("numpy:"):
            assert parameters(getattr(CPU, name)) == parameters(reference.KERNELS[name]), name
            assert inspect.getdoc(getattr(CPU, name)), name
