"""A sum and its norm in one kernel: the bits of the kernels one after the other, and the reference's numbers in float64."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.core import devices, kernels
from nyala.core.kernels.reference import add_norm as reference
from nyala.core.nn import residual

pytestmark = pytest.mark.usefixtures("cuda")

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
SHAPES = [(5, 33), (2, 3, 72), (1, 1)]  # a warp a row, with packs and without; one element
LONG = [(2, 1100), (3, 1037), (2, 8195)]  # a block a row; a row that no team holds
PAIRS = [*[(name, name) for name in DTYPES], ("float32", "float16"), ("float32", "bfloat16")]
DROPPED = (0.3, (7, 11))
EPS = 1e-5


def on_device(x: np.ndarray, dtype: str) -> Any:
    return devices.move(x.astype(DTYPES[dtype]), "cuda:0")


def cpu(x: Any) -> Any:
    return None if x is None else devices.move(x, "cpu")


def drawn(shape: tuple[int, ...], stream: str, part: str) -> list[Any]:
    """Stream, part, gradients of sum and norm, weight, bias."""
    rng = np.random.default_rng(3)
    return [
        on_device(rng.standard_normal(s) + 0.3, dtype)
        for s, dtype in ((shape, stream), (shape, part), (shape, stream), (shape, stream), *[(shape[-1:], stream)] * 2)
    ]


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize(("stream", "part"), PAIRS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_bits_are_those_of_the_kernels_one_after_the_other(
    shape: tuple[int, ...], stream: str, part: str, centred: bool
) -> None:
    check_bits(shape, stream, part, centred)


@pytest.mark.parametrize(("stream", "part"), [("float32", "bfloat16"), ("bfloat16", "bfloat16"), ("float64", "float64")])
@pytest.mark.parametrize("shape", LONG)
def test_long_rows(shape: tuple[int, ...], stream: str, part: str) -> None:
    check_bits(shape, stream, part, shape[0] == 2)


def check_bits(shape: tuple[int, ...], stream: str, part: str, centred: bool) -> None:
    x, more, own, grad, weight, bias = drawn(shape, stream, part)
    table, dropped = kernels.of(x), DROPPED if centred == (shape[-1] % 2 == 0) else None
    total, y, mean, inverse = table.add_norm(x, more, weight, bias if centred else None, EPS, centred, dropped)
    left = more if dropped is None else table.dropout(more, *dropped)
    assert cpu(total).tobytes() == (cpu(x).astype(wide(stream)) + cpu(left).astype(wide(stream))).astype(DTYPES[stream]).tobytes()
    apart = table.layer_norm(total, weight, bias, EPS) if centred else (*table.rms_norm(total, weight, EPS)[:1], None, None)
    assert cpu(y).tobytes() == cpu(apart[0]).tobytes()
    for mine in (own, None):
        found = table.add_norm_backward(mine, grad, total, weight, mean, inverse, more.dtype, dropped)
        if centred:
            gx, *rest = table.layer_norm_backward(grad, total, weight, mean, inverse)
        else:
            gx, *rest = *table.rms_norm_backward(grad, total, weight, inverse), None
        if mine is not None:
            gx = on_device(cpu(gx).astype(wide(stream)) + cpu(mine).astype(wide(stream)), stream)
        passed = gx.astype(more.dtype)
        expected = gx, passed if dropped is None else table.dropout(passed, *dropped), *rest
        for a, b in zip(found, expected, strict=True):
            assert (a is None) == (b is None)
            assert a is None or (a.dtype == b.dtype and cpu(a).tobytes() == cpu(b).tobytes())


def wide(dtype: str) -> Any:
    return np.float64 if dtype == "float64" else np.float32


@pytest.mark.parametrize("centred", [True, False])
def test_as_the_reference_in_float64(centred: bool) -> None:
    x, more, own, grad, weight, bias = drawn((6, 40), "float32", "float32")
    exact = [cpu(a).astype(np.float64) for a in (x, more, own, grad, weight, bias)]
    table = kernels.of(x)
    found = table.add_norm(x, more, weight, bias if centred else None, EPS, centred, DROPPED)
    expected = reference.add_norm(exact[0], exact[1], exact[4], exact[5] if centred else None, EPS, centred, DROPPED)
    back = table.add_norm_backward(own, grad, found[0], weight, *found[2:], x.dtype, DROPPED)
    wanted = reference.add_norm_backward(exact[2], exact[3], expected[0], exact[4], *expected[2:], np.dtype(np.float64), DROPPED)
    for a, b in zip((*found, *back), (*expected, *wanted), strict=True):
        assert (a is None) == (b is None)
        assert a is None or np.abs(cpu(a) - b).max() <= 2e-6 * max(1, np.abs(b).max())


def test_what_no_kernel_is_for_goes_to_the_reference() -> None:
    x, more, own, grad, weight, bias = drawn((4, 6), "float32", "float64")
    table = kernels.of(x)
    total, _, mean, inverse = table.add_norm(x, more, weight, bias, EPS, True)
    assert total.dtype == np.float32
    assert table.add_norm_backward(own, grad, total, weight, mean, inverse, more.dtype)[1].dtype == np.float64
    assert table.add_norm(x[:0], more[:0], weight, bias, EPS, True)[1].shape == (0, 6)


# ---- layers and blocks


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The norms that are taken with their sums."""
    seen: list[str] = []
    for name in ("add_layer_norm", "add_rms_norm"):
        own = getattr(residual, name)
        monkeypatch.setattr(residual, name, lambda *given, _own=own, _name=name: (seen.append(_name), _own(*given))[1])
    return seen


