"""Products of matrices on CUDA against float64: every way operands may lie, tiles that are whole and that are not."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from nyala.core import devices, kernels
from nyala.core.kernels.cuda import matmul as own
from nyala.core.kernels.reference import linalg as reference
from nyala.core.kernels.reference.after import ACTIVATIONS, After

pytestmark = pytest.mark.usefixtures("cuda")

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
TOLERANCE = {"float32": 2e-6, "float64": 1e-14, "float16": 1e-3, "bfloat16": 8e-3}
rng = np.random.default_rng(0)


def on_device(shape: tuple[int, ...], dtype: str) -> Any:
    return devices.move(rng.standard_normal(shape).astype(DTYPES[dtype]), "cuda:0")


def exact(x: Any) -> Any:
    return None if x is None else devices.move(x, "cpu").astype(np.float64)


def difference(a: Any, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(exact(a) - b).max() / max(1, np.abs(b).max()))


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large tiles whatever the size."""
    monkeypatch.setattr(own, "_BUSY", 0)


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (70, 65, 33), (16, 72, 40)])
@pytest.mark.parametrize("turned", ["", "a", "b", "ab"])
def test_a_product_and_its_views(shape: tuple[int, int, int], turned: str, dtype: str) -> None:
    m, n, k = shape
    a = on_device((k, m), dtype).T if "a" in turned else on_device((m, k), dtype)
    b = on_device((n, k), dtype).T if "b" in turned else on_device((k, n), dtype)
    out = kernels.of(a).matmul(a, b)
    assert out.dtype == a.dtype and difference(out, exact(a) @ exact(b)) < TOLERANCE[dtype]


@pytest.mark.usefixtures("schedule", "large")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("turned", [False, True])
def test_large_tiles(turned: bool, dtype: str) -> None:
    a = on_device((130, 40), dtype)
    b = on_device((132, 40), dtype).T if turned else on_device((40, 132), dtype)
    assert difference(kernels.of(a).matmul(a, b), exact(a) @ exact(b)) < TOLERANCE[dtype]


def test_tiles_of_either_size_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    for dtype in DTYPES:
        a, b = on_device((3, 50), dtype), on_device((50, 20), dtype)
        small = kernels.of(a).matmul(a, b)
        with monkeypatch.context() as patch:
            patch.setattr(own, "_BUSY", 0)
            assert devices.move(kernels.of(a).matmul(a, b), "cpu").tobytes() == devices.move(small, "cpu").tobytes()


