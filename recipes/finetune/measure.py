"""What a batch takes in memory, before any is tried: enough to choose its size by. ``nyala plan`` measures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...core.autograd import no_grad
from ...core.nn import Module
from ...core.tensor import Tensor

_KEPT = 2.0  # bytes held at the peak for each byte that layers give out: the outputs themselves, and gradients on the way back
SHARE = 0.5  # of the free memory that a run may plan with


def activations(model: Module, call: Callable[[], Any]) -> int:
    """Bytes that the layers without layers inside give out while ``call`` runs the model.

    Example:
        >>> import nyala
        >>> from nyala import nn
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        >>> activations(net, lambda: net(nyala.zeros((2, 4))))
        128
    """
    given = [0]

    def count(module: Module, inputs: Any, output: Any) -> None:  # noqa: ARG001 - a hook's signature
        if isinstance(output, Tensor):
            given[0] += output.numel() * output.dtype.itemsize

    leaves = [module for module in model.modules() if not list(module.children())]
    handles = [module.register_forward_hook(count) for module in leaves]
    was = model.training
    try:
        model.eval()
        with no_grad():
            _ = call()
    finally:
        model.train(was)
        for handle in handles:
            handle.remove()
    return given[0]


def needed(model: Module, per_sample: int, batch: int) -> int:
    """Bytes that training takes: weights, gradients, Adam's two averages of what learns, and a batch's activations."""
    weights = sum(p.numel() * p.dtype.itemsize for p in model.parameters())
    learning = sum(p.numel() * p.dtype.itemsize for p in model.parameters() if p.requires_grad)
    return int(weights + 3 * learning + _KEPT * per_sample * batch)


def fitting(model: Module, per_sample: int, batch: int, memory: int) -> int:
    """The batch size, halved until it fits into its share of ``memory``; at least 1."""
    while batch > 1 and needed(model, per_sample, batch) > SHARE * memory:
        batch //= 2
    return batch