def block(norm: Any = nn.LayerNorm, norm_first: bool = True, dropout: float = 0.2) -> Any:
    nyala.manual_seed(4)
    return nn.TransformerBlock(16, 2, 32, norm=norm, norm_first=norm_first, dropout=dropout).to("cuda")


def trained(made: Any, x: nyala.Tensor, precision: Any = None) -> list[bytes]:
    """A step's result and gradients."""
    nyala.manual_seed(9)
    x = x.detach().requires_grad_()
    with nyala.autocast("cuda", dtype=precision, enabled=precision is not None):
        y = made(made(x))
        (y.float() * y.float()).sum().backward()
    return [t.detach().cpu().numpy().tobytes() for t in (y, x.grad, *[p.grad for p in made.parameters()])]


@pytest.mark.parametrize("precision", [None, nyala.bfloat16])
@pytest.mark.parametrize(("norm", "norm_first"), [(nn.LayerNorm, True), (nn.LayerNorm, False), (nn.RMSNorm, True)])
def test_a_block_has_the_bits_of_the_long_way(
    norm: Any, norm_first: bool, precision: Any, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = nyala.randn(2, 3, 16).cuda()
    found = trained(block(norm, norm_first), x, precision)
    assert len(counted) == (2 if norm_first else 4)
    monkeypatch.setattr(residual, "_in_one_kernel", lambda *_: False)
    assert trained(block(norm, norm_first), x, precision) == found
    assert len(counted) == (2 if norm_first else 4)


def test_hooked_patched_and_other_norms_go_the_long_way(counted: list[str]) -> None:
    x, calls = nyala.randn(1, 3, 16).cuda(), []
    made = block()
    with made.get_submodule("norm2").register_forward_hook(lambda *given: calls.append(given)):
        made(x)
    assert (len(calls), counted) == (1, [])
    made.set_submodule("norm2", nn.Sequential(nn.LayerNorm(16)).to("cuda"))
    made(x)
    assert counted == []
    block().double()(x.double())
    block()(x.double().float())
    assert counted == ["add_layer_norm"] * 2


def test_gradients_of_gradients_and_of_one_result() -> None:
    shapes = [(3, 8), (3, 8), (8,), (8,)]
    given = [nyala.randn(*s, dtype="float64").cuda().requires_grad_() for s in shapes]
    key = nyala.random.key(1, "here")

    def fused(x: Any, part: Any, weight: Any, bias: Any) -> Any:
        from nyala.core.ops.add_norm import add_layer_norm

        return add_layer_norm(x, part, 8, weight, bias, p=0.3, key=key)

    def apart(x: Any, part: Any, weight: Any, bias: Any) -> Any:
        total = x + nn.functional.dropout(part, 0.3, key=key)
        return total, nn.functional.layer_norm(total, (8,), weight, bias)

    def second(function: Any) -> list[np.ndarray]:
        total, y = function(*given)
        first = nyala.autograd.grad((y**3).sum() + (total**2).sum(), given, create_graph=True)
        return [g.detach().cpu().numpy() for g in (*first, *nyala.autograd.grad(sum((g**2).sum() for g in first), given))]

    for a, b in zip(second(fused), second(apart), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    for number in (0, 1):
        one, other = (nyala.autograd.grad((function(*given)[number] ** 2).sum(), given[:2]) for function in (fused, apart))
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a.cpu().numpy(), b.cpu().numpy(), rtol=1e-9, atol=1e-9)


def test_a_sum_changed_in_place_is_told() -> None:
    from nyala.core.ops.add_norm import add_rms_norm

    x = nyala.ones(2, 4, requires_grad=True).cuda()
    total, y = add_rms_norm(x, x * 2, 4)
    with nyala.no_grad():
        total.add_(1)
    with pytest.raises(nyala.errors.GradError, match="in place"):
        y.sum().backward()
