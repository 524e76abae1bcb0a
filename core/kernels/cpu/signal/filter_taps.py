"""The tables of Pillow's filters without NumPy's many small calls: a random crop needs two that no other crop has."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from ...reference.filter_taps import SUPPORTS
from ...reference.filter_taps import filter_taps as in_arrays
from ...reference.pictures import SHIFT, Taps
from ..running.compiled import any_layout, njit

_ONE = float(1 << SHIFT)
_NUMBERS = {"bilinear": 0, "bicubic": 1, "box": 2}  # the others take sines, which libraries round in different ways
# as NumPy rounds: no fused multiply-add, no sum in another order
_ROUNDED: dict[str, Any] = {"error_model": "numpy", "cache": True, "nogil": True}


@njit(**_ROUNDED)
def _weight(number: Any, x: Any) -> Any:
    far = abs(x)
    if number == 0:
        return 1 - far if far < 1 else 0.0
    if number == 1:
        if far < 1:
            return (1.5 * far - 2.5) * far * far + 1
        return (((far - 5) * far + 8) * far - 4) * -0.5 if far < 2 else 0.0
    return 1.0 if -0.5 < x <= 0.5 else 0.0


@njit(**_ROUNDED)
def _windows(low: Any, scale: Any, size: Any, support: Any, start: Any, count: Any) -> None:
    reach = support * max(scale, 1.0)
    for i in range(len(start)):
        center = low + (i + 0.5) * scale
        start[i] = max(np.int64(center - reach + 0.5), 0)
        count[i] = min(np.int64(center + reach + 0.5), size) - start[i]


@njit(**_ROUNDED)
def _weights(low: Any, scale: Any, number: Any, start: Any, count: Any, line: Any, whole: Any) -> None:
    narrow = 1.0 / max(scale, 1.0)
    for i in range(len(start)):
        center, total = low + (i + 0.5) * scale, 0.0
        for t in range(count[i]):
            line[t] = _weight(number, (np.float64(t + start[i]) - center + 0.5) * narrow)
            total += line[t]
        for t in range(count[i]):
            share = line[t] / total if total != 0 else line[t]
            whole[i, t] = np.int32((-0.5 if share < 0 else 0.5) + share * _ONE)
        whole[i, count[i] :] = 0


_PARTS = any_layout(2, types.float32)
_PLACES = any_layout(2, types.int64, order="C", writable=True)


@njit(signatures=[types.void(_PARTS, types.int64, types.float64, _PLACES, _PLACES)], **_ROUNDED)
def _all_windows(parts: Any, size: Any, support: Any, start: Any, count: Any) -> None:
    for m in range(len(parts)):
        scale = np.float64(parts[m, 1] - parts[m, 0]) / start.shape[1]
        _windows(np.float64(parts[m, 0]), scale, size, support, start[m], count[m])


_TABLE = any_layout(3, types.int32, order="C", writable=True)


@njit(signatures=[types.void(_PARTS, types.int64, _PLACES, _PLACES, _TABLE)], **_ROUNDED)
def _all_weights(parts: Any, number: Any, start: Any, count: Any, whole: Any) -> None:
    line = np.empty(whole.shape[2], np.float64)
    for m in range(len(parts)):
        scale = np.float64(parts[m, 1] - parts[m, 0]) / start.shape[1]
        _weights(np.float64(parts[m, 0]), scale, number, start[m], count[m], line, whole[m])


def filter_taps(parts: np.ndarray[Any, Any], size: int, out: int, interpolation: str) -> Taps:
    """As the reference."""
    number = _NUMBERS.get(interpolation)
    if number is None:
        return in_arrays(parts, size, out, interpolation)
    start, count = np.empty((len(parts), out), np.int64), np.empty((len(parts), out), np.int64)
    _all_windows(parts, size, SUPPORTS[interpolation], start, count)
    whole = np.empty((len(parts), out, int(count.max())), np.int32)
    _all_weights(parts, number, start, count, whole)
    return Taps(start, count, whole)
