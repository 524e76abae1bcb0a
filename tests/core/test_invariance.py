"""``batch_invariant``: every operation that treats rows one by one gives a row the bits it has alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import nn
from nyala.core.kernels import CPU, of

Op = Callable[[nyala.Tensor], nyala.Tensor]


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def weight(*shape: int) -> Callable[[nyala.Tensor], nyala.Tensor]:
    """A constant in the dtype of its argument."""
    values = normal(*shape, seed=7)
    return lambda x: nyala.tensor(values.astype(x.dtype))


def module(make: Callable[[], nn.Module]) -> Op:
    """A module in evaluation mode, with random weights and statistics."""
    nyala.manual_seed(0)
    made = make().eval()
    for name, buffer in made.named_buffers():
        if "running" in name:
            buffer.data = nyala.tensor(np.abs(normal(*buffer.shape)).astype(np.float32) + 0.5)

    def call(x: nyala.Tensor) -> nyala.Tensor:
        out = made.to(x.dtype)(x)
        return out[0] if isinstance(out, tuple) else out

    return call


def conv(out: int, channels: int, kernel: int, **options: Any) -> Op:
    w, b = weight(out, channels // options.get("groups", 1), kernel, kernel), weight(out)
    return lambda x: F.conv2d(x, w(x), b(x), **options)


IMAGE, SEQUENCE, ROW = (8, 7, 9), (13, 24), (37,)
w20, b20, w13 = weight(20, 24), weight(20), weight(13, 24)
w1d, w3d, wt2d = weight(16, 13, 3), weight(5, 3, 3, 3, 3), weight(8, 5, 3, 3)
CASES: list[tuple[str, Op, tuple[int, ...]]] = [
    *[(f"{name} {dims} {shape}", lambda x, name=name, dims=dims: getattr(x, name)(dim=dims), shape)
      for name in ("sum", "mean", "var", "std", "logsumexp", "norm")
      for dims, shape in (((1,), IMAGE), ((2,), IMAGE), ((2, 3), IMAGE), ((1, 2, 3), IMAGE), ((1,), (1,)), ((1,), (100,)),
                          ((1,), (5000,)), ((2, 3), (1, 30, 40)), ((1,), (300, 1, 1)))],
    ("prod", lambda x: x.prod(1), SEQUENCE),
    ("cumsum", lambda x: x.cumsum(1), SEQUENCE),
    ("amax", lambda x: x.amax(1), SEQUENCE),
    *[(f"{f.__name__} {dim}", lambda x, f=f, dim=dim: f(x, dim), SEQUENCE)
      for f in (F.softmax, F.log_softmax) for dim in (1, -1)],
    *[(f.__name__, f, (17,)) for f in (F.gelu, F.silu, F.softplus, F.mish, F.hardswish, F.elu)],
    *[(name, lambda x, name=name: getattr(x.abs() + 0.1, name)(), (17,))
      for name in ("exp", "log", "log1p", "sin", "cos", "tanh", "sigmoid", "erf", "sqrt", "rsqrt", "atan", "sinh")],
    ("pow", lambda x: x.abs() ** 1.7, (17,)),
    ("linear", lambda x: F.linear(x, w20(x), b20(x)), SEQUENCE),
    ("bmm", lambda x: x @ x.transpose(-1, -2), SEQUENCE),
    ("einsum", lambda x: nyala.einsum("bij,bkj->bik", x, x), SEQUENCE),
    ("einsum to a vector", lambda x: nyala.einsum("bij,ij->b", x, w13(x)), SEQUENCE),
    ("einsum outer", lambda x: nyala.einsum("bij,kj->bki", x, w20(x)), SEQUENCE),
    *[(f"conv {options}", conv(*size, **options), IMAGE)
      for size, options in (((16, 8, 3), {"padding": 1}), ((16, 8, 1), {}), ((16, 8, 3), {"stride": 2}),
                            ((8, 8, 3), {"groups": 8}), ((16, 8, 3), {"groups": 2}), ((16, 8, 5), {"padding": 2}),
                            ((16, 8, 3), {"dilation": 2}))],
    ("conv, many channels", conv(70, 64, 3, padding=1), (64, 20, 20)),
    ("conv1d", lambda x: F.conv1d(x, w1d(x), padding=1), SEQUENCE),
    ("conv3d", lambda x: F.conv3d(x, w3d(x)), (3, 5, 6, 7)),
    ("conv_transpose2d", lambda x: F.conv_transpose2d(x, wt2d(x), stride=2), IMAGE),
    ("max_pool2d", lambda x: F.max_pool2d(x, 3, 2, 1), IMAGE),
    ("avg_pool2d", lambda x: F.avg_pool2d(x, 3, 2, 1), IMAGE),
    ("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, 1), (64, 7, 7)),
    ("adaptive_avg_pool2d to 3 x 4", lambda x: F.adaptive_avg_pool2d(x, (3, 4)), IMAGE),
    *[(f"interpolate {mode}", lambda x, mode=mode: F.interpolate(x, size=(11, 5), mode=mode), IMAGE)
      for mode in ("nearest", "bilinear", "bicubic")],
    ("layer_norm", lambda x: F.layer_norm(x, (24,)), SEQUENCE),
    ("rms_norm", lambda x: F.rms_norm(x, (24,)), SEQUENCE),
    ("group_norm", lambda x: F.group_norm(x, 2), IMAGE),
    ("instance_norm", lambda x: F.instance_norm(x), IMAGE),
    ("batch norm in evaluation", module(lambda: nn.BatchNorm2d(8)), IMAGE),
    ("attention", lambda x: F.scaled_dot_product_attention(x, x, x), (2, 150, 16)),
    ("causal attention", lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), (2, 70, 16)),
    ("TransformerEncoderLayer", module(lambda: nn.TransformerEncoderLayer(24, 3, 50, batch_first=True)), SEQUENCE),
    ("LSTM", module(lambda: nn.LSTM(24, 9, batch_first=True, bidirectional=True)), SEQUENCE),
    ("GRU", module(lambda: nn.GRU(24, 9, batch_first=True)), SEQUENCE),
    ("cross_entropy", lambda x: F.cross_entropy(x, nyala.zeros(len(x), dtype=nyala.int64), reduction="none"), ROW),
    ("normalize", lambda x: F.normalize(x, dim=1), SEQUENCE),
    ("cosine_similarity", lambda x: F.cosine_similarity(x, x * 2 + 1, dim=1), SEQUENCE),
    ("rfft", lambda x: nyala.fft.rfft(x, dim=-1).abs(), SEQUENCE),
    ("stft", lambda x: nyala.stft(x, 64, return_complex=True).abs(), (400,)),
]  # fmt: skip


def layouts(x: Any) -> Iterator[Any]:
    """The batch in memory of three kinds: C order, channels last, and with the batch innermost."""
    yield x
    yield np.ascontiguousarray(np.moveaxis(x, 1, -1)).transpose(0, -1, *range(1, x.ndim - 1))
    yield np.asfortranarray(x)


def result(op: Op, x: Any) -> tuple[Any, Any]:
    """The result and the gradient of x, given a gradient of the result that depends on the rows alone."""
    leaf = nyala.from_numpy(x).requires_grad_()
    out = op(leaf)
    cotangent = np.cos(np.arange(out[0].numel() if out.ndim > 1 else 1)).reshape(1, *out.shape[1:])
    (out * nyala.tensor(np.broadcast_to(cotangent, out.shape).astype(out.dtype))).sum().backward()
    return out.detach().numpy(), leaf.grad.numpy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "op", "shape"), CASES, ids=[c[0] for c in CASES])
def test_a_row_alone_equals_the_row_in_a_batch(name: str, op: Op, shape: tuple[int, ...], dtype: str) -> None:
    with nyala.batch_invariant():
        for count in (2, 7, 19):
            values = normal(count, *shape).astype(dtype)
            alone = result(op, values[1:2].copy())
            for x in layouts(values):
                for got, expected, what in zip(result(op, x), alone, ("result", "gradient"), strict=True):
                    assert got[1:2].tobytes() == expected.tobytes(), f"{what} of {name} in a batch of {count}, {x.strides}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sum", "mean", "var", "logsumexp", "softmax", "log_softmax", "cumsum", "prod"])
def test_the_rows_may_be_another_dimension(name: str, dtype: str) -> None:
    """The batch last, and the terms of a sum first."""
    values = normal(300, 4, 19).astype(dtype)
    with nyala.batch_invariant():
        whole = getattr(nyala.from_numpy(values), name)(0).numpy()
        for i in (0, 7, 18):
            alone = getattr(nyala.from_numpy(values[:, :, i : i + 1].copy()), name)(0).numpy()
            assert whole[..., i : i + 1].tobytes() == alone.tobytes()
        kept = nyala.from_numpy(values).sum((0, 1), keepdim=True)
        assert kept.shape == (1, 1, 19) and kept.numpy().tobytes() == nyala.from_numpy(values).sum((0, 1)).numpy().tobytes()


def test_the_order_of_memory_matters_outside() -> None:
    """What the context is for: if this no longer holds, it has nothing left to do for sums."""
    x = np.asfortranarray(normal(64, 5000).astype(np.float32))
    row = np.ascontiguousarray(x[1:2])
    assert CPU.sum(x, (1,), False)[1:2].tobytes() != CPU.sum(row, (1,), False).tobytes()
    with nyala.batch_invariant():
        assert of(x).sum(x, (1,), False)[1:2].tobytes() == of(row).sum(row, (1,), False).tobytes()


def test_complex_products() -> None:
    a, b = (normal(2, *shape) for shape in ((30, 41), (41, 50)))
    for dtype in ("complex64", "complex128"):
        x, y = ((v[0] + 1j * v[1]).astype(dtype) for v in (a, b))
        whole = CPU.matmul(x, y)
        np.testing.assert_allclose(whole, x @ y, rtol=1e-3, atol=1e-4)
        assert CPU.matmul(x[3:4], y).tobytes() == whole[3:4].tobytes()


def test_it_nests_decorates_and_belongs_to_its_thread() -> None:
    x = np.ones(3, np.float32)

    @nyala.batch_invariant()
    def inside() -> bool:
        return of(x) is not CPU

    assert inside() and of(x) is CPU
    with pytest.raises(ZeroDivisionError), nyala.batch_invariant():
        with nyala.batch_invariant():
            pass
        assert of(x) is not CPU
        seen: list[bool] = []
        other = threading.Thread(target=lambda: seen.append(of(x) is CPU))
        other.start()
        other.join()
        assert seen == [True]
        raise ZeroDivisionError
    assert of(x) is CPU
