"""Model contracts: good models keep them, and each broken one is caught with its own reason, and left as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.errors import ArgumentError, ModuleError
from nyala.testing import assert_contracts, check_model
from nyala.testing.contracts import distance, results


class Base(nn.Model):
    """Three features to two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x).tanh()
        return self.fc(x)


class Forgetful(Base):
    """Keeps a number outside its state."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = float(np.abs(self.fc.weight.detach().numpy()).sum()) + 1.0

    def forward(self, x: Any) -> Any:
        return super().forward(x) * self.scale


class Mixing(Base):
    """Rows see each other."""

    def forward(self, x: Any) -> Any:
        return super().forward(x - x.mean(0, keepdim=True))


class Unused(Base):
    """A layer that nobody calls."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Linear(3, 3)


class Restless(Base):
    """Draws in eval mode too."""

    def forward(self, x: Any) -> Any:
        return super().forward(nn.functional.dropout(x, 0.5, True))


class Writing(Base):
    """Counts its calls in a buffer, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", nyala.zeros(1))

    def forward(self, x: Any) -> Any:
        self.calls.data.array[...] += 1
        return super().forward(x)


class Sly(Base):
    """Behaves otherwise in training without a reason to be seen."""

    def forward(self, x: Any) -> Any:
        return super().forward(x) * (2.0 if self.training else 1.0)


class Careless(Base):
    """Its dropout does not come from the ambient stream."""

    draws = 0

    def forward(self, x: Any) -> Any:
        if self.training:
            Careless.draws += 1
            x = x * (1.0 + 0.1 * Careless.draws)
        return super().forward(x)


class Infinite(Base):
    """Divides by zero."""

    def forward(self, x: Any) -> Any:
        return super().forward(x) / (x * 0).sum(1, keepdim=True)


class Bypassing(Base):
    """Uses a layer's weight behind its back, so that an adapter on it has no effect."""

    def forward(self, x: Any) -> Any:
        return x @ self.fc.weight.T + self.fc.bias + 0.0 * super().forward(x)


class Reads(nn.Module):
    """A reader of tokens, with or without respect for the mask."""

    def __init__(self, masked: bool) -> None:
        super().__init__()
        self.masked = masked
        self.embedding = nn.Embedding(11, 4)

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        x = self.embedding(input_ids)
        if not self.masked:
            return x.mean(1)
        weights = attention_mask.to("float32").unsqueeze(2)
        return (x * weights).sum(1) / weights.sum(1)


def batch() -> nyala.Tensor:
    return nyala.tensor(np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32))


@pytest.fixture(autouse=True)
def seeded() -> None:
    nyala.manual_seed(0)


def test_a_good_model_keeps_them_all() -> None:
    found = check_model(Base(), batch(), fresh=Base)
    assert {v.name: v.state for v in found} == dict.fromkeys(
        ("evaluation", "training", "gradients", "accumulation", "batch", "saving", "checkpointing", "lora"), "pass"
    ) | {"padding": "not applicable"}
    assert found.ok and "fresh" not in str(found) and "a model built anew" in str(found) and len(str(found).splitlines()) == 9


@pytest.mark.parametrize(
    ("make", "contract", "reason"),
    [
        (Forgetful, "saving", "something that matters is not in the state_dict"),
        (Mixing, "batch", "row 0 alone differs from the same row in a batch of 5"),
        (Mixing, "accumulation", "5 rows in 2 parts give another gradient"),
        (Unused, "gradients", "2 of 8 parameters get no gradient: idle.weight, idle.bias"),
        (Restless, "evaluation", "something is drawn at random in eval mode"),
        (Writing, "evaluation", "calls changed while predicting"),
        (Sly, "training", "neither randomness nor running statistics explain it"),
        (Careless, "training", "random draws do not come from the seed alone"),
        (Infinite, "evaluation", "values that are not finite"),
        (Infinite, "gradients", "gradients are not finite"),
        (Bypassing, "lora", "merged into the weights the adapter gives another output"),
    ],
)
def test_a_broken_promise_is_told_with_its_reason(make: Callable[[], Any], contract: str, reason: str) -> None:
    (found,) = check_model(make(), batch(), only=[contract], fresh=make)
    assert found.state == "fail" and reason in found.reason


def test_checkpointing_that_loses_a_gradient_is_told() -> None:
    class Closing(Base):
        def enable_checkpointing(self, enable: bool = True) -> Any:
            self.factor = 2.0 if enable else 1.0
            return self

        def forward(self, x: Any) -> Any:
            return super().forward(x) * getattr(self, "factor", 1.0)

    (found,) = check_model(Closing(), batch(), only=["checkpointing"])
    assert found.state == "fail" and "with gradient checkpointing the gradient of" in found.reason


