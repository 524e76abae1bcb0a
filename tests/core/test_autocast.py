"""``autocast``: which dtype each operation gives, what gradients get, and where it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import nn
from nyala.core.graph import state
from nyala.core.utils.checkpoint import checkpoint
from nyala.errors import ArgumentError, DtypeError

BF16, F16, F32, F64 = nyala.bfloat16, nyala.float16, nyala.float32, nyala.float64


def wide(*shape: int) -> nyala.Tensor:
    return nyala.tensor(np.random.default_rng(list(shape)).normal(size=shape).astype(np.float32))


def half(*shape: int) -> nyala.Tensor:
    return wide(*shape).bfloat16()


LABELS = nyala.tensor([0, 1, 2, 3])
SIGNS = nyala.tensor([[1.0, -1.0, 1.0, -1.0]] * 4)
# what goes in is float32 for those that must be lowered, bfloat16 for the others
LOWERED: dict[str, Callable[[], nyala.Tensor]] = {
    "linear": lambda: F.linear(wide(2, 4), wide(3, 4), wide(3)),
    "matmul": lambda: wide(4, 4) @ wide(4, 4),
    "matrix and vector": lambda: wide(4, 4) @ wide(4),
    "mm": lambda: wide(4, 4).mm(wide(4, 4)),
    "mv": lambda: wide(4, 4).mv(wide(4)),
    "bmm": lambda: wide(2, 4, 4).bmm(wide(2, 4, 4)),
    "addmm": lambda: nyala.addmm(wide(4, 4), wide(4, 4), wide(4, 4)),
    "baddbmm": lambda: nyala.baddbmm(wide(2, 4, 4), wide(2, 4, 4), wide(2, 4, 4)),
    "einsum": lambda: nyala.einsum("ij,jk->ik", wide(4, 4), wide(4, 4)),
    "conv1d": lambda: F.conv1d(wide(1, 2, 9), wide(3, 2, 3), wide(3)),
    "conv2d": lambda: F.conv2d(wide(1, 2, 5, 5), wide(3, 2, 3, 3)),
    "conv_transpose2d": lambda: F.conv_transpose2d(wide(1, 2, 5, 5), wide(2, 3, 3, 3), wide(3)),
    "attention": lambda: F.scaled_dot_product_attention(wide(1, 2, 4, 8), wide(1, 2, 4, 8), wide(1, 2, 4, 8), wide(4, 4)),
    "prelu": lambda: F.prelu(wide(2, 4), wide(1)),
    "LSTM": lambda: nn.LSTM(4, 4)(wide(2, 3, 4))[0],
    "GRU": lambda: nn.GRU(4, 4)(wide(2, 3, 4))[0],
    "MultiheadAttention": lambda: nn.MultiheadAttention(4, 2)(wide(1, 3, 4), wide(1, 3, 4), wide(1, 3, 4))[0],
}
RAISED: dict[str, Callable[[], nyala.Tensor]] = {
    "softmax": lambda: half(4, 4).softmax(-1),
    "log_softmax": lambda: half(4, 4).log_softmax(-1),
    "layer_norm": lambda: F.layer_norm(half(4, 4), (4,), wide(4), wide(4)),
    "rms_norm": lambda: F.rms_norm(half(4, 4), (4,), wide(4)),
    "group_norm": lambda: F.group_norm(half(2, 4, 4), 2),
    "sum": lambda: half(4, 4).sum(),
    "prod": lambda: half(4, 4).prod(),
    "cumsum": lambda: half(4, 4).cumsum(0),
    "norm": lambda: half(4, 4).norm(),
    "logsumexp": lambda: half(4, 4).logsumexp(0),
    "exp": lambda: half(4, 4).exp(),
    "log1p": lambda: half(4, 4).abs().log1p(),
    "rsqrt": lambda: half(4, 4).abs().rsqrt(),
    "power": lambda: half(4, 4) ** 2,
    "softplus": lambda: F.softplus(half(4, 4)),
    "interpolate": lambda: F.interpolate(half(1, 2, 4, 4), scale_factor=2),
    "cross_entropy": lambda: F.cross_entropy(half(4, 4), LABELS),
    "mse_loss": lambda: F.mse_loss(half(4, 4), wide(4, 4)),
    "binary_cross_entropy_with_logits": lambda: F.binary_cross_entropy_with_logits(half(4, 4), wide(4, 4).sigmoid()),
    "soft_margin_loss": lambda: F.soft_margin_loss(half(4, 4), SIGNS),
    "cosine_similarity": lambda: F.cosine_similarity(half(4, 4), half(4, 4)),
    "kl_div": lambda: F.kl_div(half(4, 4), half(4, 4)),
    "addcmul": lambda: nyala.addcmul(half(4), wide(4), half(4)),
    "dot": lambda: nyala.dot(half(4), wide(4)),
}
KEPT: dict[str, Callable[[], nyala.Tensor]] = {
    "add": lambda: half(4, 4) + half(4, 4),
    "gelu": lambda: F.gelu(half(4, 4)),
    "relu": lambda: F.relu(half(4, 4)),
    "sqrt": lambda: half(4, 4).abs().sqrt(),
    "mean": lambda: half(4, 4).mean(),
    "max_pool2d": lambda: F.max_pool2d(half(1, 1, 4, 4), 2),
    "batch_norm": lambda: F.batch_norm(half(4, 2, 3), wide(2), wide(2).abs(), wide(2), wide(2), training=True),
    "dot of halves": lambda: nyala.dot(half(4), half(4)),
}


@pytest.mark.parametrize("name", LOWERED)
@pytest.mark.parametrize("dtype", [BF16, F16], ids=str)
def test_products_are_lowered(name: str, dtype: np.dtype) -> None:
    assert LOWERED[name]().dtype == F32
    with nyala.autocast("cpu", dtype):
        assert LOWERED[name]().dtype == dtype


@pytest.mark.parametrize("name", RAISED)
def test_what_loses_by_it_is_computed_in_float32(name: str) -> None:
    with nyala.autocast("cpu", BF16):
        assert RAISED[name]().dtype == F32


@pytest.mark.parametrize("name", KEPT)
def test_the_rest_keeps_the_dtype_it_is_given(name: str) -> None:
    with nyala.autocast("cpu", BF16):
        assert KEPT[name]().dtype == BF16


def test_a_product_is_of_rounded_factors_and_rounded_once() -> None:
    x, w, b = wide(3, 8), wide(5, 8), wide(5)
    with nyala.autocast("cpu", BF16):
        y = F.linear(x, w, b)
    exact = [t.array.astype(BF16).astype(np.float64) for t in (x, w, b)]
    wanted = (exact[0] @ exact[1].T + exact[2]).astype(np.float32).astype(BF16)
    assert np.abs(y.array.astype(np.float64) - wanted.astype(np.float64)).max() <= np.abs(wanted.astype(np.float64)).max() / 256
    assert (y.array == F.linear(x.bfloat16(), w.bfloat16(), b.bfloat16()).array).all()


def test_other_dtypes_and_other_devices_are_left_alone() -> None:
    with nyala.autocast("cpu", BF16):
        assert (wide(3, 3).double() @ wide(3, 3).double()).dtype == F64
        assert nyala.tensor([1, 2]).sum().dtype == nyala.int64
        assert half(3).double().exp().dtype == F64
    with nyala.autocast("cuda"):
        assert (wide(3, 3) @ wide(3, 3)).dtype == F32


def test_on_a_gpu(cuda: str) -> None:
    x, w = wide(3, 4).to(cuda), wide(5, 4).to(cuda)
    with nyala.autocast("cuda"):
        assert F.linear(x, w).dtype == F16
        assert F.linear(x, w).softmax(-1).dtype == F32
        assert (wide(3, 3) @ wide(3, 3)).dtype == F32
    with nyala.autocast(cuda, BF16):
        assert F.linear(x, w).dtype == BF16


def test_blocks_nest_and_end() -> None:
    x = wide(3, 3)
    with nyala.autocast("cpu"):
        assert nyala.is_autocast_enabled("cpu") and not nyala.is_autocast_enabled("cuda")
        assert nyala.get_autocast_dtype("cpu") == BF16
        with nyala.autocast("cpu", enabled=False):
            assert (x @ x).dtype == F32
        with nyala.autocast("cpu", F16):
            assert (x @ x).dtype == F16
            with nyala.autocast("cuda"):
                assert (x @ x).dtype == F16
        assert (x @ x).dtype == BF16
    assert (x @ x).dtype == F32 and not nyala.is_autocast_enabled("cpu")
    with pytest.raises(ZeroDivisionError), nyala.autocast("cpu"):
        raise ZeroDivisionError
    assert state.autocast is None


def test_as_a_decorator_it_begins_anew_each_time() -> None:
    @nyala.autocast("cpu")
    def product(depth: int) -> list[np.dtype]:
        found = [(wide(2, 2) @ wide(2, 2)).dtype]
        return found + (product(depth - 1) if depth else [])

    assert product(2) == [BF16] * 3
    assert state.autocast is None


def test_another_thread_has_its_own() -> None:
    found = []
    with nyala.autocast("cpu"):
        thread = threading.Thread(target=lambda: found.append((wide(2, 2) @ wide(2, 2)).dtype))
        thread.start()
        thread.join()
    assert found == [F32]


def test_an_operation_that_fails_leaves_it_on() -> None:
    with nyala.autocast("cpu"):
        with pytest.raises(nyala.errors.ShapeError):
            wide(2, 3) @ wide(2, 3)
        assert (wide(2, 2) @ wide(2, 2)).dtype == BF16


def test_bad_arguments_are_told() -> None:
    with pytest.raises(ArgumentError, match="'mps'"):
        nyala.autocast("mps")
    with pytest.raises(DtypeError, match="float32"):
        nyala.autocast("cpu", F32)


# ---- gradients


def net() -> nn.Module:
    nyala.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 4))


def gradients(model: nn.Module, forward: Callable[[nyala.Tensor], nyala.Tensor] | None = None) -> list[np.ndarray]:
    for p in model.parameters():
        p.grad = None
    with nyala.autocast("cpu"):
        loss = F.cross_entropy((forward or model)(wide(5, 6)), nyala.tensor([0, 1, 2, 3, 0]))
    loss.backward()
    assert loss.dtype == F32
    return [p.grad.array for p in model.parameters()]


def test_parameters_get_gradients_of_their_own_dtype_near_the_exact_ones() -> None:
    model = net()
    lowered = gradients(model)
    assert all(g.dtype == F32 for g in lowered)
    F.cross_entropy(net_exact := model(wide(5, 6)), nyala.tensor([0, 1, 2, 3, 0]))
    assert net_exact.dtype == F32
    for p in model.parameters():
        p.grad = None
    F.cross_entropy(model(wide(5, 6)), nyala.tensor([0, 1, 2, 3, 0])).backward()
    for low, p in zip(lowered, model.parameters(), strict=True):
        assert 0 < np.abs(low - p.grad.array).max() < 0.03 * np.abs(p.grad.array).max() + 1e-3


def test_backward_inside_the_block_gives_the_same_gradients() -> None:
    model = net()
    outside = gradients(model)
    for p in model.parameters():
        p.grad = None
    with nyala.autocast("cpu"):
        F.cross_entropy(model(wide(5, 6)), nyala.tensor([0, 1, 2, 3, 0])).backward()
        assert nyala.is_autocast_enabled("cpu")
    assert all((a == p.grad.array).all() for a, p in zip(outside, model.parameters(), strict=True))


def test_a_recomputed_forward_is_lowered_too() -> None:
    model = net()
    plain = gradients(model)
    again = gradients(model, lambda x: checkpoint(model, x))
    assert all((a == b).all() for a, b in zip(plain, again, strict=True))


# ---- converted weights are kept


def test_a_weight_is_converted_once_in_a_block_and_again_after_a_write() -> None:
    w, x = nn.Parameter(wide(3, 3)), wide(2, 3)
    with nyala.autocast("cpu"):
        first, second = F.linear(x, w), F.linear(x, w)
        assert first.grad_fn.edges[1] is second.grad_fn.edges[1]  # one conversion, whose gradients add up
        with nyala.no_grad():
            assert not F.linear(x, w).requires_grad
            w *= 2
        assert (F.linear(x, w).array.astype(np.float32) == 2 * first.array.astype(np.float32)).all()
    (first + second).sum().backward()
    assert w.grad.shape == (3, 3)
    with nyala.autocast("cpu", cache_enabled=False):
        assert F.linear(x, w).grad_fn.edges[1] is not F.linear(x, w).grad_fn.edges[1]


def test_what_was_converted_without_a_graph_is_not_used_in_one() -> None:
    w = nn.Parameter(wide(3, 3))
    with nyala.autocast("cpu"):
        with nyala.no_grad():
            F.linear(wide(2, 3), w)
        F.linear(wide(2, 3), w).sum().backward()
    assert w.grad is not None
