"""Published policies of random changes: RandAugment, AutoAugment, TrivialAugment, AugMix.

Each picture gets a few of the same changes, of a strength that the policy says. Names, arguments, defaults and the values of each
change are torchvision's on PIL images. Where a change moves places, it moves a sample's boxes, masks and keypoints along.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core.devices import module_of
from ...core.errors import ArgumentError, DataError
from ...core.random import Key
from . import pixels
from .chance import dirichlet
from .geometry import fill_of
from .sample import Sample
from .transform import Array, Drawn, Transform, some
from .warps import FixedWarp, affine_inverse, rotation_inverse

_COLOURS: dict[str, Callable[[Array, Any], Array]] = {
    "Brightness": lambda x, m: pixels.adjust_brightness(x, 1.0 + m),
    "Color": lambda x, m: pixels.adjust_saturation(x, 1.0 + m),
    "Contrast": lambda x, m: pixels.adjust_contrast(x, 1.0 + m),
    "Sharpness": lambda x, m: pixels.adjust_sharpness(x, 1.0 + m),
    "Posterize": lambda x, m: pixels.posterize(x, m.astype(np.int64)),
    "Solarize": pixels.solarize,
    "AutoContrast": lambda x, _: pixels.autocontrast(x),
    "Equalize": lambda x, _: pixels.equalize(x),
    "Invert": lambda x, _: pixels.invert(x),
}
_SHIFTS = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
CHANGES = ("Identity", *_SHIFTS, *_COLOURS)
_UNSIGNED = ("Identity", "Posterize", "Solarize", "AutoContrast", "Equalize", "Invert")
Space = dict[str, np.ndarray[Any, Any] | None]  # strengths by change; None where it has none


def _line(end: float, bins: int, start: float = 0.0) -> np.ndarray[Any, Any]:
    """torch.linspace in float32: from both ends to the middle, each number rounded once."""
    step, numbers = np.float64((np.float32(end) - np.float32(start)) / np.float32(bins - 1)), np.arange(bins)
    ends = np.float64(np.float32(start)), np.float64(np.float32(end))
    line = np.where(numbers < bins // 2, ends[0] + step * numbers, ends[1] - step * (bins - 1 - numbers))
    return line.astype(np.float32)


def strengths(bins: int, shear: float, shift: tuple[float, float], turn: float, colour: float, bits: tuple[int, int]) -> Space:
    """How strong each change is at each of ``bins`` levels.

    Args:
        bins: number of levels.
        shear: the strongest, as a tangent; shift: along x and y in pixels; turn: in degrees; colour: of a factor around 1.
        bits: that posterizing leaves at most, and how many fewer at the strongest.
    """
    posterized = bits[0] - np.round(np.arange(bins, dtype=np.float32) / np.float32((bins - 1) / bits[1]))
    space: Space = {"Identity": None, "ShearX": _line(shear, bins), "ShearY": _line(shear, bins)}
    space |= {"TranslateX": _line(shift[0], bins), "TranslateY": _line(shift[1], bins), "Rotate": _line(turn, bins)}
    space |= {name: _line(colour, bins) for name in ("Brightness", "Color", "Contrast", "Sharpness")}
    return space | {"Posterize": posterized, "Solarize": _line(0.0, bins, 255.0), "AutoContrast": None, "Equalize": None}


def inverse(name: str, strength: float, height: int, width: int) -> Drawn:
    """Where the pixels of the result come from, for a change that moves places: see ``warp_bytes``."""
    middle, degrees = (width * 0.5, height * 0.5), math.degrees(math.atan(strength))
    if name == "ShearX":
        return affine_inverse((0, 0), 0.0, (0, 0), 1.0, (degrees, 0.0))
    if name == "ShearY":
        return affine_inverse((0, 0), 0.0, (0, 0), 1.0, (0.0, degrees))
    if name == "Rotate":
        return rotation_inverse((width / 2, height / 2), strength)
    by = (int(strength), 0) if name == "TranslateX" else (0, int(strength))
    return affine_inverse(middle, 0.0, by, 1.0, (0.0, 0.0))


class _Policy(Transform):
    """Drawn are the changes' numbers in ``CHANGES`` and their strengths, in turns."""

    def __init__(self, interpolation: str, fill: Any, mask_fill: int = 0) -> None:
        self.warp = FixedWarp(interpolation, fill, mask_fill)

    @abstractmethod
    def draw(self, key: Key, height: int, width: int) -> Drawn:
        """The changes and their strengths."""

    def pixels(self, images: Array, drawn: Sequence[Drawn]) -> Array:
        fill_of(type(self).__name__, self.warp.fill, images.shape[3])
        for turn in range(0, max(map(len, drawn)), 2):
            at = [int(d[turn]) if turn < len(d) else 0 for d in drawn]
            by = np.array([d[turn + 1] if turn < len(d) else 0.0 for d in drawn])
            for number in sorted(set(at)):
                images = self._change(CHANGES[number], images, [a == number for a in at], by)
        return images

    def _change(self, name: str, images: Array, chosen: Sequence[bool], by: np.ndarray[Any, Any]) -> Array:
        height, width = images.shape[1:3]
        if name == "Identity":
            return images
        if name in _SHIFTS:
            return some(images, chosen, lambda x, at: self.warp.pixels(x, [inverse(name, by[i], height, width) for i in at]))
        return some(images, chosen, lambda x, at: _COLOURS[name](x, by[at]))

    def moved(self, sample: Sample, drawn: Drawn) -> Sample:
        for number, strength in zip(drawn[::2], drawn[1::2], strict=True):
            name = CHANGES[int(number)]
            if name in _SHIFTS:
                sample = self.warp.moved(sample, inverse(name, strength, sample.height, sample.width))
            else:
                sample = sample.replace(image=self.pixels(sample.image[None], [(number, strength)])[0])
        return sample


