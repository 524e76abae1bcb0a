"""Compiled calls give the bits of eager ones, and leave behind what these leave behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import nn


def small_net() -> nn.Module:
    nyala.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(),
        nn.Linear(8 * 36, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 4),
    )  # fmt: skip


def batches(count: int, size: int = 5) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    return [
        (
            nyala.from_numpy(rng.standard_normal((size, 3, 6, 6), dtype=np.float32)),
            nyala.from_numpy(rng.integers(0, 4, size)),
        )
        for _ in range(count)
    ]


def trained(compiled: bool, data: list[tuple[Any, Any]], kind: str = "AdamW") -> tuple[list[Any], Any]:
    """Everything that a training leaves behind, as bytes, and the step."""
    net = small_net()
    optimizer = getattr(nyala.optim, kind)(net.parameters(), lr=1e-2)
    schedule = nyala.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
        schedule.step()
        return loss

    run = nyala.compile(step) if compiled else step
    losses = [run(x, y).detach().numpy().tobytes() for x, y in data]
    left = [*net.parameters(), *net.buffers(), *[p.grad for p in net.parameters()]]
    state = [v.numpy().tobytes() for s in optimizer.state.values() for v in s.values() if isinstance(v, nyala.Tensor)]
    return [losses, [t.detach().numpy().tobytes() for t in left], state, schedule.get_last_lr(), nyala.rand(3).tolist()], run


def test_a_module_gives_the_bits_of_eager_calls():
    net = small_net().eval()
    compiled = nyala.compile(net)
    with nyala.no_grad():
        for x, _ in batches(5):
            assert np.array_equal(compiled(x).numpy(), net(x).numpy())
    assert compiled.runs == 3


@pytest.mark.parametrize("kind", ["AdamW", "SGD"])
def test_a_training_step_gives_the_bits_of_eager_ones(kind: str):
    data = batches(6)
    eager, _ = trained(False, data, kind)
    compiled, step = trained(True, data, kind)
    assert step.runs == 4
    assert compiled == eager
