"""A part scaled by feature and added to the stream in one kernel: the bits of two, and the gradients' numbers in float64."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.core import devices, kernels
from nyala.core.kernels.reference import scaled as reference
from nyala.core.nn import residual
from nyala.core.ops.scaled import add_scaled

pytestmark = pytest.mark.usefixtures("cuda")

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
SHAPES = [(5, 33), (2, 3, 72), (1, 1), (40, 8)]  # a warp a row, with packs and without; one element; several rows a warp
LONG = [(3, 1100), (2, 1037), (2, 8195)]  # a block a row; a row that no team holds
TOLERANCE = {"float32": 2e-6, "float64": 1e-14, "float16": 2e-3, "bfloat16": 1.6e-2}


def on_device(x: Any) -> Any:
    return devices.move(x, "cuda:0")


def cpu(x: Any) -> Any:
    return devices.move(x, "cpu")


def drawn(shape: tuple[int, ...], dtype: str) -> list[Any]:
    """Stream, part, gradient of the sum, scale."""
    rng = np.random.default_rng(5)
    return [rng.standard_normal(s).astype(DTYPES[dtype]) for s in (shape, shape, shape, shape[-1:])]


def check(shape: tuple[int, ...], dtype: str) -> None:
    stream, part, grad, scale = drawn(shape, dtype)
    table = kernels.of(on_device(stream))
    got = table.add_scaled(*map(on_device, (stream, part, scale)))
    assert cpu(got).dtype == stream.dtype and cpu(got).tobytes() == reference.add_scaled(stream, part, scale).tobytes()
    of_part, of_scale = table.add_scaled_backward(*map(on_device, (grad, part, scale)))
    assert cpu(of_part).tobytes() == (grad * scale).tobytes()
    exact = reference.add_scaled_backward(*(x.astype(np.float64) for x in (grad, part, scale)))[1]
    assert cpu(of_scale).dtype == scale.dtype
    assert np.abs(cpu(of_scale).astype(np.float64) - exact).max() <= TOLERANCE[dtype] * max(1, np.abs(exact).max())
    frozen = table.add_scaled_backward(*map(on_device, (grad, part, scale)), False)
    assert frozen[1] is None and cpu(frozen[0]).tobytes() == cpu(of_part).tobytes()


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_bits_and_gradients(shape: tuple[int, ...], dtype: str) -> None:
    check(shape, dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", LONG)
def test_long_rows(shape: tuple[int, ...], dtype: str) -> None:
    check(shape, dtype)


def test_views_and_what_no_kernel_is_for() -> None:
    stream, part, grad, scale = drawn((6, 40), "float32")
    table = kernels.of(on_device(stream))
    given = [on_device(x)[::2, ::2] for x in (stream, part, grad)], on_device(scale)[::2]
    (stream, part, grad), scale = [x[::2, ::2] for x in (stream, part, grad)], scale[::2]
    assert np.array_equal(cpu(table.add_scaled(*given[0][:2], given[1])), stream + part * scale)
    assert np.array_equal(cpu(table.add_scaled_backward(given[0][2], given[0][1], given[1])[0]), grad * scale)
    assert table.add_scaled(given[0][0], given[0][1].astype(np.float64), given[1]).dtype == np.float64
    assert table.add_scaled(given[0][0][:0], given[0][1][:0], given[1]).shape == (0, 20)
    assert table.add_scaled_backward(given[0][0][:0], given[0][1][:0], given[1])[1].shape == (20,)


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_second_derivatives(device: str) -> None:
    stream, part, _, scale = (nyala.Tensor(devices.move(x, device)).requires_grad_() for x in drawn((3, 4), "float64"))
    once = (add_scaled(stream, part, scale) ** 3).sum()
    apart = ((stream + part * scale) ** 3).sum()
    found = []
    for value in (once, apart):
        slopes = nyala.autograd.grad(value, [stream, part, scale], create_graph=True)
        second = nyala.autograd.grad(sum((s * s).sum() for s in slopes), [stream, part, scale])
        found.append([cpu(t.detach().array) for t in (*slopes, *second)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


# ---- blocks


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The dtypes of the parts that are scaled and added in one."""
    seen: list[Any] = []
    own = residual.add_scaled
    monkeypatch.setattr(residual, "add_scaled", lambda *given: (seen.append(given[1].dtype), own(*given))[1])
    return seen


def block(**settings: Any) -> Any:
    nyala.manual_seed(4)
    made = nn.TransformerBlock(16, 2, 32, layer_scale=0.3, **settings)
    for n in "12":
        made.get_parameter(f"ls{n}.gamma").array[...] = np.random.default_rng(int(n)).standard_normal(16)
    return made.to("cuda")


def trained(made: Any, precision: Any = None) -> list[Any]:
    """A step's result, the gradients of input and parameters."""
    nyala.manual_seed(9)
    x = nyala.tensor(np.random.default_rng(1).standard_normal((2, 3, 16)).astype(np.float32)).to("cuda").requires_grad_()
    with nyala.autocast("cuda", precision, enabled=precision is not None):
        y = made(x)
    grads = nyala.autograd.grad((y * y).sum(), [x, *made.parameters()])
    return [cpu(t.detach().array) for t in (y, *grads)]


@pytest.mark.parametrize("precision", [None, "bfloat16"])
@pytest.mark.parametrize("settings", [{}, {"norm_first": False}, {"dropout": 0.3}, {"sandwich": True}])
def test_a_block_trains_as_without(counted: list[Any], settings: dict[str, Any], precision: Any) -> None:
    made = block(**settings)
    in_one = trained(made, precision)
    assert len(counted) == 2
    for n in "12":  # a hook keeps the layer to itself
        made.get_submodule(f"ls{n}").register_forward_hook(lambda *_: None)
    apart = trained(made, precision)
    assert len(counted) == 2
    assert in_one[0].tobytes() == apart[0].tobytes()
    for a, b in zip(in_one[1:], apart[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


def test_where_more_follows_the_scale_it_stays_apart(counted: list[Any]) -> None:
    trained(block(drop_path=0.5))
    assert not counted


def test_outside_training_the_product_takes_it_along(counted: list[Any]) -> None:
    made, x = block().eval(), nyala.ones(1, 3, 16, device="cuda")
    with nyala.no_grad():
        waited = made(x)
    assert not counted
    assert cpu(waited.array).tobytes() == cpu(made(x).detach().array).tobytes()
    assert len(counted) == 2
