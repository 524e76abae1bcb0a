"""What a CTC model says (Graves et al., 2006): the likeliest letter of each frame, and a text laid over the frames.

Frames are rows of log-probabilities; repeats of a letter are one, unless a blank lies between, and blanks are nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ...core.errors import ArgumentError, DataError, IndexRangeError, ShapeError

Rows = np.ndarray[Any, np.dtype[np.float32]]
_MOST = 2_000_000_000  # frames times states of an alignment, a byte each


@dataclass(frozen=True)
class Spelled:
    """A letter and where it is heard.

    Attributes:
        number: the letter's.
        start, end: frames, the end not among them.
        score: the mean probability of its frames, 0 to 1.
    """

    number: int
    start: int
    end: int
    score: float


def log_softmax(logits: Rows) -> Rows:
    """(T, C) logits -> log-probabilities."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def greedy(log_probs: Rows, blank: int = 0) -> list[Spelled]:
    """The likeliest letter of each frame; repeats are one, blanks none.

    Args:
        log_probs: (T, C).
        blank: the class that is no letter.

    Example:
        >>> rows = np.log(np.array([[0.1, 0.9], [0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]))
        >>> [(s.number, s.start, s.end) for s in greedy(rows)]
        [(1, 0, 2), (1, 3, 4)]
    """
    _check(log_probs, blank)
    return _runs(log_probs.argmax(1), log_probs, blank)


def _runs(path: np.ndarray[Any, Any], log_probs: Rows, blank: int) -> list[Spelled]:
    """The letters of a path, one class a frame."""
    if not len(path):
        return []
    edges = np.flatnonzero(np.diff(path)) + 1
    bounds = [0, *edges.tolist(), len(path)]
    found = []
    for start, end in pairwise(bounds):
        number = int(path[start])
        if number != blank:
            found.append(Spelled(number, start, end, float(np.exp(log_probs[start:end, number]).mean())))
    return found


def align(log_probs: Rows, targets: Sequence[int], blank: int = 0) -> list[Spelled]:
    """Where a known text is heard: the likeliest way through its letters (Viterbi, 1967), one entry a letter.

    Args:
        log_probs: (T, C).
        targets: the letters' numbers.
        blank: the class that is no letter.

    Raises:
        DataError: more letters than frames, counting the blanks that repeats need.
        IndexRangeError: a number that is no class, or the blank's.

    Example:
        >>> rows = np.log(np.array([[0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]]))
        >>> [(s.number, s.start, s.end) for s in align(rows, [1, 2])]
        [(1, 0, 1), (2, 2, 3)]
    """
    _check(log_probs, blank)
    frames, classes = log_probs.shape
    wanted = np.asarray(list(targets), np.int64)
    if not len(wanted):
        return []
    bad = wanted[(wanted < 0) | (wanted >= classes) | (wanted == blank)]
    if len(bad):
        raise IndexRangeError(
            f"letter {bad[0]} among {classes} classes with the blank {blank}", fix="use the model's own alphabet"
        )
    needed = len(wanted) + int((wanted[1:] == wanted[:-1]).sum())
    if needed > frames:
        raise DataError(
            f"a text of {needed} letters in {frames} frames", why="each takes one", fix="check that the text belongs to it"
        )
    if frames * (2 * len(wanted) + 1) > _MOST:
        raise DataError(
            f"{len(wanted)} letters in {frames} frames", why="that takes gigabytes", fix="cut sound and text into pieces"
        )
    states, best = _best_path(log_probs.astype(np.float64), wanted, blank)
    if not np.isfinite(best):
        raise DataError("the text cannot be heard in this sound", why="a letter of it has probability 0", fix="check the text")
    found = []
    for i, number in enumerate(wanted.tolist()):
        places = np.flatnonzero(states == 2 * i + 1)
        start, end = int(places[0]), int(places[-1]) + 1
        found.append(Spelled(number, start, end, float(np.exp(log_probs[start:end, number]).mean())))
    return found


def _best_path(log_probs: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], blank: int) -> tuple[np.ndarray[Any, Any], float]:
    """The state of each frame; state 2 i + 1 is letter i, even states are blanks."""
    frames, count = len(log_probs), 2 * len(wanted) + 1
    letters = np.full(count, blank, np.int64)
    letters[1::2] = wanted
    skips = np.zeros(count, bool)
    skips[3::2] = wanted[1:] != wanted[:-1]
    scores = np.full(count, -np.inf)
    scores[:2] = log_probs[0, letters[:2]]
    steps = np.zeros((frames, count), np.int8)
    for t in range(1, frames):
        one = np.concatenate([[-np.inf], scores[:-1]])
        two = np.where(skips, np.concatenate([[-np.inf, -np.inf], scores[:-2]]), -np.inf)
        ways = np.stack([scores, one, two])
        steps[t] = ways.argmax(0)
        scores = ways.max(0) + log_probs[t, letters]
    state = count - 1 if scores[-1] >= scores[-2] else count - 2
    best = float(scores[state])
    path = np.zeros(frames, np.int64)
    for t in range(frames - 1, -1, -1):
        path[t] = state
        state -= int(steps[t, state])
    return path, best


def _check(log_probs: Rows, blank: int) -> None:
    if log_probs.ndim != 2:
        raise ShapeError(f"log_probs of shape {log_probs.shape}", why="they are (T, C): frames and classes", fix="take one sound")
    if not 0 <= blank < log_probs.shape[1]:
        raise ArgumentError(f"blank={blank} among {log_probs.shape[1]} classes", fix="pass config.pad_token_id")
    if np.isnan(log_probs).any():
        raise DataError("log_probs are not all numbers", why="NaN among them", fix="look at the sound and the weights")
