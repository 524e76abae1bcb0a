"""Calls on a GPU are captured: launched graphs give what the calls would have given, without the host in between."""

from __future__ import annotations

from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import nn
from nyala.core.kernels.reference.dropout import dropout
from nyala.errors import IndexRangeError, NumericError


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


def test_random_numbers_go_on_in_launches(cuda: str):
    def function(x: Any) -> Any:
        return F.dropout(x, 0.5) + nyala.randn_like(x) + nyala.bernoulli(nyala.full_like(x, 0.5))

    found = []
    for compiled in (False, True):
        nyala.manual_seed(3)
        run = nyala.compile(function) if compiled else function
        found.append([run(nyala.ones(70, device=cuda)).cpu().numpy().tobytes() for _ in range(6)])
    assert found[0] == found[1] and len(set(found[0])) == 6
    assert run.runs == 3 and "CUDA graphs     1, 0 call(s)" in run.explain()


def test_attention_drops_other_weights_in_each_launch(cuda: str):
    q, k, v = (random(1, 2, 3, 4, seed=seed, device=cuda).requires_grad_() for seed in range(3))

    def step() -> Any:
        for t in (q, k, v):
            t.grad = None
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=0.5)
        (out**2).sum().backward()
        return out.detach(), q.grad.clone(), k.grad.clone(), v.grad.clone()

    found = []
    for compiled in (False, True):
        nyala.manual_seed(3)
        run = nyala.compile(step) if compiled else step
        found.append([[t.cpu().numpy().tobytes() for t in run()] for _ in range(6)])
    assert found[0] == found[1] and len({out for out, *_ in found[0]}) == 6
    assert run.runs == 3, run.explain()


def test_numbers_drawn_on_the_cpu_are_not_frozen_into_a_graph(cuda: str):
    run = nyala.compile(lambda x: x * float(nyala.random.next_key("mix").uniform(())))
    x = nyala.ones(4, device=cuda)
    assert len({run(x).cpu().numpy().tobytes() for _ in range(5)}) == 5
    assert run.runs == 0 and "drawn on the CPU" in run.explain()


def test_a_key_that_the_host_hands_over_is_not_frozen_into_a_graph(cuda: str):
    run = nyala.compile(lambda x: nyala.Tensor(dropout(x.array, 0.5, nyala.random.next_key("dropout").words)))
    x = nyala.ones(70, device=cuda)
    assert len({run(x).cpu().numpy().tobytes() for _ in range(5)}) == 5
    assert run.runs == 0 and "a key that the host hands over" in run.explain()


def test_a_checkpointed_block_draws_the_same_numbers_twice_in_each_launch(cuda: str):
    def gradients(compiled: bool) -> list[Any]:
        nyala.manual_seed(2)
        net = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3)).to(cuda)

        def step(x: Any) -> Any:
            for p in net.parameters():
                p.grad = None
            (nyala.utils.checkpoint.checkpoint(net, x) ** 2).sum().backward()
            return net[0].weight.grad, net[2].weight.grad

        run, found = nyala.compile(step) if compiled else step, []
        for seed in range(6):
            found += [t.cpu().numpy().tobytes() for t in run(random(4, 6, seed=seed, device=cuda))]
            found.append(nyala.rand(3).numpy().tobytes())  # and leaves the stream where the eager call does
        assert not compiled or run.runs == 3
        return found

    assert gradients(True) == gradients(False)


def test_gradients_add_up_over_launches(cuda: str):
    def grads(compiled: bool) -> list[Any]:
        net, found = small_net(cuda), []

        def micro(x: Any) -> Any:
            loss = (net(x) ** 2).mean()
            loss.backward()
            return loss.detach()

        run = nyala.compile(micro) if compiled else micro
        for i in range(8):
            run(random(3, 6, seed=i, device=cuda))
            if i % 2:
                found += [p.grad.cpu().numpy().tobytes() for p in net.parameters()]
                net.zero_grad()
        assert not compiled or run.runs == 4
        return found

    assert grads(True) == grads(False)


