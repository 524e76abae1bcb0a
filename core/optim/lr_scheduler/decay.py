"""Rates that fall: in steps, exponentially, as a polynomial."""

from __future__ import annotations

from collections.abc import Iterable

from .. import checks
from ..optimizer import Optimizer
from .base import LRScheduler


class StepLR(LRScheduler):
    """The rate times ``gamma`` every ``step_size`` steps.

    Example:
        >>> import nyala
        >>> optimizer = nyala.optim.SGD([nyala.nn.Parameter(nyala.ones(1))], lr=1.0)
        >>> schedule, rates = StepLR(optimizer, step_size=2, gamma=0.5), []
        >>> for _ in range(5):
        ...     rates += schedule.get_last_lr()
        ...     optimizer.step()
        ...     schedule.step()
        >>> rates
        [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        checks.whole("step_size", step_size)
        checks.number("gamma", gamma)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self.last_epoch % self.step_size:
            return self.rates()
        return [rate * self.gamma for rate in self.rates()]

    def _closed_form(self) -> list[float]:
        return [base * self.gamma ** (self.last_epoch // self.step_size) for base in self.base_lrs]


class MultiStepLR(LRScheduler):
    """The rate times ``gamma`` at each of ``milestones``; one named twice counts twice.

    Example:
        >>> import nyala
        >>> optimizer = nyala.optim.SGD([nyala.nn.Parameter(nyala.ones(1))], lr=1.0)
        >>> schedule, rates = MultiStepLR(optimizer, [1, 3], gamma=0.5), []
        >>> for _ in range(4):
        ...     rates += schedule.get_last_lr()
        ...     optimizer.step()
        ...     schedule.step()
        >>> rates
        [1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        for i, milestone in enumerate(self.milestones):
            checks.whole(f"milestones[{i}]", milestone, low=0)
        checks.number("gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        times = self.milestones.count(self.last_epoch)
        return [rate * self.gamma**times for rate in self.rates()] if times else self.rates()

    def _closed_form(self) -> list[float]:
        passed = sum(milestone <= self.last_epoch for milestone in self.milestones)
        return [base * self.gamma**passed for base in self.base_lrs]


class ExponentialLR(LRScheduler):
    """The rate times ``gamma`` in each step.

    Example:
        >>> import nyala
        >>> optimizer = nyala.optim.SGD([nyala.nn.Parameter(nyala.ones(1))], lr=1.0)
        >>> schedule, rates = ExponentialLR(optimizer, gamma=0.5), []
        >>> for _ in range(3):
        ...     rates += schedule.get_last_lr()
        ...     optimizer.step()
        ...     schedule.step()
        >>> rates
        [1.0, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        checks.number("gamma", gamma)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self.rates() if self._is_initial else [rate * self.gamma for rate in self.rates()]

    def _closed_form(self) -> list[float]:
        return [base * self.gamma**self.last_epoch for base in self.base_lrs]


class PolynomialLR(LRScheduler):
    """The rate times (1 - step / total_iters) ** power; 0 from ``total_iters`` on.

    Example:
        >>> import nyala
        >>> optimizer = nyala.optim.SGD([nyala.nn.Parameter(nyala.ones(1))], lr=1.0)
        >>> schedule, rates = PolynomialLR(optimizer, total_iters=4), []
        >>> for _ in range(6):
        ...     rates += schedule.get_last_lr()
        ...     optimizer.step()
        ...     schedule.step()
        >>> [round(rate, 9) for rate in rates]
        [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        checks.whole("total_iters", total_iters)
        checks.number("power", power)
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self._is_initial or self.last_epoch > self.total_iters:
            return self.rates()
        now, before = 1 - self.last_epoch / self.total_iters, 1 - (self.last_epoch - 1) / self.total_iters
        return [rate * (now / before) ** self.power for rate in self.rates()]

    def _closed_form(self) -> list[float]:
        left = 1 - min(self.total_iters, self.last_epoch) / self.total_iters
        return [base * left**self.power for base in self.base_lrs]
