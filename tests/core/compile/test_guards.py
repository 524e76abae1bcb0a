"""When a record holds: shapes, flags, replaced weights, values that were looked at; and what is said when it does not."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import nn
from nyala.errors import ArgumentError, IndexRangeError


def random(*shape: int, seed: int = 0) -> Any:
    return nyala.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def test_other_shapes_and_flags_get_records_of_their_own():
    net = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.BatchNorm1d(8))
    run = nyala.compile(net)
    with nyala.no_grad():
        for mode in (False, True):
            net.train(mode)
            for rows in (4, 7):
                for i in range(3):
                    x = random(rows, 6, seed=i)
                    nyala.manual_seed(i)
                    buffers = [b.clone() for b in net.buffers()]
                    got = run(x).numpy()
                    after = [b.numpy().copy() for b in net.buffers()]
                    for b, old in zip(net.buffers(), buffers, strict=True):
                        b.copy_(old)
                    nyala.manual_seed(i)
                    assert np.array_equal(got, net(x).numpy())
                    assert all(np.array_equal(a, b.numpy()) for a, b in zip(after, net.buffers(), strict=True))
    assert run.runs == 4 and "between training and evaluation" in run.explain()


def test_weights_are_read_anew_and_replaced_ones_are_noticed():
    layer = nn.Linear(5, 3)
    run = nyala.compile(layer)
    x = random(2, 5)
    with nyala.no_grad():
        for _ in range(3):
            run(x)
        layer.weight.mul_(2.0)
        assert np.array_equal(run(x).numpy(), layer(x).numpy())
        layer.load_state_dict({"weight": random(3, 5, seed=4), "bias": random(3, seed=5)})
        assert np.array_equal(run(x).numpy(), layer(x).numpy())
        assert run.runs == 3
        layer.weight.data = random(3, 5, seed=6)
        assert np.array_equal(run(x).numpy(), layer(x).numpy())
    assert run.runs == 3 and "it was replaced, loaded or moved" in run.explain()


def test_a_value_that_is_looked_at_sends_the_call_the_other_way():
    def function(x: Any) -> Any:
        return x * 2.0 if x.sum().item() > 0 else x - 1.0

    run = nyala.compile(function)
    given = [random(9, seed=i) for i in (0, 0, 0, 1, 0)]
    with nyala.no_grad():
        for x in given:
            assert np.array_equal(run(x).numpy(), function(x).numpy())
    assert run.runs == 2 and "run as it stands, the program looked at" in run.explain()


def test_wrong_labels_are_refused_as_in_the_eager_run():
    net = nn.Linear(4, 3)
    run = nyala.compile(lambda x, y: F.cross_entropy(net(x), y))
    y = nyala.tensor([0, 2])
    with nyala.no_grad():
        for _ in range(3):
            run(random(2, 4), y)
        with pytest.raises(IndexRangeError):
            run(random(2, 4), nyala.tensor([0, 3]))
        assert run(random(2, 4), y).item() == F.cross_entropy(net(random(2, 4)), y).item()


def test_a_number_for_python_after_a_step_is_told_of():
    w = nn.Parameter(nyala.ones(3))
    optimizer = nyala.optim.SGD([w], lr=0.1)

    def step() -> float:
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        optimizer.step()
        return loss.item()

    run = nyala.compile(step)
    losses = [run() for _ in range(5)]
    assert losses == sorted(losses, reverse=True) and len(set(losses)) == 5
    assert run.runs == 0 and "item" in run.explain()


def test_buckets_let_lengths_share_a_record():
    embedding, layer = nn.Embedding(11, 6), nn.Linear(6, 4)

    def function(ids: Any, mask: Any) -> Any:
        weights = mask.float().unsqueeze(-1)
        return layer(embedding(ids) * weights)

    run = nyala.compile(function, buckets=(1, (8, 16)))
    with nyala.no_grad():
        for length in (3, 5, 8, 7, 2):
            ids = nyala.from_numpy(np.random.default_rng(length).integers(0, 11, (2, length)))
            mask = nyala.ones(2, length, dtype=nyala.int64)
            got, expected = run(ids, mask), function(ids, mask)
            assert got.shape == expected.shape and np.array_equal(got.numpy(), expected.numpy())
    assert run.runs == 3


@pytest.mark.parametrize("wrong", [(), (0,), (4, -2)])
def test_buckets_must_be_lengths(wrong: Any):
    with pytest.raises(ArgumentError, match="bucket sizes"):
        nyala.compile(lambda x: x, buckets=(0, wrong))


def test_what_cannot_be_called_is_refused():
    with pytest.raises(ArgumentError, match="compile was given"):
        nyala.compile(3)


def test_a_decode_step_with_a_static_cache_is_repeated():
    width, steps = 8, 12
    qkv, out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def step(x: Any, place: Any, keys: Any, values: Any) -> Any:
        q, k, v = qkv(x).chunk(3, -1)
        keys.index_copy_(0, place, k)
        values.index_copy_(0, place, v)
        seen = nyala.arange(steps) <= place
        scores = (q @ keys.T).masked_fill(~seen, -1e9).softmax(-1)
        return out(scores @ values)

    def decoded(function: Any) -> list[bytes]:
        keys, values, x, made = nyala.zeros(steps, width), nyala.zeros(steps, width), random(1, width), []
        for i in range(steps):
            x = function(x, nyala.tensor([i]), keys, values)
            made.append(x.numpy().tobytes())
        return [*made, keys.numpy().tobytes(), values.numpy().tobytes()]

    run = nyala.compile(step)
    with nyala.no_grad():
        assert decoded(run) == decoded(step)
    assert run.runs == steps - 2


FACTOR = 2.0


def test_numbers_of_the_closure_and_the_module_are_guarded():
    shift = 1.0

    def function(x: Any) -> Any:
        return x * FACTOR + shift

    run = nyala.compile(function)
    x = random(4)
    for value in (1.0, 1.0, 1.0, 5.0):
        shift = value
        assert np.array_equal(run(x).numpy(), x.numpy() * 2 + np.float32(value))
    assert run.runs == 1 and "a number that the function reads has changed" in run.explain()


def test_reset_forgets_what_was_recorded():
    net = nn.Sequential(nn.LeakyReLU(0.1))
    run = nyala.compile(net)
    x = random(6)
    with nyala.no_grad():
        for _ in range(3):
            run(x)
        net[0].negative_slope = 0.5
        run.reset()
        assert np.array_equal(run(x).numpy(), net(x).numpy())


def test_a_scaler_keeps_its_own_counsel():
    w = nn.Parameter(nyala.ones(3))
    optimizer, scaler = nyala.optim.SGD([w], lr=0.1), nyala.amp.GradScaler(init_scale=8.0, growth_interval=2)

    def step() -> Any:
        optimizer.zero_grad()
        scaler.scale((w * w).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        return w.detach()

    run = nyala.compile(step)
    for _ in range(6):
        run()
    assert scaler.get_scale() == 64.0 and "GradScaler" in run.explain()
    assert np.allclose(w.detach().numpy(), 0.8**6)


def test_operations_know_a_recorded_array_for_one_of_the_processor() -> None:
    """``type(x) is np.ndarray`` would take it for a GPU's, and go another way than the eager run."""
    core = Path(nyala.__file__).parent / "core"
    files = [*core.glob("ops/*.py"), *core.glob("nn/*.py")]
    found = {f.name for f in files if re.search(r"type\(\w+\) is (not )?np\.ndarray", f.read_text())}
    assert found <= {
        "elementwise.py",
        "gated_step.py",
        "positions.py",
    }  # a shortcut; steps with a KVCache, which are not recorded


def test_another_thread_is_not_recorded():
    net = nn.Linear(4, 4)
    x, seen = random(3, 4), []

    def beside() -> None:
        with nyala.no_grad():
            seen.append(net(x * 3.0).numpy().tobytes())

    def function(x: Any) -> Any:
        other = threading.Thread(target=beside)
        other.start()
        other.join()
        return net(x)

    run = nyala.compile(function)
    with nyala.no_grad():
        results = [run(random(3, 4, seed=i)).numpy().tobytes() for i in range(4)]
        assert results == [net(random(3, 4, seed=i)).numpy().tobytes() for i in range(4)]
        assert run.runs == 2 and seen == [net(x * 3.0).numpy().tobytes()] * 2
