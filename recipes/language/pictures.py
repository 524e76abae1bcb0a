"""The tables of a recipe that change the bytes of pictures at random, before they are scaled and normalised.

Each stands for a transform of ``nyala.vision.transforms`` of the same arguments.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .values import Count, Fraction, NotNegative, Rate, Table, Whole

Filter = Literal["nearest", "bilinear", "bicubic"]
_Severity = Annotated[int, Meta(ge=1, le=10)]
_Hue = Annotated[float, Meta(ge=0, le=0.5)]
_Degrees = Annotated[float, Meta(ge=0, le=360)]
_Shear = Annotated[float, Meta(ge=0, le=80)]
_Larger = Annotated[float, Meta(ge=1, le=16)]
_Level = Annotated[int, Meta(ge=0, le=30)]


class VerticalFlip(Table, frozen=True, tag_field="type", tag="vertical_flip"):
    """Turns upside down."""

    p: Fraction = 0.5
    """Probability."""


class ColorJitter(Table, frozen=True, tag_field="type", tag="color_jitter"):
    """Changes brightness, contrast, saturation and hue, in random order."""

    brightness: NotNegative = 0.4
    """A factor is drawn from 1 - x to 1 + x, and so of the next two."""
    contrast: NotNegative = 0.4
    """Around the mean grey."""
    saturation: NotNegative = 0.4
    """0 would be grey."""
    hue: _Hue = 0.0
    """A share of the circle of colours, drawn from -x to x."""


class Grayscale(Table, frozen=True, tag_field="type", tag="grayscale"):
    """Takes the colours away."""

    p: Fraction = 0.1
    """Probability."""


class GaussianBlur(Table, frozen=True, tag_field="type", tag="gaussian_blur"):
    """Puts out of focus."""

    p: Fraction = 0.5
    """Probability."""
    sigma: tuple[Rate, Rate] = (0.1, 2.0)
    """Bounds of the standard deviation, in pixels."""


class RandomAffine(Table, frozen=True, tag_field="type", tag="random_affine"):
    """Turns, shifts, scales and shears about the middle."""

    degrees: _Degrees = 15.0
    """Turned by up to so much to either side."""
    translate: Fraction = 0.1
    """Shifted by up to this share of each side."""
    scale: tuple[Rate, Rate] = (0.9, 1.1)
    """Bounds of how much larger it becomes."""
    shear: _Shear = 0.0
    """Sheared by up to so many degrees."""
    interpolation: Filter = "bilinear"
    """How pixels in between are made."""


class RandomPerspective(Table, frozen=True, tag_field="type", tag="random_perspective"):
    """Shows askew, by moving the corners."""

    p: Fraction = 0.5
    """Probability."""
    distortion_scale: Fraction = 0.5
    """How far corners move: at 1 up to the middle."""


class RandAugment(Table, frozen=True, tag_field="type", tag="rand_augment"):
    """A number of changes drawn from fourteen, all of one strength (Cubuk et al. 2019)."""

    num_ops: Count = 2
    """Changes a picture."""
    magnitude: _Level = 9
    """Their strength, of 30."""
    interpolation: Filter = "bilinear"
    """How pixels in between are made."""


class TrivialAugment(Table, frozen=True, tag_field="type", tag="trivial_augment"):
    """One change of any strength (Müller & Hutter 2021)."""

    interpolation: Filter = "bilinear"
    """How pixels in between are made."""


class AutoAugment(Table, frozen=True, tag_field="type", tag="auto_augment"):
    """One of 25 pairs of changes that were found by search (Cubuk et al. 2018)."""

    policy: Literal["imagenet", "cifar10", "svhn"] = "imagenet"
    """The data that the search was made on."""
    interpolation: Filter = "bilinear"
    """How pixels in between are made."""


class AugMix(Table, frozen=True, tag_field="type", tag="aug_mix"):
    """Mixes the picture with chains of changes of itself (Hendrycks et al. 2019)."""

    severity: _Severity = 3
    """The strongest change, of 10."""
    width: Count = 3
    """Number of chains."""
    depth: Whole = 0
    """Changes a chain; 0 draws one to three."""


class RandomIoUCrop(Table, frozen=True, tag_field="type", tag="random_iou_crop"):
    """Cuts out a part that overlaps some object by a drawn share, with the objects whose middles are in it (Liu et al. 2015)."""

    p: Fraction = 0.5
    """Probability."""
    scale: tuple[Fraction, Fraction] = (0.3, 1.0)
    """Bounds of the part's sides over the picture's."""
    ratio: tuple[Rate, Rate] = (0.5, 2.0)
    """Bounds of the part's width over its height."""


class RandomZoomOut(Table, frozen=True, tag_field="type", tag="random_zoom_out"):
    """Puts the picture somewhere on a larger ground, so that objects become smaller (Liu et al. 2015)."""

    p: Fraction = 0.5
    """Probability."""
    side_range: tuple[_Larger, _Larger] = (1.0, 2.0)
    """Bounds of the ground's sides over the picture's."""


class Mosaic(Table, frozen=True, tag_field="type", tag="mosaic"):
    """Four pictures around a point, the picture itself and three others of the training part, as large as it is alone
    (Bochkovskiy et al. 2020). Comes first in the list."""

    p: Fraction = 0.5
    """Probability."""
    center: tuple[Fraction, Fraction] = (0.3, 0.7)
    """Bounds of the point, as shares of height and width."""


BoxChange = RandomIoUCrop | RandomZoomOut | Mosaic  # for pictures with boxes alone
PictureChange = (
    VerticalFlip | ColorJitter | Grayscale | GaussianBlur | RandomAffine | RandomPerspective
    | RandAugment | TrivialAugment | AutoAugment | AugMix
)  # fmt: skip
