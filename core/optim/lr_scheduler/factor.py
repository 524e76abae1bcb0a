"""Rates times a factor: a constant for a while, a straight line, any function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...errors import ArgumentError
from .. import checks
from ..optimizer import Optimizer
from .base import LRScheduler, check_optimizer


class ConstantLR(LRScheduler):
    """The rate times ``factor`` for the first ``total_iters`` steps.

    Example:
        >>> import nyala
        >>> optimizer = nyala.optim.SGD([nyala.nn.Parameter(nyala.ones(1))], lr=1.0)
        >>> schedule, rates = ConstantLR(optimizer, factor=0.5, total_iters=2), []
        >>> for _ in range(3):
        ...     rates += schedule.get_last_lr()
        ...     optimizer.step()
        ...     schedule.step()
        >>> rates
        [0.5, 0.5, 1.0]
    """

    def __init__(self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        checks.number("factor", factor, above=0.0, high=1.0)
        checks.whole("total_iters", total_iters, low=0)
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [rate * self.factor for rate in self.rates()]
        if self.last_epoch != self.total_iters:
            return self.rates()
        return [rate * (1.0 / self.factor) for rate in self.rates()]

    def _closed_form(self) -> list[float]:
        return [base * (self.factor if self.last_epoch < self.total_iters else 1.0) for base in self.base_lrs]


class LinearLR(LRScheduler):
    """The rate times a factor that goes from ``start_factor`` to ``end_factor`` in ``total_iters`` steps.

    Example:
        >>> import nyala
        >>> optimizer = nyala.optim.SGD([nyala.nn.Parameter(nyala.ones(1))], lr=1.0)
        >>> schedule, rates = LinearLR(optimizer, start_factor=0.25, total_iters=3), []
        >>> for _ in range(5):
        ...     rates += schedule.get_last_lr()
        ...     optimizer.step()
        ...     schedule.step()
        >>> [round(rate, 9) for rate in rates]
        [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        checks.number("start_factor", start_factor, above=0.0, high=1.0)
        checks.number("end_factor", end_factor, high=1.0)
        checks.whole("total_iters", total_iters)
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [rate * self.start_factor for rate in self.rates()]
        if self._is_initial or self.last_epoch > self.total_iters:
            return self.rates()
        rise = self.end_factor - self.start_factor
        growth = 1.0 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise)
        return [rate * growth for rate in self.rates()]

    def _closed_form(self) -> list[float]:
        done = min(self.total_iters, self.last_epoch) / self.total_iters
        return [base * (self.start_factor + (self.end_factor - self.start_factor) * done) for base in self.base_lrs]


class LambdaLR(LRScheduler):
    """The rate a group started from, times a function of the step.

    Args:
        optimizer: whose groups are set.
        lr_lambda: step -> factor; one function for all groups, or a list of one each. Functions are not saved.
        last_epoch: -1 begins anew.

    Example:
        >>> import nyala
        >>> optimizer = nyala.optim.SGD([nyala.nn.Parameter(nyala.ones(1))], lr=1.0)
        >>> schedule, rates = LambdaLR(optimizer, lambda step: 1 / (step + 1)), []
        >>> for _ in range(3):
        ...     rates += schedule.get_last_lr()
        ...     optimizer.step()
        ...     schedule.step()
        >>> [round(rate, 4) for rate in rates]
        [1.0, 0.5, 0.3333]
    """

    _NOT_STATE = ("optimizer", "lr_lambdas")

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]], last_epoch: int = -1
    ) -> None:
        check_optimizer("LambdaLR", optimizer)
        count = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * count if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != count:
            raise ArgumentError(
                f"LambdaLR: {len(self.lr_lambdas)} functions for {count} parameter groups", fix="pass one, or one a group"
            )
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * function(self.last_epoch) for base, function in zip(self.base_lrs, self.lr_lambdas, strict=True)]
