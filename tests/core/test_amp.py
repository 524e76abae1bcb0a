"""``GradScaler``: torch's numbers step for step, one flag an optimizer, and what it refuses."""

from __future__ import annotations

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.amp import GradScaler
from nyala.errors import ArgumentError, CheckpointError, GradError

# torch 2.13: two SGDs (lr 0.1) on sum(w * w) + f * sum(v * v), w = [1, 2], v = [3], init_scale=8, growth_interval=3;
# f is infinite in steps 3 and 8. After each step: w, v, the scale, the count of steps without overflow
OF_TORCH = [
    ([0.800000011920929, 1.600000023841858], [2.4000000953674316], 8.0, 1),
    ([0.6399999856948853, 1.2799999713897705], [1.9200000762939453], 8.0, 2),
    ([0.5119999647140503, 1.0239999294281006], [1.9200000762939453], 4.0, 0),
    ([0.4095999598503113, 0.8191999197006226], [1.5360000133514404], 4.0, 1),
    ([0.32767996191978455, 0.6553599238395691], [1.2288000583648682], 4.0, 2),
    ([0.26214396953582764, 0.5242879390716553], [0.9830400347709656], 8.0, 0),
    ([0.20971517264842987, 0.41943034529685974], [0.7864320278167725], 8.0, 1),
    ([0.16777214407920837, 0.33554428815841675], [0.7864320278167725], 4.0, 0),
    ([0.13421770930290222, 0.26843541860580444], [0.629145622253418], 4.0, 1),
]


def parameter(values: list[float], device: str = "cpu") -> nn.Parameter:
    return nn.Parameter(nyala.tensor(values, device=device))


def scaled_steps(device: str, saved_at: int | None = None) -> list[tuple]:
    w, v = parameter([1.0, 2.0], device), parameter([3.0], device)
    optimizers = [nyala.optim.SGD([p], lr=0.1) for p in (w, v)]
    scaler = GradScaler(device, init_scale=8.0, growth_interval=3)
    found = []
    for i in range(len(OF_TORCH)):
        if i == saved_at:
            state = scaler.state_dict()
            scaler = GradScaler(device)
            scaler.load_state_dict(state)
        for optimizer in optimizers:
            optimizer.zero_grad()
        factor = float("inf") if i in (2, 7) else 1.0
        scaler.scale((w * w).sum() + (v * factor * v).sum()).backward()
        for optimizer in optimizers:
            scaler.step(optimizer)
        scaler.update()
        found.append((w.tolist(), v.tolist(), scaler.get_scale(), scaler.state_dict()["_growth_tracker"]))
    return found


def test_steps_and_scales_are_torchs() -> None:
    for mine, torchs in zip(scaled_steps("cpu"), OF_TORCH, strict=True):
        np.testing.assert_allclose(mine[0], torchs[0], rtol=2e-7)
        np.testing.assert_allclose(mine[1], torchs[1], rtol=2e-7)
        assert mine[2:] == torchs[2:]


def test_on_a_gpu_they_are_the_same(cuda: str) -> None:
    assert scaled_steps(cuda) == scaled_steps("cpu")


@pytest.mark.parametrize("at", range(1, len(OF_TORCH)))
def test_a_saved_scaler_goes_on(at: int) -> None:
    assert scaled_steps("cpu", at) == scaled_steps("cpu")


def test_small_gradients_survive_float16_with_it() -> None:
    def grad(scaler: GradScaler) -> float:
        w = parameter([1.0])
        with nyala.autocast("cpu", nyala.float16):
            loss = (w.reshape(1, 1) @ nyala.ones(1, 1)).float().sum() * 2e-8
        scaler.scale(loss).backward()
        scaler.unscale_(nyala.optim.SGD([w], lr=0.0))
        return float(w.grad.item())

    assert grad(GradScaler("cpu", enabled=False)) == 0.0
    assert grad(GradScaler("cpu")) == pytest.approx(2e-8, rel=1e-3)


