"""Learning rates: warm-up, shapes, ends, and torch's one-cycle."""

from __future__ import annotations

import math

import pytest
from nyala.recipes.language import schema
from nyala.recipes.training.schedules import factor, warmup_steps


def curve(schedule: schema.Schedules, total: int = 10, per_epoch: int = 5) -> list[float]:
    return [factor(schedule, s, total, per_epoch) for s in range(total)]


def test_constant_is_constant() -> None:
    assert curve(schema.Constant()) == [1.0] * 10


@pytest.mark.parametrize("kind", [schema.Constant, schema.Cosine, schema.Linear, schema.Polynomial, schema.Plateau])
def test_warmup_rises_in_a_line_to_the_full_rate(kind: type) -> None:
    assert curve(kind(warmup=4))[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


def test_cosine_is_half_a_cosine_down_to_its_end() -> None:
    assert curve(schema.Cosine(end=0.2)) == pytest.approx([0.2 + 0.4 * (1 + math.cos(math.pi * s / 10)) for s in range(10)])


def test_linear_and_polynomial() -> None:
    assert curve(schema.Linear()) == pytest.approx([1 - s / 10 for s in range(10)])
    assert curve(schema.Polynomial(power=2.0)) == pytest.approx([(1 - s / 10) ** 2 for s in range(10)])


def test_step_counts_epochs() -> None:
    assert curve(schema.Step(every=2, gamma=0.5), total=8, per_epoch=2) == pytest.approx([1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5])


def test_one_cycle_has_its_three_corners() -> None:
    found = curve(schema.OneCycle(pct_start=0.25, div_factor=10, final_div_factor=100), total=1000)
    assert found[0] == pytest.approx(0.1) and found[250] == pytest.approx(1.0)
    assert found[-1] == pytest.approx(0.001, rel=0.01) and max(found) == found[250]


def test_warmup_is_never_the_whole_run() -> None:
    assert warmup_steps(schema.Constant(warmup=100), 10) == 9
    assert curve(schema.Constant(warmup=100))[-1] == 1.0
