"""Made-up pictures for finding objects: circles, squares and triangles on noisy ground. Every pixel follows from the seed.

They are for trying out and testing detectors: nothing is read, nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...core import random
from ...core.errors import ArgumentError, IndexRangeError
from ..transforms.sample import Sample

Array = np.ndarray[Any, Any]
_SPLITS = {"train": 0, "test": 1}
_TRIES = 20


class DrawnShapes:
    """Pictures of 1 to ``most`` shapes each, with their boxes; they are drawn when they are asked for.

    Args:
        split: "train" or "test": no picture is in both.
        count: pictures.
        size: side of a picture in pixels.
        most: shapes in a picture at most.
        seed: what everything is drawn by.

    Raises:
        ArgumentError: another split, or sizes that make no sense.

    Example:
        >>> data = DrawnShapes("test", 3)
        >>> sample = data[0]
        >>> len(data), sample.image.shape, len(sample.boxes) == len(sample.labels), data.classes
        (3, (64, 64, 3), True, ('circle', 'square', 'triangle'))
    """

    classes = ("circle", "square", "triangle")

    def __init__(self, split: str, count: int, *, size: int = 64, most: int = 4, seed: int = 0) -> None:
        if split not in _SPLITS:
            raise ArgumentError(f"DrawnShapes has no split {split!r}", fix=f"use one of {', '.join(_SPLITS)}")
        if count < 0 or size < 16 or most < 1:
            raise ArgumentError(
                f"DrawnShapes of {count} pictures, {size} pixels wide, of {most} shapes", fix="use larger numbers"
            )
        self.split, self.count, self.size, self.most, self.seed = split, count, size, most, seed

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(self.count))

    def __getitem__(self, index: int) -> Sample:
        if not -self.count <= index < self.count:
            raise IndexRangeError(f"picture {index} of {self.count}", fix=f"use 0 to {self.count - 1}")
        key = random.key(self.seed, "drawn-shapes", _SPLITS[self.split], index % self.count)
        image = _ground(key.fold("ground"), self.size)
        boxes: list[Array] = []
        labels: list[int] = []
        wanted = 1 + int(key.fold("count").integers(0, self.most, (1,))[0])
        for i in range(_TRIES):
            draw = key.fold("shape", i).uniform((8,)).astype(np.float64)
            side = round(self.size * (0.18 + 0.24 * draw[0]))
            left, top = (int(u * (self.size - side + 1)) for u in draw[1:3])
            box = np.array([left, top, left + side, top + side], np.float32)
            if any(_touch(box, other) for other in boxes):
                continue
            label = int(draw[3] * len(self.classes))
            found = _paint(image, box, label, draw[4:7])
            boxes.append(found)
            labels.append(label)
            if len(boxes) == wanted:
                break
        return Sample(image, boxes=np.stack(boxes), labels=np.array(labels, np.int64))


def _ground(key: random.Key, size: int) -> Array:
    """A dull slope from one colour to another, with noise: (size, size, 3) uint8."""
    ends = 40 + 90 * key.fold("ends").uniform((2, 3)).astype(np.float64)
    slope = np.linspace(0, 1, size)[:, None, None]
    plain = np.broadcast_to(ends[0] * (1 - slope) + ends[1] * slope, (size, size, 3))
    if key.fold("turn").uniform((1,))[0] < 0.5:
        plain = plain.transpose(1, 0, 2)
    noise = 24 * (key.fold("noise").uniform((size, size, 3)).astype(np.float64) - 0.5)
    return (plain + noise).round().clip(0, 255).astype(np.uint8)


def _touch(a: Array, b: Array) -> bool:
    return bool((np.minimum(a[2:], b[2:]) > np.maximum(a[:2], b[:2])).all())


def _paint(image: Array, box: Array, label: int, colour: Array) -> Array:
    """Fill a shape into the picture; returns the box around the pixels that it took."""
    left, top, right, _ = (int(v) for v in box)
    side = right - left
    y, x = np.mgrid[:side, :side] + 0.5
    if label == 0:
        inside = (x - side / 2) ** 2 + (y - side / 2) ** 2 <= (side / 2) ** 2
    elif label == 1:
        inside = np.ones((side, side), bool)
    else:
        inside = np.abs(x - side / 2) <= y / 2
    bright = 150 + 105 * colour
    bright[int(colour[0] * 3)] *= 0.3  # no shape is grey
    image[top : top + side, left : left + side][inside] = bright.round().astype(np.uint8)
    down, across = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return np.array([left + across[0], top + down[0], left + across[-1] + 1, top + down[-1] + 1], np.float32)
