"""Optimizers, clipping and averages of weights: behaviour around the numbers, which ``test_goldens_optim.py`` checks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint, nn, optim
from nyala.errors import ArgumentError, CheckpointError, DtypeError, GradError, NumericError, NyalaError, ShapeError

OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.2, weight_decay=0.1),
    "adam": lambda p: optim.Adam(p, lr=0.1, weight_decay=0.1),
    "adamw": lambda p: optim.AdamW(p, lr=0.1, amsgrad=True),
    "lion": lambda p: optim.Lion(p, lr=0.01, weight_decay=0.1),
    "lamb": lambda p: optim.LAMB(p, lr=0.1),
    "adafactor": lambda p: optim.Adafactor(p, lr=0.1),
    "muon": lambda p: optim.Muon(p, lr=0.1),
}
every_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)


def parameter(*values: float, dtype: Any = None) -> nn.Parameter:
    return nn.Parameter(nyala.tensor(list(values), dtype=dtype))


def matrices() -> list[nn.Parameter]:
    rng = np.random.default_rng(1)
    return [nn.Parameter(nyala.from_numpy(rng.normal(size=shape).astype(np.float32))) for shape in ((6, 4), (3, 5))]


def train(parameters: list[nn.Parameter], optimizer: optim.Optimizer, steps: range) -> None:
    for step in steps:
        for p in parameters:
            wave = np.cos(0.7 * np.arange(p.numel()) + step).reshape(p.shape)
            p.grad = nyala.from_numpy((0.3 * p.detach().numpy() + wave).astype(np.float32))
        optimizer.step()


def bits(parameters: list[nn.Parameter]) -> bytes:
    return b"".join(p.detach().numpy().tobytes() for p in parameters)


# ---- saving and loading


@every_optimizer
def test_a_state_dict_continues_with_the_same_bytes(make: Callable[[Any], optim.Optimizer]) -> None:
    whole = matrices()
    whole_optimizer = make(whole)
    train(whole, whole_optimizer, range(3))
    state = whole_optimizer.state_dict()
    halted = [nn.Parameter(p.detach().clone()) for p in whole]
    again = make(halted)
    again.load_state_dict(state)
    for group in whole_optimizer.param_groups + again.param_groups:
        group["lr"] *= 0.5
    train(whole, whole_optimizer, range(3, 6))
    train(halted, again, range(3, 6))
    assert bits(whole) == bits(halted)


@every_optimizer
def test_named_state_goes_through_a_file(make: Callable[[Any], optim.Optimizer], tmp_path: Path) -> None:
    whole = matrices()
    whole_optimizer = make(whole)
    train(whole, whole_optimizer, range(3))
    names = ["body.weight", "head.weight"]
    checkpoint.save_file(whole_optimizer.named_state(zip(names, whole, strict=True)), tmp_path / "optimizer.safetensors")
    halted = [nn.Parameter(p.detach().clone()) for p in whole]
    again = make([{"params": [("head.weight", halted[1])]}, {"params": [("body.weight", halted[0])]}])
    again.load_named_state(checkpoint.load_file(tmp_path / "optimizer.safetensors"))
    train(whole, whole_optimizer, range(3, 6))
    train(halted, again, range(3, 6))
    assert bits(whole) == bits(halted)


def test_a_state_dict_has_torchs_format() -> None:
    a, b = matrices()
    optimizer = optim.AdamW([{"params": [a], "lr": 0.5}, {"params": [b]}])
    train([b], optimizer, range(2))
    state = optimizer.state_dict()
    assert set(state) == {"state", "param_groups"} and set(state["state"]) == {1}
    assert [g["params"] for g in state["param_groups"]] == [[0], [1]]
    assert state["state"][1]["step"] == 2 and state["state"][1]["exp_avg"].shape == b.shape
    assert {"lr", "betas", "eps", "weight_decay", "amsgrad", "maximize"} <= set(state["param_groups"][0])
    json.dumps(state["param_groups"])


def test_a_state_dict_of_torch_is_taken() -> None:
    p = parameter(1.0, 2.0)
    optimizer = optim.Adam([p])
    foreign = {"foreach": None, "capturable": False, "differentiable": False, "fused": None, "decoupled_weight_decay": False}
    group = {"lr": 0.5, "betas": (0.8, 0.9), "eps": 1e-8, "weight_decay": 0, "amsgrad": False, "maximize": False, "params": [0]}
    kept = {"step": nyala.tensor(7.0), "exp_avg": nyala.tensor([1.0, 2.0]), "exp_avg_sq": nyala.tensor([3.0, 4.0])}
    optimizer.load_state_dict({"state": {0: kept}, "param_groups": [{**group, **foreign}]})
    assert optimizer.param_groups[0]["lr"] == 0.5 and "foreach" not in optimizer.param_groups[0]
    assert optimizer.state[p]["step"] == 7 and optimizer.state[p]["exp_avg_sq"].tolist() == [3.0, 4.0]
    kept["exp_avg"][0] = 9.0
    assert optimizer.state[p]["exp_avg"].tolist() == [1.0, 2.0], "values are copied"


def test_an_empty_momentum_of_torch_is_no_state() -> None:
    p = parameter(1.0)
    optimizer = optim.SGD([p], lr=0.1)
    state = optimizer.state_dict()
    optimizer.load_state_dict({**state, "state": {0: {"momentum_buffer": None}}})
    assert not optimizer.state.get(p)


def trained() -> tuple[optim.Optimizer, dict[str, Any]]:
    a, b = matrices()
    optimizer = optim.Adam([a, b])
    train([a, b], optimizer, range(2))
    return optimizer, optimizer.state_dict()


def without(state: dict[str, Any], key: str) -> dict[str, Any]:
    return {n: {k: v for k, v in entry.items() if k != key} for n, entry in state["state"].items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: {"model": 1}, r"no state of an optimizer: \['model'\]"),
        (lambda s: {**s, "param_groups": s["param_groups"] * 2}, r"groups of \[2, 2\] parameters, this Adam has \[2\]"),
        (lambda s: {**s, "state": {**s["state"], 5: s["state"][0]}}, r"parameters \[5\]"),
        (lambda s: {**s, "state": without(s, "exp_avg")}, r"parameter 0 of shape \(6, 4\): the state lacks \['exp_avg'\]"),
        (lambda s: {**s, "state": {0: s["state"][1]}}, r"exp_avg has shape \(3, 5\), it must have \(6, 4\)"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change: Callable[[Any], Any], message: str) -> None:
    optimizer, state = trained()
    before = {k: v.tobytes() for k, v in optimizer.named_state().items()}
    with pytest.raises(CheckpointError, match=message):
        optimizer.load_state_dict(change(state))
    assert {k: v.tobytes() for k, v in optimizer.named_state().items()} == before


def test_named_state_that_does_not_fit() -> None:
    optimizer, _ = trained()
    with pytest.raises(CheckpointError, match=r"entries for \['7'\]"):
        optimizer.load_named_state({"7.step": np.array(1)})
    with pytest.raises(CheckpointError, match=r"parameter '0' of shape \(6, 4\): the state lacks"):
        optimizer.load_named_state({"0.step": np.array(1)})
    with pytest.raises(CheckpointError, match="not among the names given"):
        optimizer.named_state([("other", parameter(1.0))])
    optimizer.load_named_state({})
    assert not optimizer.named_state()


# ---- groups


def test_groups_take_defaults_and_names() -> None:
    net = nn.Linear(3, 2)
    optimizer = optim.SGD(net.named_parameters(), lr=0.1, momentum=0.5)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    extra = parameter(1.0)
    optimizer.add_param_group({"params": extra, "lr": 0.7})
    group = optimizer.param_groups[1]
    assert (group["lr"], group["momentum"], group["params"]) == (0.7, 0.5, [extra])
    assert "lr: 0.7" in repr(optimizer) and "Parameter Group 1 (1 parameters)" in repr(optimizer)


def test_the_users_dicts_are_left_alone() -> None:
    group = {"params": [parameter(1.0)]}
    optim.SGD([group], lr=0.1)
    assert set(group) == {"params"}


def result() -> nyala.Tensor:
    return parameter(1.0) * 2


MISTAKES: list[tuple[Callable[[], Any], type[NyalaError], str]] = [
    (lambda: optim.SGD([]), ArgumentError, "SGD was given no parameters"),
    (lambda: optim.SGD(parameter(1.0)), ArgumentError, "one tensor"),
    (lambda: optim.SGD([[1.0]]), ArgumentError, "parameter group 0, parameter 0 is list"),
    (lambda: optim.Adam([parameter(1.0)] * 2), ArgumentError, r"Adam, parameter group 0, parameter 1 of shape \(1,\) .*twice"),
    (lambda: optim.Adam([result()]), ArgumentError, r"parameter 0 is a result of \w+"),
    (lambda: optim.Adam([nyala.tensor([1])]), DtypeError, "of int64"),
    (lambda: optim.Adam([("a", parameter(1.0)), parameter(1.0)]), ArgumentError, "some without"),
    (lambda: optim.Adam([{"lr": 1.0}]), ArgumentError, "dict with 'params'"),
    (lambda: optim.Adam([{"params": {parameter(1.0)}}]), ArgumentError, "in a set"),
    (lambda: optim.SGD([parameter(1.0)], lr=-0.1), ArgumentError, r"lr=-0\.1 is out of range"),
    (lambda: optim.SGD([{"params": [parameter(1.0)], "lr": -1.0}]), ArgumentError, "lr=-1"),
    (lambda: optim.SGD([parameter(1.0)], lr="fast"), ArgumentError, "lr is 'fast'"),  # type: ignore[arg-type]
    (lambda: optim.SGD([parameter(1.0)], lr=math.nan), ArgumentError, "lr=nan"),
    (lambda: optim.SGD([parameter(1.0)], momentum=-1), ArgumentError, "momentum=-1"),
    (lambda: optim.SGD([parameter(1.0)], nesterov=True), ArgumentError, "needs a momentum"),
    (lambda: optim.Adam([parameter(1.0)], betas=(0.9, 1.0)), ArgumentError, r"betas\[1\]=1\.0 .*below 1"),
    (lambda: optim.AdamW([parameter(1.0)], betas=(0.9,)), ArgumentError, "betas is"),  # type: ignore[arg-type]
    (lambda: optim.AdamW([parameter(1.0)], eps=-1e-8), ArgumentError, "eps="),
    (lambda: optim.Lion([parameter(1.0)], weight_decay=-1), ArgumentError, "weight_decay=-1"),
    (lambda: optim.LAMB([parameter(1.0)], max_grad_norm=-1), ArgumentError, "max_grad_norm=-1"),
    (lambda: optim.Adafactor([parameter(1.0)], beta2_decay=0.8), ArgumentError, "beta2_decay=0.8 .*at most 0"),
    (lambda: optim.Adafactor([parameter(1.0)], d=0.5), ArgumentError, "d=0.5"),
    (lambda: optim.Adafactor([parameter(1.0)], eps=(None, -1)), ArgumentError, r"eps\[1\]=-1"),
    (lambda: optim.Muon([parameter(1.0)]), ShapeError, r"parameter 0 has shape \(1,\).*AdamW"),
    (lambda: optim.Muon(matrices(), adjust_lr_fn="none"), ArgumentError, "'original' or 'match_rms_adamw'"),
    (lambda: optim.EMA(nn.Linear(1, 1), decay=1.0), ArgumentError, "decay=1.0"),
    (lambda: optim.clip_grad_norm_([], -1.0), ArgumentError, "max_norm=-1"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), MISTAKES, ids=[m for _, _, m in MISTAKES])
def test_mistakes_are_named(call: Callable[[], Any], kind: type[NyalaError], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


# ---- stepping


@every_optimizer
def test_parameters_without_a_gradient_stay(make: Callable[[Any], optim.Optimizer]) -> None:
    a, b = matrices()
    optimizer, before = make([a, b]), bits([b])
    train([a], optimizer, range(2))
    assert bits([b]) == before and not optimizer.state.get(b)


@every_optimizer
def test_every_optimizer_goes_down(make: Callable[[Any], optim.Optimizer]) -> None:
    parameters = matrices()
    optimizer = make(parameters)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = sum(((p - 0.5) ** 2).sum() for p in parameters)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_a_gradient_of_another_shape_stops_the_step_before_it_begins() -> None:
    a, b = parameter(1.0, 2.0), parameter(1.0, 2.0)
    optimizer = optim.SGD([("a", a), ("b", b)], lr=0.1)
    a.grad, b.grad = nyala.ones(2), nyala.ones(3)
    with pytest.raises(ShapeError, match=r"SGD, parameter group 0, parameter 'b': the gradient has shape \(3,\)"):
        optimizer.step()
    assert a.tolist() == [1.0, 2.0]


def test_read_only_memory_is_refused() -> None:
    array = np.ones(2, np.float32)
    array.setflags(write=False)
    p = nn.Parameter(nyala.from_numpy(array))
    p.grad = nyala.ones(2)
    with pytest.raises(GradError, match="read-only memory"):
        optim.SGD([p], lr=0.1).step()


def test_a_step_between_forward_and_backward_is_noticed() -> None:
    w = parameter(1.0, 2.0)
    optimizer = optim.SGD([w], lr=0.1)
    loss = (w * w).sum()
    w.grad = nyala.ones(2)
    optimizer.step()
    with pytest.raises(GradError):
        loss.backward()


def test_a_closure_computes_the_loss_with_gradients_on() -> None:
    w = parameter(2.0)
    optimizer = optim.SGD([w], lr=0.25)

    def closure() -> nyala.Tensor:
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with nyala.no_grad():
        assert optimizer.step(closure).item() == 4.0
    assert w.item() == 1.0


def test_zero_grad() -> None:
    a, b = parameter(1.0), parameter(1.0)
    optimizer = optim.SGD([a, b], lr=0.1)
    a.grad = nyala.ones(1)
    optimizer.zero_grad(set_to_none=False)
    assert a.grad.tolist() == [0.0] and b.grad is None
    optimizer.zero_grad()
    assert a.grad is None


def test_hooks_run_around_a_step_until_they_are_removed() -> None:
    w, seen = parameter(1.0), []
    optimizer = optim.SGD([w], lr=1.0)
    w.grad = nyala.ones(1)
    before = optimizer.register_step_pre_hook(lambda _: seen.append(("before", w.item())))
    optimizer.register_step_post_hook(lambda _: seen.append(("after", w.item())))
    optimizer.step()
    before.remove()
    optimizer.step()
    assert seen == [("before", 1.0), ("after", 0.0), ("after", -1.0)]


def test_momentum_may_begin_later() -> None:
    w = parameter(1.0)
    optimizer = optim.SGD([w], lr=0.1, momentum=0.0)
    w.grad = nyala.ones(1)
    optimizer.step()
    optimizer.param_groups[0]["momentum"] = 0.5
    optimizer.step()
    optimizer.step()
    assert w.item() == pytest.approx(1.0 - 0.1 - 0.1 - 0.15)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@every_optimizer
def test_other_dtypes_keep_theirs(make: Callable[[Any], optim.Optimizer], dtype: str) -> None:
    kind = getattr(nyala, dtype)
    p = nn.Parameter(nyala.tensor([[1.0, 2.0], [3.0, -4.0]], dtype=kind))
    optimizer = make([p])
    p.grad = nyala.tensor([[1.0, -1.0], [0.5, 0.25]], dtype=kind)
    optimizer.step()
    assert p.dtype == kind and np.isfinite(p.detach().numpy().astype(np.float64)).all()
    kept = {v.dtype for v in optimizer.state[p].values() if isinstance(v, nyala.Tensor)}
    assert kept <= {nyala.float64 if dtype == "float64" else nyala.float32}


@every_optimizer
def test_a_device_other_than_the_cpu(make: Callable[[Any], optim.Optimizer], cuda: str) -> None:
    here = matrices()
    there = [nn.Parameter(p.detach().to(cuda)) for p in here]
    optimizers = make(here), make(there)
    for _ in range(2):
        for p, q in zip(here, there, strict=True):
            p.grad = p.detach() * 0.5 + 1.0
            q.grad = p.grad.to(cuda)
        for optimizer in optimizers:
            optimizer.step()
    for p, q in zip(here, there, strict=True):
        np.testing.assert_allclose(q.detach().numpy(), p.detach().numpy(), rtol=2e-5, atol=2e-5)
    state = optimizers[1].named_state()
    assert all(isinstance(a, np.ndarray) for a in state.values())
    optimizers[1].load_named_state(state)
    norm = optim.clip_grad_norm_(there, 0.1)
    assert norm.device == cuda and optim.get_total_norm([p.grad for p in there]).item() == pytest.approx(0.1, rel=1e-4)


# ---- clipping


def test_clipping_leaves_small_gradients_alone() -> None:
    p = parameter(0.0, 0.0)
    p.grad = nyala.tensor([3.0, 4.0])
    assert optim.clip_grad_norm_(p, 5.1).item() == 5.0
    assert p.grad.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("order", [0.0, 1.0, 2.0, 3.0, math.inf])
def test_total_norm(order: float) -> None:
    parts = [np.array([[3.0, -4.0], [0.0, 1.0]]), np.array([-6.0]), np.zeros(0)]
    expected = np.linalg.norm(np.concatenate([p.ravel() for p in parts]), order)
    assert optim.get_total_norm([nyala.from_numpy(p) for p in parts], order).item() == pytest.approx(expected)


def test_norms_of_nothing_and_of_half_precision() -> None:
    assert optim.clip_grad_norm_([parameter(1.0)], 1.0).item() == 0.0
    p = parameter(1.0, 1.0, dtype=nyala.float16)
    p.grad = nyala.tensor([300.0, 400.0], dtype=nyala.float16)  # their squares would overflow
    assert optim.clip_grad_norm_([p], 5.0).item() == 500.0
    assert p.grad.tolist() == pytest.approx([3.0, 4.0], rel=1e-3) and p.grad.dtype == nyala.float16


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_that_is_not_finite(bad: float) -> None:
    a, b = parameter(1.0), parameter(1.0)
    a.grad, b.grad = nyala.ones(1), nyala.tensor([bad])
    with pytest.raises(NumericError, match=r"not finite are those numbered \[1\]"):
        optim.clip_grad_norm_([a, b], 0.5, error_if_nonfinite=True)
    assert a.grad.tolist() == [1.0]
    assert not math.isfinite(optim.clip_grad_norm_([a, b], 0.5).item())


def test_a_gradient_that_was_spread_is_clipped_too() -> None:
    p = parameter(1.0, 1.0)
    p.grad = nyala.from_numpy(np.broadcast_to(np.float32(3.0), (2,)))
    optim.clip_grad_value_([p], 2.0)
    assert p.grad.tolist() == [2.0, 2.0]
    p.grad = nyala.from_numpy(np.broadcast_to(np.float32(3.0), (2,)))
    optim.clip_grad_norm_([p], 1.0)
    assert p.grad.tolist() == pytest.approx([0.5**0.5] * 2, rel=1e-5)


# ---- averages


def model() -> nn.Module:
    nyala.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def move(net: nn.Module, by: float) -> None:
    for t in net.state_dict().values():
        if t.is_floating_point():
            t.array[...] += by
        else:
            t.array[...] += 1


@pytest.mark.parametrize("warmup", [False, True])
def test_ema_equals_its_formula(warmup: bool) -> None:
    net = model()
    ema = optim.EMA(net, decay=0.6, warmup=warmup)
    expected = {k: v.numpy().astype(np.float64) for k, v in net.state_dict().items()}
    for n in range(1, 8):
        move(net, 0.1)
        ema.update()
        decay = min(0.6, (1 + n) / (10 + n)) if warmup else 0.6
        for name, t in net.state_dict().items():
            now = t.numpy().astype(np.float64)
            expected[name] = expected[name] * decay + now * (1 - decay) if t.is_floating_point() else now
    for name, mean in ema.averages.items():
        np.testing.assert_allclose(mean, expected[name], rtol=1e-6, atol=1e-7)
    assert ema.updates == 7 and ema.averages["1.num_batches_tracked"] == 7


def test_ema_swaps_and_gives_back_the_same_bytes() -> None:
    net = model()
    ema = optim.EMA(net, decay=0.5)
    start = net[0].weight.detach().numpy().copy()
    move(net, 1.0)
    ema.update()
    own = {k: v.numpy().tobytes() for k, v in net.state_dict().items()}
    with pytest.raises(KeyError), ema.swapped():
        np.testing.assert_allclose(net[0].weight.detach().numpy(), start + 0.5, rtol=1e-6)
        raise KeyError
    assert {k: v.numpy().tobytes() for k, v in net.state_dict().items()} == own
    other = model()
    ema.copy_to(other)
    np.testing.assert_allclose(other[0].weight.detach().numpy(), start + 0.5, rtol=1e-6)


def test_ema_state_continues_with_the_same_bytes(tmp_path: Path) -> None:
    net = model()
    whole = optim.EMA(net, decay=0.9, warmup=True)
    move(net, 0.3)
    whole.update()
    checkpoint.save_file(whole.averages, tmp_path / "ema.safetensors")
    again = optim.EMA(net, decay=0.9, warmup=True)
    again.load_state_dict({"updates": 1, "averages": checkpoint.load_file(tmp_path / "ema.safetensors")})
    move(net, 0.3)
    whole.update()
    again.update()
    assert {k: v.tobytes() for k, v in whole.averages.items()} == {k: v.tobytes() for k, v in again.averages.items()}
    again.load_state_dict(whole.state_dict())
    assert again.updates == 2


def test_ema_of_half_precision_keeps_float32() -> None:
    net = nn.Linear(2, 2).to(nyala.float16)
    ema = optim.EMA(net, decay=0.999)
    assert {a.dtype for a in ema.averages.values()} == {nyala.float32}
    ema.update()
    ema.copy_to()
    assert net.weight.dtype == nyala.float16


def test_ema_refuses_another_model() -> None:
    ema = optim.EMA(model())
    with pytest.raises(CheckpointError, match=r"'0.bias' is only in the average \(9 such names\)"):
        ema.copy_to(nn.Linear(3, 2))
    with pytest.raises(CheckpointError, match=r"'0.weight' has shape \(2, 4\) in the model, and \(2, 3\) in the average"):
        ema.copy_to(nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)))
    with pytest.raises(CheckpointError, match="is only in the average"):
        ema.load_state_dict({"updates": 1, "averages": {}})
