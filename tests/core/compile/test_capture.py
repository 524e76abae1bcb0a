"""Calls on a GPU are captured: launched graphs give what the calls would have given, without the host in between."""

from __future__ import annotations

from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
from nyala import nn


def random(*shape: int, seed: int = 0, device: str = "cpu") -> Any:
    return nyala.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)).to(device)


def small_net(device: str) -> nn.Module:
    nyala.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 4)).to(device)


def test_a_forward_is_launched_from_its_graph(cuda: str):
    net = small_net(cuda).eval()
    run = nyala.compile(net)
    results = []
    with nyala.no_grad():
        for seed in range(5):
            x = random(3, 6, seed=seed, device=cuda)
            results.append((run(x), net(x)))
    assert run.runs == 2 and "CUDA graphs" in run.explain()
    for got, expected in results:  # a later launch must not write to an earlier result
        assert np.array_equal(got.cpu().numpy(), expected.cpu().numpy())


def trained(cuda: str, compiled: bool) -> list[Any]:
    net = small_net(cuda)
    optimizer = nyala.optim.AdamW(net.parameters(), lr=1e-2)
    schedule = nyala.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss.detach()

    run = nyala.compile(step) if compiled else step
    losses = [run(random(3, 6, seed=i, device=cuda), random(3, 4, seed=9 + i, device=cuda)) for i in range(6)]
    if compiled:
        assert run.runs == 3
    return [t.detach().cpu().numpy().tobytes() for t in (*losses, *net.parameters(), *[p.grad for p in net.parameters()])]


def test_a_training_step_is_launched_around_its_optimizer(cuda: str):
    assert trained(cuda, True) == trained(cuda, False)


def test_replaced_weights_are_captured_anew(cuda: str):
    net = small_net(cuda)
    run = nyala.compile(net)
    x = random(3, 6, device=cuda)
    with nyala.no_grad():
        for _ in range(4):
            run(x)
        net[0].weight.data = random(16, 6, seed=5, device=cuda)
        assert np.array_equal(run(x).cpu().numpy(), net(x).cpu().numpy())
    assert run.runs == 1


def test_what_looks_at_values_runs_eagerly_and_says_so(cuda: str):
    def function(x: Any) -> Any:
        return x * 2.0 if x.sum().item() > 0 else x - 1.0

    run = nyala.compile(function)
    with nyala.no_grad():
        for seed in range(5):
            x = random(7, seed=seed, device=cuda)
            assert np.array_equal(run(x).cpu().numpy(), function(x).cpu().numpy())
    assert run.runs == 0 and "cannot be captured" in run.explain()


def test_random_numbers_are_not_frozen_into_a_graph(cuda: str):
    run = nyala.compile(lambda x: F.dropout(x, 0.5))
    x = nyala.ones(64, device=cuda)
    masks = [run(x).cpu().numpy().tobytes() for _ in range(5)]
    assert len(set(masks)) == 5 and "draws random numbers" in run.explain()
