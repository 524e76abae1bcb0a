"""CTC: greedy reading and forced alignment, against all paths counted one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from nyala.audio.ctc import paths as ctc
from nyala.errors import ArgumentError, DataError, IndexRangeError, ShapeError


def rows(frames: int, classes: int, seed: int = 0) -> np.ndarray:
    return ctc.log_softmax(2 * np.random.default_rng(seed).standard_normal((frames, classes)).astype(np.float32))


def collapsed(path: tuple[int, ...], blank: int) -> tuple[int, ...]:
    return tuple(k for k, _ in itertools.groupby(path) if k != blank)


@pytest.mark.parametrize("blank", [0, 2])
def test_greedy_is_the_likeliest_path(blank: int) -> None:
    found = rows(12, 4, 3)
    spelled = ctc.greedy(found, blank)
    assert tuple(s.number for s in spelled) == collapsed(tuple(found.argmax(1)), blank)
    for s in spelled:
        assert (found[s.start : s.end].argmax(1) == s.number).all()
        assert s.score == pytest.approx(np.exp(found[s.start : s.end, s.number]).mean())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("blank", [0, 1])
def test_alignment_is_the_best_of_all_paths(seed: int, blank: int) -> None:
    found, letters = rows(6, 3, seed), [k for k in range(3) if k != blank]
    target = tuple(letters[i] for i in np.random.default_rng(seed).integers(0, 2, 3))
    scores = {
        path: sum(found[t, k] for t, k in enumerate(path))
        for path in itertools.product(range(3), repeat=6)
        if collapsed(path, blank) == target
    }
    spelled = ctc.align(found, target, blank)
    best = max(scores, key=lambda path: scores[path])
    path = np.full(6, blank)
    for s in spelled:
        path[s.start : s.end] = s.number
    assert tuple(path) == best and tuple(s.number for s in spelled) == target


def test_repeats_need_a_blank_between() -> None:
    assert [s.number for s in ctc.align(rows(5, 3), [1, 1, 2])] == [1, 1, 2]
    with pytest.raises(DataError, match="4 letters in 3 frames"):
        ctc.align(rows(3, 3), [1, 1, 2])


def test_a_text_that_cannot_be() -> None:
    impossible = rows(4, 3)
    impossible[:, 2] = -np.inf
    with pytest.raises(DataError, match="cannot be heard"):
        ctc.align(impossible, [2])


def test_no_text_and_no_frames() -> None:
    assert ctc.align(rows(4, 3), []) == [] and ctc.greedy(np.zeros((0, 3), np.float32)) == []


def test_bad_input_is_named() -> None:
    with pytest.raises(ShapeError, match="frames and classes"):
        ctc.greedy(np.zeros((1, 2, 3), np.float32))
    with pytest.raises(ArgumentError, match="blank=3"):
        ctc.greedy(np.zeros((2, 3), np.float32), 3)
    with pytest.raises(DataError, match="NaN"):
        ctc.greedy(np.full((2, 3), np.nan, np.float32))
    with pytest.raises(IndexRangeError, match="letter 0"):
        ctc.align(rows(4, 3), [1, 0])