def _signed(name: str, strength: float, unit: float) -> Drawn:
    """A change and its strength, to one side or the other."""
    return CHANGES.index(name), -strength if name not in _UNSIGNED and unit < 0.5 else strength


def _drawn(space: Space, unit: Any, level: Callable[[int], int]) -> Drawn:
    """One of the changes; ``level`` says which of its levels."""
    name = list(space)[int(unit[0] * len(space))]
    levels = space[name]
    return _signed(name, 0.0 if levels is None else float(levels[level(len(levels))]), unit[1])


class RandAugment(_Policy):
    """A number of changes drawn from fourteen, all of one strength (Cubuk et al., arXiv:1909.13719).

    Args:
        num_ops: changes a picture.
        magnitude: their level, from 0 on.
        num_magnitude_bins: number of levels.
        interpolation: "nearest", "bilinear" or "bicubic".
        fill: colour where there was nothing.
        mask_fill: class where there was nothing.

    Example:
        >>> RandAugment()(np.zeros((8, 8, 3), np.uint8)).shape
        (8, 8, 3)
    """

    def __init__(
        self,
        num_ops: int = 2,
        magnitude: int = 9,
        num_magnitude_bins: int = 31,
        interpolation: str = "nearest",
        fill: Any = 0,
        mask_fill: int = 0,
    ) -> None:
        super().__init__(interpolation, fill, mask_fill)
        if num_ops < 0 or num_magnitude_bins < 2 or not 0 <= magnitude < num_magnitude_bins:
            raise ArgumentError(
                f"RandAugment: num_ops={num_ops}, magnitude={magnitude}, num_magnitude_bins={num_magnitude_bins}",
                fix="the magnitude is from 0 to num_magnitude_bins - 1",
            )
        self.num_ops, self.magnitude, self.bins = num_ops, magnitude, num_magnitude_bins

    def draw(self, key: Key, height: int, width: int) -> Drawn:
        """The changes and their strengths."""
        most = 150.0 / 331.0 * width, 150.0 / 331.0 * height
        space = strengths(self.bins, 0.3, most, 30.0, 0.9, (8, 4))
        units = key.uniform((self.num_ops, 2), dtype=np.float64)
        return tuple(number for unit in units for number in _drawn(space, unit, lambda _: self.magnitude))

    def __repr__(self) -> str:
        return f"RandAugment({self.num_ops}, {self.magnitude}, {self.bins})"


class TrivialAugmentWide(_Policy):
    """One change of any strength (Müller and Hutter, arXiv:2103.10158); arguments as for :class:`RandAugment`."""

    def __init__(self, num_magnitude_bins: int = 31, interpolation: str = "nearest", fill: Any = 0, mask_fill: int = 0) -> None:
        super().__init__(interpolation, fill, mask_fill)
        if num_magnitude_bins < 2:
            raise ArgumentError(f"TrivialAugmentWide: num_magnitude_bins={num_magnitude_bins}", fix="give at least 2")
        self.space = strengths(num_magnitude_bins, 0.99, (32.0, 32.0), 135.0, 0.99, (8, 6))

    def draw(self, key: Key, height: int, width: int) -> Drawn:  # noqa: ARG002 - the same for all sizes
        """The change and its strength."""
        unit = key.uniform(3, dtype=np.float64)
        return _drawn(self.space, unit, lambda levels: int(unit[2] * levels))

    def __repr__(self) -> str:
        return "TrivialAugmentWide()"


