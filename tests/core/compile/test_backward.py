"""Compiled modules in somebody else's graph: their gradients have the bits of eager ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import nn
from nyala.errors import GradError


def two_calls_a_step(compiled: bool) -> list[Any]:
    """A net used twice in some steps, behind a parameter of its own, with gradients added up."""
    nyala.manual_seed(3)
    net = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Dropout(0.3), nn.Linear(16, 4))
    scale = nn.Parameter(nyala.ones(1))
    optimizer = nyala.optim.SGD([*net.parameters(), scale], lr=0.1, momentum=0.9)
    run = nyala.compile(net) if compiled else net
    rng, seen = np.random.default_rng(0), []
    for i in range(5):
        x = nyala.from_numpy(rng.standard_normal((8, 6), dtype=np.float32))
        y = nyala.from_numpy(rng.integers(0, 4, 8))
        optimizer.zero_grad()
        logits = run(x * scale)
        if i % 2:
            F.cross_entropy(run(x * scale * 0.5), y).backward()
        F.cross_entropy(logits, y).backward()
        optimizer.step()
        seen.append(logits.detach().numpy().tobytes())
    if compiled:
        assert run.runs == 5
    left = [*net.parameters(), scale, *net.buffers(), scale.grad]
    return [seen, [t.detach().numpy().tobytes() for t in left], nyala.rand(2).tolist()]


def test_gradients_through_a_compiled_module_have_the_bits_of_eager_ones():
    assert two_calls_a_step(True) == two_calls_a_step(False)


def compiled_layer() -> tuple[Any, Any]:
    layer = nn.Linear(3, 2)
    run = nyala.compile(layer)
    for _ in range(3):
        y = run(nyala.ones(4, 3))
    assert run.runs == 1
    return layer, y


def test_a_gradient_of_a_gradient_is_refused():
    layer, y = compiled_layer()
    with pytest.raises(GradError, match="cannot be differentiated again"):
        nyala.autograd.grad(y.sum(), [layer.weight], create_graph=True)


def test_a_second_walk_needs_the_graph_kept():
    layer, y = compiled_layer()
    loss = y.sum()
    loss.backward(retain_graph=True)
    first = layer.weight.grad.numpy().copy()
    loss.backward()
    assert np.array_equal(layer.weight.grad.numpy(), 2 * first)
    with pytest.raises(GradError, match="a second time"):
        loss.backward()


def test_a_graph_that_backward_has_freed_in_part_runs_eagerly():
    w = nn.Parameter(nyala.ones(3))

    def step() -> Any:
        w.grad = None
        loss = (w * 2).sum()
        loss.backward()
        return loss * 1

    run = nyala.compile(step)
    for _ in range(4):
        assert run().item() == 6.0
        assert w.grad.tolist() == [2.0, 2.0, 2.0]
    assert run.runs == 0 and "freed in part" in run.explain()
