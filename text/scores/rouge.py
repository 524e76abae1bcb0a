"""How much of a reference a written text has in common with it (Lin, ROUGE, 2004): F1 of words, and of words in order.

Words are runs of letters and digits, without regard to capitals; there is no stemming.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The words of a text.

    Example:
        >>> words("Don't PANIC: 42 %")
        ['don', 't', 'panic', '42']
    """
    return _WORD.findall(text.casefold())


def rouge(written: str, reference: str) -> tuple[float, float]:
    """ROUGE-1 and ROUGE-L, as F1 between 0 and 1; two texts without words agree.

    Example:
        >>> [round(score, 4) for score in rouge("the cat sat on a mat", "the cat was on the mat")]
        [0.6667, 0.6667]
    """
    a, b = words(written), words(reference)
    if not a or not b:
        return (1.0, 1.0) if a == b else (0.0, 0.0)
    common = sum((Counter(a) & Counter(b)).values())
    return _f1(common, len(a), len(b)), _f1(_in_order(a, b), len(a), len(b))


def _f1(common: int, written: int, reference: int) -> float:
    return 2 * common / (written + reference)


def _in_order(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    number = {word: i for i, word in enumerate(dict.fromkeys((*a, *b)))}
    other = np.array([number[word] for word in b])
    row = np.zeros(len(b) + 1, np.int64)
    for word in a:
        hits = row[:-1] + (other == number[word])
        row[1:] = np.maximum.accumulate(np.maximum(row[1:], hits))
    return int(row[-1])
