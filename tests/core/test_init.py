"""Initialisers: their distributions, and that only the seed decides."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.errors import ArgumentError, NyalaError, ShapeError
from nyala.nn import init


@pytest.fixture(autouse=True)
def seed() -> None:
    nyala.manual_seed(0)


def filled(function: Callable[..., Any], *shape: int, **settings: Any) -> np.ndarray:
    tensor = nyala.empty(*shape)
    assert function(tensor, **settings) is tensor
    return tensor.numpy()


SPREADS: list[tuple[str, Callable[[], np.ndarray], float, float | None]] = [
    ("uniform", lambda: filled(init.uniform_, 200, 100, a=-3.0, b=1.0), 4 / math.sqrt(12), 3.0),
    ("normal", lambda: filled(init.normal_, 200, 100, std=0.5), 0.5, None),
    ("xavier uniform", lambda: filled(init.xavier_uniform_, 200, 100, gain=2.0), 2 * math.sqrt(2 / 300), 2 * math.sqrt(6 / 300)),
    ("xavier normal", lambda: filled(init.xavier_normal_, 200, 100), math.sqrt(2 / 300), None),
    (
        "kaiming uniform",
        lambda: filled(init.kaiming_uniform_, 200, 100, nonlinearity="relu"),
        math.sqrt(2 / 100),
        math.sqrt(6 / 100),
    ),
    (
        "kaiming conv",
        lambda: filled(init.kaiming_normal_, 64, 32, 3, 3, mode="fan_out", nonlinearity="relu"),
        math.sqrt(2 / 576),
        None,
    ),
    ("kaiming slope", lambda: filled(init.kaiming_normal_, 200, 100, a=1.0), math.sqrt(1 / 100), None),
]


@pytest.mark.parametrize(("draw", "std", "bound"), [s[1:] for s in SPREADS], ids=[s[0] for s in SPREADS])
def test_spreads(draw: Callable[[], np.ndarray], std: float, bound: float | None) -> None:
    values = draw()
    assert values.std() == pytest.approx(std, rel=0.02)
    if bound is not None:
        assert np.abs(values).max() == pytest.approx(bound, rel=0.01) and np.abs(values).max() <= bound


@pytest.mark.parametrize(("a", "b"), [(-2.0, 2.0), (0.5, 0.6), (3.0, 9.0)])
def test_truncated_normal_numbers_follow_their_distribution(a: float, b: float) -> None:
    values = np.sort(filled(init.trunc_normal_, 20000, std=1.0, a=a, b=b).astype(np.float64))
    assert a <= values[0] and values[-1] <= b
    cdf = np.vectorize(statistics.NormalDist().cdf)
    expected = (cdf(values) - cdf(a)) / (cdf(b) - cdf(a))
    assert np.abs(expected - (np.arange(20000) + 0.5) / 20000).max() < 0.02


def test_normal_quantiles_are_exact() -> None:
    p = np.concatenate([np.linspace(1e-6, 1 - 1e-6, 1001), 10.0 ** -np.arange(1, 300, 7.0)])
    expected = [statistics.NormalDist().inv_cdf(x) for x in p]
    np.testing.assert_allclose(init._normal_quantile(p), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 2, 3, 3)])
def test_orthogonal_rows_or_columns(shape: tuple[int, ...]) -> None:
    w = filled(init.orthogonal_, *shape, gain=2.0).reshape(shape[0], -1)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-5)


def test_constants_and_identities() -> None:
    assert (filled(init.constant_, 3, val=0.5) == 0.5).all()
    assert (filled(init.ones_, 3) == 1).all() and (filled(init.zeros_, 3) == 0).all()
    np.testing.assert_array_equal(filled(init.eye_, 2, 3), np.eye(2, 3))
    weight = nyala.empty(4, 2, 3)
    init.dirac_(weight, groups=2)
    x = nyala.randn(1, 4, 5)
    np.testing.assert_array_equal(nyala.nn.functional.conv1d(x, weight, padding=1, groups=2).numpy(), x.numpy())
    w = filled(init.sparse_, 10, 40, sparsity=0.35)
    assert ((w == 0).sum(0) == 4).all() and w[w != 0].std() == pytest.approx(0.01, rel=0.1)


def test_gains() -> None:
    assert init.calculate_gain("conv2d") == 1 and init.calculate_gain("tanh") == pytest.approx(5 / 3)
    assert init.calculate_gain("relu") == pytest.approx(math.sqrt(2))
    assert init.calculate_gain("leaky_relu") == pytest.approx(math.sqrt(2 / (1 + 0.01**2)))


def test_only_the_seed_decides() -> None:
    def weights() -> np.ndarray:
        return nn.Linear(5, 4).weight.detach().numpy().copy()

    nyala.manual_seed(7)
    first, second = weights(), weights()
    nyala.manual_seed(7)
    np.testing.assert_array_equal(weights(), first)
    assert (first != second).any()
    key = nyala.random.key(1, "init", 3)
    a, b = nyala.empty(5), nyala.empty(5)
    assert init.normal_(a, generator=key).equal(init.normal_(b, generator=key))


def test_half_precision_and_graphs() -> None:
    p = nn.Parameter(nyala.empty(3, 3, dtype="bfloat16"))
    assert init.xavier_uniform_(p) is p and p.dtype == nyala.bfloat16 and p.requires_grad and p.grad_fn is None
    layer = nn.Linear(2, 1)
    y = (layer.weight * layer.weight).sum()
    init.ones_(layer.weight)
    with pytest.raises(nyala.errors.GradError, match="changed in place"):
        y.backward()


DEFAULTS: list[tuple[str, Callable[[], nn.Module], str, float]] = [
    ("linear", lambda: nn.Linear(100, 50), "weight", 1 / 10),
    ("linear bias", lambda: nn.Linear(100, 2000), "bias", 1 / 10),
    ("conv", lambda: nn.Conv2d(16, 32, 5, groups=4), "weight", 1 / 10),
    ("conv bias", lambda: nn.Conv2d(16, 2000, 5, groups=4), "bias", 1 / 10),
    ("transposed", lambda: nn.ConvTranspose2d(16, 4, 5), "weight", 1 / 10),
    ("bilinear", lambda: nn.Bilinear(100, 3, 20), "weight", 1 / 10),
    ("lstm", lambda: nn.LSTM(3, 100), "weight_hh_l0", 1 / 10),
    ("attention", lambda: nn.MultiheadAttention(60, 2), "in_proj_weight", math.sqrt(6 / 240)),
]


@pytest.mark.parametrize(("build", "parameter", "bound"), [d[1:] for d in DEFAULTS], ids=[d[0] for d in DEFAULTS])
def test_layers_start_as_torchs_do(build: Callable[[], nn.Module], parameter: str, bound: float) -> None:
    values = build().get_parameter(parameter).detach().numpy()
    assert np.abs(values).max() <= bound and values.std() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_weights_to_be_loaded_need_no_random_numbers() -> None:
    before = nyala.random.ambient_state()
    with init.skip_random():
        layer = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.LSTM(2, 2), nn.Embedding(3, 2, padding_idx=1))
        init.orthogonal_(layer[0].weight)
        init.trunc_normal_(layer[0].weight)
    assert nyala.random.ambient_state() == before
    assert layer[1].weight.tolist() == [1, 1, 1] and layer[3].weight[1].tolist() == [0, 0]
    nn.Linear(2, 2)
    assert nyala.random.ambient_state() != before


BAD: list[tuple[str, Callable[[], Any], type[NyalaError], list[str]]] = [
    ("fan of a vector", lambda: init.kaiming_normal_(nyala.ones(3)), ShapeError, ["(3,)", "at least 2 dimensions"]),
    ("mode", lambda: init.kaiming_normal_(nyala.ones(3, 3), mode="fan"), ArgumentError, ["'fan'", "fan_out"]),
    ("gain", lambda: init.calculate_gain("gelo"), ArgumentError, ["'gelo'", "relu"]),
    ("eye", lambda: init.eye_(nyala.ones(3)), ShapeError, ["eye_", "a matrix"]),
    ("dirac groups", lambda: init.dirac_(nyala.ones(3, 2, 3), groups=2), ArgumentError, ["3 output channels in 2 groups"]),
]


@pytest.mark.parametrize(("act", "kind", "texts"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_arguments_are_named(act: Callable[[], Any], kind: type[NyalaError], texts: list[str]) -> None:
    with pytest.raises(kind) as caught:
        act()
    for text in texts:
        assert text in str(caught.value)
