"""Several schedules on one optimizer: one after another, or at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import ArgumentError, CheckpointError
from ...tracing import as_one
from .. import checks
from ..optimizer import Optimizer
from .base import LRScheduler, check_optimizer
from .plateau import ReduceLROnPlateau


class _Combined(LRScheduler):
    """What both share: the parts, and their states."""

    _NOT_STATE = ("optimizer", "_schedulers")
    _schedulers: list[LRScheduler]

    def _take(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler]) -> None:
        name = type(self).__name__
        check_optimizer(name, optimizer)
        for i, part in enumerate(schedulers):
            if isinstance(part, ReduceLROnPlateau):
                raise ArgumentError(
                    f"{name}: schedule {i} is ReduceLROnPlateau", why="its step needs a metric", fix="step it by itself"
                )
            if part.optimizer is not optimizer:
                raise ArgumentError(f"{name}: schedule {i} is of another optimizer", fix="make all of them for one optimizer")
        self.optimizer, self._schedulers = optimizer, list(schedulers)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "_schedulers": [part.state_dict() for part in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        given = state_dict.get("_schedulers", ())
        if len(given) != len(self._schedulers):
            raise CheckpointError(
                f"the state is of {len(given)} schedules, this {type(self).__name__} has {len(self._schedulers)}",
                fix="build it as it was when the state was saved",
            )
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for part, state in zip(self._schedulers, given, strict=True):
            part.load_state_dict(state)


class SequentialLR(_Combined):
    """One schedule after another: at each of ``milestones`` the next takes over, from its own step 0.

    Args:
        optimizer: whose groups are set.
        schedulers: made for the same optimizer, in the order of their turns.
        milestones: the step at which each but the first begins.
        last_epoch: -1 begins anew.

    Raises:
        ArgumentError: milestones that do not fit, schedules of other optimizers, or one that needs a metric.

    Example:
        >>> import nyala
        >>> from nyala.optim.lr_scheduler import ExponentialLR, LinearLR
        >>> optimizer = nyala.optim.SGD([nyala.nn.Parameter(nyala.ones(1))], lr=1.0)
        >>> parts = [LinearLR(optimizer, start_factor=0.5, total_iters=2), ExponentialLR(optimizer, gamma=0.1)]
        >>> schedule, rates = SequentialLR(optimizer, parts, milestones=[2]), []
        >>> for _ in range(4):
        ...     rates += schedule.get_last_lr()
        ...     optimizer.step()
        ...     schedule.step()
        >>> [round(rate, 9) for rate in rates]
        [0.5, 0.75, 1.0, 0.1]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        self._take(optimizer, schedulers)
        if not schedulers or len(milestones) != len(schedulers) - 1 or list(milestones) != sorted(milestones):
            raise ArgumentError(
                f"SequentialLR: milestones {list(milestones)} for {len(schedulers)} schedules",
                fix="name the step at which each but the first begins, in rising order",
            )
        for i, milestone in enumerate(milestones):
            checks.whole(f"milestones[{i}]", milestone, low=0)
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        _undo(self)  # each part made its first step when it was built; only the first in turn may
        current = self._schedulers[bisect_right(self._milestones, 0)]
        current._initial_step()
        self._last_lr = current.get_last_lr()

    @as_one(host=True)
    def step(self) -> None:
        """Go on by one step of the schedule whose turn it is."""
        self.last_epoch += 1
        number = bisect_right(self._milestones, self.last_epoch)
        part = self._schedulers[number]
        if number > 0 and self._milestones[number - 1] == self.last_epoch:
            part._restart()
        else:
            part.step()
        self._last_lr = part.get_last_lr()


class ChainedScheduler(_Combined):
    """Several schedules at once: their factors multiply.

    Args:
        schedulers: made for the same optimizer.
        optimizer: theirs, if not given.

    Raises:
        ArgumentError: no schedules, schedules of other optimizers, or one that needs a metric.

    Example:
        >>> import nyala
        >>> from nyala.optim.lr_scheduler import ConstantLR, ExponentialLR
        >>> optimizer = nyala.optim.SGD([nyala.nn.Parameter(nyala.ones(1))], lr=1.0)
        >>> parts = [ConstantLR(optimizer, factor=0.5, total_iters=2), ExponentialLR(optimizer, gamma=0.1)]
        >>> schedule, rates = ChainedScheduler(parts), []
        >>> for _ in range(3):
        ...     rates += schedule.get_last_lr()
        ...     optimizer.step()
        ...     schedule.step()
        >>> [round(rate, 9) for rate in rates]
        [0.5, 0.05, 0.01]
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if not schedulers:
            raise ArgumentError("ChainedScheduler of no schedules", fix="pass at least one")
        self._take(schedulers[0].optimizer if optimizer is None else optimizer, schedulers)
        self._last_lr = self.rates()

    @as_one(host=True)
    def step(self) -> None:
        """Go on by one step of every schedule."""
        for part in self._schedulers:
            part.step()
        self._last_lr = self.rates()


def _undo(schedule: LRScheduler) -> None:
    for part in schedule.__dict__.get("_schedulers", ()):
        if isinstance(part, _Combined):
            _undo(part)
        else:
            part.last_epoch -= 1
