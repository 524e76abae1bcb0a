"""Tags of words, and the stretches they mark: ``B-PER I-PER O`` is a person of two words (Ramshaw and Marcus, 1995).

Example:
    >>> spans(["B-PER", "I-PER", "O", "B-LOC"])
    [('PER', 0, 2), ('LOC', 3, 4)]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

Span = tuple[str, int, int]
OUTSIDE = "O"


def kind_of(tag: str) -> str:
    """What a tag marks, without its prefix: ``PER`` for ``B-PER`` and ``I-PER``; empty for ``O``."""
    return "" if tag == OUTSIDE else tag.partition("-")[2] if tag[:2] in ("B-", "I-") else tag


def spans(tags: Sequence[str]) -> list[Span]:
    """The marked stretches: (kind, first, behind the last). A stretch begins at ``B-`` and wherever the kind changes.

    ``I-`` without a ``B-`` before it begins a stretch too, as in conlleval; tags without prefixes join with equal neighbours.
    """
    found: list[Span] = []
    start, current = 0, ""
    for i, tag in enumerate([*tags, OUTSIDE]):
        kind = kind_of(tag)
        if kind == current and not tag.startswith("B-"):
            continue
        if current:
            found.append((current, start, i))
        start, current = i, kind
    return found


def span_f1(truth: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and F1 over all stretches of all texts: right are those with the right kind and both ends.

    Example:
        >>> span_f1([["B-A", "O", "B-B"]], [["B-A", "O", "O"]])
        {'precision': 1.0, 'recall': 0.5, 'f1': 0.6666666666666666}
    """
    counts: Counter[str] = Counter()
    for right, guess in zip(truth, predicted, strict=True):
        a, b = set(spans(right)), set(spans(guess))
        counts.update(true=len(a), guessed=len(b), both=len(a & b))
    return scores_of(counts["true"], counts["guessed"], counts["both"])


def scores_of(true: float, guessed: float, both: float) -> dict[str, float]:
    """Precision, recall and F1 from how many stretches there are, how many were guessed, and how many of these are right."""
    precision = both / guessed if guessed else float(not true)
    recall = both / true if true else 1.0
    total = precision + recall
    return {"precision": float(precision), "recall": float(recall), "f1": float(2 * precision * recall / total) if total else 0.0}
