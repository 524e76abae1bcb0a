"""One cycle: the rate up and far down again, the momentum the other way round."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ...errors import ArgumentError
from .. import checks
from ..optimizer import Group, Optimizer
from .base import LRScheduler, check_optimizer, each


class _Phase(NamedTuple):
    """A stretch of the cycle: the step it ends at, and between which settings of a group rate and momentum move."""

    end: float
    lr: tuple[str, str]
    momentum: tuple[str, str]


class OneCycleLR(LRScheduler):
    """Up to ``max_lr`` and down again in one cycle (Smith and Topin, arXiv:1708.07120), as torch's. Step it every batch.

    Args:
        optimizer: whose groups are set.
        max_lr: the top; one number, or one a group.
        total_steps: the length of the cycle; or give ``epochs`` and ``steps_per_epoch``.
        epochs: with ``steps_per_epoch``, the length.
        steps_per_epoch: with ``epochs``, the length.
        pct_start: the share of the cycle that goes up, 0 to 1.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: move the momentum (or the first beta) between ``max_momentum`` and ``base_momentum``.
        base_momentum: the momentum at the top of the rate.
        max_momentum: the momentum at both ends.
        div_factor: the rate starts at ``max_lr / div_factor``.
        final_div_factor: and ends at its start over ``final_div_factor``.
        three_phase: come down to the start first, then to the end.
        last_epoch: -1 begins anew.

    Raises:
        ArgumentError: no length, a share or a name that makes no sense, an optimizer without momentum, or a step past the end.

    Example:
        >>> import nyala
        >>> optimizer = nyala.optim.SGD([nyala.nn.Parameter(nyala.ones(1))], lr=1.0, momentum=0.9)
        >>> schedule, rates = OneCycleLR(optimizer, max_lr=1.0, total_steps=5, pct_start=0.6, anneal_strategy="linear"), []
        >>> for _ in range(5):
        ...     rates += schedule.get_last_lr()
        ...     optimizer.step()
        ...     schedule.step()
        >>> [round(rate, 4) for rate in rates]
        [0.04, 0.52, 1.0, 0.5, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("OneCycleLR", optimizer)
        checks.number("pct_start", pct_start, high=1.0)
        checks.number("div_factor", div_factor, above=0.0)
        checks.number("final_div_factor", final_div_factor, above=0.0)
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(f"OneCycleLR: anneal_strategy={anneal_strategy!r}", fix="use 'cos' or 'linear'")
        if cycle_momentum and not {"momentum", "betas"} & set(optimizer.defaults):
            raise ArgumentError(f"OneCycleLR: {type(optimizer).__name__} has no momentum", fix="pass cycle_momentum=False")
        self.total_steps = _length(total_steps, epochs, steps_per_epoch)
        self.pct_start, self.three_phase = pct_start, three_phase
        self.anneal_strategy, self.cycle_momentum = anneal_strategy, cycle_momentum
        if last_epoch == -1:
            _mark(optimizer.param_groups, "max_lr", max_lr)
            for group in optimizer.param_groups:
                group["initial_lr"] = group["max_lr"] / div_factor
                group["min_lr"] = group["initial_lr"] / final_div_factor
            if cycle_momentum:
                _mark(optimizer.param_groups, "base_momentum", base_momentum)
                _mark(optimizer.param_groups, "max_momentum", max_momentum)
        super().__init__(optimizer, last_epoch)

    def _phases(self) -> list[_Phase]:
        up, last = self.pct_start * self.total_steps - 1, self.total_steps - 1
        momentum_down, momentum_up = ("max_momentum", "base_momentum"), ("base_momentum", "max_momentum")
        rise = _Phase(up, ("initial_lr", "max_lr"), momentum_down)
        if not self.three_phase:
            return [rise, _Phase(last, ("max_lr", "min_lr"), momentum_up)]
        fall = _Phase(2 * up, ("max_lr", "initial_lr"), momentum_up)
        return [rise, fall, _Phase(last, ("initial_lr", "min_lr"), ("max_momentum", "max_momentum"))]

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:
            raise ArgumentError(
                f"OneCycleLR: step {self.last_epoch} of a cycle of {self.total_steps}",
                fix="make the cycle as long as the training, and step it once an update",
            )
        start, phases = 0.0, self._phases()
        while len(phases) > 1 and self.last_epoch > phases[0].end:
            start = phases.pop(0).end
        phase = phases[0]
        share = (self.last_epoch - start) / (phase.end - start) if phase.end != start else 1.0
        groups = self.optimizer.param_groups
        if self.cycle_momentum:
            for group in groups:
                _set_momentum(group, self._between(group, phase.momentum, share))
        return [self._between(group, phase.lr, share) for group in groups]

    def _between(self, group: Group, names: tuple[str, str], share: float) -> float:
        start, end = group[names[0]], group[names[1]]
        if self.anneal_strategy == "linear":
            return start + (end - start) * share
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _length(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total_steps is not None:
        checks.whole("total_steps", total_steps)
        return total_steps
    if epochs is None or steps_per_epoch is None:
        raise ArgumentError("OneCycleLR was given no length", fix="pass total_steps, or epochs and steps_per_epoch")
    checks.whole("epochs", epochs)
    checks.whole("steps_per_epoch", steps_per_epoch)
    return epochs * steps_per_epoch


def _mark(groups: Sequence[Group], name: str, value: float | Sequence[float]) -> None:
    for group, one in zip(groups, each(name, value, groups), strict=True):
        group[name] = one


def _set_momentum(group: Group, value: float) -> None:
    if "betas" in group:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value
