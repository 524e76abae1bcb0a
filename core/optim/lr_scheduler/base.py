"""``LRScheduler``: counting steps, setting rates, saving and loading."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import ArgumentError, CheckpointError, kind_of
from ...tracing import as_one
from ..optimizer import Group, Optimizer


class LRScheduler:
    """Base of the schedules: a subclass gives the rates of the groups at ``self.last_epoch`` in ``get_lr``.

    Args:
        optimizer: whose groups are set; each remembers the rate it starts from as ``group["initial_lr"]``.
        last_epoch: how many steps were made, less one: -1 begins anew.

    Attributes:
        last_epoch: the steps made since the start.
        base_lrs: the rates the groups started from.

    Raises:
        ArgumentError: no optimizer, or one whose groups never had a schedule where ``last_epoch`` continues one.

    Example:
        >>> import nyala
        >>> class Halving(LRScheduler):
        ...     def get_lr(self):
        ...         return [base * 0.5**self.last_epoch for base in self.base_lrs]
        >>> optimizer = nyala.optim.SGD([nyala.nn.Parameter(nyala.ones(1))], lr=1.0)
        >>> schedule = Halving(optimizer)
        >>> optimizer.step()
        >>> schedule.step()
        >>> schedule.get_last_lr()
        [0.5]
    """

    _NOT_STATE: tuple[str, ...] = ("optimizer",)
    _is_initial = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(type(self).__name__, optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ArgumentError(
                    f"{type(self).__name__}: parameter group {i} has no initial_lr, and last_epoch is {last_epoch}",
                    why="a schedule can go on only where one began",
                    fix="load the optimizer's state first, or begin with last_epoch=-1",
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            del self._is_initial

    def get_lr(self) -> list[float]:
        """The rate of each group at ``last_epoch``, from the rates as they are or from ``base_lrs``."""
        raise NotImplementedError

    def _closed_form(self) -> list[float]:
        """The rates at ``last_epoch`` from ``base_lrs`` alone."""
        return self.get_lr()

    def rates(self) -> list[float]:
        """The rates of the groups as they are now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    @as_one(host=True)
    def step(self) -> None:
        """Go on by one step; to be called after the optimizer's ``step()``."""
        if self._step_count == 1 and not self.optimizer._steps:
            warnings.warn(
                f"{type(self).__name__}.step() was called before the first optimizer.step(): the first rate is skipped. "
                "Remedy: call optimizer.step() first",
                UserWarning,
                stacklevel=2,
            )
        self._step_count += 1
        self.last_epoch += 1
        self._set(self.get_lr())

    def _restart(self) -> None:
        """Go to step 0, for a schedule whose turn comes after another's."""
        self.last_epoch = 0
        self._set(self._closed_form())

    def _set(self, rates: Sequence[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = list(rates)

    def get_last_lr(self) -> list[float]:
        """The rates set last."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """Numbers, strings and lists alone, so that it can be written as JSON. The rates are in the optimizer's state."""
        return {k: copy.deepcopy(v) for k, v in self.__dict__.items() if k not in self._NOT_STATE}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` gave.

        Raises:
            CheckpointError: the state of another kind of schedule.
        """
        own = {k for k in self.__dict__ if k not in self._NOT_STATE}
        odd = sorted(own ^ set(state_dict))
        if odd:
            raise CheckpointError(
                f"the state does not fit {type(self).__name__}: {odd[:5]} only on one side",
                why="it is of another schedule",
                fix="build the schedule that was saved",
            )
        self.__dict__.update(copy.deepcopy(dict(state_dict)))


def check_optimizer(name: str, optimizer: Any) -> None:
    """Asks for an optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(f"{name} was given {kind_of(optimizer)}", fix="pass the optimizer first")


def each(name: str, value: float | Sequence[float], groups: Sequence[Group]) -> list[float]:
    """One number for each group: the same for all, or those of a list."""
    if not isinstance(value, (list, tuple)):
        return [value] * len(groups)  # type: ignore[list-item]
    if len(value) != len(groups):
        raise ArgumentError(
            f"{name} has {len(value)} numbers for {len(groups)} parameter groups", fix="pass one number, or one a group"
        )
    return list(value)
