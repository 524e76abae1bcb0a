"""Adapters: where they go, what they compute, how they come off again."""

from __future__ import annotations

from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import nn


class Net(nn.Module):
    """Convolutions, a norm, linear layers and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.wide = nn.Conv2d(8, 12, 3, padding=2, dilation=2, padding_mode="circular")
        self.blocks = nn.Sequential(nn.Linear(12, 16), nn.GELU(), nn.Linear(16, 12))
        self.head = nn.Linear(12, 4)

    def forward(self, x: Any) -> Any:
        x = self.norm(self.conv(x)).relu()
        x = self.wide(self.deep(x)).relu().mean((2, 3))
        return self.head(x + self.blocks(x))


@pytest.fixture
def net() -> Net:
    nyala.manual_seed(1)
    model = Net()
    model(nyala.randn(8, 3, 9, 9))  # the norm has seen something
    return model.eval()


X = np.random.default_rng(0).normal(size=(4, 3, 9, 9)).astype(np.float32)
ALL = ["conv", "wide", "blocks.*"]
KINDS: list[dict[str, Any]] = [{}, {"dora": True}, {"rslora": True}, {"dora": True, "rslora": True}]
IDS = ["lora", "dora", "rslora", "dora-rslora"]


def taught(model: nn.Module, **options: Any) -> Any:
    """An adapter that has learnt something."""
    adapter = nn.lora.attach(model, 3, 6, ALL, seed=4, **options)
    key = nyala.random.key(9, "taught")
    for number, parameter in enumerate(adapter.parameters()):
        parameter.array[...] += 0.3 * key.fold(number).normal(parameter.shape)
        parameter._bump()
    return adapter


def run(model: Any, graph: bool = False) -> np.ndarray:
    if graph:
        return model(nyala.tensor(X)).detach().numpy()
    with nyala.no_grad():
        return model(nyala.tensor(X)).numpy()


@pytest.mark.parametrize("options", KINDS, ids=IDS)
def test_a_new_adapter_changes_nothing(net: Net, options: dict[str, Any]) -> None:
    before = run(net)
    adapter = nn.lora.attach(net, 3, 6, ALL, **options)
    assert list(adapter.layers) == ["conv", "wide", "blocks.0", "blocks.2"]
    assert np.abs(run(net) - before).max() < 1e-5
    assert np.array_equal(run(adapter.detach()), before)


@pytest.mark.parametrize("options", KINDS, ids=IDS)
def test_merged_it_computes_the_same(net: Net, options: dict[str, Any]) -> None:
    plain = run(net)
    adapter = taught(net, **options)
    beside = run(net)
    assert np.abs(beside - plain).max() > 0.05
    adapter.merge()
    assert adapter.merged
    scale = np.abs(beside).max()
    assert np.abs(run(net) - beside).max() < 1e-5 * scale
    adapter.unmerge()
    assert np.array_equal(run(net), beside)
    merged = run(adapter.merge().detach())
    assert np.abs(merged - beside).max() < 1e-5 * scale
    assert [type(m).__name__ for m in net.modules()] == [type(m).__name__ for m in Net().modules()]
    assert sorted(net.state_dict()) == sorted(Net().state_dict())


def test_merging_and_back_leaves_every_bit(net: Net) -> None:
    before = {n: t.numpy().copy() for n, t in net.state_dict().items()}
    taught(net, dora=True).merge().unmerge().detach()
    after = net.state_dict()
    assert sorted(after) == sorted(before)
    assert all(np.array_equal(after[n].numpy(), a) for n, a in before.items())
    assert all(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("options", KINDS, ids=IDS)
def test_with_a_graph_and_without_it_is_the_same(net: Net, options: dict[str, Any]) -> None:
    """Without a graph, products wait for what follows and weights are packed: the adapter must not be lost on the way."""
    adapter = taught(net, **options)
    first = run(net)
    assert np.allclose(first, run(net, graph=True), atol=1e-5)
    adapter.layers["blocks.0"].lora_B.weight.array[...] *= 2  # packed copies must notice
    adapter.layers["blocks.0"].lora_B.weight._bump()
    second = run(net)
    assert np.abs(second - first).max() > 1e-3
    assert np.allclose(second, run(net, graph=True), atol=1e-5)


@pytest.mark.parametrize("options", KINDS, ids=IDS)
def test_only_the_adapter_learns(net: Net, options: dict[str, Any]) -> None:
    adapter = nn.lora.attach(net, 2, 4, ALL, 0.1, train=["head"], **options)
    base = {n: p.numpy().copy() for n, p in net.named_parameters() if not p.requires_grad}
    learning = [n for n, p in net.named_parameters() if p.requires_grad]
    assert sorted(learning) == sorted(adapter.state_dict())
    optimizer = nyala.optim.AdamW(adapter.parameters(), lr=0.02, weight_decay=0.0)
    target = nyala.tensor([0, 1, 2, 3])
    losses = []
    net.train()
    net.norm.eval()
    for step in range(25):
        with nyala.random.step_scope(0, step):
            loss = F.cross_entropy(net(nyala.tensor(X)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert all(np.array_equal(dict(net.named_parameters())[n].numpy(), a) for n, a in base.items())
    assert all(p.grad is not None for p in adapter.parameters())


def test_gradients_of_dora_take_the_norm_as_constant() -> None:
    """The magnitude's gradient against differences, and the direction's against the formula written out."""
    layer = nn.Linear(5, 3)
    model = nn.Sequential(layer).double()
    adapter = nn.lora.attach(model, 2, 4, ["0"], dora=True, seed=2)
    adapted: Any = adapter.layers["0"]
    adapted.lora_B.weight.array[...] = np.random.default_rng(1).normal(size=(3, 2))
    x = nyala.tensor(np.random.default_rng(2).normal(size=(4, 5)))
    model(x).square().sum().backward()
    w, m = adapted.weight.detach(), adapted.lora_magnitude_vector.detach().clone().requires_grad_()
    a, b = (t.weight.detach().clone().requires_grad_() for t in (adapted.lora_A, adapted.lora_B))
    v = w + 2 * b @ a
    norm = (v * v).sum(1).sqrt().detach()
    ((m / norm).reshape(-1, 1) * v @ x.t() + adapted.bias.detach().reshape(-1, 1)).square().sum().backward()
    for own, written in ((adapted.lora_A.weight, a), (adapted.lora_B.weight, b), (adapted.lora_magnitude_vector, m)):
        assert np.abs(own.grad.numpy() - written.grad.numpy()).max() < 1e-10


def test_dropout_is_the_adapters_alone(net: Net) -> None:
    plain = run(net)
    nn.lora.attach(net, 2, 4, ALL, 0.9)
    net.train()
    net.norm.eval()
    assert np.abs(run(net, graph=True) - plain).max() < 1e-5  # B is zero: what is dropped is not the layer's own input


def test_numbers_depend_on_seed_and_path_alone(net: Net) -> None:
    one = {n: t.numpy().copy() for n, t in nn.lora.attach(net, 3, 6, ["blocks.2"], seed=7).state_dict().items()}
    other = nn.lora.attach(Net(), 3, 6, ALL, seed=7).state_dict()
    assert all(np.array_equal(other[n].numpy(), a) for n, a in one.items())
    third = nn.lora.attach(Net(), 3, 6, ALL, seed=8).state_dict()
    assert not np.array_equal(third["blocks.2.lora_A.weight"].numpy(), other["blocks.2.lora_A.weight"].numpy())


def test_targets() -> None:
    def chosen(*targets: str, **options: Any) -> list[str]:
        model = Net()
        return list(nn.lora.attach(model, 2, 4, list(targets), **options).layers)

    assert chosen("all-linear") == ["blocks.0", "blocks.2", "head"]
    assert chosen("all-linear", train=["head"]) == ["blocks.0", "blocks.2"]
    assert chosen("blocks") == ["blocks.0", "blocks.2"]
    assert chosen(r"blocks\.\d", "wide") == ["wide", "blocks.0", "blocks.2"]
    assert chosen("2") == ["blocks.2"]  # the last part of a name, as in PEFT


def test_the_head_of_a_model_is_no_target_of_all_linear() -> None:
    from nyala.text.models.bert import BertForSequenceClassification, Config

    tiny = Config(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    adapter = nn.lora.attach(BertForSequenceClassification(tiny), 2, 4)
    assert "classifier" not in adapter.layers and "bert.pooler.dense" in adapter.layers


def test_nothing_found_names_what_there_is(net: Net) -> None:
    with pytest.raises(nyala.errors.UnknownNameError) as caught:
        nn.lora.attach(net, 2, 4, ["block.*.fc"])
    assert "targets 'block.*.fc' fits no layer" in str(caught.value)
    assert "conv, wide, blocks.*, head" in str(caught.value)
    with pytest.raises(nyala.errors.UnknownNameError, match="deep can have none: its 8 groups"):
        nn.lora.attach(net, 2, 4, ["deep"])
    with pytest.raises(nyala.errors.UnknownNameError, match="norm can have none: BatchNorm2d is none of Linear"):
        nn.lora.attach(net, 2, 4, ["norm"])
    with pytest.raises(nyala.errors.UnknownNameError, match="head is trained whole"):
        nn.lora.attach(net, 2, 4, ["head"], train=["head"])
    with pytest.raises(nyala.errors.UnknownNameError, match=r"train 'haed'.*head"):
        nn.lora.attach(net, 2, 4, ["blocks"], train=["haed"])
    assert all(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank=0"),
        ({"alpha": 0.0}, "alpha=0.0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"targets": []}, "no targets"),
    ],
)
def test_bad_settings(net: Net, options: dict[str, Any], message: str) -> None:
    with pytest.raises(nyala.errors.ArgumentError, match=message):
        nn.lora.attach(net, **{"targets": ["blocks"], **options})


def test_one_adapter_at_a_time(net: Net) -> None:
    nn.lora.attach(net, 2, 4, ["blocks"])
    with pytest.raises(nyala.errors.ArgumentError, match=r"blocks\.0 has an adapter already"):
        nn.lora.attach(net, 2, 4, ["wide"])


def test_training_a_merged_adapter_is_refused(net: Net) -> None:
    nn.lora.attach(net, 2, 4, ["blocks"]).merge()
    net.train()
    with pytest.raises(nyala.errors.GradError, match="merged"):
        net(nyala.tensor(X))


def test_a_shared_weight_is_not_merged() -> None:
    model = nn.Module()
    model.table, model.out = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
    model.out.weight = model.table.weight
    adapter = nn.lora.attach(model, 2, 4, ["out"])
    with pytest.raises(nyala.errors.ModuleError, match=r"out\.weight is shared with table\.weight"):
        adapter.merge()


def test_one_layer_in_two_places_is_adapted_once() -> None:
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    adapter = nn.lora.attach(model, 2, 4, ["0"], seed=1)
    adapter.layers["0"].lora_B.weight.array[...] = 1
    x = nyala.ones(2, 4)
    with nyala.no_grad():
        beside = model(x).numpy()
        assert np.abs(adapter.merge().model(x).numpy() - beside).max() < 1e-5


def test_states_are_strict(net: Net) -> None:
    adapter = nn.lora.attach(net, 2, 4, ["blocks"], seed=1)
    state = {n: t.numpy().copy() for n, t in adapter.state_dict().items()}
    state["blocks.0.lora_B.weight"] += 1
    adapter.load_state_dict(state)
    assert adapter.layers["blocks.0"].lora_B.weight.array[0, 0] == 1
    lacking = dict(list(state.items())[1:])
    with pytest.raises(nyala.errors.CheckpointError, match="does not fit the adapter: 1 missing"):
        adapter.load_state_dict(lacking)
    adapter.merge()
    with pytest.raises(nyala.errors.ModuleError, match="is merged"):
        adapter.load_state_dict(state)


def test_embedding_rows_of_padding_get_nothing() -> None:
    model = nn.Sequential(nn.Embedding(6, 4, padding_idx=0))
    adapter = nn.lora.attach(model, 2, 4, ["0"], seed=1)
    model(nyala.tensor([[0, 2, 0]])).sum().backward()
    grad = adapter.layers["0"].lora_embedding_A.grad.numpy()
    assert np.abs(grad[:, 0]).max() == 0 and np.abs(grad[:, 2]).max() > 0


def test_half_precision_and_moves(net: Net) -> None:
    adapter = taught(net)
    expected = run(net)
    net.to(nyala.bfloat16)
    assert adapter.layers["blocks.0"].lora_A.weight.dtype == nyala.bfloat16
    with nyala.no_grad():
        half = net(nyala.tensor(X).to(nyala.bfloat16)).to(nyala.float32).numpy()
    assert np.abs(half - expected).max() < 0.15 * np.abs(expected).max()


def test_a_model_with_an_adapter_is_not_quantized(net: Net) -> None:
    adapter = nn.lora.attach(net, 2, 4, ["blocks"])
    with pytest.raises(nyala.errors.ArgumentError, match="has an adapter"):
        nn.quantize(net)
    assert type(nn.quantize(adapter.merge().detach()).blocks[0]).__name__ == "QuantizedLinear"


def test_blocks_that_are_computed_again_take_adapters_too(net: Net) -> None:
    adapter = taught(net)
    net(nyala.tensor(X)).square().sum().backward()
    plain = {n: p.grad.numpy().copy() for n, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    net.blocks.checkpoint_()
    net(nyala.tensor(X)).square().sum().backward()
    assert plain.keys() == set(adapter.state_dict())
    assert all(np.array_equal(p.grad.numpy(), plain[n]) for n, p in net.named_parameters() if n in plain)
