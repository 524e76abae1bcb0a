"""Calibration: the error by hand, and the temperature that was put in comes out."""

from __future__ import annotations

import numpy as np
import pytest
from nyala.core import random
from nyala.core.scores.calibration import BINS, GRID, Fit, Reliability


def test_the_calibration_error_by_hand() -> None:
    r = Reliability()
    r.add(np.array([0.95, 0.95, 0.55, 1.0]), np.array([True, False, True, True]))
    # bin of 0.95 and 1.0: sure 2.9, right 2; bin of 0.55: sure 0.55, right 1
    assert r.ece == pytest.approx((0.9 + 0.45) / 4)
    assert [n for _, _, n in r.bins()] == [1, 3] and r.mean_confidence == pytest.approx(3.45 / 4)


def test_batches_add_up_to_the_whole() -> None:
    confidence, right = random.key(0, "c").uniform((100,)), random.key(0, "r").bernoulli(0.5, (100,)).astype(bool)
    whole, parts = Reliability(), Reliability()
    whole.add(confidence, right)
    for i in range(0, 100, 7):
        parts.add(confidence[i : i + 7], right[i : i + 7])
    assert parts.counts.sum() == 100 and parts.ece == pytest.approx(whole.ece) and len(whole.counts) == BINS


@pytest.mark.parametrize("planted", [0.5, 1.0, 2.0, 4.0])
def test_a_planted_temperature_is_found(planted: float) -> None:
    logits = 2 * random.key(5, "logits").normal((4000, 5)).astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (p.cumsum(1) < random.key(5, "truth").uniform((4000, 1))).sum(1)  # drawn as sure as the logits say
    fit = Fit()
    for i in range(0, 4000, 900):
        fit.add(planted * logits[i : i + 900], truth[i : i + 900])
    best = fit.best()
    assert best.value == pytest.approx(planted, rel=0.12)
    assert best.ece < 0.03 and best.log_loss <= fit.loss[np.flatnonzero(GRID == 1.0)[0]] / 4000


def test_the_loss_at_temperature_one_is_cross_entropy() -> None:
    logits, truth = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]]), np.array([1, 0])
    fit = Fit()
    fit.add(logits, truth)
    expected = -np.log(np.exp(logits)[[0, 1], truth] / np.exp(logits).sum(1)).sum()
    assert fit.loss[np.flatnonzero(GRID == 1.0)[0]] == pytest.approx(expected)


def test_huge_logits_do_not_overflow() -> None:
    fit = Fit()
    with np.errstate(all="raise", under="ignore"):
        fit.add(np.array([[1e4, -1e4], [0.0, 0.0]], np.float32), np.array([0, 1]))
    assert np.isfinite(fit.loss).all()
