"""What one update costs: memory before it is tried, time by trying it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ...core.autograd import no_grad
from ...core.nn import Module
from ...core.tensor import Tensor
from .. import batches, freezing, steps
from ..schema import Recipe
from ..setup import Setup

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


def seconds(setup: Setup, recipe: Recipe, tries: int = 2) -> tuple[float, float]:
    """Seconds of one update, and of the evaluation of one sample. The model of ``setup`` is changed by it.

    Args:
        setup: built from ``recipe``, and thrown away afterwards.
        recipe: says the batch size.
        tries: updates that are timed; one before them, which compiles kernels and makes room, is not.
    """
    loader = iter(batches.for_training(setup.source.train, setup.task, recipe, 0, 0))
    taken: list[float] = []
    for number in range(tries + 1):
        group = [b for b in (next(loader, None) for _ in range(recipe.train.accumulate)) if b is not None]
        if not group:
            break
        freezing.train_mode(setup.model)
        start = time.perf_counter()
        steps.update(setup.model, setup.optimizers, group, recipe.train, setup.objective, (recipe.seed, number))
        taken.append(time.perf_counter() - start)
    return float(np.median(taken[1:] or taken)), _evaluation(setup, recipe)


def _evaluation(setup: Setup, recipe: Recipe) -> float:
    setup.model.eval()
    for batch in batches.for_evaluation(setup.source.test, setup.task, recipe):
        start = time.perf_counter()
        with no_grad():
            _ = setup.objective.outputs(setup.model, batch.inputs)
        return (time.perf_counter() - start) / len(batch)
    return 0.0


def updates_within(budget: float, update: float, sample: float, validation: int, test: int, per_epoch: int) -> int:
    """Updates that fit into ``budget`` seconds, a tenth of it kept for loading and writing.

    Example:
        >>> updates_within(60, update=0.5, sample=0.01, validation=100, test=400, per_epoch=10)
        83
    """
    left = 0.9 * budget - test * sample
    return int(left / (update + validation * sample / per_epoch))