_POLICIES = {
    "imagenet": """Posterize .4 8 Rotate .6 9, Solarize .6 5 AutoContrast .6 0, Equalize .8 0 Equalize .6 0,
Posterize .6 7 Posterize .6 6, Equalize .4 0 Solarize .2 4, Equalize .4 0 Rotate .8 8, Solarize .6 3 Equalize .6 0,
Posterize .8 5 Equalize 1 0, Rotate .2 3 Solarize .6 8, Equalize .6 0 Posterize .4 6, Rotate .8 8 Color .4 0,
Rotate .4 9 Equalize .6 0, Equalize 0 0 Equalize .8 0, Invert .6 0 Equalize 1 0, Color .6 4 Contrast 1 8,
Rotate .8 8 Color 1 2, Color .8 8 Solarize .8 7, Sharpness .4 7 Invert .6 0, ShearX .6 5 Equalize 1 0,
Color .4 0 Equalize .6 0, Equalize .4 0 Solarize .2 4, Solarize .6 5 AutoContrast .6 0, Invert .6 0 Equalize 1 0,
Color .6 4 Contrast 1 8, Equalize .8 0 Equalize .6 0""",
    "cifar10": """Invert .1 0 Contrast .2 6, Rotate .7 2 TranslateX .3 9, Sharpness .8 1 Sharpness .9 3,
ShearY .5 8 TranslateY .7 9, AutoContrast .5 0 Equalize .9 0, ShearY .2 7 Posterize .3 7, Color .4 3 Brightness .6 7,
Sharpness .3 9 Brightness .7 9, Equalize .6 0 Equalize .5 0, Contrast .6 7 Sharpness .6 5, Color .7 7 TranslateX .5 8,
Equalize .3 0 AutoContrast .4 0, TranslateY .4 3 Sharpness .2 6, Brightness .9 6 Color .2 8, Solarize .5 2 Invert 0 0,
Equalize .2 0 AutoContrast .6 0, Equalize .2 0 Equalize .6 0, Color .9 9 Equalize .6 0, AutoContrast .8 0 Solarize .2 8,
Brightness .1 3 Color .7 0, Solarize .4 5 AutoContrast .9 0, TranslateY .9 9 TranslateY .7 9,
AutoContrast .9 0 Solarize .8 3, Equalize .8 0 Invert .1 0, TranslateY .7 9 AutoContrast .9 0""",
    "svhn": """ShearX .9 4 Invert .2 0, ShearY .9 8 Invert .7 0, Equalize .6 0 Solarize .6 6, Invert .9 0 Equalize .6 0,
Equalize .6 0 Rotate .9 3, ShearX .9 4 AutoContrast .8 0, ShearY .9 8 Invert .4 0, ShearY .9 5 Solarize .2 6,
Invert .9 0 AutoContrast .8 0, Equalize .6 0 Rotate .9 3, ShearX .9 4 Solarize .3 3, ShearY .8 8 Invert .7 0,
Equalize .9 0 TranslateY .6 6, Invert .9 0 Equalize .6 0, Contrast .3 3 Rotate .8 4, Invert .8 0 TranslateY 0 2,
ShearY .7 6 Solarize .4 8, Invert .6 0 Rotate .8 4, ShearY .3 7 TranslateX .9 3, ShearX .1 6 Invert .6 0,
Solarize .7 2 TranslateY .6 7, ShearY .8 4 Invert .8 0, ShearX .7 9 TranslateY .8 3, ShearY .8 5 AutoContrast .7 0,
ShearX .7 2 Invert .1 0""",
}


class AutoAugment(_Policy):
    """One of 25 pairs of changes, found by search on a dataset (Cubuk et al., arXiv:1805.09501).

    Args:
        policy: "imagenet", "cifar10" or "svhn".
        interpolation: "nearest", "bilinear" or "bicubic".
        fill: colour where there was nothing.
        mask_fill: class where there was nothing.
    """

    def __init__(self, policy: str = "imagenet", interpolation: str = "nearest", fill: Any = 0, mask_fill: int = 0) -> None:
        super().__init__(interpolation, fill, mask_fill)
        if policy not in _POLICIES:
            raise ArgumentError(f"AutoAugment: policy={policy!r}", fix=f"use one of {', '.join(_POLICIES)}")
        self.policy = policy
        words = [pair.split() for pair in _POLICIES[policy].split(",")]
        self.pairs = [[(w[i], float(w[i + 1]), int(w[i + 2])) for i in (0, 3)] for w in words]

    def draw(self, key: Key, height: int, width: int) -> Drawn:
        """Those changes of a pair that happen, and their strengths."""
        most = 150.0 / 331.0 * width, 150.0 / 331.0 * height
        space: Space = {**strengths(10, 0.3, most, 30.0, 0.9, (8, 4)), "Invert": None}
        unit = key.uniform(5, dtype=np.float64)
        drawn: list[float] = []
        for (name, chance, level), whether, side in zip(
            self.pairs[int(unit[0] * len(self.pairs))], unit[1:3], unit[3:], strict=True
        ):
            levels = space[name]
            if whether < chance:
                drawn += _signed(name, 0.0 if levels is None else float(levels[level]), side)
        return tuple(drawn)

    def __repr__(self) -> str:
        return f"AutoAugment({self.policy!r})"


