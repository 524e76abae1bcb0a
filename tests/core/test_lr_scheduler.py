"""Schedules against their formulas, written out in NumPy; torch's own numbers are in ``test_goldens_optim.py``."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.errors import ArgumentError, CheckpointError
from nyala.optim import SGD, AdamW, Optimizer
from nyala.optim import lr_scheduler as schedules
from nyala.optim.lr_scheduler import LRScheduler

STEPS = np.arange(30)
Make = Callable[[Optimizer], LRScheduler]


def optimizer(lr: float = 0.5, **settings: Any) -> Optimizer:
    return SGD([nyala.nn.Parameter(nyala.zeros(1))], lr=lr, **settings)


def two_groups() -> Optimizer:
    groups = [{"params": [nyala.nn.Parameter(nyala.zeros(1))], "lr": lr} for lr in (0.5, 0.05)]
    return SGD(groups, lr=1.0, momentum=0.9)


def step(opt: Optimizer, schedule: LRScheduler, metric: float | None = None) -> None:
    opt.step()
    schedule.step(*([] if metric is None else [metric]))


def rates(opt: Optimizer, schedule: LRScheduler, count: int = len(STEPS)) -> list[float]:
    seen = []
    for _ in range(count):
        seen.append(opt.param_groups[0]["lr"])
        step(opt, schedule)
    return seen


def restarts(n: np.ndarray) -> np.ndarray:
    """Cycles of 3, 6, 12, ... steps."""
    cycle = np.floor(np.log2(n / 3 + 1))
    begin, length = 3 * (2**cycle - 1), 3 * 2**cycle
    return 0.1 + 0.4 * (1 + np.cos(np.pi * (n - begin) / length)) / 2


def one_cycle(n: np.ndarray) -> np.ndarray:
    """Up to 2 in 0.3 * 30 - 1 steps, down to 2 / 25 / 1e4 in the rest, along cosines."""
    down = 2 / 25 / 1e4
    rise = 2 + (2 / 25 - 2) * (1 + np.cos(np.pi * n / 8)) / 2
    fall = down + (2 - down) * (1 + np.cos(np.pi * (n - 8) / 21)) / 2
    return np.where(n <= 8, rise, fall)


FORMULAS: dict[str, tuple[Make, Callable[[np.ndarray], np.ndarray]]] = {
    "lambda": (lambda o: schedules.LambdaLR(o, lambda n: 1 / (1 + n)), lambda n: 0.5 / (1 + n)),
    "step": (lambda o: schedules.StepLR(o, 4, gamma=0.3), lambda n: 0.5 * 0.3 ** (n // 4)),
    "multi step": (lambda o: schedules.MultiStepLR(o, [9, 2, 9], 0.5), lambda n: 0.5 * 0.5 ** ((n >= 2) + 2.0 * (n >= 9))),
    "constant": (lambda o: schedules.ConstantLR(o, 0.25, 6), lambda n: np.where(n < 6, 0.125, 0.5)),
    "linear": (lambda o: schedules.LinearLR(o, 0.2, 0.8, 10), lambda n: 0.5 * (0.2 + 0.6 * np.minimum(n, 10) / 10)),
    "exponential": (lambda o: schedules.ExponentialLR(o, 0.9), lambda n: 0.5 * 0.9**n),
    "polynomial": (lambda o: schedules.PolynomialLR(o, 12, 2.0), lambda n: 0.5 * (1 - np.minimum(n, 12) / 12) ** 2),
    "cosine": (lambda o: schedules.CosineAnnealingLR(o, 10, 0.1), lambda n: 0.1 + 0.4 * (1 + np.cos(np.pi * n / 10)) / 2),
    "restarts": (lambda o: schedules.CosineAnnealingWarmRestarts(o, 3, 2, 0.1), restarts),
    "one cycle": (lambda o: schedules.OneCycleLR(o, 2.0, 30, cycle_momentum=False), one_cycle),
    "warmup cosine": (
        lambda o: schedules.warmup(o, 4, 20, min_ratio=0.2),
        lambda n: 0.5 * np.where(n < 4, (n + 1) / 5, 0.2 + 0.8 * (1 + np.cos(np.pi * np.clip((n - 4) / 16, 0, 1))) / 2),
    ),
    "warmup linear": (
        lambda o: schedules.warmup(o, 4, 20, "linear"),
        lambda n: 0.5 * np.where(n < 4, (n + 1) / 5, 1 - np.clip((n - 4) / 16, 0, 1)),
    ),
    "warmup constant": (lambda o: schedules.warmup(o, 4, decay="constant"), lambda n: 0.5 * np.minimum((n + 1) / 5, 1)),
    "sequential": (
        lambda o: schedules.SequentialLR(o, [schedules.LinearLR(o, 0.1, 1, 5), schedules.CosineAnnealingLR(o, 25)], [5]),
        lambda n: 0.5 * np.where(n < 5, 0.1 + 0.9 * n / 5, (1 + np.cos(np.pi * (n - 5) / 25)) / 2),
    ),
    "chained": (
        lambda o: schedules.ChainedScheduler([schedules.ConstantLR(o, 0.5, 7), schedules.ExponentialLR(o, 0.8)]),
        lambda n: 0.5 * np.where(n < 7, 0.5, 1) * 0.8**n,
    ),
    "chained steps": (
        lambda o: schedules.ChainedScheduler([schedules.StepLR(o, 5, 0.5), schedules.MultiStepLR(o, [7], 0.1)]),
        lambda n: 0.5 * 0.5 ** (n // 5) * np.where(n < 7, 1, 0.1),
    ),
}
every_schedule = pytest.mark.parametrize("name", FORMULAS)


@every_schedule
def test_rates_follow_the_formula(name: str) -> None:
    make, formula = FORMULAS[name]
    opt = optimizer()
    np.testing.assert_allclose(rates(opt, make(opt)), formula(STEPS), rtol=1e-9, atol=1e-12)


@every_schedule
def test_a_saved_schedule_goes_on_with_the_same_rates(name: str) -> None:
    make, _ = FORMULAS[name]
    whole, halted = optimizer(), optimizer()
    schedule = make(whole)
    rates(whole, schedule, 11)
    state = json.loads(json.dumps(schedule.state_dict()))  # plain numbers: a record in JSON holds it
    again = make(halted)
    halted.load_state_dict(whole.state_dict())
    again.load_state_dict(state)
    assert rates(halted, again, 15) == rates(whole, schedule, 15)


@every_schedule
def test_get_last_lr_is_what_the_groups_have(name: str) -> None:
    opt = two_groups()
    schedule = FORMULAS[name][0](opt)
    for _ in range(6):
        assert schedule.get_last_lr() == [g["lr"] for g in opt.param_groups]
        step(opt, schedule)


def test_each_group_keeps_its_share() -> None:
    opt = two_groups()
    schedule = schedules.CosineAnnealingLR(opt, 10)
    for _ in range(5):
        step(opt, schedule)
    assert [g["lr"] for g in opt.param_groups] == pytest.approx([0.25, 0.025])
    assert [g["initial_lr"] for g in opt.param_groups] == [0.5, 0.05]


# ---- one cycle


def test_one_cycle_moves_momentum_against_the_rate() -> None:
    opt = optimizer(momentum=0.9)
    schedule = schedules.OneCycleLR(opt, 2.0, 30, anneal_strategy="linear")
    seen = []
    for _ in STEPS:
        seen.append(opt.param_groups[0]["momentum"])
        step(opt, schedule)
    np.testing.assert_allclose(seen, np.interp(STEPS, [0, 8, 29], [0.95, 0.85, 0.95]), rtol=1e-9)


def test_one_cycle_moves_the_first_beta_and_counts_epochs() -> None:
    opt = AdamW([nyala.nn.Parameter(nyala.zeros(1))])
    schedule = schedules.OneCycleLR(opt, 0.1, epochs=3, steps_per_epoch=10, base_momentum=0.8, max_momentum=0.9)
    assert opt.param_groups[0]["betas"] == (0.9, 0.999)
    for _ in range(8):
        step(opt, schedule)
    assert opt.param_groups[0]["betas"] == (pytest.approx(0.8), 0.999)
    assert opt.param_groups[0]["lr"] == pytest.approx(0.1)


def test_one_cycle_in_three_phases_ends_where_it_should() -> None:
    opt = optimizer()
    schedule = schedules.OneCycleLR(opt, 2.0, 30, pct_start=0.4, three_phase=True, cycle_momentum=False, anneal_strategy="linear")
    found = rates(opt, schedule)
    ends = [2 / 25, 2.0, 2 / 25, 2 / 25 / 1e4]
    np.testing.assert_allclose(found, np.interp(STEPS, [0, 11, 22, 29], ends), rtol=1e-9)


def test_one_cycle_refuses_to_go_past_its_end() -> None:
    opt = optimizer()
    schedule = schedules.OneCycleLR(opt, 2.0, 3, cycle_momentum=False)
    rates(opt, schedule, 3)
    with pytest.raises(ArgumentError, match="step 4 of a cycle of 3"):
        schedule.step()


# ---- plateau


@pytest.mark.parametrize(
    ("settings", "metrics", "expected"),
    [
        ({"patience": 1}, [3, 2, 2, 2, 2], [1, 1, 1, 0.1, 0.1]),
        ({"patience": 0, "factor": 0.5}, [3, 3, 3], [1, 0.5, 0.25]),
        ({"patience": 0, "mode": "max"}, [1, 2, 2], [1, 1, 0.1]),
        ({"patience": 0, "threshold": 0.5}, [1, 0.6, 0.4], [1, 0.1, 0.1]),
        ({"patience": 0, "threshold": 0.5, "threshold_mode": "abs"}, [3, 2.6, 2.4], [1, 0.1, 0.1]),
        ({"patience": 0, "cooldown": 2}, [1, 1, 1, 1, 1], [1, 0.1, 0.1, 0.1, 0.01]),
        ({"patience": 0, "min_lr": 0.3}, [1, 1, 1], [1, 0.3, 0.3]),
        ({"patience": 0}, [float("nan"), 1.0, 1.0], [0.1, 0.1, 0.01]),
    ],
)
def test_plateau(settings: dict[str, Any], metrics: list[float], expected: list[float]) -> None:
    opt = optimizer(1.0)
    schedule = schedules.ReduceLROnPlateau(opt, **settings)
    seen = []
    for metric in metrics:
        step(opt, schedule, metric)
        seen.append(opt.param_groups[0]["lr"])
    assert seen == pytest.approx(expected)


def test_plateau_goes_on_where_it_was_saved() -> None:
    metrics = [1.0, 0.9, 0.95, 0.95, 0.95, 0.8, 0.8, 0.8, 0.8]
    whole, halted = optimizer(), optimizer()
    schedule = schedules.ReduceLROnPlateau(whole, patience=1)
    for metric in metrics[:4]:
        step(whole, schedule, metric)
    again = schedules.ReduceLROnPlateau(halted, patience=1)
    again.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    halted.load_state_dict(whole.state_dict())
    for metric in metrics[4:]:
        step(whole, schedule, metric)
        step(halted, again, nyala.tensor(metric))  # type: ignore[arg-type]  # a tensor of one number will do
        assert halted.param_groups[0]["lr"] == whole.param_groups[0]["lr"]
    assert whole.param_groups[0]["lr"] == pytest.approx(0.005)


# ---- order of calls, resuming by hand, mistakes


def test_a_schedule_stepped_first_warns_once() -> None:
    opt = optimizer()
    schedule = schedules.StepLR(opt, 3)
    with pytest.warns(UserWarning, match=r"StepLR.step\(\) was called before the first optimizer.step\(\)"):
        schedule.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule.step()
        other = optimizer()
        rates(other, schedules.StepLR(other, 3), 3)


def test_last_epoch_goes_on_from_the_rates_that_the_optimizer_has() -> None:
    opt = optimizer()
    rates(opt, schedules.StepLR(opt, 4, gamma=0.5), 6)
    again = schedules.StepLR(opt, 4, gamma=0.5, last_epoch=5)
    assert (opt.param_groups[0]["lr"], again.last_epoch, again.base_lrs) == (0.25, 6, [0.5])
    np.testing.assert_allclose(rates(opt, again, 4), [0.25, 0.25, 0.125, 0.125])


def plateau(o: Optimizer) -> LRScheduler:
    return schedules.ReduceLROnPlateau(o)


MISTAKES: list[tuple[Callable[[Optimizer], Any], str]] = [
    (lambda _: schedules.StepLR(0.1, 3), "StepLR was given a float"),  # type: ignore[arg-type]
    (lambda o: schedules.StepLR(o, 0), "step_size=0"),
    (lambda o: schedules.StepLR(o, 2.5), "step_size=2.5"),  # type: ignore[arg-type]
    (lambda o: schedules.StepLR(o, 3, last_epoch=4), "no initial_lr, and last_epoch is 4"),
    (lambda o: schedules.MultiStepLR(o, [-1]), r"milestones\[0\]=-1"),
    (lambda o: schedules.ExponentialLR(o, -0.1), "gamma=-0.1"),
    (lambda o: schedules.ConstantLR(o, 0.0), "factor=0.0 is out of range"),
    (lambda o: schedules.LinearLR(o, 0.0), "start_factor=0.0 is out of range"),
    (lambda o: schedules.LinearLR(o, 0.5, 1.5), "end_factor=1.5"),
    (lambda o: schedules.PolynomialLR(o, 0), "total_iters=0"),
    (lambda o: schedules.CosineAnnealingLR(o, 0), "T_max=0"),
    (lambda o: schedules.CosineAnnealingWarmRestarts(o, 0), "T_0=0"),
    (lambda o: schedules.LambdaLR(o, [abs, abs]), "2 functions for 1 parameter groups"),
    (lambda o: schedules.OneCycleLR(o, 1.0), "no length"),
    (lambda o: schedules.OneCycleLR(o, 1.0, 0), "total_steps=0"),
    (lambda o: schedules.OneCycleLR(o, 1.0, 5, pct_start=2), "pct_start=2"),
    (lambda o: schedules.OneCycleLR(o, 1.0, 5, anneal_strategy="sine"), "'cos' or 'linear'"),
    (lambda o: schedules.OneCycleLR(o, [1.0, 2.0], 5), "max_lr has 2 numbers for 1 parameter groups"),
    (lambda _: schedules.OneCycleLR(nyala.optim.Adafactor([nyala.nn.Parameter(nyala.zeros(1))]), 1.0, 5), "has no momentum"),
    (lambda o: schedules.ReduceLROnPlateau(o, factor=1.0), "factor=1.0"),
    (lambda o: schedules.ReduceLROnPlateau(o, mode="best"), "mode='best'"),
    (lambda o: schedules.SequentialLR(o, [], []), r"milestones \[\] for 0 schedules"),
    (lambda o: schedules.SequentialLR(o, [schedules.StepLR(o, 2)] * 3, [5, 3]), r"milestones \[5, 3\]"),
    (lambda o: schedules.SequentialLR(o, [schedules.StepLR(optimizer(), 2)], []), "schedule 0 is of another optimizer"),
    (lambda _: schedules.ChainedScheduler([]), "no schedules"),
    (lambda o: schedules.ChainedScheduler([plateau(o)]), "schedule 0 is ReduceLROnPlateau"),
    (lambda o: schedules.warmup(o, 3, 2), "total_steps=2 with warmup_steps=3"),
    (lambda o: schedules.warmup(o, 3, 20, "steps"), "decay='steps'"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), MISTAKES, ids=[m for _, m in MISTAKES])
def test_mistakes_are_named(call: Callable[[Optimizer], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call(optimizer())


def test_the_state_of_another_schedule_is_refused() -> None:
    opt = optimizer()
    schedule, state = schedules.StepLR(opt, 3), schedules.ExponentialLR(opt, 0.5).state_dict()
    with pytest.raises(CheckpointError, match=r"does not fit StepLR: \['step_size'\]"):
        schedule.load_state_dict(state)
    parts = [schedules.StepLR(opt, 3), schedules.ExponentialLR(opt, 0.5)]
    with pytest.raises(CheckpointError, match="the state is of 1 schedules, this ChainedScheduler has 2"):
        schedules.ChainedScheduler(parts).load_state_dict(schedules.ChainedScheduler(parts[:1]).state_dict())


def test_a_state_is_a_copy() -> None:
    opt = optimizer()
    schedule = schedules.MultiStepLR(opt, [2, 3])
    state = schedule.state_dict()
    state["milestones"].clear()
    step(opt, schedule)
    assert schedule.milestones == [2, 3] and state["last_epoch"] == 0
