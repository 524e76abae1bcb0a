"""Recomputation: the same numbers with less memory."""

from __future__ import annotations

import functools
import tracemalloc
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.autograd import grad
from nyala.errors import GradError
from nyala.testing import gradcheck, gradgradcheck
from nyala.utils.checkpoint import checkpoint


def leaf(*values: float) -> nyala.Tensor:
    return nyala.tensor(values if len(values) > 1 else values[0], dtype="float64", requires_grad=True)


def values(t: Any) -> list[float]:
    return np.atleast_1d(t.detach().numpy()).tolist()


class TestCheckpoint:
    def test_values_and_gradients_are_the_same(self) -> None:
        x = leaf(0.3, -0.7)
        plain = (x.exp() * x).sin().sum()
        (expected,) = grad(plain, x)
        out = checkpoint(lambda t: (t.exp() * t).sin(), x).sum()
        assert values(out) == values(plain)
        out.backward()
        assert np.array_equal(x.grad.numpy(), expected.numpy())
        assert gradcheck(lambda t: checkpoint(lambda u: u.exp() * u, t), x)
        assert gradgradcheck(lambda t: checkpoint(lambda u: u.exp() * u, t), x)

    @pytest.mark.parametrize("how", ["module", "method", "closure", "partial"])
    def test_dropout_is_replayed_and_parameters_get_their_gradients(self, how: str) -> None:
        layer = nyala.nn.Sequential(nyala.nn.Linear(4, 4), nyala.nn.Dropout(0.5))
        x = nyala.ones(3, 4, requires_grad=True)
        function = {
            "module": layer,
            "method": layer.forward,
            "closure": lambda t: layer(t),
            "partial": functools.partial(lambda module, t: module(t), layer),
        }[how]
        results = []
        for run in (lambda: layer(x), lambda: checkpoint(function, x)):
            nyala.manual_seed(3)
            layer.zero_grad()
            x.grad = None
            out = run()
            nyala.rand(5)  # the stream moves on before the block runs again
            (out * out).sum().backward()
            results.append([out.detach().numpy(), x.grad.numpy(), layer[0].weight.grad.numpy(), layer[0].bias.grad.numpy()])
        for a, b in zip(*results, strict=True):
            assert np.array_equal(a, b)

    def test_the_stream_goes_on_undisturbed(self) -> None:
        nyala.manual_seed(1)
        x = nyala.ones(4, requires_grad=True)
        out = checkpoint(lambda t: t * nyala.rand(4), x)
        following = nyala.rand(2).numpy()
        nyala.manual_seed(1)
        nyala.rand(4)
        assert np.array_equal(following, nyala.rand(2).numpy())
        out.sum().backward()

    def test_activations_are_not_kept(self) -> None:
        def block(t: nyala.Tensor) -> nyala.Tensor:
            for _ in range(20):
                t = t.tanh()
            return t

        def kept(run: Any) -> int:
            x = nyala.ones(50_000, requires_grad=True)
            tracemalloc.start()
            out = run(x)
            size, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            out.sum().backward()
            return size

        assert kept(lambda x: checkpoint(block, x)) < kept(block) / 5

    def test_a_lost_gradient_is_an_error(self) -> None:
        x, hidden = leaf(1, 2), [[leaf(3, 4)]]
        outside = hidden[0][0] * 2
        with pytest.raises(GradError, match=r"not among its arguments.*pass the tensor"):
            checkpoint(lambda t: t * outside, x).sum().backward()
        with pytest.raises(GradError, match=r"tensor of shape \(2,\)"):
            checkpoint(lambda t: t * hidden[0][0], x).sum().backward()

    def test_several_results_and_plain_arguments(self) -> None:
        x, y = leaf(1, 2), leaf(3, 4)
        a, b = checkpoint(lambda t, n, u: (t * n, t * u), x, 3, y)
        (a.sum() + (b * b).sum()).backward()
        assert values(x.grad) == [3 + 18, 3 + 64] and values(y.grad) == [6, 32]

    def test_without_gradients_it_only_calls(self) -> None:
        with nyala.no_grad():
            assert checkpoint(lambda t: t * 2, leaf(1)).grad_fn is None


@pytest.mark.parametrize("layer", ["batch", "instance", "spectral"])
def test_what_a_layer_counts_is_counted_once(layer: str) -> None:
    """Running statistics and power iterations of the second pass would be those of a batch that came twice."""
    x = nyala.tensor(np.random.default_rng(1).normal(2.0, 3.0, (6, 4)).astype(np.float32))

    def after(checkpointed: bool) -> dict[str, bytes]:
        nyala.manual_seed(4)
        made = {
            "batch": lambda: nn.BatchNorm1d(4),
            "instance": lambda: nn.Sequential(nn.Unflatten(1, (2, 2)), nn.InstanceNorm1d(2, track_running_stats=True)),
            "spectral": lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 4)), nn.ReLU()),
        }[layer]()
        net = nn.Sequential(nn.Linear(4, 4), made)
        net[1].checkpoint_(checkpointed)
        for _ in range(3):
            net.zero_grad()
            net(x).square().sum().backward()
        state = {n: t.numpy().tobytes() for n, t in net.state_dict().items()}
        return state | {f"{n}.grad": p.grad.numpy().tobytes() for n, p in net.named_parameters() if p.grad is not None}

    assert after(True) == after(False)
