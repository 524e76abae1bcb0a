"""Rotary positions: ``positions.cu``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...devices import cupy
from ..reference import positions as reference
from .running.launching import blocks_for, contiguous, launch, suffix

_LANES, _ROWS = 16, 16  # threads of a row, rows of a block


def rotate(x: Any, cos: Any, sin: Any, interleaved: bool) -> Any:
    dtype = suffix(x, cos, sin)
    if dtype is None or not x.size or x.ndim != 4 or cos.shape != sin.shape or len(cos) != x.shape[2]:
        return reference.rotate(x, cos, sin, interleaved)
    if x.strides[3] != x.itemsize:
        x = cupy().ascontiguousarray(x)
    texts, heads, steps, width = x.shape
    y = cupy().empty((texts, steps, heads, width), x.dtype)
    rows, strides = texts * heads * steps, (np.int64(s // x.itemsize) for s in x.strides[:3])
    given = (
        x,
        *strides,
        contiguous(cos),
        contiguous(sin),
        y,
        np.int64(rows),
        heads,
        steps,
        cos.shape[1],
        width,
        bool(interleaved),
    )
    launch("positions", f"rotate_{dtype}", blocks_for(rows, _ROWS), (_LANES, _ROWS), *given)
    return y.transpose(0, 2, 1, 3)
