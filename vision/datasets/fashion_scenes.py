"""Scenes of clothes, with a class for every pixel: pictures of Fashion-MNIST's sample (MIT), enlarged, mirrored and laid over
each other on a cloudy ground. Made when they are asked for, and the same everywhere: every draw is keyed by part and number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core import random
from ...core.errors import ArgumentError
from ...core.random import Key
from .fashion_mnist import FashionMNIST
from .masks import MaskedPicture

_SHOWN = 24  # grey above which a pixel belongs to the piece and not to the black around it
# of the ten kinds, those that look alike are one: T-shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, boot
_KINDS = np.array([1, 2, 1, 3, 1, 4, 1, 4, 5, 4], np.uint8)
_COUNTS = {"train": 600, "test": 150}


class FashionScenes(Sequence[MaskedPicture]):
    """Scenes of two to four pieces each; the test part shows other pieces than the training part.

    Args:
        split: "train" or "test".
        count: how many; by default 600 and 150.
        size: side of a scene, in pixels.

    Attributes:
        classes: "background" and five kinds of clothes, by number.

    Raises:
        ArgumentError: another split.

    Example:
        >>> scenes = FashionScenes("test", 2)
        >>> scenes[0].image.shape, scenes[0].mask.shape, scenes.classes[0]
        ((64, 64), (64, 64), 'background')
    """

    classes = ("background", "top", "trousers", "dress", "shoe", "bag")

    def __init__(self, split: str, count: int | None = None, size: int = 64) -> None:
        if split not in _COUNTS:
            raise ArgumentError(f"split {split!r}", fix="use 'train' or 'test'")
        pieces = FashionMNIST(split, sample=True)
        number = _COUNTS[split] if count is None else count
        self.samples = [_scene(pieces, size, random.key(0, "fashion-scenes", split, i)) for i in range(number)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> Any:
        return self.samples[index]


def _scene(pieces: FashionMNIST, size: int, key: Key) -> MaskedPicture:
    image, mask = _ground(size, key.fold("ground")), np.zeros((size, size), np.uint8)
    for place in range(2 + int(key.fold("pieces").integers(0, 3, (1,))[0])):
        draw = key.fold("piece", place)
        u = draw.uniform((5,))
        number = int(u[0] * len(pieces.labels))
        piece = _enlarged(pieces.images[number], 22 + int(u[1] * 20), bool(u[2] < 0.5))
        top, left = (int(v * (size - len(piece) + 1)) for v in u[3:])
        window = (slice(top, top + len(piece)), slice(left, left + len(piece)))
        covered = piece > _SHOWN
        image[window][covered] = piece[covered]
        mask[window][covered] = _KINDS[pieces.labels[number]]
    return MaskedPicture(image, mask)


def _ground(size: int, key: Key) -> np.ndarray[Any, Any]:
    """Soft clouds of grey with some grain, (size, size) uint8."""
    from PIL import Image

    coarse = (key.uniform((4, 4)) * 120).astype(np.uint8)
    clouds = np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC), np.float64)
    grain = key.fold("grain").uniform((size, size)) * 24
    return (clouds + grain).clip(0, 255).astype(np.uint8)


def _enlarged(piece: np.ndarray[Any, Any], side: int, mirrored: bool) -> np.ndarray[Any, Any]:
    from PIL import Image

    found = np.asarray(Image.fromarray(piece).resize((side, side), Image.Resampling.BILINEAR))
    return found[:, ::-1] if mirrored else found
