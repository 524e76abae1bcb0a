"""Sums in two stages: each block leaves what it has added up, and a second kernel adds up the blocks' (``parts.cuh``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....devices import cupy
from .launching import blocks_for, launch

PARTS = 264  # blocks that leave a part: two for each multiprocessor of an H100; the same everywhere, and with it the sums' order


def wide(x: Any) -> np.dtype[Any]:
    """The dtype in which numbers like those of ``x`` are added up.

    Example:
        >>> wide(np.ones(1, "float16"))
        dtype('float32')
    """
    return np.dtype(np.float64 if x.dtype == np.float64 else np.float32)


def sums_of(source: str, dtype: str | None, parts: Any) -> Any:
    """``parts`` (S, count, n) summed over count: (S, n), by ``sum_parts`` of ``source.cu``."""
    kinds, count, n = parts.shape
    sums = cupy().empty((kinds, n), parts.dtype)
    launch(source, f"sum_parts_{dtype}", (blocks_for(n, 32), kinds), (32, 8), parts, sums, count, np.int64(n))
    return sums
