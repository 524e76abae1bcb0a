"""Kernels on pictures of bytes, (N, H, W, C) uint8. Whole numbers only: every backend gives the same bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...devices import module_of

__all__ = ["resample_bytes"]

SHIFT = 22  # weights are multiples of 2**-22: 255 times their sum has room in 32 bits


@dataclass(frozen=True, eq=False)
class Taps:
    """``out[i] = sum over t below count[i] of weight[i, t] * x[start[i] + t]`` along a side, rounded once.

    Attributes:
        start, count: (M, L) int64; M is 1 where all pictures have the same, else their number.
        weight: (M, L, T) int32, in units of 2**-22.
    """

    start: np.ndarray[Any, Any]
    count: np.ndarray[Any, Any]
    weight: np.ndarray[Any, Any]


def resample_bytes(x: Any, rows: Taps | None, columns: Taps | None, rows_first: bool = False) -> Any:
    """Each side combined for itself; in between the result is rounded to bytes, as Pillow does.

    Args:
        x: (N, H, W, C) uint8.
        rows: of the result, from rows of x; None leaves them as they are.
        columns: likewise.
        rows_first: which side is combined first.

    Returns:
        (N, rows, columns, C) uint8.
    """
    if rows is not None and rows_first:
        x = _along(x, rows)
    if columns is not None:
        x = module_of(x).moveaxis(_along(module_of(x).moveaxis(x, 2, 1), columns), 1, 2)
    return x if rows is None or rows_first else _along(x, rows)


def _along(x: Any, taps: Taps) -> Any:
    """(N, S, ...) -> (N, L, ...)."""
    xp = module_of(x)
    sums = xp.full((x.shape[0], taps.start.shape[1], *x.shape[2:]), 1 << (SHIFT - 1), np.int32)
    for t in range(taps.weight.shape[2]):
        place = np.minimum(taps.start + t, x.shape[1] - 1)  # beyond a row's count the weight is 0
        weight = xp.asarray(taps.weight[:, :, t]).reshape(*place.shape, *[1] * (x.ndim - 2))
        if len(place) == 1:
            values = xp.take(x, xp.asarray(place[0]), axis=1)
        else:
            values = x[xp.arange(len(x))[:, None], xp.asarray(place)]
        sums += values * weight
    return (sums >> SHIFT).clip(0, 255).astype(np.uint8)
