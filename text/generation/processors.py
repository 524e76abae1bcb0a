"""What changes the scores of tokens before one is chosen: penalties, bans, and cuts of what may be drawn.

A processor is called with the texts so far and their scores (N, vocabulary) float32, and gives scores of the same shape; -inf
forbids a token. All of them give what transformers' processors of the same names give.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from .config import GenerationConfig
from .rows import Row

Scores = np.ndarray[Any, np.dtype[np.float32]]
Processor = Callable[[Sequence[Row], Scores], Scores]


def repetition_penalty(penalty: float) -> Processor:
    """Makes tokens of the text so far, the prompt in it, less likely: scores are divided, or multiplied where negative."""

    def apply(rows: Sequence[Row], scores: Scores) -> Scores:
        found = scores.copy()
        for row, values in zip(rows, found, strict=True):
            seen = _inside(row.ids, len(values))
            values[seen] = np.where(values[seen] < 0, values[seen] * np.float32(penalty), values[seen] / np.float32(penalty))
        return found

    return apply


def count_penalties(frequency: float, presence: float) -> Processor:
    """Takes ``frequency`` off for each time a token was generated, and ``presence`` off once; the prompt does not count."""

    def apply(rows: Sequence[Row], scores: Scores) -> Scores:
        found = scores.copy()
        for row, values in zip(rows, found, strict=True):
            for token, count in Counter(row.new).items():
                values[token] -= np.float32(frequency * count + presence)
        return found

    return apply


def no_repeat_ngram(size: int) -> Processor:
    """Forbids what would make a sequence of ``size`` tokens appear twice, the prompt counted."""

    def apply(rows: Sequence[Row], scores: Scores) -> Scores:
        found = scores.copy()
        for row, values in zip(rows, found, strict=True):
            ids = row.ids
            tail = ids[len(ids) + 1 - size :]
            for i in range(len(ids) + 1 - size):
                if ids[i : i + size - 1] == tail and ids[i + size - 1] < len(values):
                    values[ids[i + size - 1]] = -np.inf
        return found

    return apply


def suppress(tokens: Collection[int], until: int | None = None) -> Processor:
    """Forbids tokens, always or while a text has fewer than ``until`` new ones."""
    banned = np.array(sorted(tokens), np.int64)

    def apply(rows: Sequence[Row], scores: Scores) -> Scores:
        found = scores.copy()
        for row, values in zip(rows, found, strict=True):
            if until is None or len(row.new) < until:
                values[banned[banned < len(values)]] = -np.inf
        return found

    return apply


def _inside(ids: Sequence[int], size: int) -> np.ndarray[Any, Any]:
    """The different tokens among ``ids`` that have a score."""
    seen = np.unique(np.asarray(ids, np.int64))
    return seen[seen < size]


def penalties(config: GenerationConfig, ends: Collection[int]) -> list[Processor]:
    """The processors that hold for every way of choosing, in transformers' order."""
    found: list[Processor] = []
    if config.repetition_penalty != 1.0:
        found.append(repetition_penalty(config.repetition_penalty))
    if config.frequency_penalty or config.presence_penalty:
        found.append(count_penalties(config.frequency_penalty, config.presence_penalty))
    if config.no_repeat_ngram_size:
        found.append(no_repeat_ngram(config.no_repeat_ngram_size))
    if config.min_new_tokens and ends:
        found.append(suppress(ends, config.min_new_tokens))
    if config.suppress_tokens:
        found.append(suppress(config.suppress_tokens))
    return found
