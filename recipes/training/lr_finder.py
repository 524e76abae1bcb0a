"""The learning-rate range test (Smith 2015): a short training whose rate grows step by step, and the rate its curve suggests.

Weights, data and batches are those of the recipe's run; nothing of it is kept but the curve.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ...core.errors import ArgumentError
from ..data import batches
from ..data.batches import Batch
from ..language.schema import Recipe
from ..progress import Progress
from . import freezing, steps
from .setup import Setup, prepare
from .watchdog import DivergenceError

SMOOTHING = 0.9  # of the running mean; its start is corrected as Adam's is
EXPLOSION = 4.0  # times the lowest smoothed loss: the sweep ends there
LEAST_FALL = 0.05  # of the loss at the start: a curve that falls less suggests nothing
RULE = "where the smoothed loss falls fastest per decade of the rate, at most a tenth of the rate of its minimum"


@dataclass(frozen=True)
class Point:
    """One step of the sweep: its rate, its loss, and the running mean of the losses."""

    lr: float
    loss: float
    smoothed: float


@dataclass(frozen=True)
class Curve:
    """What a sweep found.

    Attributes:
        points: in the order of the steps.
        suggestion: a rate by ``RULE``, or None where the loss did not fall.
        lowest: the rate at the minimum of the smoothed loss.
        ended: why the sweep ended.
    """

    points: list[Point] = field(default_factory=list)
    suggestion: float | None = None
    lowest: float | None = None
    ended: str = ""


def sweep(recipe: Recipe, progress: Progress | None = None, *, count: int = 100, low: float = 1e-7, high: float = 1.0) -> Curve:
    """Trains for ``count`` steps at rates growing by the same factor from ``low`` to ``high``.

    The recipe's schedule and gradual unfreezing are left out; layer decay and ``lr_scale`` hold. The sweep ends early where the
    smoothed loss is above four times its minimum, or no longer finite.

    Args:
        recipe: as for a run; its optimizer's ``lr`` is the one looked for.
        progress: shows the steps.
        count: steps, at least 10.
        low, high: the first and the last rate.

    Raises:
        ArgumentError: rates or a number of steps that make no sweep.
    """
    if count < 10 or not 0 < low < high < math.inf:
        raise ArgumentError(
            f"a sweep of {count} steps from {low:g} to {high:g}", fix="use at least 10 steps, and rates with 0 < low < high"
        )
    progress = progress or Progress()
    progress.phase("loading data and weights")
    setup = prepare(recipe)
    progress.start(count, 0)
    points: list[Point] = []
    mean, least, ended = 0.0, math.inf, f"the last rate, {high:g}, was reached"
    for step, parts in zip(range(count), groups(setup, recipe), strict=False):
        rate = low * (high / low) ** (step / (count - 1))
        try:
            loss = one_step(setup, recipe, parts, step, rate)
        except DivergenceError as error:
            ended = f"{error.cause}"
            break
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        smoothed = mean / (1 - SMOOTHING ** (step + 1))
        points.append(Point(rate, loss, smoothed))
        progress.step({"step": step + 1, "loss": loss, "lr": rate})
        least = min(least, smoothed)
        if step >= count // 10 and smoothed > EXPLOSION * least:
            ended = f"the smoothed loss is above {EXPLOSION:g} times its minimum"
            break
    lowest, suggestion = suggest(points)
    return Curve(points, suggestion, lowest, ended)


def groups(setup: Setup, recipe: Recipe) -> Iterator[list[Batch]]:
    """The batches of each update, epoch after epoch without end."""
    epoch = 0
    while True:
        group: list[Batch] = []
        for batch in batches.for_training(setup.source.train, setup.task, recipe, epoch, 0):
            group.append(batch)
            if len(group) == recipe.train.accumulate:
                yield group
                group = []
        if group:
            yield group
        epoch += 1


def one_step(setup: Setup, recipe: Recipe, parts: list[Batch], step: int, rate: float) -> float:
    """One update at ``rate``; returns its loss."""
    for optimizer, base in zip(setup.optimizers, setup.base_rates, strict=True):
        for group, own in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = own / recipe.optim.lr * rate
    freezing.train_mode(setup.model)
    key = (recipe.seed, step)
    return steps.update(setup.model, setup.optimizers, parts, recipe.train, setup.objective, key, scaler=setup.scaler).loss


def suggest(points: list[Point]) -> tuple[float | None, float | None]:
    """The rate of the smoothed loss's minimum, and the rate to use by ``RULE``.

    Example:
        >>> falling = [Point(10.0**-k, loss, loss) for k, loss in zip((6, 5, 4, 3, 2, 1), (2.0, 2.0, 1.5, 0.7, 0.6, 3.0))]
        >>> suggest(falling)
        (0.01, 0.0001)
    """
    if len(points) < 5:
        return None, None
    bottom = min(range(len(points)), key=lambda i: points[i].smoothed)
    lowest = points[bottom].lr
    first = points[: max(1, len(points) // 5)]  # one batch alone says little
    if points[bottom].smoothed > (1 - LEAST_FALL) * sum(p.loss for p in first) / len(first):
        return lowest, None
    wide = max(1, len(points) // 20)  # slopes are taken over a tenth of the sweep: neighbours are mostly noise
    begin, end = max(wide, len(points) // 10), min(bottom + 1, len(points) - wide)
    fall = {i: _slope(points[i - wide], points[i + wide]) for i in range(begin, end)}
    steepest = points[min(fall, key=fall.__getitem__)].lr if fall else lowest
    return lowest, min(steepest, lowest / 10)


def _slope(a: Point, b: Point) -> float:
    return (b.smoothed - a.smoothed) / (math.log10(b.lr) - math.log10(a.lr))


def ceiling(points: list[Point]) -> float:
    """The highest smoothed loss up to the minimum, and a little above: what a picture shows; an explosion goes through it."""
    bottom = min(range(len(points)), key=lambda i: points[i].smoothed)
    most = max(p.smoothed for p in points[: bottom + 1])
    return max(most, min(max(p.smoothed for p in points), most + 0.5 * (most - points[bottom].smoothed)))


def as_json(curve: Curve) -> dict[str, Any]:
    """The curve for a program."""
    return {
        "suggestion": curve.suggestion,
        "rule": RULE,
        "lowest": curve.lowest,
        "ended": curve.ended,
        "points": [{"lr": p.lr, "loss": p.loss, "smoothed": p.smoothed} for p in curve.points],
    }


def table(curve: Curve, rows: int = 16) -> str:
    """Every few points of the curve, with the smoothed loss as a bar.

    Example:
        >>> print(table(Curve([Point(0.01, 2.0, 2.0), Point(0.1, 1.0, 1.5)])))
        rate      loss      smoothed
        1.0e-02   2         2         ########################################
        1.0e-01   1         1.5       ##############################
    """
    if not curve.points:
        return "no step was made"
    every = max(1, math.ceil(len(curve.points) / rows))
    shown = curve.points[::every]
    top = ceiling(curve.points) or 1.0
    lines = [f"{'rate':<8}  {'loss':<8}  {'smoothed':<8}".rstrip()]
    lines += [f"{p.lr:<8.1e}  {p.loss:<8.4g}  {p.smoothed:<8.4g}  {_bar(p.smoothed / top)}".rstrip() for p in shown]
    return "\n".join(lines)


def _bar(share: float) -> str:
    return "#" * round(40 * share) if share <= 1 else "#" * 40 + ">"
