"""Prefix beam search, against every path counted one by one."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
from nyala.audio.ctc import paths as ctc
from nyala.audio.ctc.beam import Beam, search
from nyala.audio.ctc.letters import Letters
from nyala.audio.ctc.ngram import NGram
from nyala.errors import ArgumentError

ALPHABET = Letters(("-", "|", "A", "B"), 0, "|", frozenset({"-"}))
WIDE = {"width": 10_000, "least": -math.inf}
MODEL = NGram(
    2,
    {
        ("<s>",): (-99.0, -0.2), ("</s>",): (-1.0, 0.0), ("a",): (-0.5, -0.1), ("ab",): (-0.9, -0.4), ("<unk>",): (-1.5, 0.0),
        ("<s>", "a"): (-0.2, 0.0), ("a", "ab"): (-0.1, 0.0), ("ab", "</s>"): (-0.3, 0.0),
    },
)  # fmt: skip


def rows(frames: int, seed: int) -> np.ndarray:
    return ctc.log_softmax(1.5 * np.random.default_rng(seed).standard_normal((frames, 4)).astype(np.float32))


def every_text(found: np.ndarray) -> dict[str, float]:
    """Each text with the logarithm of its probability over all paths."""
    total: dict[str, float] = defaultdict(float)
    for path in itertools.product(range(4), repeat=len(found)):
        letters = [k for k, _ in itertools.groupby(path) if k]
        total[ALPHABET.decode(letters)] += math.exp(sum(float(found[t, k]) for t, k in enumerate(path)))
    return {text: math.log(p) for text, p in total.items()}


def language(text: str, weight: float, bonus: float) -> float:
    state, score = MODEL.start(), 0.0
    for word in text.split():
        said, state = MODEL.score(state, word)
        score += weight * said + bonus
    return score + weight * MODEL.end(state)


@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_counts_every_path(seed: int) -> None:
    found = rows(5, seed)
    expected = every_text(found)
    hypotheses = search(found, ALPHABET, Beam(**WIDE))
    assert {h.text for h in hypotheses} == set(expected)
    for h in hypotheses:
        assert h.heard == pytest.approx(expected[h.text], abs=1e-6)
    assert [h.score for h in hypotheses] == sorted((h.score for h in hypotheses), reverse=True)


@pytest.mark.parametrize("seed", range(4))
def test_a_language_model_weighs_words(seed: int) -> None:
    found = rows(5, seed)
    expected = {text: p + language(text, 0.7, 0.4) for text, p in every_text(found).items()}
    hypotheses = search(found, ALPHABET, Beam(**WIDE, language_model=MODEL, weight=0.7, bonus=0.4))
    assert hypotheses[0].text == max(expected, key=lambda text: expected[text])
    for h in hypotheses:
        assert h.score == pytest.approx(expected[h.text], abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_only_words_of_a_list_are_said(seed: int) -> None:
    found = rows(5, seed)
    allowed = {"AB", "B"}
    expected = {text: p for text, p in every_text(found).items() if set(text.split()) <= allowed}
    hypotheses = search(found, ALPHABET, Beam(**WIDE, words=["ab", "B"]))
    assert {h.text for h in hypotheses} == set(expected)
    assert hypotheses[0].heard == pytest.approx(max(expected.values()), abs=1e-6)


def test_a_word_that_is_cut_off_is_left_out() -> None:
    spelled = np.log(np.array([[0.01, 0.01, 0.97, 0.01]], np.float32))
    assert [h.text for h in search(spelled, ALPHABET, Beam(words=["AB"], width=1))] == [""]


def test_a_narrow_beam_hears_what_is_clear() -> None:
    logits = np.random.default_rng(9).standard_normal((30, 4)).astype(np.float32)
    clear = ctc.log_softmax(12 * logits)
    assert search(clear, ALPHABET, Beam(width=8))[0].text == search(clear, ALPHABET, Beam(width=300))[0].text


def test_letters_that_nobody_says_are_not_tried() -> None:
    spelled = np.log(np.array([[0.01, 0.0001, 0.9798, 0.01]] * 3, np.float32))
    assert all(" " not in h.text for h in search(spelled, ALPHABET, Beam(least=-5.0)))


def test_bad_use_is_named() -> None:
    with pytest.raises(ArgumentError, match="width 0"):
        Beam(width=0)
    with pytest.raises(ArgumentError, match="4 letters"):
        search(np.zeros((3, 2), np.float32), ALPHABET)
