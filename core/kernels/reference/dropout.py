"""Dropout from counter-based random bits: the mask is a function of a key, never stored, equal on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...devices import module_of
from .half import where
from .random import philox

__all__ = ["add_dropout", "dropout"]


def threshold(p: float) -> int:
    """Random words below this are dropped: p of them, to within 2**-32."""
    return min(round(p * 2.0**32), 2**32 - 1)


def dropout(x: Any, p: float, key: tuple[int, int]) -> Any:
    """x / (1 - p) where kept, 0 where dropped. Element i, in C order, follows Philox word i of ``key``; 0 <= p < 1."""
    xp = module_of(x)
    keep = philox(xp, key, x.size).reshape(x.shape) >= np.uint32(threshold(p))
    scaled = x * np.asarray(1.0 / (1.0 - p), x.dtype if x.dtype.itemsize >= 4 else np.float32).astype(x.dtype)[()]
    return where(keep, scaled, x.dtype.type(0))


def add_dropout(residual: Any, x: Any, p: float, key: tuple[int, int]) -> Any:
    """``residual`` plus ``dropout(x, p, key)``, of one shape and dtype."""
    return residual + dropout(x, p, key)
