"""The next token from the scores of all: the likeliest, or a draw among those that are likely enough.

A draw is a function of (seed, which of the texts for an input, step): a text is the same alone and in any batch, and drawn
again with a draft model it is the same too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core import random
from .config import GenerationConfig


def shares(scores: np.ndarray[Any, Any], config: GenerationConfig) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Tokens that may be drawn, the likeliest first, and their probabilities.

    Args:
        scores: (vocabulary,), -inf for what is forbidden.
        config: temperature above 0; ``top_k``, ``top_p`` and ``min_p`` cut in this order, each from what the one before left.

    Example:
        >>> tokens, p = shares(np.log([0.1, 0.6, 0.3]), GenerationConfig(temperature=1.0, top_p=0.8))
        >>> tokens.tolist(), p.round(3).tolist()
        ([1, 2], [0.667, 0.333])
    """
    order = _likeliest(scores, config.top_k)
    scaled = scores[order].astype(np.float64) / config.temperature
    found = np.exp(scaled - scaled[0])
    found /= found.sum()
    if config.top_p is not None and config.top_p < 1:
        kept = int(np.searchsorted(np.cumsum(found), config.top_p)) + 1
        order, found = order[:kept], found[:kept] / found[:kept].sum()
    if config.min_p is not None:
        kept = max(1, int((found >= config.min_p * found[0]).sum()))
        order, found = order[:kept], found[:kept] / found[:kept].sum()
    return order, found


def _likeliest(scores: np.ndarray[Any, Any], top_k: int | None) -> np.ndarray[Any, Any]:
    """Tokens that are not forbidden, from the likeliest on, the first ``top_k``; equal ones by their number."""
    allowed = np.flatnonzero(scores > -np.inf)
    if top_k is not None and top_k < len(allowed):  # a whole vocabulary is not worth sorting
        least = np.partition(scores[allowed], len(allowed) - top_k)[len(allowed) - top_k]
        allowed = allowed[scores[allowed] >= least]
    return allowed[np.argsort(-scores[allowed], kind="stable")][:top_k]


def choose(scores: np.ndarray[Any, Any], config: GenerationConfig, step: int, sample: int = 0) -> int:
    """The next token from scores (vocabulary,); ``sample`` and ``step`` key the draw.

    Example:
        >>> choose(np.array([0.0, 2.0, 1.0]), GenerationConfig(), 0)
        1
    """
    if not config.samples:
        return int(scores.argmax())
    tokens, found = shares(scores, config)
    counters = (step,) if not sample else (step, sample)
    draw = random.key(config.seed, "generation", *counters).uniform((1,))[0]
    return int(tokens[min(int(np.searchsorted(np.cumsum(found), draw, side="right")), len(tokens) - 1)])
