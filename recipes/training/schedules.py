"""The learning rate as a pure function of the step: nothing to save, nothing to replay, the same after any interruption.

Only the plateau rule depends on what happened; its one number is kept in the checkpoint.
"""

from __future__ import annotations

import math

from ..language.schema import Constant, Cosine, Linear, OneCycle, Plateau, Polynomial, Schedules, Step


def factor(schedule: Schedules, step: int, total: int, per_epoch: int) -> float:
    """What the base rate is multiplied by in step ``step`` (from 0) of ``total``.

    Args:
        schedule: the recipe's schedule.
        step: the step about to be made.
        total: steps of the whole run.
        per_epoch: steps of one epoch.

    Example:
        >>> [round(factor(Linear(warmup=2), s, 6, 3), 3) for s in range(6)]
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    warm = warmup_steps(schedule, total)
    if step < warm:
        return (step + 1) / warm
    t = (step - warm) / max(1, total - warm)  # 0 after the warm-up, 1 one step behind the last
    match schedule:
        case Constant() | Plateau():
            return 1.0
        case Cosine(end=end):
            return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * t))
        case Linear(end=end):
            return end + (1 - end) * (1 - t)
        case Polynomial(end=end, power=power):
            return end + (1 - end) * (1 - t) ** power
        case Step(every=every, gamma=gamma):
            return gamma ** (step // per_epoch // every)
        case OneCycle():
            return _one_cycle(schedule, t)


def warmup_steps(schedule: Schedules, total: int) -> int:
    """Below 1 the warm-up is a share of the run, else a number of steps; never the whole run.

    Example:
        >>> warmup_steps(Constant(warmup=0.1), 50), warmup_steps(Constant(warmup=7), 50)
        (5, 7)
    """
    steps = schedule.warmup * total if schedule.warmup < 1 else schedule.warmup
    return min(round(steps), total - 1)


def _one_cycle(schedule: OneCycle, t: float) -> float:
    low, last = 1 / schedule.div_factor, 1 / (schedule.div_factor * schedule.final_div_factor)
    if t < schedule.pct_start:
        return _half_cosine(low, 1.0, t / schedule.pct_start)
    return _half_cosine(1.0, last, (t - schedule.pct_start) / (1 - schedule.pct_start))


def _half_cosine(start: float, end: float, t: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * t))
