"""Speculative decoding: a quick guesser proposes several tokens, and the model checks them all in one step.

Each token is chosen from the model's own scores, and a guess only stays if it is that token. A draw depends on seed and step
alone, so drawn texts are the same with and without guesses too, not only greedy ones (the idea: Leviathan et al.,
arXiv:2211.17192; the guess by look-up: Saxena, prompt lookup decoding, 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from ...core.errors import ArgumentError
from .rows import Row
from .search import Rules
from .steps import DecoderSteps, Steps


class Draft(Protocol):
    """Guesses how a text goes on."""

    def propose(self, ids: Sequence[int]) -> list[int]:
        """A few tokens that may come behind ``ids``; none where it has no idea."""
        ...


class LookupDraft:
    """Guesses that what followed the last words before will follow them again: quick where texts repeat their input.

    Args:
        count: tokens proposed at most.
        longest: of the last tokens, so many at most are looked up; fewer where these do not occur.

    Example:
        >>> LookupDraft(count=2).propose([5, 6, 7, 8, 1, 5, 6])
        [7, 8]
    """

    def __init__(self, count: int = 8, longest: int = 3) -> None:
        _check(count, "count")
        _check(longest, "longest")
        self.count, self.longest = count, longest

    def propose(self, ids: Sequence[int]) -> list[int]:
        """What followed the last place where the text's last tokens stood before."""
        ids = list(ids)
        for size in range(min(self.longest, len(ids) - 1), 0, -1):
            tail = ids[-size:]
            for start in range(len(ids) - size - 1, -1, -1):
                if ids[start : start + size] == tail:
                    return ids[start + size : start + size + self.count]
        return []


class ModelDraft:
    """Guesses by a smaller model with the same vocabulary.

    Args:
        model: a decoder, in eval mode.
        count: tokens proposed each time.

    Raises:
        ArgumentError: ``count`` below 1.
    """

    def __init__(self, model: Any, count: int = 4) -> None:
        _check(count, "count")
        self.model, self.count = model, count
        self._steps: DecoderSteps | None = None
        self._read: list[int] = []

    def propose(self, ids: Sequence[int]) -> list[int]:
        """The tokens that the smaller model finds likeliest."""
        ids = list(ids)
        if self._steps is None:
            self._steps = DecoderSteps(self.model)
        room = min(self.count, self._steps.longest - len(ids))
        if room < 1:
            return []
        known = 0
        while known < min(len(self._read), len(ids) - 1) and self._read[known] == ids[known]:
            known += 1
        try:
            self._steps.crop(known)
        except ArgumentError:  # a sliding cache has let them go: read the text again
            self._steps, known = DecoderSteps(self.model), 0
        scores = self._steps.read(np.array([ids[known:]], np.int64), last=True)[0, -1]
        self._read, found = list(ids), [int(scores.argmax())]
        while len(found) < room:
            scores = self._steps.step([found[-1]])[0]
            self._read.append(found[-1])
            found.append(int(scores.argmax()))
        return found


def _check(value: int, name: str) -> None:
    if value < 1:
        raise ArgumentError(f"{name}={value}", fix="use 1 or more")


class Speculation:
    """One text that goes on by guesses; a search like :class:`~.search.Search`.

    Attributes:
        steps, rules: as there.
        row: the text.
        draft: guesses.
        read: tokens that the model has read when the search is over.
        proposed, kept: guesses so far, and how many of them stayed.
    """

    def __init__(self, steps: Steps, row: Row, rules: Rules, draft: Draft) -> None:
        self.steps, self.row, self.rules, self.draft = steps, row, rules, draft
        self.read: list[int] = []
        self.proposed = self.kept = 0

    def __iter__(self) -> Iterator[tuple[Row, int]]:
        """Each token as it is chosen, with its text."""
        row = self.row
        scores = self.steps.start([row.prompt])  # (1, vocabulary)
        self.read = list(row.prompt)
        guesses: list[int] = []
        while True:
            for place in range(len(guesses) + 1):
                token = self._take(scores[place])
                if token is not None:
                    yield row, token
                if row.finish:
                    self._forget(guesses[place:])
                    return
                if place < len(guesses) and token != guesses[place]:
                    self._forget(guesses[place:])
                    break
                self.kept += place < len(guesses)
            fresh = row.new[-1]
            guesses = self._guesses()
            scores = self.steps.read(np.array([[fresh, *guesses]], np.int64))[0]
            self.read += [fresh, *guesses]

    def _take(self, scores: Any) -> int | None:
        changed = self.rules.scored([self.row], scores[None])
        return self.rules.take(self.row, scores, changed[0])

    def _guesses(self) -> list[int]:
        room = self.row.limit - len(self.row.new) - 1
        found = self.draft.propose(self.row.ids)[:room] if room > 0 else []
        self.proposed += len(found)
        return found

    def _forget(self, wrong: Sequence[int]) -> None:
        """What was read of wrong guesses is taken back."""
        if wrong:
            self.read = self.read[: -len(wrong)]
            self.steps.crop(len(self.read))
