"""Rates that fall when a metric stands still."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...errors import ArgumentError
from ...tracing import as_one
from .. import checks
from ..optimizer import Optimizer
from .base import LRScheduler, check_optimizer, each


class ReduceLROnPlateau(LRScheduler):
    """The rate times ``factor`` when a metric has not improved for more than ``patience`` steps; give it to ``step(metric)``.

    Args:
        optimizer: whose groups are set.
        mode: "min" where less is better, "max" where more is.
        factor: what the rate is multiplied by, below 1.
        patience: steps without improvement that are let pass.
        threshold: how much better counts as better.
        threshold_mode: "rel" for a share of the best, "abs" for a difference.
        cooldown: steps after a reduction in which nothing is counted.
        min_lr: lower bound; one number, or one a group.
        eps: smaller changes of the rate are left out.

    Raises:
        ArgumentError: a number out of range or an unknown mode.

    Example:
        >>> import nyala
        >>> optimizer = nyala.optim.SGD([nyala.nn.Parameter(nyala.ones(1))], lr=1.0)
        >>> schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
        >>> for loss in (1.0, 1.0, 1.0):
        ...     schedule.step(loss)
        >>> schedule.get_last_lr()
        [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        check_optimizer("ReduceLROnPlateau", optimizer)
        checks.number("factor", factor, below=1.0)
        for name, value in (("patience", patience), ("cooldown", cooldown)):
            checks.whole(name, value, low=0)
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ArgumentError(
                f"ReduceLROnPlateau: mode={mode!r}, threshold_mode={threshold_mode!r}",
                fix="use 'min' or 'max', and 'rel' or 'abs'",
            )
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        self.min_lrs = each("min_lr", min_lr, optimizer.param_groups)
        self.best: float | None = None
        self.cooldown_counter = self.num_bad_epochs = self.last_epoch = 0
        self._last_lr = self.rates()

    def _why_outside(self, metrics: Any) -> str:  # noqa: ARG002 - as step
        return "ReduceLROnPlateau reads its metric on the host"

    @as_one(inside=_why_outside)
    def step(self, metrics: Any) -> None:  # type: ignore[override]  # it alone needs a metric, as in torch
        """Take in the newest value of the metric, a number or a tensor of one."""
        current = float(metrics)
        self.last_epoch += 1
        if self._is_better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = self.rates()

    def _is_better(self, value: float) -> bool:
        if self.best is None:
            return not math.isnan(value)
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "abs":
            return sign * value > sign * self.best + self.threshold
        return sign * value > sign * self.best * (1 + sign * self.threshold)

    def _reduce(self) -> None:
        for group, low in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            rate = max(group["lr"] * self.factor, low)
            if group["lr"] - rate > self.eps:
                group["lr"] = rate