class AugMix(Transform):
    """The picture mixed with several chains of changes of itself (Hendrycks et al., arXiv:1912.02781).

    Args:
        severity: the strongest level, from 1 to 10.
        mixture_width: number of chains.
        chain_depth: changes a chain; below 1, one to three are drawn.
        alpha: of the Dirichlet distribution that the shares are drawn from.
        all_ops: brightness, colour, contrast and sharpness too.
        interpolation: "nearest", "bilinear" or "bicubic".
        fill: colour where there was nothing.

    Raises:
        DataError: a sample with boxes, masks or keypoints: its chains would move them to several places.
    """

    def __init__(
        self,
        severity: int = 3,
        mixture_width: int = 3,
        chain_depth: int = -1,
        alpha: float = 1.0,
        all_ops: bool = True,
        interpolation: str = "bilinear",
        fill: Any = 0,
    ) -> None:
        if not 1 <= severity <= 10 or mixture_width < 1 or not alpha > 0:
            raise ArgumentError(
                f"AugMix: severity={severity}, mixture_width={mixture_width}, alpha={alpha}",
                fix="severity is from 1 to 10, the others more than 0",
            )
        self.severity, self.width, self.depth, self.alpha, self.all_ops = severity, mixture_width, chain_depth, alpha, all_ops
        self.chain = _Chain(interpolation, fill)

    def many(self, images: Array, keys: Sequence[Key]) -> Array:
        xp, size = module_of(images), images.shape[1:3]
        shares = np.stack([dirichlet(key.fold("original"), self.alpha, 2) for key in keys])
        parts = np.stack([dirichlet(key.fold("chains"), self.alpha, self.width) for key in keys]) * shares[:, 1:]
        weights = xp.asarray(np.concatenate([shares[:, :1], parts], axis=1).astype(np.float32))[:, :, None, None, None]
        mixed = weights[:, 0] * images
        for chain in range(self.width):
            changed = self.chain.pixels(images, [self._chain(key.fold("chain", chain), *size) for key in keys])
            mixed += weights[:, 1 + chain] * changed
        return mixed.clip(0, 255).astype(np.uint8)

    def _chain(self, key: Key, height: int, width: int) -> Drawn:
        """The changes of a chain and their strengths."""
        space = strengths(10, 0.3, (width / 3.0, height / 3.0), 30.0, 0.9, (4, 4))
        left_out = ("Identity",) if self.all_ops else ("Identity", "Brightness", "Color", "Contrast", "Sharpness")
        space = {name: levels for name, levels in space.items() if name not in left_out}
        depth = self.depth if self.depth > 0 else int(key.fold("depth").integers(1, 4))
        drawn: list[float] = []
        for unit in key.uniform((depth, 3), dtype=np.float64):
            drawn += _drawn(space, unit, functools.partial(self._level, unit[2]))
        return tuple(drawn)

    def _level(self, unit: float, levels: int) -> int:  # noqa: ARG002 - as levels are asked for
        return int(unit * self.severity)

    def one(self, sample: Sample, key: Key) -> Sample:
        if sample.boxes is not None or sample.masks is not None or sample.keypoints is not None:
            raise DataError(
                "AugMix on a sample with boxes, masks or keypoints",
                why="its chains would move them to several places",
                fix="use RandAugment, which moves them along",
            )
        return sample.replace(image=self.many(sample.image[None], [key])[0])

    def pixels(self, images: Array, drawn: Sequence[Drawn]) -> Array:
        return self.chain.pixels(images, drawn)

    def __repr__(self) -> str:
        return f"AugMix({self.severity}, {self.width})"


class _Chain(_Policy):
    """Changes that were drawn elsewhere."""

    def draw(self, key: Key, height: int, width: int) -> Drawn:  # noqa: ARG002 - nothing is drawn here
        return ()
