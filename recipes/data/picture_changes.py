"""Random changes of the bytes of pictures, from the recipe's tables to transforms."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.random import Key
from ..language import pictures as tables
from ..language.schema import Augment, HorizontalFlip

if TYPE_CHECKING:
    from ...vision.transforms import Sample, Transform

CHANGES: tuple[type, ...] = tables.PictureChange.__args__
BOXED: tuple[type, ...] = tables.BoxChange.__args__
MOVED = tuple(table for table in CHANGES if table is not tables.AugMix)  # those that know where each place goes
_GROUND = 114  # grey, as YOLO's pictures lie on


@functools.lru_cache(maxsize=64)
def transform(
    change: tables.PictureChange | tables.RandomIoUCrop | tables.RandomZoomOut, size: tuple[int, int], mask_fill: int = 0
) -> Transform:
    """The transform that a table stands for.

    Args:
        change: the table.
        size: height and width of the pictures it will see.
        mask_fill: the class of pixels that come from outside the picture.
    """
    from ...vision import transforms as made

    match change:
        case tables.RandomIoUCrop(p=p, scale=scale, ratio=ratio):
            return made.RandomApply([made.RandomIoUCrop(*scale, *ratio)], p)
        case tables.RandomZoomOut(p=p, side_range=sides):
            return made.RandomZoomOut(_GROUND, sides, p)
        case tables.VerticalFlip(p=p):
            return made.RandomVerticalFlip(p)
        case tables.ColorJitter():
            return made.ColorJitter(change.brightness, change.contrast, change.saturation, change.hue)
        case tables.Grayscale(p=p):
            return made.RandomGrayscale(p)
        case tables.GaussianBlur(p=p, sigma=sigma):
            # three standard deviations to either side, as far as the picture reaches
            width = min(2 * int(np.ceil(3 * sigma[1])) + 1, 2 * (min(size) - 1) + 1)
            return made.RandomApply([made.GaussianBlur(width, sigma)], p)
        case tables.RandomAffine():
            shift = (change.translate, change.translate)
            return made.RandomAffine(change.degrees, shift, change.scale, change.shear, change.interpolation, mask_fill=mask_fill)
        case tables.RandomPerspective(p=p, distortion_scale=scale):
            return made.RandomPerspective(scale, p, mask_fill=mask_fill)
        case tables.RandAugment():
            return made.RandAugment(change.num_ops, change.magnitude, interpolation=change.interpolation, mask_fill=mask_fill)
        case tables.TrivialAugment(interpolation=filter_):
            return made.TrivialAugmentWide(interpolation=filter_, mask_fill=mask_fill)
        case tables.AutoAugment(policy=policy, interpolation=filter_):
            return made.AutoAugment(policy, filter_, mask_fill=mask_fill)
    return made.AugMix(change.severity, change.width, change.depth)


def bytes_changed(
    pixels: np.ndarray[Any, Any], augments: Sequence[Augment], key: Key, done: int
) -> tuple[np.ndarray[Any, Any], int]:
    """Applies those at the head of the list that work on bytes, mirroring too, to one picture.

    Args:
        pixels: (H, W, 3) uint8; it is left as it is.
        augments: the recipe's ``data.augment``.
        key: what the draws are keyed by.
        done: how many have been applied already.

    Returns:
        The picture, and how many have been applied now.
    """
    for place in range(done, len(augments)):
        change = augments[place]
        if isinstance(change, HorizontalFlip):  # bytes are mirrored faster than numbers, and drawn for as ``augment`` does
            pixels = pixels[:, ::-1] if key.fold(place).uniform((6,))[0] < change.p else pixels
        elif isinstance(change, CHANGES):
            pixels = transform(change, pixels.shape[:2])(pixels, key.fold(place))
        else:
            return pixels, place
    return pixels, len(augments)


def sample_changed(
    sample: Sample, augments: Sequence[Augment], key: Key, done: int = 0, mask_fill: int = 0
) -> tuple[Sample, int]:
    """As ``bytes_changed``, for a picture with boxes or masks, which move along; it draws the same.

    Args:
        sample: it is left as it is.
        augments, key, done: as there.
        mask_fill: the class of pixels that come from outside the picture.

    Returns:
        The sample, and how many have been applied now.
    """
    from ...vision.transforms import RandomHorizontalFlip

    for place in range(done, len(augments)):
        change, draw = augments[place], key.fold(place)
        if isinstance(change, HorizontalFlip):
            sample = RandomHorizontalFlip(float(draw.uniform((6,))[0] < change.p)).one(sample, draw)
        elif isinstance(change, tables.Mosaic):  # it was made of several pictures, before this one was changed
            continue
        elif isinstance(change, MOVED + BOXED):
            sample = transform(change, (sample.height, sample.width), mask_fill).one(sample, draw)
        else:
            return sample, place
    return sample, len(augments)
