"""Beam search for Whisper's decoder: several texts are followed at once, and the likeliest of those that ended is taken.

Candidates, their order and the end are those of the paper's own code (Radford et al., ``whisper/decoding.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Rows = np.ndarray[Any, np.dtype[np.float32]]


def search(
    first: Rows,
    step: Callable[[Sequence[int], Sequence[int]], Rows],
    allow: Callable[[Rows, Sequence[int]], Rows],
    end: int,
    most: int,
    beams: int,
    patience: float = 1.0,
    length_penalty: float | None = None,
) -> tuple[list[int], float]:
    """The best text that ended, and the sum of the logarithms of its probabilities, the end included.

    Args:
        first: logits of the first token, (vocabulary,).
        step: which beams go on, and their newest tokens -> logits of the next ones, (beams, vocabulary).
        allow: logits and the tokens so far -> the logits of what may follow, -inf for all else.
        end: the token that ends a text.
        most: tokens of a text.
        beams: texts that are followed.
        patience: how many times ``beams`` texts must have ended before the search does (Kasai et al., arXiv:2204.05424).
        length_penalty: exponent of Google's length penalty; None for the mean over the tokens.

    Example:
        >>> rows = {(): [2.0, 1.9, 0.0], (0,): [0.0, 0.0, 0.1], (1,): [0.0, 0.0, 9.0]}
        >>> texts = [()]
        >>> def step(origins, tokens):
        ...     texts[:] = [(*texts[o], t) for o, t in zip(origins, tokens)]
        ...     return np.array([rows.get(text, [0.0, 0.0, 9.0]) for text in texts], np.float32)
        >>> search(np.array(rows[()], np.float32), step, lambda logits, written: logits, 2, 4, 2)[0]
        [1]
    """
    running: list[tuple[list[int], float]] = [([], 0.0)]
    ended: dict[tuple[int, ...], float] = {}
    enough = max(1, round(beams * patience))
    logits = first[None]
    for _ in range(most):
        found = []
        for origin, (written, total) in enumerate(running):
            scores = log_softmax(allow(logits[origin], written))
            best = np.argpartition(-scores, min(beams, len(scores) - 1))[: beams + 1]
            found += [(total + float(scores[t]), origin, int(t)) for t in best if scores[t] > -np.inf]
        found.sort(key=lambda one: (-one[0], one[1], one[2]))
        kept: list[tuple[float, int, int]] = []
        for total, origin, token in found:
            if token == end:
                if len(ended) < enough:
                    ended.setdefault(tuple(running[origin][0]), total)
            elif len(kept) < beams:
                kept.append((total, origin, token))
            if len(kept) == beams:
                break
        if len(ended) >= enough or not kept:
            break
        running = [([*running[origin][0], token], total) for total, origin, token in kept]
        logits = step([origin for _, origin, _ in kept], [token for _, _, token in kept])
    for written, total in sorted(running, key=lambda one: -one[1]):
        if len(ended) >= beams:
            break
        ended.setdefault(tuple(written), total)
    best_text, total = max(ended.items(), key=lambda one: one[1] / _length(len(one[0]), length_penalty))
    return list(best_text), total


def _length(tokens: int, penalty: float | None) -> float:
    return float(max(1, tokens)) if penalty is None else ((5 + tokens) / 6) ** penalty


def log_softmax(logits: Rows) -> Rows:
    """(vocabulary,) logits -> logarithms of probabilities."""
    highest = logits.max()
    return np.asarray(logits - highest - np.log(np.exp(logits - highest).sum()))
