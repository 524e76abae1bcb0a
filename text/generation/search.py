"""One token after the other for several texts at once: the likeliest, or drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .config import GenerationConfig
from .processors import Processor, Scores
from .rows import Row
from .sampling import choose
from .steps import Steps


@dataclass(frozen=True)
class Rules:
    """What every search keeps to.

    Attributes:
        config: as the caller said.
        ends: tokens that end a text.
        processors: change the scores before a token is chosen.
        stop: says of new tokens whether the text they make ends here.
    """

    config: GenerationConfig
    ends: frozenset[int]
    processors: Sequence[Processor] = ()
    stop: Callable[[Sequence[int]], bool] | None = None

    def scored(self, rows: Sequence[Row], scores: Scores) -> Scores:
        """The scores after all processors."""
        for processor in self.processors:
            scores = processor(rows, scores)
        return scores

    def take(self, row: Row, scores: Scores, changed: Scores) -> int | None:
        """Choose the next token of a text and note it: None where the text ends without one more.

        Args:
            row: it is told the token, and why it ended.
            scores: (vocabulary,), as the model gave them.
            changed: after the processors.
        """
        token = choose(changed, self.config, len(row.new), row.sample)
        if token in self.ends:
            row.finish = "end"
            return None
        if self.config.logprobs is not None:
            tell(row, scores, token, self.config.logprobs)
        row.new.append(token)
        if self.stop is not None and self.stop(row.new):
            row.finish = "stop"
        elif len(row.new) >= row.limit:
            row.finish = "length"
        return token


def log_softmax(scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Natural logarithms of probabilities over the last axis, of the input's dtype."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def tell(row: Row, scores: Scores, token: int, count: int) -> None:
    """Note a token's log-probability, and ``count`` of the likeliest in its place."""
    found = log_softmax(scores.astype(np.float64))
    row.logprobs.append(float(found[token]))
    best = np.argsort(-found, kind="stable")[:count]
    row.alternatives.append([(int(t), float(found[t])) for t in best])


@dataclass
class Search:
    """Texts that go on at once; those that have ended are left out of further steps.

    Attributes:
        steps: of the model; it has read nothing yet.
        rows: the texts.
        rules: what is kept to.
        read: tokens that the model has read of the first text, when the search is over.
    """

    steps: Steps
    rows: list[Row]
    rules: Rules
    read: list[int] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[Row, int]]:
        """Each token as it is chosen, with its text."""
        alive = list(self.rows)
        scores = self._start()
        self.read = list(self.rows[0].prompt)
        while alive:
            chosen, kept = [], []
            changed = self.rules.scored(alive, scores)
            for i, row in enumerate(alive):
                token = self.rules.take(row, scores[i], changed[i])
                if token is not None:
                    yield row, token
                if not row.finish:
                    chosen.append(token)
                    kept.append(i)
            if not kept:
                return
            if len(kept) < len(alive):
                self.steps.select(kept)
                alive = [alive[i] for i in kept]
            scores = self.steps.step(chosen)  # type: ignore[arg-type]
            if alive[0] is self.rows[0]:
                self.read.append(chosen[0])  # type: ignore[arg-type]

    def _start(self) -> Any:
        """Read each prompt once, also where several texts go on from it."""
        scores = self.steps.start([row.prompt for row in self.rows if not row.sample])
        places = [row.source for row in self.rows]
        if places != list(range(len(scores))):
            self.steps.select(places)
        return scores[places]
