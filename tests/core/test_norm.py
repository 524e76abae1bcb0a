"""Normalisation against its definition, written out in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import nyala
import pytest
from nyala.core.ops import norm
from nyala.errors import ArgumentError, ShapeError
from nyala.testing import Bad, OpCase, check_op


def standard(x: np.ndarray, axes: tuple[int, ...], eps: float) -> np.ndarray:
    if not x.size:
        return x
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def channels(v: Any, ndim: int, default: float) -> Any:
    return default if v is None else v.reshape(1, -1, *[1] * (ndim - 2))


def batch(x: Any, w: Any = None, b: Any = None, eps: float = 1e-5) -> Any:
    return standard(x, (0, *range(2, x.ndim)), eps) * channels(w, x.ndim, 1) + channels(b, x.ndim, 0)


def evaluated(x: Any, mean: Any, var: Any, w: Any, b: Any) -> Any:
    mean, var = channels(mean, x.ndim, 0), channels(var, x.ndim, 1)
    return (x - mean) / np.sqrt(var + 1e-3) * channels(w, x.ndim, 1) + channels(b, x.ndim, 0)


def group(x: Any, groups: int, w: Any = None, b: Any = None) -> Any:
    parts = np.stack([standard(p, (1, *range(2, x.ndim)), 1e-5) for p in np.split(x, groups, 1)], 1).reshape(x.shape)
    return parts * channels(w, x.ndim, 1) + channels(b, x.ndim, 0)


def local_response(x: Any, size: int, alpha: float, beta: float, k: float) -> Any:
    out = np.empty_like(x)
    for c in range(x.shape[1]):
        near = x[:, max(0, c - size // 2) : c + (size - 1) // 2 + 1]
        out[:, c] = x[:, c] / (k + alpha / size * (near**2).sum(1)) ** beta
    return out


def train(x: Any, w: Any = None, b: Any = None) -> Any:
    return norm.batch_norm(x, None, None, w, b, training=True)


def ones(*shape: int) -> nyala.Tensor:
    return nyala.ones(*shape)


CASES = [
    OpCase(
        "batch_norm",
        train,
        lambda s: (s.normal(4, 3, 2, 2), s.normal(3), s.normal(3)),
        batch,
        rtol=4,
        also=[
            lambda s: (s.normal(5, 3), s.normal(3), s.normal(3)),
            lambda s: (s.normal(2, 3, 5), s.normal(3), s.normal(3)),
            lambda s: (s.normal(2, 1, 3, 2, 2), s.normal(1), s.normal(1)),
            lambda s: (np.zeros((0, 3, 2)), s.normal(3), s.normal(3)),
        ],
        errors=[
            Bad(lambda: train(ones(1, 3)), ShapeError, r"one value a channel.*\(1, 3\).*larger batch"),
            Bad(lambda: train(ones(3)), ShapeError, r"\(N, C\)"),
            Bad(lambda: train(ones(4, 3), ones(2)), ShapeError, r"weight has shape \(2,\).*3 channel"),
            Bad(lambda: norm.batch_norm(ones(4, 3), None, None), ArgumentError, "running statistics"),
        ],
    ),
    OpCase(
        "batch_norm relu6",
        lambda x, w, b: norm.batch_norm(x, None, None, w, b, training=True, activation="relu6"),
        lambda s: (s.normal(4, 3, 5), s.normal(3) + 2.0, s.normal(3) + 2.0),
        lambda x, w, b: batch(x, w, b).clip(0, 6),
        rtol=4,
    ),
    OpCase("batch_norm plain", train, lambda s: (s.normal(6, 2),), batch, rtol=4),
    OpCase("batch_norm weight alone", train, lambda s: (s.normal(6, 2), s.normal(2)), batch, rtol=4),
    OpCase(
        "batch_norm eval",
        lambda x, m, v, w, b: norm.batch_norm(x, m, v, w, b, eps=1e-3),
        lambda s: (s.normal(2, 3, 4), s.normal(3), s.positive(3), s.normal(3), s.normal(3)),
        evaluated,
        differentiable=[0, 3, 4],
        also=[lambda s: (s.normal(2, 3), s.normal(3), s.positive(3), s.normal(3), s.normal(3))],
    ),
    OpCase(
        "layer_norm",
        lambda x, w, b: norm.layer_norm(x, (5,), w, b),
        lambda s: (s.normal(2, 3, 5), s.normal(5), s.normal(5)),
        lambda x, w, b: standard(x, (x.ndim - 1,), 1e-5) * w + b,
        rtol=4,
        also=[lambda s: (np.zeros((0, 5)), s.normal(5), s.normal(5))],
        errors=[
            Bad(lambda: norm.layer_norm(ones(2, 3), (4,)), ShapeError, r"\(2, 3\), normalized_shape \(4,\)"),
            Bad(lambda: norm.layer_norm(ones(2, 3), 3, ones(2)), ShapeError, r"weight has shape \(2,\)"),
        ],
    ),
    OpCase(
        "layer_norm two",
        lambda x, w: norm.layer_norm(x, (3, 4), w, None, 1e-3),
        lambda s: (s.normal(2, 3, 4), s.normal(3, 4)),
        lambda x, w: standard(x, (1, 2), 1e-3) * w,
        rtol=4,
    ),
    OpCase(
        "layer_norm plain",
        lambda x: norm.layer_norm(x, 6),
        lambda s: (s.normal(2, 6),),
        lambda x: standard(x, (1,), 1e-5),
        rtol=4,
    ),
    OpCase(
        "group_norm",
        lambda x, w, b: norm.group_norm(x, 2, w, b),
        lambda s: (s.normal(2, 4, 3), s.normal(4), s.normal(4)),
        lambda x, w, b: group(x, 2, w, b),
        rtol=4,
        also=[lambda s: (np.zeros((0, 4, 3)), s.normal(4), s.normal(4))],
        errors=[Bad(lambda: norm.group_norm(ones(2, 4), 3), ShapeError, r"\(2, 4\) in 3 group.*divisor")],
    ),
    OpCase("group_norm plain", lambda x: norm.group_norm(x, 4), lambda s: (s.normal(2, 4, 3),), lambda x: group(x, 4), rtol=4),
    OpCase(
        "instance_norm",
        lambda x, w, b: norm.instance_norm(x, weight=w, bias=b),
        lambda s: (s.normal(2, 3, 4), s.normal(3), s.normal(3)),
        lambda x, w, b: group(x, x.shape[1], w, b),
        rtol=4,
        errors=[
            Bad(lambda: norm.instance_norm(ones(2, 3, 1)), ShapeError, "one value a channel"),
            Bad(lambda: norm.instance_norm(ones(2, 3)), ShapeError, r"\(N, C, L"),
        ],
    ),
    OpCase(
        "rms_norm",
        lambda x, w: norm.rms_norm(x, (5,), w, 1e-6),
        lambda s: (s.normal(3, 5), s.normal(5)),
        lambda x, w: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * w,
        rtol=4,
        also=[lambda s: (np.zeros((0, 5)), s.normal(5))],
    ),
    OpCase(
        "rms_norm plain",
        lambda x: norm.rms_norm(x, (2, 3), eps=0.1),
        lambda s: (s.normal(4, 2, 3),),
        lambda x: x / np.sqrt((x**2).mean((1, 2), keepdims=True) + 0.1),
        rtol=4,
    ),
    OpCase("normalize", norm.normalize, lambda s: (s.normal(3, 4),), lambda x: x / np.sqrt((x**2).sum(1, keepdims=True)), rtol=4),
    OpCase(
        "normalize p 1",
        lambda x: norm.normalize(x, 1.0, 0),
        lambda s: (s.away((3, 4), [0.0]),),
        lambda x: x / np.abs(x).sum(0),
        rtol=4,
    ),
    OpCase(
        "local_response_norm",
        lambda x: norm.local_response_norm(x, 3, 0.5, 0.75, 2.0),
        lambda s: (s.normal(2, 5, 3),),
        lambda x: local_response(x, 3, 0.5, 0.75, 2.0),
        rtol=4,
    ),
    OpCase(
        "local_response_norm even",
        lambda x: norm.local_response_norm(x, 2, 0.5, 0.5, 1.0),
        lambda s: (s.normal(1, 4, 2),),
        lambda x: local_response(x, 2, 0.5, 0.5, 1.0),
        rtol=4,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_operation(case: OpCase) -> None:
    check_op(case)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_updates_running_statistics_with_the_unbiased_variance(dtype: str) -> None:
    x = np.random.default_rng(0).normal(2.0, 3.0, (6, 3, 2)).astype(dtype)
    mean, var = nyala.zeros(3, dtype=dtype), nyala.ones(3, dtype=dtype)
    norm.batch_norm(nyala.from_numpy(x), mean, var, training=True, momentum=0.25)
    np.testing.assert_allclose(mean.numpy(), 0.25 * x.mean((0, 2)), rtol=1e-5)
    np.testing.assert_allclose(var.numpy(), 0.75 + 0.25 * x.var((0, 2), ddof=1), rtol=1e-5)


def test_running_statistics_stay_as_they_are_without_training_and_without_samples() -> None:
    mean, var = nyala.full((3,), 2.0), nyala.full((3,), 4.0)
    norm.batch_norm(nyala.ones(4, 3), mean, var)
    norm.batch_norm(nyala.zeros(0, 3, 2), mean, var, training=True)
    assert mean.tolist() == [2.0] * 3 and var.tolist() == [4.0] * 3


def test_a_gradient_uses_the_statistics_of_its_own_evaluation() -> None:
    mean, var = nyala.zeros(3), nyala.ones(3)
    x = nyala.randn(4, 3, requires_grad=True)
    out = norm.batch_norm(x, mean, var, eps=0.0)
    norm.batch_norm(nyala.randn(4, 3) * 7, mean, var, training=True)  # writes to both buffers
    out.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 1.0, rtol=1e-6)


def test_instance_norm_averages_running_statistics_over_samples() -> None:
    x = np.random.default_rng(1).normal(1.0, 2.0, (4, 3, 5))
    mean, var = nyala.zeros(3, dtype="float64"), nyala.ones(3, dtype="float64")
    norm.instance_norm(nyala.from_numpy(x), mean, var, momentum=0.1)
    np.testing.assert_allclose(mean.numpy(), 0.1 * x.mean(2).mean(0))
    np.testing.assert_allclose(var.numpy(), 0.9 + 0.1 * x.var(2, ddof=1).mean(0))
    expected = evaluated(x, mean.numpy(), var.numpy(), None, None)
    got = norm.instance_norm(nyala.from_numpy(x), mean, var, use_input_stats=False, eps=1e-3)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)


def test_rms_norm_without_eps_takes_the_step_of_the_dtype() -> None:
    for dtype, step in (("bfloat16", 2**-23), ("float32", 2**-23), ("float64", 2**-52)):  # half precision: float32's
        x = nyala.tensor([[2**-12] * 2], dtype=dtype)
        expected = 1 / np.sqrt(1 + step * 2**24)
        np.testing.assert_allclose(norm.rms_norm(x, (2,)).double().numpy(), expected, rtol=3e-3 if dtype == "bfloat16" else 1e-6)


def test_a_constant_row_of_large_numbers_is_zero_and_not_noise() -> None:
    x = nyala.full((2, 384), 3e4)
    assert np.abs(norm.layer_norm(x, (384,)).numpy()).max() < 1e-1
    assert np.abs(train(nyala.full((64, 4), 3e4)).numpy()).max() < 1e-1


def test_normalize_leaves_zeros_alone() -> None:
    x = nyala.zeros(2, 3, requires_grad=True)
    y = norm.normalize(x)
    assert y.tolist() == [[0.0] * 3] * 2
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 1e12, rtol=1e-6)


@pytest.mark.parametrize("name", ["relu", "relu6"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", [(6, 5, 33, 31), (40, 600), (3, 70, 9, 9)])
def test_an_activation_in_a_batch_norm_gives_the_result_of_one_behind_it(shape: tuple[int, ...], last: bool, name: str) -> None:
    stream = np.random.default_rng(len(shape))

    def made(scale: float, *size: int) -> nyala.Tensor:
        values = (stream.normal(size=size) * scale).astype(np.float32)
        values = np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 1, -1)), -1, 1) if last and len(size) > 1 else values
        return nyala.from_numpy(values)

    leaves = [made(3.0, *shape), made(4.0, shape[1]), made(2.0, shape[1])]
    g, results = made(1.0, *shape), []
    for fused in (True, False):
        x, w, b = (nyala.from_numpy(t.array).requires_grad_() for t in leaves)
        mean, var = nyala.zeros(shape[1]), nyala.ones(shape[1])
        if fused:
            y = norm.batch_norm(x, mean, var, w, b, True, activation=name)
        else:
            y = getattr(nyala.nn.functional, name)(norm.batch_norm(x, mean, var, w, b, True))
        results.append([y, *nyala.autograd.grad([y], [x, w, b], [g]), mean, var])
    for i, (got, expected) in enumerate(zip(*results, strict=True)):
        a, b = got.detach().numpy(), expected.detach().numpy()
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * np.abs(b).max() if 0 < i < 4 else 0)  # gradients are sums
    y = results[0][0].detach().numpy()
    assert (y == 0).any() and (name == "relu" or (y == 6).any())


def test_activations_of_batch_norms_in_evaluation_and_of_nothing() -> None:
    x, mean, var = nyala.tensor([[-3.0, 9.0], [4.0, -5.0]]), nyala.zeros(2), nyala.ones(2)
    assert norm.batch_norm(x, mean, var, eps=0.0, activation="relu6").tolist() == [[0.0, 6.0], [4.0, 0.0]]
    assert norm.batch_norm(nyala.zeros(0, 2), mean, var, training=True, activation="relu").shape == (0, 2)
    with pytest.raises(ArgumentError, match=r"activation='gelu'.*'relu6'"):
        norm.batch_norm(x, mean, var, activation="gelu")
