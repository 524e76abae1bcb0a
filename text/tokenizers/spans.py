"""Span corruption: stretches of a text are cut out, and the model learns to write them (Raffel et al., arXiv:1910.10683)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...core.random import Key
from .tokenizer import Tokenizer

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class SpanCorruption:
    """Cuts stretches out of rows of tokens; a sentinel stands where each was.

    Attributes:
        tokenizer: of the model; it has sentinels, ``<extra_id_0>``, ``<extra_id_1>``, ...
        end: the token that ends a text.
        density: share of the tokens that are cut out.
        mean_length: of a stretch, in tokens.

    Raises:
        DataError: the tokenizer has no sentinels.

    Example:
        >>> from nyala.core import random
        >>> lengths(random.key(0, "spans"), 10, 3).sum()
        np.int64(10)
    """

    tokenizer: Tokenizer
    end: int
    density: float = 0.15
    mean_length: float = 3.0

    def __post_init__(self) -> None:
        if not self.sentinels:
            raise DataError(
                "this tokenizer has no sentinels",
                why="where stretches are cut out, <extra_id_0>, <extra_id_1>, ... stand",
                fix="choose a T5, or train a tokenizer with them: model.tokenizer.sentinels",
            )

    @cached_property
    def sentinels(self) -> list[int]:
        """Their numbers, the first one first."""
        found: list[int] = []
        while (number := self.tokenizer.backend.token_to_id(f"<extra_id_{len(found)}>")) is not None:
            found.append(int(number))
        return found

    def __call__(self, ids: Array, key: Key) -> tuple[Array, Array]:
        """Tokens (T,) int64 without one that ends them -> what is read, and what is to be written; both end.

        The same key cuts the same. At least one token is cut out, and at least one stays where there are two.
        """
        count = len(ids)
        noise = min(max(round(count * self.density), 1), max(count - 1, 1))
        spans = min(max(round(noise / self.mean_length), 1), noise, max(count - noise, 1), len(self.sentinels))
        cut = lengths(key.fold("cut"), noise, spans)
        left = lengths(key.fold("left"), count - noise, spans) if count > noise else np.zeros(spans, np.int64)
        read: list[int] = []
        told: list[int] = []
        at = 0
        for sentinel, stay, go in zip(self.sentinels, left, cut, strict=False):
            read += [*ids[at : at + stay], sentinel]
            told += [sentinel, *ids[at + stay : at + stay + go]]
            at += int(stay + go)
        return np.array([*read, self.end], np.int64), np.array([*told, self.end], np.int64)

    def longest(self, count: int) -> int:
        """What is to be written of so many tokens has at most so many."""
        noise = min(max(round(count * self.density), 1), max(count - 1, 1))
        return noise + min(max(round(noise / self.mean_length), 1), noise, len(self.sentinels)) + 1


def lengths(key: Key, total: int, parts: int) -> Array:
    """``total`` as the sum of ``parts`` whole numbers of at least 1, all such sums equally likely; int64 (parts,)."""
    borders = np.sort(np.asarray(key.permutation(total - 1))[: parts - 1]) + 1
    return np.diff(np.concatenate([[0], borders, [total]])).astype(np.int64)
