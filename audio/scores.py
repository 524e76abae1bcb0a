"""How good a transcript is: words that are wrong, missing or too many, against what was said."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..core.errors import ArgumentError

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


def words(text: str) -> list[str]:
    """The words of a text in small letters, without marks.

    Example:
        >>> words("Don't hang up -- please, 7!")
        ["don't", 'hang', 'up', 'please', '7']
    """
    return _WORD.findall(text.lower().replace("\u2019", "'"))


def distance(a: Sequence[object], b: Sequence[object]) -> int:
    """How many members must be put in, left out or exchanged to make one sequence of the other (Levenshtein, 1966).

    Example:
        >>> distance("kitten", "sitting")
        3
    """
    numbers: dict[object, int] = {}
    first, second = (np.array([numbers.setdefault(x, len(numbers)) for x in s], np.int64) for s in (a, b))
    row = places = np.arange(len(second) + 1)
    for i, member in enumerate(first, 1):
        best = np.empty_like(row)
        best[0] = i
        best[1:] = np.minimum(row[1:] + 1, row[:-1] + (second != member))
        row = np.minimum.accumulate(best - places) + places  # what is put in, one after the other
    return int(row[-1])


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Wrong, missing and surplus words of all texts, as a share of the words that were said; marks and capitals do not count.

    Args:
        references: what was said.
        hypotheses: what was written down, in the same order.

    Raises:
        ArgumentError: not as many of one as of the other, or nothing was said.

    Example:
        >>> word_error_rate(["thank you for your patience"], ["Thank you for patients."])
        0.4
    """
    if len(references) != len(hypotheses):
        raise ArgumentError(f"{len(references)} references for {len(hypotheses)} hypotheses", fix="give one for each")
    said = [words(text) for text in references]
    total = sum(map(len, said))
    if not total:
        raise ArgumentError("no words were said", fix="give references with words")
    return sum(distance(s, words(h)) for s, h in zip(said, hypotheses, strict=True)) / total