def test_a_call_that_fails_while_it_is_captured_leaves_nothing_behind(cuda: str):
    net = small_net(cuda)
    optimizer = nyala.optim.AdamW(net.parameters(), lr=1e-2)
    schedule = nyala.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = F.dropout(net(x), 0.5).square().mean()
        loss.backward()
        schedule.step()
        assert loss.item() >= 0
        return loss.detach()

    optimizer.step()
    run = nyala.compile(step)
    for i in range(5):
        run(random(3, 6, seed=i, device=cuda))
    assert schedule.last_epoch == 5 and optimizer.param_groups[0]["lr"] == 1e-2 * 0.5**5
    assert run.runs == 0 and "cannot be captured" in run.explain()


def test_texts_are_captured_and_a_wrong_token_is_told_when_the_next_call_begins(cuda: str):
    nyala.manual_seed(3)
    table, head = nn.Embedding(7, 4).to(cuda), nn.Linear(4, 5).to(cuda)

    def step(tokens: Any, labels: Any) -> Any:
        table.zero_grad()
        loss = F.cross_entropy(head(table(tokens)).mean(1), labels)
        loss.backward()
        return loss.detach(), table.weight.grad.clone()

    run = nyala.compile(step)
    draw = np.random.default_rng(0)
    for _ in range(5):
        tokens, labels = (nyala.from_numpy(draw.integers(0, n, s)).to(cuda) for n, s in ((7, (2, 3)), (5, (2,))))
        for got, expected in zip(run(tokens, labels), step(tokens, labels), strict=True):
            assert np.array_equal(got.cpu().numpy(), expected.cpu().numpy())
    assert run.runs == 2, run.explain()
    wrong = nyala.tensor([[1, 2, 7], [0, -1, 3]], device=cuda)
    run(wrong, labels)
    with pytest.raises(IndexRangeError, match=r"embedding: an index outside the table of 7 rows, in an earlier call") as told:
        run(tokens, labels)
    assert "without compile" in str(told.value)
    run(tokens, labels * 0 + 5)
    with pytest.raises(IndexRangeError, match="cross_entropy: a label outside 5 classes"):
        run(tokens, labels)
    got, expected = run(tokens, labels)[0], step(tokens, labels)[0]
    assert np.array_equal(got.cpu().numpy(), expected.cpu().numpy())
    for wait in (lambda out: out[0].item(), lambda out: out[1].cpu(), lambda _out: nyala.cuda.synchronize()):
        out = run(wrong, labels)
        with pytest.raises(IndexRangeError, match="embedding: an index outside the table"):
            wait(out)
        wait(run(tokens, labels))


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # which NumPy gives and CuPy does not
@pytest.mark.parametrize("divided", [lambda a, b: a // b, lambda a, b: a % b], ids=["quotient", "remainder"])
def test_whole_numbers_are_divided_in_a_graph(cuda: str, divided: Any):
    run = nyala.compile(lambda a, b: divided(a, b) + divided(a, 3))
    a, b = nyala.tensor([7, -7, 8], device=cuda), nyala.tensor([2, 3, -5], device=cuda)
    for _ in range(5):
        assert run(a, b).tolist() == (divided(a, b) + divided(a, 3)).tolist()
    assert run.runs == 2, run.explain()
    run(a, b * 0)
    with pytest.raises(NumericError, match=r"whole numbers divided by zero, in an earlier call"):
        run(a, b)
    assert run(a, b).tolist() == (divided(a, b) + divided(a, 3)).tolist()


def test_a_graph_holds_the_tables_it_reads(cuda: str):
    rotary, layer = nn.Rotary(4), nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2)).to(cuda)
    run = nyala.compile(lambda q, x: (rotary(q, q, 0)[0], layer(x)))
    q, x = random(1, 2, 3, 4, device=cuda), random(1, 1, 8, 8, device=cuda)
    with nyala.no_grad():
        for _ in range(3):
            run(q, x)
        (capture,) = run._captures.values()
        (graph,) = capture._recordings[0].parts
        tables = rotary.angles(q, 0, 3)
        assert sum(isinstance(kept, tuple) and kept[0] is tables[0] for kept in graph.kept) == 2  # turned twice
        assert len(graph.kept) > 4  # and what the layers know of their windows
        rotary(*[random(1, 2, 300, 4, device=cuda)] * 2, 0)  # which makes longer ones
        assert rotary.angles(q, 0, 3)[0] is not tables[0]
        assert np.array_equal(run(q, x)[0].cpu().numpy(), rotary(q, q, 0)[0].cpu().numpy())
