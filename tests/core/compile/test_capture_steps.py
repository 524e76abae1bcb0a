"""Training steps on a GPU as one CUDA graph: optimizers, clipping, scaled losses, averages, bit for bit the eager steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import nn
from nyala.optim import lr_scheduler

pytestmark = pytest.mark.usefixtures("cuda")

Step = Callable[..., Any]
CALLS = 8


def random(*shape: int, seed: int = 0) -> Any:
    return nyala.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)).to("cuda:0")


def small_net() -> nn.Module:
    nyala.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Dropout(0.2), nn.LayerNorm(16), nn.Linear(16, 4)).to("cuda:0")


def bits(tensors: Any) -> list[bytes]:
    return [t.detach().cpu().numpy().tobytes() for t in tensors if t is not None]


def trained(build: Callable[[nn.Module], Step], compiled: bool, between: Callable[[int, Any, Any], None] | None = None) -> Any:
    """Losses, weights and gradients of some steps, and the compiled step: ``between(i, step, net)`` comes after each."""
    net = small_net()
    step = build(net)
    run = nyala.compile(step) if compiled else step
    nyala.manual_seed(7)
    losses = []
    for i in range(CALLS):
        losses.append(run(random(3, 6, seed=i), random(3, 4, seed=90 + i)))
        if between is not None:
            between(i, step, net)
    return bits([*losses, *net.parameters(), *[p.grad for p in net.parameters()]]), run


def assert_same(build: Callable[[nn.Module], Step], between: Any = None, graphs: int = 1) -> Any:
    """The captured steps have the eager ones' bits, and lie in so many graphs."""
    expected, _ = trained(build, False, between)
    got, run = trained(build, True, between)
    assert got == expected
    text = run.explain()
    assert run.runs and f"CUDA graphs     {graphs}, {graphs - 1} call(s)" in text, text
    return run


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "adamw": lambda p: nyala.optim.AdamW(p, lr=1e-2),
    "adam": lambda p: nyala.optim.Adam(p, lr=1e-2, weight_decay=0.1, amsgrad=True, maximize=True),
    "sgd": lambda p: nyala.optim.SGD(p, lr=1e-1),
    "momentum": lambda p: nyala.optim.SGD(p, lr=1e-1, momentum=0.9, dampening=0.1, weight_decay=0.1),
    "nesterov": lambda p: nyala.optim.SGD(p, lr=1e-1, momentum=0.9, nesterov=True),
    "lion": lambda p: nyala.optim.Lion(p, lr=1e-2, weight_decay=0.1),
    "lamb": lambda p: nyala.optim.LAMB(p, lr=1e-2, trust_clip=True),
    "lamb plain": lambda p: nyala.optim.LAMB(p, lr=1e-2, bias_correction=False, weight_decay=0.0, max_grad_norm=None),
    "adafactor": lambda p: nyala.optim.Adafactor(p, lr=1e-1, weight_decay=0.1),
    "muon": lambda p: nyala.optim.Muon([w for w in p if w.ndim == 2], lr=1e-2),
}


def plain(make: Callable[[Any], Any], more: Callable[[Any], None] = lambda _net: None) -> Callable[[nn.Module], Step]:
    """A step with a schedule; ``more(net)`` stands before the optimizer."""

    def build(net: nn.Module) -> Step:
        optimizer = make(net.parameters())
        schedule = lr_scheduler.CosineAnnealingLR(optimizer, 20)

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.mse_loss(net(x), y)
            loss.backward()
            more(net)
            optimizer.step()
            schedule.step()
            return loss.detach()

        step.optimizer, step.schedule = optimizer, schedule  # type: ignore[attr-defined]
        return step

    return build


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_is_one_graph(name: str):
    run = assert_same(plain(OPTIMIZERS[name]))
    assert run.runs == CALLS - 3
    assert run.function.optimizer._steps == run.function.schedule.last_epoch == CALLS


@pytest.mark.parametrize("norm", [2.0, 1.0, 0.0, float("inf")])
def test_clipping_stays_on_the_device(norm: float):
    assert_same(plain(OPTIMIZERS["adamw"], lambda net: nn.utils.clip_grad_norm_(net.parameters(), 0.1, norm)))


def test_values_are_clipped_and_norms_told():
    def build(net: nn.Module) -> Step:
        inner = plain(OPTIMIZERS["sgd"], lambda net: nn.utils.clip_grad_value_(net.parameters(), 0.05))(net)

        def step(x: Any, y: Any) -> Any:
            loss = inner(x, y)
            return loss, nn.utils.get_total_norm([p.grad for p in net.parameters()])

        return lambda x, y: sum(step(x, y))

    assert_same(build)


def test_a_norm_that_is_looked_at_ends_a_graph():
    clip = lambda net: nn.utils.clip_grad_norm_(net.parameters(), 0.1, error_if_nonfinite=True)  # noqa: E731
    run = assert_same(plain(OPTIMIZERS["adamw"], clip), graphs=2)
    assert "error_if_nonfinite" in run.explain()


