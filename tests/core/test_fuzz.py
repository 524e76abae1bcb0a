"""A small part of the fuzzing that `python -m tests.tools.fuzz_checkpoints` does a hundred thousand times."""

from __future__ import annotations

import random

import fuzz
import numpy as np
import pytest

# how many cases, and how many at least must be read and be refused: mutations that all fail early would test nothing
COUNTS = {
    "headers": (2000, 150, 1300),
    "keymaps": (1500, 400, 600),
    "states": (250, 40, 100),
    "pickles": (600, 8, 450),
    "ggufs": (800, 40, 400),
    "ctranslate2s": (800, 40, 400),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_mutated_input_is_read_or_refused_and_takes_no_more_memory_than_it_has(kind):
    count, least_read, least_refused = COUNTS[kind]
    report = fuzz.fuzz(kind, count, seed=20)
    assert report.failures == []
    assert report.cases == count and report.accepted + report.refused.total() == count
    assert report.accepted >= least_read and report.refused.total() >= least_refused


def test_a_case_is_repeated_by_its_number():
    assert fuzz.header_case(random.Random("headers 0 417")) == fuzz.header_case(random.Random("headers 0 417"))
    one, other = fuzz.fuzz("headers", 1, seed=0, first=417), fuzz.fuzz("headers", 1, seed=0, first=417)
    assert (one.accepted, one.refused) == (other.accepted, other.refused)


@pytest.mark.parametrize(
    ("what", "shown"),
    [
        (lambda: np.zeros(8 << 20, np.uint8).sum(), "bytes were allocated for 10"),
        (lambda: {}["gone"], "KeyError"),
        (lambda: all(True for _ in iter(int, 1)), "no end after"),
    ],
)
def test_the_judge_sees_waste_crashes_and_hangs(monkeypatch, what, shown):
    from contextlib import contextmanager

    @contextmanager
    def bad(_folder):
        yield lambda _rng: (10, what)

    monkeypatch.setitem(fuzz.KINDS, "bad", bad)
    monkeypatch.setattr(fuzz, "SECONDS", 0.2)
    report = fuzz.fuzz("bad", 1)
    assert len(report.failures) >= 1 and shown in report.failures[0]
