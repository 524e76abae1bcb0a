"""Prefix beam search for CTC models (Hannun et al., arXiv:1408.2873): the likeliest text over all its paths, with words weighed
by an n-gram model or held to a list."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.errors import ArgumentError
from .letters import Letters
from .ngram import NGram, State, Vocabulary
from .paths import Rows

_NONE = -math.inf


@dataclass(frozen=True)
class Beam:
    """How to search.

    Attributes:
        width: texts that are followed at once.
        language_model: says how likely a word is after others.
        weight: how much it counts, against what is heard.
        bonus: what each word gets, against the model's liking of few words.
        words: the only words that may be said; None for any.
        least: letters less likely than this, as a natural logarithm, are not tried in a frame.

    Raises:
        ArgumentError: a width below 1.
    """

    width: int = 50
    language_model: NGram | None = None
    weight: float = 0.5
    bonus: float = 1.0
    words: Iterable[str] | None = None
    least: float = -8.0

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ArgumentError(f"a beam of width {self.width}", fix="follow one text at least")


@dataclass(frozen=True)
class Hypothesis:
    """A text that may have been said.

    Attributes:
        text: it.
        score: what texts are compared by: heard and language together.
        heard: logarithm of its probability by the sound alone, over all its paths that were followed.
        language: what the language model and the bonus gave.
    """

    text: str
    score: float
    heard: float
    language: float


class _Text:
    """The beginning of a text: a letter behind another beginning."""

    __slots__ = ("before", "language", "letter", "more", "part", "state", "words")

    def __init__(self, before: _Text | None, letter: int, part: str, state: State, language: float, words: str) -> None:
        self.before, self.letter, self.part, self.state = before, letter, part, state
        self.language, self.words = language, words
        self.more: dict[int, _Text | None] = {}


class _Search:
    """The texts of one sound."""

    def __init__(self, letters: Letters, beam: Beam) -> None:
        self.letters, self.beam = letters, beam
        listed = None if beam.words is None else Vocabulary(letters.normalized(word) for word in beam.words)
        self.vocabulary = listed
        model = beam.language_model
        self.root = _Text(None, -1, "", model.start() if model else (), 0.0, "")
        self.usable = [i for i in range(len(letters)) if letters.names[i] and (i == letters.blank or not letters.is_mark(i))]

    def child(self, text: _Text, letter: int) -> _Text | None:
        """The text with a letter more; None for one that may not be."""
        if letter not in text.more:
            text.more[letter] = self._made(text, letter)
        return text.more[letter]

    def _made(self, text: _Text, letter: int) -> _Text | None:
        if not self.letters.is_space(letter):
            part = text.part + self.letters.names[letter]
            if self.vocabulary is not None and not self.vocabulary.allows(part):
                return None
            return _Text(text, letter, part, text.state, text.language, text.words)
        closed = self.closed(text)
        return None if closed is None else _Text(text, letter, "", *closed)

    def closed(self, text: _Text) -> tuple[State, float, str] | None:
        """State, language's score and words behind the word that is being spelled; None where it is none."""
        if not text.part:
            return text.state, text.language, text.words
        if self.vocabulary is not None and not self.vocabulary.holds(text.part):
            return None
        words = f"{text.words} {text.part}" if text.words else text.part
        model = self.beam.language_model
        if model is None:
            return text.state, text.language, words
        score, state = model.score(text.state, text.part)
        return state, text.language + self.beam.weight * score + self.beam.bonus, words

    def run(self, log_probs: Rows) -> dict[_Text, tuple[float, float]]:
        """Each text that is left with the logarithms of ending in a blank, and in its letter."""
        held: dict[_Text, tuple[float, float]] = {self.root: (0.0, _NONE)}
        for row in log_probs.astype(np.float64):
            held = self._kept(self._step(held, row))
        return held

    def _step(self, held: dict[_Text, tuple[float, float]], row: np.ndarray[Any, Any]) -> dict[_Text, list[float]]:
        found: dict[_Text, list[float]] = {}
        tried = [i for i in self.usable if i != self.letters.blank and row[i] >= self.beam.least]
        blank, scores = float(row[self.letters.blank]), row.tolist()
        for text, (closed, opened) in held.items():
            both = _sum(closed, opened)
            _add(found, text, 0, both + blank)
            for letter in tried:
                again = letter == text.letter
                if again:
                    _add(found, text, 1, opened + scores[letter])
                more = self.child(text, letter)
                if more is not None:
                    _add(found, more, 1, (closed if again else both) + scores[letter])
        return found

    def _kept(self, found: dict[_Text, list[float]]) -> dict[_Text, tuple[float, float]]:
        """The best, by what is heard and what the language model says of the words that are complete."""
        ranked = sorted(found.items(), key=lambda item: -(_sum(*item[1]) + item[0].language))
        return {text: (scores[0], scores[1]) for text, scores in ranked[: self.beam.width]}

    def finished(self, held: dict[_Text, tuple[float, float]]) -> list[Hypothesis]:
        """The texts with their last words, best first; those of one wording are one."""
        heard: dict[str, float] = {}
        language: dict[str, float] = {}
        model = self.beam.language_model
        for text, scores in held.items():
            closed = self.closed(text)
            if closed is None:  # a word that is not complete: what stands before it was heard
                closed = text.state, text.language, text.words
                if any(self.closed(other) is not None for other in held):
                    continue
            state, score, words = closed
            heard[words] = _sum(heard.get(words, _NONE), _sum(*scores))
            language[words] = score + (self.beam.weight * model.end(state) if model else 0.0)
        found = [Hypothesis(words, heard[words] + language[words], heard[words], language[words]) for words in heard]
        return sorted(found, key=lambda h: -h.score)


def _sum(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == _NONE else a + math.log1p(math.exp(b - a))


def _add(found: dict[_Text, list[float]], text: _Text, place: int, score: float) -> None:
    if score == _NONE:
        return
    here = found.get(text)
    if here is None:
        here = found[text] = [_NONE, _NONE]
    here[place] = _sum(here[place], score)


def search(log_probs: Rows, letters: Letters, beam: Beam | None = None) -> list[Hypothesis]:
    """The texts that may have been said, best first.

    Args:
        log_probs: (T, C).
        letters: the alphabet.
        beam: how to search; 50 texts without a language model where not given.

    Raises:
        ArgumentError: log-probabilities of another alphabet.

    Example:
        >>> alphabet = Letters(("-", "|", "A", "B"))
        >>> rows = np.log(np.array([[0.5, 0.02, 0.28, 0.2], [0.5, 0.02, 0.2, 0.28]]))
        >>> [(h.text, round(math.exp(h.heard), 3)) for h in search(rows, alphabet)][:3]
        [('A', 0.306), ('B', 0.306), ('', 0.27)]
    """
    if log_probs.ndim != 2 or log_probs.shape[1] < len(letters):
        raise ArgumentError(f"log_probs of shape {log_probs.shape} for {len(letters)} letters", fix="pass (frames, letters)")
    made = _Search(letters, beam or Beam())
    return made.finished(made.run(log_probs))
