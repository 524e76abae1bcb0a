"""Whether a question was answered rightly, as SQuAD counts it (Rajpurkar et al., 2016): exactly, and by the words in common.

Case, punctuation and English articles do not count. Where the text has no answer, only "no answer" is right (SQuAD 2.0).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def bare(text: str) -> list[str]:
    """The words that count.

    Example:
        >>> bare("The  U.S. Army's")
        ['us', 'armys']
    """
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def judged(found: str, answers: Sequence[str]) -> tuple[float, float]:
    """(exact match, F1), each 0 to 1, of an answer; the best over all that count as right.

    Args:
        found: the answer; empty for "no answer".
        answers: those that are right; none where the text has none.

    Example:
        >>> judged("the cat", ["Cat", "a black cat"]), judged("a cat", ["black cat"])[1], judged("", []), judged("cat", [])
        ((1.0, 1.0), 0.6666666666666666, (1.0, 1.0), (0.0, 0.0))
    """
    own = bare(found)
    both = [(float(own == right), _f1(own, right)) for right in map(bare, answers or [""])]
    return max(exact for exact, _ in both), max(f1 for _, f1 in both)


def _f1(found: Sequence[str], right: Sequence[str]) -> float:
    if not found or not right:
        return float(found == right)
    common = sum((Counter(found) & Counter(right)).values())
    return 2 * common / (len(found) + len(right))
