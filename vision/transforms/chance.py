"""Draws from a key that are more than uniform."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.random import Key

_TRIES = 64  # of which one is taken with a probability of at least 0.95 each


def gamma(key: Key, alpha: float, count: int) -> np.ndarray[Any, Any]:
    """(count,) numbers of the gamma distribution with shape ``alpha`` and scale 1.

    Source: Marsaglia and Tsang, A simple method for generating gamma variables, 2000.

    Example:
        >>> from nyala.core import random
        >>> bool(abs(gamma(random.key(0, "doc"), 0.3, 100_000).mean() - 0.3) < 0.01)
        True
    """
    shape = alpha if alpha >= 1 else alpha + 1
    d = shape - 1 / 3
    normal = key.fold("normal").normal((count, _TRIES), dtype=np.float64)
    unit = 1 - key.fold("uniform").uniform((count, _TRIES), dtype=np.float64)
    v = (1 + normal / np.sqrt(9 * d)) ** 3
    with np.errstate(invalid="ignore", divide="ignore"):
        taken = (v > 0) & (np.log(unit) < 0.5 * normal**2 + d - d * v + d * np.log(np.where(v > 0, v, 1)))
    drawn = d * np.take_along_axis(v, taken.argmax(axis=1)[:, None], 1)[:, 0]
    if alpha >= 1:
        return drawn
    return drawn * (1 - key.fold("boost").uniform(count, dtype=np.float64)) ** (1 / alpha)


def dirichlet(key: Key, alpha: float, parts: int) -> np.ndarray[Any, Any]:
    """(parts,) shares that sum to 1, of the symmetric Dirichlet distribution; two of them are a beta distribution's.

    Example:
        >>> from nyala.core import random
        >>> dirichlet(random.key(0, "doc"), 1.0, 3).sum().round(6)
        np.float64(1.0)
    """
    drawn = gamma(key, alpha, parts)
    return drawn / drawn.sum() if drawn.sum() > 0 else np.eye(parts)[int(key.fold("which").integers(0, parts))]
