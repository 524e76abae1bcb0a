"""Intervals: Wilson's by its definition, and that 95 of 100 hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from nyala.core import random
from nyala.core.scores.intervals import NOTHING, Z, percentiles, resamples, wilson


@pytest.mark.parametrize(("hits", "of"), [(0, 10), (1, 10), (5, 10), (10, 10), (81, 263), (1, 1), (999, 1000)])
def test_wilsons_ends_are_where_the_score_test_turns(hits: int, of: int) -> None:
    e = wilson(hits, of)
    assert 0 <= e.low <= e.value <= e.high <= 1
    for end in (e.low, e.high):
        if 0 < end < 1:  # (share - p)^2 = z^2 p (1 - p) / n
            assert (e.value - end) ** 2 == pytest.approx(Z**2 * end * (1 - end) / of, rel=1e-9)


def test_a_share_of_nothing_does_not_exist() -> None:
    assert not wilson(0, 0).exists and str(wilson(0, 0)) == "-" and wilson(0, 0).as_json() is None
    assert not percentiles(math.nan, np.ones(3)).exists and percentiles(0.5, np.full(3, math.nan)) == NOTHING


def test_intervals_hold_the_true_share_in_95_of_100_samples() -> None:
    draws = random.key(1, "coverage").bernoulli(0.8, (2000, 60)).sum(1)
    held = np.mean([wilson(int(h), 60).low <= 0.8 <= wilson(int(h), 60).high for h in draws])
    assert 0.93 < held < 0.975


def test_the_bootstrap_finds_the_standard_error_of_a_mean() -> None:
    values = random.key(2, "values").normal((400,)).astype(np.float64)
    e = percentiles(float(values.mean()), np.array([values[draw].mean() for draw in resamples(400)]))
    expected = 2 * Z * values.std() / math.sqrt(400)
    assert e.high - e.low == pytest.approx(expected, rel=0.1)


def test_resamples_are_the_same_for_the_same_seed_only() -> None:
    first, again, other = (next(resamples(50, seed)).tolist() for seed in (3, 3, 4))
    assert first == again != other and 0 <= min(first) <= max(first) < 50
