"""Chains have the bits of the single kernels, whatever is in the arrays and however they lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala.core import kernels
from nyala.core.compile.chains import Chain, Step, joins

SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-42, 3e38, -88.0, 88.7, 0.5], np.float32)


def values(shape: tuple[int, ...], seed: int) -> Any:
    x = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    x.reshape(-1)[: SPECIAL.size] = np.roll(SPECIAL, seed)[: x.size]
    return x


def same(a: Any, b: Any) -> bool:
    """Equal, zeros with their sign; a NaN is a NaN."""
    numbers = ~np.isnan(a)
    return a.shape == b.shape and np.array_equal(np.isnan(a), np.isnan(b)) and a[numbers].tobytes() == b[numbers].tobytes()


def chained(x: Any, gate: Any, row: Any, column: Any) -> Any:
    y = F.gelu(x * row + row) * gate
    y = (y.tanh() * 0.5 - column) * gate
    y = F.relu(F.silu(x) * y + 1.0) / (y.exp() + 2.0)
    return -(y.sigmoid() * x).sqrt()


@pytest.mark.parametrize("shape", [(64, 80), (3, 40, 50), (1, 5000)])
def test_chains_have_the_bits_of_single_operations(shape: tuple[int, ...]):
    compiled = nyala.compile(chained)
    with nyala.no_grad(), np.errstate(all="ignore"):
        for seed in range(3):
            arrays = [values(shape, seed), values(shape, seed + 5), values(shape[-1:], seed + 7), values((*shape[:-1], 1), seed)]
            given = [nyala.from_numpy(a) for a in arrays]
            assert same(compiled(*given).numpy(), chained(*given).numpy())
    assert compiled.runs == 1 and "chains          none" not in compiled.explain()


def test_chains_follow_the_memory_order():
    def function(x: Any) -> Any:
        return F.gelu(x * 2.0 + 1.0)

    compiled = nyala.compile(function)
    x = nyala.from_numpy(values((2, 30, 40, 4), 0).transpose(0, 3, 1, 2))
    with np.errstate(all="ignore"):
        for _ in range(3):
            y = compiled(x)
        z = function(x)
    assert compiled.runs == 1 and y.array.strides == z.array.strides and same(y.numpy(), z.numpy())


def test_a_product_is_not_fused_with_the_sum_of_another_kernel():
    chain = Chain([Step("multiply", (-1, -2)), Step("add", (0, -3))], ("full",) * 3, (4096,), (0,), 1, 4096)
    a, b, c = (np.random.default_rng(i).standard_normal(4096, dtype=np.float32) for i in range(3))
    assert chain(a, b, c).tobytes() == (a * b + c).tobytes()
    assert not joins("silu", "hardsigmoid")  # both may fuse: what the one ends with and the other begins with would be fused too


NAMES = (
    "exp", "expm1", "log", "log1p", "tanh", "sigmoid", "erf", "silu", "mish", "hardsigmoid", "hardswish", "relu", "rsqrt",
    "tanh_backward", "sigmoid_backward", "silu_backward", "relu_backward", "gelu tanh", "gelu_backward none", "elu", "leaky_relu",
    "elu_backward", "leaky_relu_backward", "softplus", "softplus_backward", "maximum", "minimum",
)  # fmt: skip


def test_every_operation_of_a_chain_is_the_kernel_of_its_name():
    arrays = [values((4100,), 1), values((4100,), 4)]
    numbers = {"elu": (0.7,), "leaky_relu": (0.1,), "softplus": (1.5, 20.0)}
    steps, expected = [], np.zeros(4100, np.float32)
    with np.errstate(all="ignore"):
        for name in NAMES:
            word = name.split()
            given = numbers.get(word[0].removesuffix("_backward"), ())
            two = word[0].endswith("_backward") or word[0] in ("maximum", "minimum")
            kernel = getattr(kernels.CPU, word[0])
            one = kernel(*arrays[: 2 if two else 1], *given, *word[1:])
            expected = np.maximum(expected, np.minimum(one, np.float32(1e30)))
            steps.append(Step(name, (-1, -2) if two else (-1,), given))
            steps.append(Step("minimum", (len(steps) - 1, -3)))
            steps.append(Step("maximum", (len(steps) - 3 if len(steps) > 2 else -4, len(steps) - 1)))
        chain = Chain(steps, ("full", "full", "one", "full"), (4100,), (0,), 1, 4100)
        got = chain(*arrays, np.array(1e30, np.float32), np.zeros(4100, np.float32))
    assert same(got, expected)