class Halving(nyala.optim.Optimizer):
    """One of somebody's own: it knows nothing of graphs."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 0.5})

    def _update(self, p: Any, grad: Any, group: Any) -> None:
        p.array[...] = p.array * group["lr"] - grad


def test_optimizers_of_the_host_end_a_graph():
    run = assert_same(plain(Halving), graphs=2)
    assert "Halving is stepped by the host" in run.explain()


def test_a_metric_that_is_looked_at_ends_a_graph():
    def build(net: nn.Module) -> Step:
        optimizer = OPTIMIZERS["sgd"](net.parameters())
        schedule = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, threshold=10.0, threshold_mode="abs")

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.mse_loss(net(x), y)
            loss.backward()
            optimizer.step()
            schedule.step(loss.detach())
            return loss.detach()

        step.optimizer = optimizer  # type: ignore[attr-defined]
        return step

    run = assert_same(build, graphs=2)
    assert "ReduceLROnPlateau reads its metric on the host" in run.explain()
    assert run.function.optimizer.param_groups[0]["lr"] == 0.1 * 0.5**3


def averaged(net: nn.Module) -> Step:
    ema = nyala.optim.EMA(net, decay=0.9, warmup=True)
    inner = plain(OPTIMIZERS["adamw"])(net)

    def step(x: Any, y: Any) -> Any:
        loss = inner(x, y)
        ema.update()
        return loss

    step.ema = ema  # type: ignore[attr-defined]
    return step


def test_an_average_of_weights_is_part_of_the_graph():
    averages: list[bytes] = []

    def between(_i: int, step: Any, _net: Any) -> None:
        averages.append(b"".join(bits(step.ema.state_dict()["averages"].values())))

    run = assert_same(averaged, between)
    assert run.function.ema.updates == CALLS
    assert averages[:CALLS] == averages[CALLS:] and len(set(averages)) == CALLS


def test_buffers_of_batch_norm_are_averaged_too():
    def build(net: nn.Module) -> Step:
        net.append(nn.BatchNorm1d(4).to("cuda:0"))
        return averaged(net)

    assert_same(build, lambda i, step, _net: np.testing.assert_equal(int(step.ema.averages["5.num_batches_tracked"]), i + 1))


@pytest.mark.parametrize("name", ["adamw", "momentum", "lion", "lamb", "adafactor", "muon"])
def test_masters_of_half_precision(name: str):
    def half(net: nn.Module) -> Step:
        net.to(nyala.bfloat16)
        optimizer = OPTIMIZERS[name](net.parameters())
        optimizer.param_groups[0]["master_weights"] = True

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.mse_loss(net(x.to(nyala.bfloat16)), y.to(nyala.bfloat16))
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    def between(i: int, _step: Any, net: Any) -> None:
        if i == 5:  # what somebody writes to a weight is taken over
            with nyala.no_grad():
                net[0].weight.mul_(0.5)

    run = assert_same(half, between)
    assert run.runs == CALLS - 3


# ---- scaled losses


def scaled(make: Callable[[Any], Any], clip: bool = False) -> Callable[[nn.Module], Step]:
    def build(net: nn.Module) -> Step:
        optimizer, scaler = make(net.parameters()), nyala.amp.GradScaler(init_scale=4.0, growth_interval=3)

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.mse_loss(net(x), y)
            scaler.scale(loss).backward()
            if clip:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            scaler.step(optimizer)
            scaler.update()
            return loss.detach()

        step.optimizer, step.scaler = optimizer, scaler  # type: ignore[attr-defined]
        return step

    return build


def overflowing(build: Callable[[nn.Module], Step], compiled: bool, bad: set[int]) -> Any:
    net = small_net()
    step = build(net)
    run = nyala.compile(step) if compiled else step
    nyala.manual_seed(7)
    found = []
    for i in range(10):
        x = random(3, 6, seed=i)
        found += bits([run(x * float("inf") if i in bad else x, random(3, 4, seed=90 + i)), *net.parameters()])
        if i == 8:
            found.append(step.scaler.get_scale())
    steps = {state.get("step") for state in step.optimizer.state.values()}
    return [*found, steps, step.scaler.state_dict()], run


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("name", ["adamw", "momentum", "lion", "lamb", "adafactor", "muon"])
def test_a_scaled_step_leaves_itself_out_on_the_device(name: str, clip: bool):
    bad = {1, 4, 5, 8}
    expected, _ = overflowing(scaled(OPTIMIZERS[name], clip), False, bad)
    got, run = overflowing(scaled(OPTIMIZERS[name], clip), True, bad)
    assert got == expected and run.runs == 7 and "CUDA graphs     1, 0 call(s)" in run.explain()
    assert expected[-2] == ({6} if name in ("adamw", "lamb", "adafactor") else {None})


def test_first_steps_that_overflow_put_the_capture_off():
    bad = {0, 1, 2}
    expected, _ = overflowing(scaled(OPTIMIZERS["momentum"]), False, bad)
    got, run = overflowing(scaled(OPTIMIZERS["momentum"]), True, bad)
    assert got == expected and run.runs == 5


def test_a_scaled_step_does_as_on_the_cpu(cuda: str):
    """Numbers that the host computes there and the GPU here agree."""
    results = []
    for device in ("cpu", cuda):
        nyala.manual_seed(1)
        net = nn.Linear(6, 4).to(device)
        optimizer = nyala.optim.AdamW(net.parameters(), lr=1e-2)
        scaler = nyala.amp.GradScaler(device, init_scale=4.0, growth_interval=2)
        for i in range(8):
            optimizer.zero_grad()
            x = random(3, 6, seed=i).to(device)
            scaler.scale((net(x * float("inf") if i in (0, 3, 4) else x) ** 2).mean()).backward()
            scaler.step(optimizer)
            scaler.update()
        results.append((net.weight.detach().cpu().numpy(), scaler.state_dict(), optimizer.state_dict()["state"][0]["step"]))
    (here, *rest), (there, *others) = results
    np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-6)
    assert rest == others and rest[-1] == 5


@pytest.mark.parametrize("name", ["adamw", "lamb", "adafactor", "muon"])
def test_an_eager_scaled_step_does_not_wait_for_the_gpu(name: str, cuda: str, monkeypatch: pytest.MonkeyPatch):
    if not hasattr(random(1).to(cuda).array, "_array"):
        pytest.skip("waiting is told apart on the stand-in alone")
    net = small_net()
    step = scaled(OPTIMIZERS[name], clip=True)(net)
    step(random(3, 6), random(3, 4))
    x, y = random(3, 6, seed=1), random(3, 4, seed=2)

    def waits(*_: Any) -> Any:
        raise AssertionError("the host has looked at a value")

    for name in ("__float__", "__int__", "__bool__", "get"):
        monkeypatch.setattr(type(x.array), name, waits)
    step(x, y)
    step(x, y)


# ---- what changes between launches


def test_rates_and_betas_may_change_at_any_time():
    def between(i: int, step: Any, _net: Any) -> None:
        step.optimizer.param_groups[0].update(lr=0.01 * (i + 1), betas=(0.8 + 0.01 * i, 0.99), weight_decay=0.1 * i)

    assert assert_same(plain(OPTIMIZERS["adamw"]), between).runs == CALLS - 3


def test_an_added_group_is_captured_anew():
    def build(net: nn.Module) -> Step:
        return plain(lambda _: nyala.optim.AdamW(net[0].parameters(), lr=1e-2))(net)

    def between(i: int, step: Any, net: Any) -> None:
        if i == 3:
            step.optimizer.add_param_group({"params": list(net[4].parameters()), "lr": 0.1})
            step.schedule.base_lrs.append(0.1)

    run = assert_same(build, between)
    assert "the parameters of AdamW have changed" in run.explain() and run.runs == 2


def test_a_setting_that_is_built_in_is_captured_anew():
    def between(i: int, step: Any, _net: Any) -> None:
        if i == 3:
            step.optimizer.param_groups[0]["maximize"] = True

    assert "kernels have built in" in assert_same(plain(OPTIMIZERS["adamw"]), between).explain()


def test_a_loaded_state_and_replaced_weights_are_captured_anew():
    def between(i: int, step: Any, _net: Any) -> None:
        if i == 3:
            step.optimizer.load_state_dict(step.optimizer.state_dict())

    assert "the state of AdamW was replaced" in assert_same(plain(OPTIMIZERS["adamw"]), between).explain()

    def replaced(i: int, _step: Any, net: Any) -> None:
        if i == 3:
            net[0].weight.data = random(16, 6, seed=5)

    assert "a weight was replaced" in assert_same(plain(OPTIMIZERS["adamw"]), replaced).explain()


def test_a_hook_ends_a_graph_and_is_called():
    called: list[Any] = []

    def between(i: int, step: Any, _net: Any) -> None:
        if i == 3:
            step.optimizer.register_step_post_hook(called.append)

    run = assert_same(plain(OPTIMIZERS["adamw"]), between, graphs=2)
    assert "AdamW has hooks" in run.explain() and len(called) == 2 * (CALLS - 4)


def test_a_frozen_part_keeps_no_gradient():
    def build(net: nn.Module) -> Step:
        net[0].requires_grad_(False)
        return plain(OPTIMIZERS["adamw"])(net)

    run = assert_same(build, lambda _i, _step, net: np.testing.assert_(net[0].weight.grad is None))
    assert run.runs == CALLS - 3


def test_saving_between_launches_changes_nothing():
    saved: list[Any] = []

    def between(_i: int, step: Any, _net: Any) -> None:
        saved.append(step.optimizer.state_dict()["state"][0]["step"])

    assert assert_same(plain(OPTIMIZERS["adamw"]), between).runs == CALLS - 3
    assert saved == [*range(1, CALLS + 1)] * 2
