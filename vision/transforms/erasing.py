"""Pictures with a part covered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core.devices import module_of
from ...core.errors import ArgumentError
from ...core.random import Key
from .geometry import fill_of
from .transform import Array, Drawn, Transform, interval, share


class RandomErasing(Transform):
    """A rectangle covered, with a chance of ``p`` (Zhong et al., arXiv:1708.04896). What is known of places stays.

    Args:
        p: chance.
        scale: bounds of the rectangle's share of the area.
        ratio: bounds of its height over its width.
        value: its colour, a level or one a channel; or "random", each byte another.

    Raises:
        ArgumentError: bounds or a colour that make no sense.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: Any = 0,
    ) -> None:
        self.p, self.value = share("RandomErasing", "p", p), value
        self.scale = interval("RandomErasing", "scale", scale, 0.0, 1.0)
        self.ratio = interval("RandomErasing", "ratio", ratio, 1e-3, 1e3)
        if isinstance(value, str) and value != "random":
            raise ArgumentError(f"RandomErasing: value={value!r}", fix='give a level, one a channel, or "random"')

    def draw(self, key: Key, height: int, width: int) -> Drawn:
        """Top, left, height and width; then what the key of its bytes is made of. Nothing where ten tries do not fit."""
        if key.fold("whether").uniform() >= self.p:
            return ()
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for area, aspect, down, across in key.uniform((10, 4), dtype=np.float64):
            pixels = height * width * (self.scale[0] + area * (self.scale[1] - self.scale[0]))
            ratio = math.exp(low + aspect * (high - low))
            h, w = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
            if 0 < h < height and 0 < w < width:
                return int(down * (height - h + 1)), int(across * (width - w + 1)), h, w, *key.fold("bytes").words
        return ()

    def pixels(self, images: Array, drawn: Sequence[Drawn]) -> Array:
        if not any(drawn):
            return images
        xp, channels, erased = module_of(images), images.shape[3], images.copy()
        fill = None if self.value == "random" else xp.asarray(fill_of("RandomErasing", self.value, channels))
        for picture, numbers in zip(erased, drawn, strict=True):
            if not numbers:
                continue
            top, left, h, w, *words = map(int, numbers)
            noise = Key((words[0], words[1])).integers(0, 256, (h, w, channels), xp=xp) if fill is None else fill
            picture[top : top + h, left : left + w] = noise
        return erased

    def __repr__(self) -> str:
        return f"RandomErasing({self.p}, {self.scale}, value={self.value!r})"
