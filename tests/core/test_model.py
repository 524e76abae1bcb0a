"""``Model``: heads, intermediate results, groups for optimizers, checkpointing; and the tools of ``nn.utils``."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.errors import ModuleError, ShapeError, UnknownNameError
from nyala.nn import utils


@dataclass(frozen=True)
class Config:
    width: int = 4
    num_classes: int = 3


class Tiny(nn.Model):
    classifier_name = "head.fc"

    def __init__(self, config: Config = Config()) -> None:
        super().__init__(config)
        self.stem = nn.Linear(5, config.width)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.GELU()) for _ in range(3)])
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Module()
        self.head.fc = nn.Linear(config.width, config.num_classes)

    def forward_features(self, x: Any) -> Any:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def forward_head(self, x: Any) -> Any:
        return self.head.fc(x)


@pytest.fixture
def model() -> Tiny:
    nyala.manual_seed(0)
    return Tiny()


def test_forward_is_features_then_head(model: Tiny) -> None:
    x = nyala.randn(2, 5)
    model.eval()
    assert model(x).equal(model.forward_head(model.forward_features(x)))
    assert model.num_parameters() == 24 + 3 * 20 + 8 + 15
    model.freeze("blocks")
    assert model.num_parameters(only_trainable=True) == 24 + 8 + 15


def test_a_new_head(model: Tiny) -> None:
    assert model.head_names() == ["head.fc.weight", "head.fc.bias"]
    model.double().reset_head(7)
    assert model(nyala.randn(2, 5, dtype="float64")).shape == (2, 7)
    assert model.config == Config(num_classes=7) and model.head.fc.weight.dtype == nyala.float64
    model.reset_head(0)
    x = nyala.randn(2, 5, dtype="float64")
    assert model.eval()(x).equal(model.forward_features(x)) and model.head_names() == []
    model.reset_head(2)
    assert model(x).shape == (2, 2)
    with pytest.raises(ModuleError, match="no linear classifier"):
        nn.Model().reset_head(3)
    with pytest.raises(ModuleError, match="Model has no forward_features"):
        nn.Model()(1)


def test_intermediates_by_name_and_pattern(model: Tiny) -> None:
    x = nyala.randn(2, 5)
    model.eval()
    out, found = model.forward_intermediates(x, names=["stem", "blocks.[01]"])
    assert out.equal(model(x)) and list(found) == ["stem", "blocks.0", "blocks.1"]
    assert found["blocks.1"].equal(model.blocks[1](found["blocks.0"]))
    _, found = model.forward_intermediates(x, names=["blocks.0", "blocks.0.1"])
    assert list(found) == ["blocks.0", "blocks.0.1"]
    with pytest.raises(UnknownNameError, match=r"'blocks\.9'"):
        model.forward_intermediates(x, names=["blocks.9"])
    with pytest.raises(ModuleError, match="blocks did not run"):
        model.forward_intermediates(x, names=["blocks"])
    assert model.stem._hooks.idle, "no hook stays behind, after errors too"


def test_groups_decay_by_layer_and_spare_what_is_flat(model: Tiny) -> None:
    model.freeze("stem.bias")
    groups = model.param_groups(weight_decay=0.1, layer_decay=0.5, lr=1.0)
    scales = {n: (g["lr"], g["weight_decay"]) for g in groups for n in g["param_names"]}
    assert scales["stem.weight"] == (0.0625, 0.1) and "stem.bias" not in scales
    assert scales["blocks.0.0.weight"] == (0.125, 0.1) and scales["blocks.2.0.bias"] == (0.5, 0.0)
    assert scales["norm.weight"] == (1.0, 0.0) and scales["head.fc.weight"] == (1.0, 0.1)
    named = dict(model.named_parameters())
    assert all(p is named[n] for g in groups for n, p in zip(g["param_names"], g["params"], strict=True))
    plain = model.param_groups(weight_decay=0.1)
    assert len(plain) == 2 and all(g["lr_scale"] == 1 and "lr" not in g for g in plain)
    assert [model.layer_of(n) for n in ("stem.weight", "blocks.1.0.bias", "norm.bias")] == [0, 2, 4]


def test_checkpointing_replays_dropout_exactly(model: Tiny) -> None:
    x = nyala.randn(4, 5)

    def gradients() -> list[np.ndarray]:
        model.zero_grad()
        with nyala.random.ambient_scope((3, 1, 0)):
            model(x).square().sum().backward()
        return [p.grad.numpy() for p in model.parameters()]

    expected = gradients()
    assert model.enable_checkpointing() is model
    assert model.blocks[0](nyala.ones(1, 4, requires_grad=True)).grad_fn.name == "_Recomputed"
    for a, b in zip(gradients(), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.eval().blocks[0](nyala.ones(1, 4)).grad_fn.name != "_Recomputed"
    model.train().enable_checkpointing(False)
    assert model.blocks[0](nyala.ones(1, 4)).grad_fn.name != "_Recomputed"
    with pytest.raises(ModuleError, match="no blocks"):
        nn.Model().enable_checkpointing()


# ---- nn.utils


def test_parameters_as_a_vector(model: Tiny) -> None:
    vector = utils.parameters_to_vector(model.parameters())
    assert vector.shape == (model.num_parameters(),) and vector.requires_grad
    utils.vector_to_parameters(nyala.arange(model.num_parameters()).float(), model.parameters())
    assert model.stem.weight[0].tolist() == [0, 1, 2, 3, 4] and float(model.head.fc.bias[-1]) == model.num_parameters() - 1
    with pytest.raises(ShapeError, match=r"\(3,\) for 107 weights"):
        utils.vector_to_parameters(nyala.ones(3), model.parameters())


@pytest.mark.parametrize("dim", [0, 2, None])
def test_weight_norm_is_length_times_direction(dim: int | None) -> None:
    layer = nn.Conv1d(3, 4, 2)
    x, weight = nyala.randn(2, 3, 6), layer.weight.detach().clone()
    expected = layer(x).detach().numpy()
    utils.weight_norm(layer, dim=dim)
    assert sorted(layer.state_dict()) == ["bias", "weight_g", "weight_v"]
    assert layer.weight_g.shape == {0: (4, 1, 1), 2: (1, 1, 2), None: ()}[dim]
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, atol=1e-6)
    layer.weight_v.data.copy_(layer.weight_v.detach() * 7)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, atol=1e-6)
    layer(x).square().sum().backward()
    assert layer.weight_g.grad is not None and layer.weight_v.grad is not None
    utils.remove_weight_norm(layer)
    assert sorted(layer.state_dict()) == ["bias", "weight"]
    np.testing.assert_allclose(layer.weight.detach().numpy(), weight.numpy(), atol=1e-6)
    with pytest.raises(ModuleError, match="not computed by WeightNorm"):
        utils.remove_weight_norm(layer)


@pytest.mark.parametrize("dim", [0, 2, None])
def test_the_parametrized_weight_norm_computes_its_weight_when_it_is_read(dim: int | None) -> None:
    nyala.manual_seed(1)
    plain, layer = nn.Conv1d(3, 4, 2), nn.Conv1d(3, 4, 2)
    layer.load_state_dict(plain.state_dict())
    utils.parametrizations.weight_norm(layer, dim=dim)
    parts = layer.get_submodule("parametrizations.weight")
    x = nyala.randn(2, 3, 5)
    np.testing.assert_allclose(layer(x).detach().numpy(), plain(x).detach().numpy(), rtol=1e-5, atol=1e-6)
    with nyala.no_grad():
        parts.original0.mul_(2.0)
    np.testing.assert_allclose(layer.weight.detach().numpy(), 2 * plain.weight.detach().numpy(), rtol=1e-5, atol=1e-6)
    layer(x).sum().backward()
    assert parts.original1.grad is not None and "weight" not in dict(layer.named_parameters())
    twin = copy.deepcopy(layer)  # also behind a forward pass
    assert isinstance(twin, nn.Conv1d) and np.array_equal(twin(x).detach().numpy(), layer(x).detach().numpy())
    parts.set(plain.weight)
    np.testing.assert_allclose(layer.weight.detach().numpy(), plain.weight.detach().numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(ModuleError, match="no parameter 'wieght'"):
        utils.parametrizations.weight_norm(nn.Linear(2, 2), "wieght")


def test_spectral_norm_makes_the_largest_singular_value_one() -> None:
    nyala.manual_seed(0)
    layer = utils.spectral_norm(nn.Linear(6, 5), n_power_iterations=30)
    x = nyala.randn(3, 6)
    layer(x)
    assert np.linalg.svd(layer.weight.detach().numpy())[1][0] == pytest.approx(1.0, rel=1e-3)
    assert sorted(layer.state_dict()) == ["bias", "weight_orig", "weight_u", "weight_v"]
    layer(x).sum().backward()
    assert (layer.weight_orig.grad.numpy() != 0).any()
    expected = layer.eval()(x).detach().numpy()
    np.testing.assert_array_equal(layer(x).detach().numpy(), expected)
    utils.remove_spectral_norm(layer)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, atol=1e-6)
    with pytest.raises(ModuleError, match="no parameter 'wait'"):
        utils.spectral_norm(layer, "wait")


def test_clipping_is_the_optimizers() -> None:
    assert utils.clip_grad_norm_ is nyala.optim.clip_grad_norm_
