"""Beam search: against every text there is, its end, and what it costs to be impatient."""

from __future__ import annotations

import itertools

import numpy as np
import nyala
import pytest
from nyala.audio.whisper.beams import log_softmax, search
from nyala.audio.whisper.decoding import Limits, Rules, write
from nyala.errors import ArgumentError

END, VOCABULARY, MOST = 3, 4, 4


class Table:
    """A model that looks up the logits of each text."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.rows = {
            text: rng.normal(0, 2, VOCABULARY).astype(np.float32)
            for count in range(MOST + 1)
            for text in itertools.product(range(END), repeat=count)
        }
        self.texts: list[tuple[int, ...]] = [()]

    def step(self, origins, tokens):
        self.texts = [(*self.texts[o], t) for o, t in zip(origins, tokens, strict=True)]
        return np.stack([self.rows[text] for text in self.texts])

    def total(self, text):
        ids = [*text, END] if len(text) < MOST else list(text)
        return sum(float(log_softmax(self.rows[tuple(text[:i])])[token]) for i, token in enumerate(ids))

    def search(self, beams, **more):
        return search(self.rows[()], self.step, lambda logits, _: logits, END, MOST, beams, **more)


@pytest.mark.parametrize("seed", range(5))
def test_enough_beams_find_the_best_of_all_texts(seed: int) -> None:
    table = Table(seed)
    found, total = table.search(200, patience=1e6)
    every = [text for text in table.rows if len(text) <= MOST]
    best = max(every, key=lambda text: table.total(text) / max(1, len(text)))
    assert tuple(found) == best and total == pytest.approx(table.total(best), abs=1e-4)


def test_one_beam_takes_the_likeliest_token_always() -> None:
    table = Table(7)
    found, _ = table.search(1)
    greedy: list[int] = []
    while len(greedy) < MOST and (token := int(table.rows[tuple(greedy)].argmax())) != END:
        greedy.append(token)
    assert found == greedy


def test_patient_beams_often_find_a_likelier_text_and_never_a_less_likely_one() -> None:
    better = 0
    for seed in range(20):
        one, many = (Table(seed).search(n, patience=99.0, length_penalty=0.0)[1] for n in (1, 30))
        assert many >= one - 1e-5
        better += many > one + 1e-5
    assert better >= 5


def test_tokens_that_are_not_allowed_are_not_written() -> None:
    table = Table(3)

    def allow(logits, written):
        return np.where(np.arange(VOCABULARY) == (0 if written else 1), -np.inf, logits).astype(np.float32)

    found, _ = search(table.rows[()], table.step, allow, END, MOST, 5)
    assert not found or (found[0] != 1 and 0 not in found[1:])


def test_whisper_with_beams(whisper_folder) -> None:
    pipe = nyala.load(str(whisper_folder))
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 12_000).astype(np.float32)
    sound, prompt = pipe.encode([noise]), pipe.tokens.prompt("en", "transcribe", True)
    rules = Rules.of(pipe.tokens, True, pipe.suppress, pipe.suppress_first, pipe.model.config.vocab_size)
    sums = {}
    for beams in (1, 4, 30):
        limits = Limits(temperatures=(0.0,), beams=beams, patience=9.0, length_penalty=0.0, max_new_tokens=6)
        found = write(pipe.model, sound, prompt, rules, limits)
        again = write(pipe.model, sound, prompt, rules, limits)
        assert found == again
        sums[beams] = found.avg_logprob * (len(found.tokens) + 1)
    assert sums[1] <= sums[4] + 1e-4 and sums[4] <= sums[30] + 1e-4
    with pytest.raises(ArgumentError, match="beams=0"):
        pipe(noise, beams=0)
