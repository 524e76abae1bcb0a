"""Learning rates that change from step to step, by torch's names and with torch's numbers.

A schedule multiplies or replaces ``group["lr"]`` of every parameter group each time ``step()`` is called, after the
optimizer's. Where schedules are chained each works on what the one before left.

Example:
    >>> import nyala
    >>> opt = nyala.optim.SGD([nyala.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = StepLR(opt, step_size=2, gamma=0.1)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates.append(round(opt.param_groups[0]["lr"], 6))
    ...     opt.step()
    ...     schedule.step()
    >>> rates
    [1.0, 1.0, 0.1, 0.1]
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..errors import ArgumentError
from .optimizer import Optimizer

_NOT_STATE = ("optimizer", "lr_lambdas")


class LRScheduler:
    """Base of the schedules: a subclass gives the rates of the groups at ``self.last_epoch`` in ``get_lr``.

    Args:
        optimizer: whose groups are set.
        last_epoch: the count of steps done; -1 starts anew.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(f"{type(self).__name__} was given a {type(optimizer).__name__}", fix="pass an optimizer")
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ArgumentError(
                    f"{type(self).__name__}: group {i} has no initial_lr though last_epoch is {last_epoch}",
                    fix="load the optimizer's state first, or start with last_epoch=-1",
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._initial_step()

    _is_initial = False

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def get_lr(self) -> list[float]:
        """The rate of each group at ``last_epoch``."""
        raise NotImplementedError

    def _closed_form(self) -> list[float]:
        """The rates computed from the initial ones; a subclass that only knows the way from one step to the next has none."""
        return self.get_lr()

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def step(self) -> None:
        """Go on by one step."""
        self._step_count += 1
        self.last_epoch += 1
        self._set(self.get_lr())

    def _restart(self) -> None:
        """Go to step 0, for a schedule whose turn comes later."""
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
        """Everything but the optimizer and functions."""
        return {k: v for k, v in self.__dict__.items() if k not in _NOT_STATE}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` gave; the optimizer's own state holds the rates."""
        self.__dict__.update(state_dict)


class LambdaLR(LRScheduler):
    """The initial rate times a function of the step.

    Args:
        lr_lambda: one function for all groups, or a list of one each.
    """

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]], last_epoch: int = -1
    ) -> None:
        count = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * count if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != count:
            raise ArgumentError(f"LambdaLR: {len(self.lr_lambdas)} functions for {count} groups", fix="pass one a group")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class StepLR(LRScheduler):
    """The rate times ``gamma`` every ``step_size`` steps."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self.last_epoch % self.step_size:
            return self._rates()
        return [rate * self.gamma for rate in self._rates()]

    def _closed_form(self) -> list[float]:
        return [base * self.gamma ** (self.last_epoch // self.step_size) for base in self.base_lrs]


class MultiStepLR(LRScheduler):
    """The rate times ``gamma`` at each of ``milestones``; one named twice counts twice."""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.milestones, self.gamma = dict(Counter(milestones)), gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [rate * self.gamma ** self.milestones.get(self.last_epoch, 0) for rate in self._rates()]

    def _closed_form(self) -> list[float]:
        passed = sum(n for at, n in self.milestones.items() if at <= self.last_epoch)
        return [base * self.gamma**passed for base in self.base_lrs]


class ConstantLR(LRScheduler):
    """The rate times ``factor`` for the first ``total_iters`` steps."""

    def __init__(self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        if not 0 <= factor <= 1:
            raise ArgumentError(f"ConstantLR: factor={factor}", fix="use a number in [0, 1]")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [rate * self.factor for rate in self._rates()]
        if self.last_epoch != self.total_iters:
            return self._rates()
        return [rate / self.factor for rate in self._rates()]

    def _closed_form(self) -> list[float]:
        return [base * (self.factor if self.last_epoch < self.total_iters else 1) for base in self.base_lrs]


class LinearLR(LRScheduler):
    """The rate times a factor that goes from ``start_factor`` to ``end_factor`` in ``total_iters`` steps."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ArgumentError(f"LinearLR: factors {start_factor} and {end_factor}", fix="use (0, 1] and [0, 1]")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [rate * self.start_factor for rate in self._rates()]
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._rates()
        rise = self.end_factor - self.start_factor
        growth = 1.0 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise)
        return [rate * growth for rate in self._rates()]

    def _closed_form(self) -> list[float]:
        done = min(self.total_iters, self.last_epoch) / self.total_iters
        return [base * (self.start_factor + (self.end_factor - self.start_factor) * done) for base in self.base_lrs]


class ExponentialLR(LRScheduler):
    """The rate times ``gamma`` each step."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._rates() if self._is_initial else [rate * self.gamma for rate in self._rates()]

    def _closed_form(self) -> list[float]:
        return [base * self.gamma**self.last_epoch for base in self.base_lrs]


class PolynomialLR(LRScheduler):
    """The rate times (1 - step / total_iters) ** power, 0 from there on."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._rates()
        now, before = 1 - self.last_epoch / self.total_iters, 1 - (self.last_epoch - 1) / self.total_iters
        return [rate * (now / before) ** self.power for rate in self._rates()]

    def _closed_form(self) -> list[float]:
        left = 1 - min(self.total_iters, self.last_epoch) / self.total_iters
        return [base * left**self.power for base in self.base_lrs]


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate to ``eta_min`` in ``T_max`` steps (Loshchilov and Hutter, arXiv:1608.03983)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self._is_initial:
            return self._rates() if self.last_epoch == 0 else self._closed_form()
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # one step after the bottom, where the ratio is 0 / 0
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            return [rate + (base - self.eta_min) * rise for base, rate in zip(self.base_lrs, self._rates(), strict=True)]
        now, before = (1 + math.cos(math.pi * n / self.T_max) for n in (self.last_epoch, self.last_epoch - 1))
        return [now / before * (rate - self.eta_min) + self.eta_min for rate in self._rates()]

    def _closed_form(self) -> list[float]:
        share = (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half cosines one after another: the first ``T_0`` steps long, each next ``T_mult`` times as long (arXiv:1608.03983)."""

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        if T_0 < 1 or T_mult < 1:
            raise ArgumentError(f"CosineAnnealingWarmRestarts: T_0={T_0}, T_mult={T_mult}", fix="use whole numbers from 1")
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        length, at = self.T_0, self.last_epoch
        while at >= length:
            at, length = at - length, length * self.T_mult
        share = (1 + math.cos(math.pi * at / length)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]


class SequentialLR(LRScheduler):
    """One schedule after another: the next takes over at each of ``milestones``, beginning at its own step 0."""

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        _check_parts(type(self).__name__, schedulers, optimizer)
        if len(milestones) != len(schedulers) - 1:
            raise ArgumentError(
                f"SequentialLR: {len(milestones)} milestones for {len(schedulers)} schedules", fix="pass one fewer than schedules"
            )
        self.optimizer, self._schedulers, self._milestones = optimizer, list(schedulers), list(milestones)
        self.last_epoch = last_epoch + 1
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        _undo(self)  # each part has taken its first step when it was made; now only the first of them may
        self._schedulers[0]._initial_step()
        self._last_lr = self._schedulers[0].get_last_lr()

    def step(self) -> None:
        self.last_epoch += 1
        number = bisect_right(self._milestones, self.last_epoch)
        part = self._schedulers[number]
        if number > 0 and self._milestones[number - 1] == self.last_epoch:
            part._restart()
        else:
            part.step()
        self._last_lr = part.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        return _state_of_parts(self)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        _load_parts(self, state_dict)


class ChainedScheduler(LRScheduler):
    """Several schedules at once: their factors multiply."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if not schedulers:
            raise ArgumentError("ChainedScheduler of no schedules", fix="pass at least one")
        self.optimizer = optimizer if optimizer is not None else schedulers[0].optimizer
        _check_parts(type(self).__name__, schedulers, self.optimizer)
        self._schedulers = list(schedulers)
        self._last_lr = self._rates()

    def step(self) -> None:
        for part in self._schedulers:
            part.step()
        self._last_lr = self._rates()

    def state_dict(self) -> dict[str, Any]:
        return _state_of_parts(self)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        _load_parts(self, state_dict)


def _check_parts(name: str, schedulers: Sequence[LRScheduler], optimizer: Optimizer) -> None:
    if not schedulers:
        raise ArgumentError(f"{name} of no schedules", fix="pass at least one")
    for i, part in enumerate(schedulers):
        if isinstance(part, ReduceLROnPlateau):
            raise ArgumentError(
                f"{name}: schedule {i} is ReduceLROnPlateau", why="its step needs a metric", fix="step it by itself"
            )
        if part.optimizer is not optimizer:
            raise ArgumentError(f"{name}: schedule {i} belongs to another optimizer", fix="make all of them for one")


def _undo(schedule: LRScheduler) -> None:
    for part in getattr(schedule, "_schedulers", ()):
        if hasattr(part, "_schedulers"):
            _undo(part)
        else:
            part.last_epoch -= 1


def _state_of_parts(schedule: Any) -> dict[str, Any]:
    state = {k: v for k, v in schedule.__dict__.items() if k not in (*_NOT_STATE, "_schedulers")}
    return {**state, "_schedulers": [part.state_dict() for part in schedule._schedulers]}


def _load_parts(schedule: Any, state_dict: Mapping[str, Any]) -> None:
    given = state_dict["_schedulers"]
    if len(given) != len(schedule._schedulers):
        raise ArgumentError(f"the state is of {len(given)} schedules, here are {len(schedule._schedulers)}", fix="build the same")
    schedule.__dict__.update({k: v for k, v in state_dict.items() if k != "_schedulers"})
    for part, state in zip(schedule._schedulers, given, strict=True):
        part.load_state_dict(state)


class OneCycleLR(LRScheduler):
    """Up to ``max_lr`` and down again, momentum the other way round (Smith and Topin, arXiv:1708.07120).

    Args:
        max_lr: the top; one number, or one a group.
        total_steps: the length of the cycle; or give ``epochs`` and ``steps_per_epoch``.
        pct_start: share of the cycle that goes up.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: move the momentum (or the first beta) between ``max_momentum`` and ``base_momentum``.
        div_factor: the rate starts at max_lr / div_factor.
        final_div_factor: and ends at its start / final_div_factor.
        three_phase: go down to the start first, then to the end.
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
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ArgumentError("OneCycleLR: no length", fix="pass total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if total_steps < 1 or not 0 <= pct_start <= 1 or anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(
                f"OneCycleLR: total_steps={total_steps}, pct_start={pct_start}, anneal_strategy={anneal_strategy!r}",
                fix="use a positive length, a share in [0, 1], and 'cos' or 'linear'",
            )
        self.total_steps, self.anneal_strategy, self.cycle_momentum = total_steps, anneal_strategy, cycle_momentum
        self._phases = _phases(total_steps, pct_start, three_phase)
        groups = optimizer.param_groups
        if last_epoch == -1:
            for group, top in zip(groups, _each("max_lr", max_lr, groups), strict=True):
                group["initial_lr"], group["max_lr"] = top / div_factor, top
                group["min_lr"] = group["initial_lr"] / final_div_factor
        if cycle_momentum and not {"momentum", "betas"} & set(optimizer.defaults):
            raise ArgumentError(f"OneCycleLR: {type(optimizer).__name__} has no momentum", fix="pass cycle_momentum=False")
        if cycle_momentum and last_epoch == -1:
            lows, highs = _each("base_momentum", base_momentum, groups), _each("max_momentum", max_momentum, groups)
            for group, low, high in zip(groups, lows, highs, strict=True):
                group["base_momentum"], group["max_momentum"] = low, high
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:
            raise ArgumentError(
                f"OneCycleLR: step {self.last_epoch} of a cycle of {self.total_steps}",
                fix="make the cycle as long as the training",
            )
        start = 0.0
        for phase in self._phases:
            last = phase[0]
            if self.last_epoch <= last or phase is self._phases[-1]:
                break
            start = last
        share = (self.last_epoch - start) / (last - start)
        _, rate_from, rate_to, momentum_from, momentum_to = phase
        if self.cycle_momentum:
            for group in self.optimizer.param_groups:
                _set_momentum(group, self._between(group[momentum_from], group[momentum_to], share))
        return [self._between(group[rate_from], group[rate_to], share) for group in self.optimizer.param_groups]

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return start + (end - start) * share
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _phases(total: int, up: float, three: bool) -> list[tuple[Any, ...]]:
    """(last step, rate from, rate to, momentum from, momentum to) of each phase."""
    rise = (up * total - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum")
    if not three:
        return [rise, (total - 1, "max_lr", "min_lr", "base_momentum", "max_momentum")]
    fall = (2 * up * total - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum")
    return [rise, fall, (total - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum")]


def _each(name: str, value: float | Sequence[float], groups: Sequence[Any]) -> list[float]:
    if not isinstance(value, (list, tuple)):
        return [value] * len(groups)  # type: ignore[list-item]
    if len(value) != len(groups):
        raise ArgumentError(f"{name}: {len(value)} numbers for {len(groups)} groups", fix="pass one number, or one a group")
    return list(value)


def _set_momentum(group: dict[str, Any], value: float) -> None:
    if "betas" in group:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value


class ReduceLROnPlateau(LRScheduler):
    """The rate times ``factor`` when a metric has not improved for more than ``patience`` steps; give it to ``step(metric)``.

    Args:
        mode: "min" where less is better, "max" where more is.
        threshold, threshold_mode: how much better counts: a share ("rel") or a difference ("abs").
        cooldown: steps after a reduction in which nothing is counted.
        min_lr: lower bound; one number, or one a group.
        eps: smaller changes of the rate are left out.
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
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1 or mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ArgumentError(
                f"ReduceLROnPlateau: factor={factor}, mode={mode!r}, threshold_mode={threshold_mode!r}",
                fix="use a factor below 1, 'min' or 'max', 'rel' or 'abs'",
            )
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        self.min_lrs = _each("min_lr", min_lr, optimizer.param_groups)
        self.best = math.inf if mode == "min" else -math.inf
        self.cooldown_counter = self.num_bad_epochs = self.last_epoch = 0
        self._last_lr = self._rates()

    def step(self, metrics: Any) -> None:  # type: ignore[override] - this schedule alone needs a metric, as in torch
        """Take in the newest value of the metric."""
        current = float(metrics)
        self.last_epoch += 1
        better = self._is_better(current)
        if better:
            self.best = current
        self.num_bad_epochs = 0 if better else self.num_bad_epochs + 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = self._rates()

    def _is_better(self, value: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "abs":
            return sign * value > sign * self.best + self.threshold
        return sign * value > sign * self.best * (1 + sign * self.threshold)

    def _reduce(self) -> None:
        for group, low in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            rate = max(group["lr"] * self.factor, low)
            if group["lr"] - rate > self.eps:
                group["lr"] = rate


def warmup(
    optimizer: Optimizer, warmup_steps: int, total_steps: int | None = None, decay: str = "cosine", min_ratio: float = 0.0
) -> LambdaLR:
    """The rate of most fine-tuning: linearly up in ``warmup_steps``, then down until ``total_steps``.

    Step n of the rise has the share (n + 1) / warmup_steps of the initial rate, so that no step is lost at rate 0.

    Args:
        warmup_steps: length of the rise; 0 for none.
        total_steps: length of all; needed unless ``decay`` is "constant".
        decay: "cosine", "linear" or "constant".
        min_ratio: what is left of the rate at the end, as a share of the initial one.

    Example:
        >>> import nyala
        >>> opt = nyala.optim.SGD([nyala.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = warmup(opt, 2, 4, "linear")
        >>> rates = []
        >>> for _ in range(4):
        ...     rates.append(opt.param_groups[0]["lr"])
        ...     schedule.step()
        >>> rates
        [0.5, 1.0, 1.0, 0.5]
    """
    if decay not in ("cosine", "linear", "constant"):
        raise ArgumentError(f"warmup: decay={decay!r}", fix="use 'cosine', 'linear' or 'constant'")
    if decay != "constant" and (total_steps is None or total_steps < warmup_steps):
        raise ArgumentError(f"warmup: total_steps={total_steps} with warmup_steps={warmup_steps}", fix="pass a longer total")

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        if decay == "constant" or total_steps is None:
            return 1.0
        done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
        left = (1 + math.cos(math.pi * done)) / 2 if decay == "cosine" else 1 - done
        return min_ratio + (1 - min_ratio) * left

    return LambdaLR(optimizer, factor)
