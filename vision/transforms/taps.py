"""The tables by which a side of a picture is scaled."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from ...core import kernels
from ...core.errors import ArgumentError
from ...core.kernels.reference.filter_taps import FILTERS
from ...core.kernels.reference.pictures import Taps

__all__ = ["FILTERS", "taps_of"]


def taps_of(size: int, parts: Sequence[tuple[float, float]], out: int, interpolation: str) -> Taps | None:
    """The table that scales a part of a side, from ``low`` to ``high``, to ``out`` pixels; None where that changes nothing.

    Args:
        size: of the side, in pixels.
        parts: (low, high) in pixels, inside the side; one for all pictures or one a picture.
        out: pixels of the result.
        interpolation: one of ``FILTERS``.

    Raises:
        ArgumentError: another filter.

    Example:
        >>> taps_of(4, [(0, 4)], 2, "box").weight.tolist() == [[[1 << 21, 1 << 21]] * 2]
        True
    """
    if interpolation not in FILTERS:
        raise ArgumentError(f"interpolation {interpolation!r}", fix=f"use one of {', '.join(FILTERS)}")
    if out == size and all(part == (0, size) for part in parts):
        return None
    if len(parts) == 1:
        return _table_of_one(size, *map(float, parts[0]), out, interpolation)
    return _table(size, parts, out, interpolation)


@functools.lru_cache(maxsize=256)
def _table_of_one(size: int, low: float, high: float, out: int, interpolation: str) -> Taps:
    return _table(size, [(low, high)], out, interpolation)


def _table(size: int, parts: Sequence[tuple[float, float]], out: int, interpolation: str) -> Taps:
    given = np.array(parts, np.float32)
    return kernels.of(given).filter_taps(given, size, out, interpolation)
