"""Colours of numbers and of things: a scale from dark to bright, and colours that are told apart at a glance."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np

# Nine points of matplotlib's "inferno" (CC0, Nathaniel J. Smith and Stefan van der Walt), whose brightness grows evenly.
_INFERNO = np.array(
    [
        (0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85), (227, 89, 51), (249, 140, 10), (249, 201, 50),
        (252, 255, 164),
    ],
    np.float64,
)  # fmt: skip
_GOLDEN = 0.61803398875  # of the circle of hues: steps of it never come back near to where they were


def scale(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Numbers (...) from 0, dark, to 1, bright -> (..., 3) uint8.

    Example:
        >>> scale(np.array([0.0, 1.0])).tolist()
        [[0, 0, 4], [252, 255, 164]]
    """
    places = np.clip(np.asarray(values, np.float64), 0, 1) * (len(_INFERNO) - 1)
    points = np.arange(len(_INFERNO))
    return np.stack([np.interp(places, points, _INFERNO[:, c]) for c in range(3)], -1).round().astype(np.uint8)


def colour(index: int) -> tuple[int, int, int]:
    """The colour of thing number ``index``: red, green and blue, 0 to 255.

    Example:
        >>> colour(0), colour(0) == colour(1)
        ((59, 130, 196), False)
    """
    red, green, blue = colorsys.hsv_to_rgb((0.5803 + index * _GOLDEN) % 1, 0.7, 0.77)
    return round(red * 255), round(green * 255), round(blue * 255)
