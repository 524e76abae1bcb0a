"""The tables of Pillow's antialiased filters, in Pillow's own arithmetic.

Source: Pillow's ``Resample.c`` (windows of a filter whose support grows with the scale, weights in whole numbers of 2**-22) and
``Geometry.c`` (nearest).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .pictures import SHIFT, Taps

__all__ = ["filter_taps"]

Array = np.ndarray[Any, Any]


def _bilinear(x: Array) -> Array:
    return np.where(abs(x) < 1, 1 - abs(x), 0.0)


def _bicubic(x: Array) -> Array:
    x = abs(x)
    near = ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1
    return np.where(x < 1, near, np.where(x < 2, (((x - 5) * x + 8) * x - 4) * -0.5, 0.0))


def _sinc(x: Array) -> Array:
    angle = np.where(x == 0, 1.0, x * np.pi)
    return np.where(x == 0, 1.0, np.sin(angle) / angle)


def _lanczos(x: Array) -> Array:
    return np.where((x >= -3) & (x < 3), _sinc(x) * _sinc(x / 3), 0.0)


def _box(x: Array) -> Array:
    return np.where((x > -0.5) & (x <= 0.5), 1.0, 0.0)


def _hamming(x: Array) -> Array:
    return np.where(abs(x) < 1, _sinc(abs(x)) * (0.54 + 0.46 * np.cos(abs(x) * np.pi)), 0.0)


SUPPORTS = {"bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0, "box": 0.5, "hamming": 1.0}  # how far each reaches, unstretched
_FILTERS: dict[str, Callable[[Array], Array]] = {
    "bilinear": _bilinear, "bicubic": _bicubic, "lanczos": _lanczos, "box": _box, "hamming": _hamming,
}  # fmt: skip
FILTERS = ("nearest", *SUPPORTS)


def filter_taps(parts: Array, size: int, out: int, interpolation: str) -> Taps:
    """The tables that scale parts of a side to ``out`` pixels.

    Args:
        parts: (M, 2) float32: where each begins and ends, in pixels, inside the side.
        size: of the side, in pixels.
        out: pixels of the result.
        interpolation: one of ``FILTERS``.
    """
    low, scale = parts[:, :1].astype(np.float64), (parts[:, 1:] - parts[:, :1]).astype(np.float64) / out
    if interpolation == "nearest":
        return _nearest(size, low, scale, out)
    function, support = _FILTERS[interpolation], SUPPORTS[interpolation]
    stretch = np.maximum(scale, 1.0)
    center = low + (np.arange(out) + 0.5) * scale
    start = np.maximum((center - support * stretch + 0.5).astype(np.int64), 0)
    count = np.minimum((center + support * stretch + 0.5).astype(np.int64), size) - start
    steps = np.arange(count.max())
    weight = function((steps + start[:, :, None] - center[:, :, None] + 0.5) * (1.0 / stretch)[:, :, None])
    weight[steps >= count[:, :, None]] = 0.0
    total = np.cumsum(weight, axis=2)[:, :, -1:]  # one after the other, as Pillow adds them
    weight = np.divide(weight, total, out=weight, where=total != 0)
    whole = (np.where(weight < 0, -0.5, 0.5) + weight * (1 << SHIFT)).astype(np.int32)
    return Taps(start, count, whole)


def _nearest(size: int, low: Array, scale: Array, out: int) -> Taps:
    steps = np.repeat(scale, out, axis=1)
    steps[:, :1] = low + scale * 0.5
    start = np.clip(np.cumsum(steps, axis=1).astype(np.int64), 0, size - 1)
    return Taps(start, np.ones_like(start), np.full((*start.shape, 1), 1 << SHIFT, np.int32))