def test_gradients_can_be_clipped_in_between() -> None:
    w = parameter([3.0, 4.0])
    optimizer, scaler = nyala.optim.SGD([w], lr=1.0), GradScaler("cpu", init_scale=1024.0)
    scaler.scale((w * nyala.tensor([3.0, 4.0])).sum()).backward()
    scaler.unscale_(optimizer)
    assert float(nn.utils.clip_grad_norm_([w], 1.0)) == 5.0
    scaler.step(optimizer)
    np.testing.assert_allclose(w.tolist(), [2.4, 3.2], rtol=1e-6)


def test_switched_off_it_only_passes_on() -> None:
    w = parameter([1.0])
    optimizer, scaler = nyala.optim.SGD([w], lr=1.0), GradScaler("cpu", enabled=False)
    loss = w.sum()
    assert scaler.scale(loss) is loss
    loss.backward()
    assert scaler.unscale_(optimizer) is None and scaler.step(optimizer) is None
    scaler.update()
    assert w.item() == 0.0 and scaler.get_scale() == 1.0 and scaler.state_dict() == {} and not scaler.is_enabled()


class Fused(nyala.optim.SGD):
    """Unscales and skips by itself, as torch's fused optimizers do."""

    _step_supports_amp_scaling = True
    seen: list[tuple]

    def step(self, closure=None):  # noqa: ARG002
        self.seen = [self.grad_scale and self.grad_scale.item(), self.found_inf.item()]


def test_an_optimizer_that_skips_by_itself_is_told_what_it_needs() -> None:
    w = parameter([1.0])
    optimizer, scaler = Fused([w], lr=1.0), GradScaler("cpu", init_scale=4.0)
    for factor, flag in ((1.0, 0.0), (float("inf"), 1.0)):
        w.grad = None
        scaler.scale((w * factor).sum()).backward()
        before = w.grad.tolist()
        scaler.step(optimizer)
        assert optimizer.seen == [4.0, flag] and w.grad.tolist() == before
        scaler.update()
    assert scaler.get_scale() == 2.0
    w.grad = None
    scaler.scale(w.sum()).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    assert optimizer.seen == [None, 0.0] and w.grad.tolist() == [1.0]
    assert not hasattr(optimizer, "found_inf")


def test_calls_in_a_wrong_order_are_told() -> None:
    w = parameter([1.0])
    optimizer, scaler = nyala.optim.SGD([w], lr=1.0), GradScaler("cpu")
    with pytest.raises(GradError, match="no loss has been scaled"):
        scaler.step(optimizer)
    with pytest.raises(GradError, match="before any step"):
        scaler.update()
    scaler.scale(w.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(GradError, match="a second time"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(GradError, match="step a second time"):
        scaler.step(optimizer)
    with pytest.raises(GradError, match="after step"):
        scaler.unscale_(optimizer)
    scaler.update()
    with pytest.raises(ArgumentError, match="closure"):
        scaler.step(optimizer, closure=lambda: None)
    optimizer.zero_grad()
    with pytest.raises(GradError, match="without gradients"):
        scaler.step(optimizer)


def test_float16_gradients_are_refused() -> None:
    w = nn.Parameter(nyala.ones(2, dtype=nyala.float16))
    scaler = GradScaler("cpu", init_scale=2.0)
    scaler.scale(w.sum()).backward()
    with pytest.raises(GradError, match="float16 gradient"):
        scaler.step(nyala.optim.SGD([w], lr=1.0))


def test_bad_settings_are_told() -> None:
    for bad in ({"growth_factor": 1.0}, {"backoff_factor": 1.0}, {"init_scale": 0.0}, {"growth_interval": 0}):
        with pytest.raises(ArgumentError):
            GradScaler("cpu", **bad)
    with pytest.raises(CheckpointError, match="lacks"):
        GradScaler("cpu").load_state_dict({})
    with pytest.raises(ArgumentError, match="list or tuple"):
        GradScaler("cpu").scale(3.0)


def test_the_scale_can_be_set_and_never_becomes_infinite() -> None:
    w = parameter([1.0])
    optimizer, scaler = nyala.optim.SGD([w], lr=0.0), GradScaler("cpu", init_scale=2.0**127, growth_interval=1)
    w.grad = nyala.zeros(1)
    scaler.scale(w.sum())
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**127
    scaler.update(16.0)
    assert scaler.get_scale() == 16.0
