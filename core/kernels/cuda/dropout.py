"""Dropout: ``dropout.cu``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...devices import cupy
from ..reference import dropout as reference
from .random import halves
from .running.launching import blocks_for, contiguous, launch, suffix

_THREADS = 256


def dropout(x: Any, p: float, key: tuple[int, int]) -> Any:
    if suffix(x) is None:
        return reference.dropout(x, p, key)
    return _dropped(x, None, p, key)


def add_dropout(residual: Any, x: Any, p: float, key: tuple[int, int]) -> Any:
    if suffix(x, residual) is None or x.shape != residual.shape:
        return reference.add_dropout(residual, x, p, key)
    return _dropped(x, contiguous(residual), p, key)


def _dropped(x: Any, residual: Any, p: float, key: tuple[int, int]) -> Any:
    x, y = contiguous(x), cupy().empty(x.shape, x.dtype)
    grid = blocks_for(x.size, _THREADS * max(4, 16 // x.dtype.itemsize))
    below = np.uint32(reference.threshold(p))
    launch(
        "dropout", f"dropout_{suffix(x)}", grid, _THREADS, x, residual, y, np.int64(x.size), *halves(key), below, 1.0 / (1.0 - p)
    )
    return y