@pytest.fixture
def deep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of 64 terms and more."""
    monkeypatch.setattr(own, "_DEEP", 40)


@pytest.mark.usefixtures("schedule", "deep")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("turned", [False, True])
def test_few_tiles_share_many_terms(turned: bool, dtype: str) -> None:
    a = on_device((2, 150, 9), dtype).swapaxes(1, 2) if turned else on_device((2, 9, 150), dtype)
    b = on_device((12, 150), dtype).T if turned else on_device((150, 12), dtype)
    out = kernels.of(a).matmul(a, b)
    assert out.dtype == a.dtype and difference(out, exact(a) @ exact(b)) < TOLERANCE[dtype]


@pytest.mark.usefixtures("deep")
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_follows_slices_of_terms(dtype: str) -> None:
    x, w, bias = on_device((10, 200), dtype), on_device((70, 200), dtype), on_device((70,), dtype)
    after = After(None, None, on_device((10, 70), dtype), "silu")
    expected = reference.linear(exact(x), exact(w), exact(bias), After(None, None, exact(after.residual), "silu"))
    assert difference(kernels.of(x).linear(x, w, bias, after), expected) < 2 * TOLERANCE[dtype]


def test_slices_depend_on_shapes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[tuple[str, Any]] = []
    monkeypatch.setattr(own, "launch", lambda _source, name, grid, *_: launched.append((name, grid)))
    for m, n, k in ((64, 64, 4096), (64, 64, 511), (64 * 12, 64 * 11, 4096), (64 * 11, 64 * 11, 4096), (9, 768, 3072)):
        a, b = devices.move(np.zeros((m, k), np.float16), "cuda:0"), devices.move(np.zeros((k, n), np.float16), "cuda:0")
        kernels.of(a).matmul(a, b)
    names = [(name, grid) for name, grid in launched if not name.startswith("join")]
    assert names == [
        ("slices_f16", (1, 16)), ("product_small_f16", 1), ("product_small_f16", 132), ("slices_f16", (121, 3)),
        ("slices_f16", (12, 12)),
    ]  # fmt: skip


BATCHES = [
    ((3, 2, 5, 7), (3, 2, 7, 4)), ((3, 2, 5, 7), (7, 4)), ((3, 1, 5, 7), (2, 7, 4)), ((1, 5, 7), (6, 7, 4)),
    ((5, 7), (2, 3, 7, 4)), ((2, 1, 3, 5, 7), (1, 4, 1, 7, 4)), ((2, 1, 5, 1), (2, 3, 1, 4)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("first", "second"), BATCHES)
def test_batches_broadcast(first: tuple[int, ...], second: tuple[int, ...], dtype: str) -> None:
    a, b = on_device(first, dtype), on_device(second, dtype)
    assert difference(kernels.of(a).matmul(a, b), np.matmul(exact(a), exact(b))) < TOLERANCE[dtype]


def test_views_of_batches() -> None:
    x = on_device((2, 9, 3, 3, 8), "float32")
    q, k, v = (x[:, :, :, i].transpose(0, 2, 1, 3) for i in range(3))  # heads within rows, as a packed projection leaves them
    scores = kernels.of(q).matmul(q, k.swapaxes(-1, -2))
    assert difference(scores, exact(q) @ exact(k).swapaxes(-1, -2)) < 2e-6
    assert difference(kernels.of(q).matmul(scores, v), exact(scores) @ exact(v)) < 2e-6
    for a in (x[::2, ::2, 0, 0], x[:, 1:8, ::2, 1, ::2], x[:, ::-1, 1, 0], x[0, 0, 0]):
        b = on_device((a.shape[-1], 5), "float32")
        assert difference(kernels.of(a).matmul(a, b), exact(a) @ exact(b)) < 2e-6


def test_what_no_kernel_is_for() -> None:
    a, b = on_device((4, 3), "float32"), on_device((3, 2), "float64")
    assert difference(kernels.of(a).matmul(a, b), exact(a) @ exact(b)) < 2e-6
    numbers = np.arange(6).reshape(2, 3)
    whole = devices.move(numbers, "cuda:0")
    assert np.array_equal(devices.move(kernels.of(whole).matmul(whole, whole.T), "cpu"), numbers @ numbers.T)
    nothing = kernels.of(a).matmul(a[:, :0], a[:0, :])
    assert nothing.shape == (4, 3) and not exact(nothing).any()
    with pytest.raises(ValueError, match="matmul"):
        kernels.of(a).matmul(a, a)


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 2, 3, 7])
def test_few_rows(rows: int, dtype: str) -> None:
    for k, n in ((1, 1), (33, 5), (2056, 6)):
        x, w, bias = on_device((rows, k), dtype), on_device((n, k), dtype), on_device((n,), dtype)
        expected = exact(x) @ exact(w).T + exact(bias)
        assert difference(kernels.of(x).linear(x, w, bias), expected) < TOLERANCE[dtype]


def test_a_row_alone_has_the_bits_it_has_among_eight() -> None:
    x, w = on_device((8, 100), "bfloat16"), on_device((11, 100), "bfloat16")
    among = devices.move(kernels.of(x).linear(x, w), "cpu")
    for i in range(8):
        assert devices.move(kernels.of(x).linear(x[i], w), "cpu").tobytes() == among[i].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [3, 70])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_follows_a_product(activation: str, rows: int, dtype: str) -> None:
    x, w = on_device((2, rows, 20), dtype), on_device((9, 20), dtype)
    bias, scale, shift = (on_device((9,), kind) for kind in (dtype, *["float64" if dtype == "float64" else "float32"] * 2))
    for after in (After(activation=activation), After(scale, shift, on_device((rows, 1), dtype), activation)):
        expected = reference.linear(exact(x), exact(w), exact(bias), After(*map(exact, after[:3]), activation))
        assert difference(kernels.of(x).linear(x, w, bias, after), expected) < 2 * TOLERANCE[dtype]


def test_what_follows_in_another_dtype() -> None:
    x, w, bias = on_device((9, 20), "float16"), on_device((5, 20), "float16"), on_device((5,), "float32")
    out = kernels.of(x).linear(x, w, bias, After(activation="relu"))
    assert out.dtype == np.float32 and difference(out, np.maximum(exact(x) @ exact(w).T + exact(bias), 0)) < 1e-3


def test_infinities_pass_activations() -> None:
    x, one = np.array([[-np.inf], [np.inf], [np.nan]], np.float32), np.ones((1, 1), np.float32)
    on_gpu = devices.move(x, "cuda:0")
    for name in ("relu", "relu6"):
        y = kernels.of(on_gpu).linear(on_gpu, devices.move(one, "cuda:0"), None, After(activation=name))
        assert np.array_equal(devices.move(y, "cpu"), reference.linear(x, one, None, After(activation=name)), equal_nan=True)