@pytest.mark.parametrize(("masked", "state"), [(True, "pass"), (False, "fail")])
def test_padding(masked: bool, state: str) -> None:
    ids = nyala.tensor(np.random.default_rng(1).integers(0, 11, (3, 9)))
    given = {"input_ids": ids, "attention_mask": nyala.ones(3, 9, dtype="int64")}
    (found,) = check_model(Reads(masked), given, only=["padding"])
    assert found.state == state and "masked tokens after 6" in found.reason


class Tied(Base):
    """A head that is a layer's weight, and says so."""

    def forward(self, x: Any) -> Any:
        return nn.functional.linear(super().forward(x) @ self.fc.weight, self.fc.weight)

    def tied_names(self) -> list[str]:
        return ["fc.weight"]


def test_a_tied_weight_is_no_target_and_its_adapter_is_not_merged() -> None:
    model = Tied()
    (found,) = check_model(model, batch(), only=["lora"])
    assert found.state == "pass" and "on 2 layers" in found.reason
    adapter = nn.lora.attach(model, rank=1, targets=["fc"], seed=0)
    with pytest.raises(ModuleError, match=r"fc\.weight is used by another part of the model too"):
        adapter.merge()


def test_an_adapter_that_is_there_is_left_alone() -> None:
    model = Base()
    adapter = nn.lora.attach(model, rank=2, targets=["blocks.0"], seed=0)
    found = {v.name: v for v in check_model(model, batch())}
    assert found["lora"].state == "not applicable" and "adapter already" in found["lora"].reason
    assert found["gradients"].reason.startswith("all 2 parameters") and list(adapter.layers) == ["blocks.0"]


def test_batch_norm_and_dropout_are_no_fault() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    found = {v.name: v for v in check_model(model, batch())}
    assert all(v.state != "fail" for v in found.values())
    assert "dropout" in found["training"].reason and "running statistics" in found["training"].reason


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[0].weight.requires_grad_(False)
    model[1].eval()
    model(batch()).sum().backward()
    state = {n: t.numpy().tobytes() for n, t in model.state_dict().items()}
    grads = {n: p.grad for n, p in model.named_parameters()}
    draws = nyala.random.ambient_state()
    check_model(model, batch())
    assert {n: t.numpy().tobytes() for n, t in model.state_dict().items()} == state
    assert all(p.grad is grads[n] for n, p in model.named_parameters()) and nyala.random.ambient_state() == draws
    assert [m.training for m in model] == [True, False, True] and not model[0].weight.requires_grad


def test_a_test_of_ones_own_fails_with_the_table() -> None:
    assert_contracts(Base(), batch())
    with pytest.raises(AssertionError, match=r"Mixing breaks a contract\n.*accumulation +fail"):
        assert_contracts(Mixing(), batch(), only=["accumulation"])


def test_errors_inside_a_contract_are_a_verdict() -> None:
    (found,) = check_model(nn.Linear(7, 2), batch(), only=["evaluation"])
    assert found.state == "fail" and "an error: " in found.reason and "7" in found.reason


@pytest.mark.parametrize(
    ("inputs", "only", "text"),
    [(nyala.ones(1, 3), None, "at least two rows"), (nyala.ones(4, 3), ["bach"], "did you mean 'batch'")],
)
def test_bad_calls(inputs: Any, only: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        check_model(Base(), inputs, only=only)


def test_results_of_every_shape_and_distances() -> None:
    one = nyala.ones(2)
    assert list(results({"a": one, "b": 3})) == ["a"] and list(results([one, one])) == ["0", "1"]
    with pytest.raises(ArgumentError, match="without a floating tensor"):
        results(())
    gap, name = distance({"a": np.array([1.0]), "b": np.array([np.nan])}, {"a": np.array([2.0]), "b": np.array([1.0])})
    assert name == "b" and gap != gap


def test_on_a_graphics_card(cuda: str) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 2)).to(cuda)
    found = check_model(model, batch().to(cuda))
    assert [str(v) for v in found if v.state == "fail"] == []
    assert "the result it has in the batch" in str(found) and all(p.device == cuda for p in model.parameters())
    given = {
        "input_ids": nyala.tensor([[1, 2, 3, 4, 5, 6]] * 3).to(cuda),
        "attention_mask": nyala.ones(3, 6, dtype="int64").to(cuda),
    }
    (padded,) = check_model(Reads(True).to(cuda), given, only=["padding"])
    assert padded.state == "pass", padded.reason
