"""Random changes of training samples. Each draw is keyed by (seed, epoch, sample, position in the list), so neither threads, nor
order, nor an interruption can change one.

Pictures are changed after their preprocessing: arrays (C, H, W) float32 of the size the model sees. A random resized crop that
comes first cuts out of the picture itself: see ``tasks.py``. Sounds are changed before it, as samples, but for SpecAugment, which
changes their frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...audio import augment as sounds
from ...core.random import Key
from ..language.schema import (
    Augment,
    Gain,
    HorizontalFlip,
    ImageAugment,
    Noise,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    Room,
    SoundAugment,
    SpecAugment,
    Speed,
    TimeShift,
    WordDropout,
)

IMAGE = ImageAugment.__args__
TEXT = (WordDropout,)
SOUND = SoundAugment.__args__


def image(array: np.ndarray, augments: Sequence[Augment], key: Key, done: int = 0) -> np.ndarray:
    """Applies the list to one prepared picture; the input is left as it is.

    Args:
        array: (C, H, W) float32.
        augments: the recipe's ``data.augment``.
        key: what the draws are keyed by: the loader makes it of (seed, epoch, index).
        done: how many at the head of the list have been applied already.
    """
    for place, augment in list(enumerate(augments))[done:]:
        u = key.fold(place).uniform((6,))
        match augment:
            case HorizontalFlip(p=p):
                array = array[:, :, ::-1] if u[0] < p else array
            case RandomCrop(padding=padding):
                array = _crop(array, padding, u)
            case RandomResizedCrop():
                array = _resized_crop(array, augment, u)
            case RandomErasing():
                array = _erase(array, augment, u)
    return np.ascontiguousarray(array)


def mask(numbers: np.ndarray, augments: Sequence[Augment], key: Key, done: int = 0) -> np.ndarray:
    """What ``image`` does to the places of a picture, done to the classes of its pixels; erasing leaves them.

    Args:
        numbers: (H, W) int64.
        augments, key, done: as of ``image``, with which it shares its draws.
    """
    for place, augment in list(enumerate(augments))[done:]:
        u = key.fold(place).uniform((6,))
        match augment:
            case HorizontalFlip(p=p):
                numbers = numbers[:, ::-1] if u[0] < p else numbers
            case RandomCrop(padding=padding):
                numbers = _crop(numbers[None], padding, u)[0]
            case RandomResizedCrop():
                numbers = _resized_crop(numbers[None].astype(np.int32), augment, u, "nearest")[0].astype(np.int64)
    return np.ascontiguousarray(numbers)


def text(words: str, augments: Sequence[Augment], key: Key) -> str:
    """Applies the list to one text."""
    for place, augment in enumerate(augments):
        if isinstance(augment, WordDropout):
            parts = words.split()
            keep = key.fold(place).uniform((max(1, len(parts)),)) >= augment.p
            words = " ".join(w for w, k in zip(parts, keep, strict=False) if k) or " ".join(parts[:1])
    return words


def sound(samples: np.ndarray, sample_rate: int, augments: Sequence[Augment], key: Key) -> np.ndarray:
    """Applies what changes samples to one sound; the input is left as it is.

    Args:
        samples: (T,) float32.
        sample_rate: in Hz.
        augments: the recipe's ``data.augment``.
        key: what the draws are keyed by.
    """
    for place, augment in enumerate(augments):
        draw = key.fold(place)
        match augment:
            case TimeShift(seconds=seconds):
                samples = sounds.time_shift(samples, sample_rate, seconds, draw)
            case Speed(by=by):
                samples = sounds.speed(samples, (1 - by, 1.0, 1 + by), draw)
            case Gain(db=db):
                samples = sounds.gain(samples, db, draw)
            case Noise(p=p, snr=snr, colour=colour) if draw.fold("whether").bernoulli(p):
                samples = sounds.add_noise(samples, snr, draw, colour)
            case Room(p=p, rt60=rt60, direct=direct) if draw.fold("whether").bernoulli(p):
                samples = sounds.room(samples, sample_rate, rt60, direct, draw)
    return np.ascontiguousarray(samples, np.float32)


def frames(features: np.ndarray, length: int, augments: Sequence[Augment], key: Key) -> np.ndarray:
    """Applies what changes frames to one sound's.

    Args:
        features: (F, bands) float32; the input is left as it is.
        length: of these frames so many are of the sound, the rest is filled up.
        augments: the recipe's ``data.augment``.
        key: what the draws are keyed by.
    """
    for place, augment in enumerate(augments):
        if isinstance(augment, SpecAugment):
            masks = (augment.time_masks, augment.time_width), (augment.band_masks, augment.band_width)
            features = sounds.spec_augment(features, length, *masks, key.fold(place))
    return features


def resized_crop_box(size: tuple[int, int], augment: RandomResizedCrop, key: Key) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a random part of a picture.

    Args:
        size: (width, height) of the picture.
        augment: the bounds of the part's area and aspect ratio.
        key: of this sample and this place in the list.
    """
    top, left, height, width = _box(size[1], size[0], augment.scale, augment.ratio, key.uniform((6,)))
    return left, top, left + width, top + height


def _crop(array: np.ndarray, padding: int, u: np.ndarray) -> np.ndarray:
    _, height, width = array.shape
    top, left = (int(v * (2 * padding + 1)) for v in u[:2])
    # The edge is repeated: after normalisation zero is the mean colour, not the background.
    padded = np.pad(array, ((0, 0), (padding, padding), (padding, padding)), mode="edge")
    return padded[:, top : top + height, left : left + width]


def _box(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], u: np.ndarray
) -> tuple[int, int, int, int]:
    """A rectangle (top, left, height, width) of random area and aspect ratio inside (height, width)."""
    area = height * width * (scale[0] + u[0] * (scale[1] - scale[0]))
    aspect = math.exp(math.log(ratio[0]) + u[1] * (math.log(ratio[1]) - math.log(ratio[0])))
    h = min(height, max(1, round(math.sqrt(area / aspect))))
    w = min(width, max(1, round(math.sqrt(area * aspect))))
    return int(u[2] * (height - h + 1)), int(u[3] * (width - w + 1)), h, w


def _resized_crop(array: np.ndarray, augment: RandomResizedCrop, u: np.ndarray, filter: str = "bilinear") -> np.ndarray:
    from PIL import Image

    _, height, width = array.shape
    top, left, h, w = _box(height, width, augment.scale, augment.ratio, u)
    box = (left, top, left + w, top + h)
    kind = Image.Resampling[filter.upper()]
    planes = [Image.fromarray(plane).resize((width, height), kind, box=box) for plane in np.ascontiguousarray(array)]
    return np.stack([np.asarray(plane, array.dtype) for plane in planes])


def _erase(array: np.ndarray, augment: RandomErasing, u: np.ndarray) -> np.ndarray:
    if u[4] >= augment.p:
        return array
    _, height, width = array.shape
    top, left, h, w = _box(height, width, augment.scale, augment.ratio, u)
    erased = array.copy()
    erased[:, top : top + h, left : left + w] = 0
    return erased
