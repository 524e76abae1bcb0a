"""Changes of log-mel frames."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.random import Key

Array = np.ndarray[Any, Any]


def spec_augment(features: Array, length: int, time: tuple[int, float], bands: tuple[int, float], key: Key) -> Array:
    """Covers stretches of time and of frequency by the mean of the sound's frames (Park et al., arXiv:1904.08779).

    Args:
        features: (F, bands) float32; the input is left as it is.
        length: frames that are of the sound; the others, which fill it up, are not covered.
        time, bands: how many stretches, and the longest one as a fraction of the frames or bands.
        key: what the draws are made from.

    Example:
        >>> from nyala.core import random
        >>> frames = np.arange(12, dtype=np.float32).reshape(4, 3)
        >>> spec_augment(frames, 4, (0, 0.0), (1, 1.0), random.key(7, "doc")).tolist()[0]
        [0.0, 5.5, 5.5]
    """
    changed, mean = features.copy(), features[:length].mean(dtype=np.float64)
    for axis, (count, width), size in ((0, time, length), (1, bands, features.shape[1])):
        drawn = key.fold("time" if axis == 0 else "bands").uniform((count, 2))
        for wide, place in drawn:
            stretch = int(wide * (width * size + 1))
            start = int(place * (size - stretch + 1))
            part = slice(start, start + stretch)
            changed[part if axis == 0 else (slice(length), part)] = mean
    return changed
