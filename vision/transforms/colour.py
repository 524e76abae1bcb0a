"""Random changes of colours. Names, arguments and defaults are torchvision's; values equal its values on PIL images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core.errors import ArgumentError
from ...core.random import Key
from . import pixels
from .transform import Array, Drawn, Transform, interval, share, some


class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue changed at random, in random order.

    Args:
        brightness, contrast, saturation: a factor is drawn from max(0, 1 - x) to 1 + x, or from given bounds.
        hue: a share of the circle, drawn from -x to x, or from given bounds within -0.5 and 0.5.

    Raises:
        ArgumentError: bounds that make no sense.

    Example:
        >>> from nyala.core import random
        >>> grey = np.full((1, 1, 3), 100, np.uint8)
        >>> ColorJitter(brightness=(1.5, 1.5))(grey, random.key(0, "doc")).ravel().tolist()
        [150, 150, 150]
    """

    def __init__(self, brightness: Any = 0, contrast: Any = 0, saturation: Any = 0, hue: Any = 0) -> None:
        self.bounds = {
            "brightness": _around("brightness", brightness),
            "contrast": _around("contrast", contrast),
            "saturation": _around("saturation", saturation),
            "hue": _around("hue", hue, 0.0, 0.5),
        }
        self._changes: dict[str, Callable[[Array, Any], Array]] = {
            "brightness": pixels.adjust_brightness,
            "contrast": pixels.adjust_contrast,
            "saturation": pixels.adjust_saturation,
            "hue": pixels.adjust_hue,
        }
        self._used = [name for name, (low, high) in self.bounds.items() if (low, high) != ((0, 0) if name == "hue" else (1, 1))]

    def draw(self, key: Key, height: int, width: int) -> Drawn:  # noqa: ARG002 - the same for all sizes
        """The order of the changes, and the factor of each."""
        order = key.fold("order").permutation(len(self._used))
        unit = key.uniform(len(self._used), dtype=np.float64)
        bounds = [self.bounds[name] for name in self._used]
        return (*order, *(low + u * (high - low) for u, (low, high) in zip(unit, bounds, strict=True)))

    def pixels(self, images: Array, drawn: Sequence[Drawn]) -> Array:
        count = len(self._used)
        for turn in range(count):
            for number, name in enumerate(self._used):
                factors = np.array([d[count + number] for d in drawn])
                images = self._some_by(name, images, [d[turn] == number for d in drawn], factors)
        return images

    def _some_by(self, name: str, images: Array, chosen: Sequence[bool], factors: np.ndarray[Any, Any]) -> Array:
        return some(images, chosen, lambda x, at: self._changes[name](x, factors[at]))

    def __repr__(self) -> str:
        return f"ColorJitter({', '.join(f'{k}={v}' for k, v in self.bounds.items())})"


def _around(name: str, value: Any, middle: float = 1.0, most: float = np.inf) -> tuple[float, float]:
    if isinstance(value, (int, float)):
        if not 0 <= value <= most:
            raise ArgumentError(f"ColorJitter: {name}={value!r}", fix=f"give a number from 0 to {most:g}, or two bounds")
        value = (max(middle - value, 0.0 if middle else -value), middle + value)
    return interval("ColorJitter", name, value, 0.0 if middle else -most, most)


class _Sometimes(Transform):
    """A change that is made or not."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = share(type(self).__name__, "p", p)

    def draw(self, key: Key, height: int, width: int) -> Drawn:  # noqa: ARG002 - the same for all sizes
        return (float(key.uniform() < self.p),)

    def pixels(self, images: Array, drawn: Sequence[Drawn]) -> Array:
        return some(images, [d[0] > 0 for d in drawn], lambda x, _: self.change(x))

    @abstractmethod
    def change(self, images: Array) -> Array:
        """Pictures (N, H, W, C), changed."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in vars(self).items())})"


class RandomGrayscale(_Sometimes):
    """Without colours, with a chance of ``p``; the number of channels stays."""

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def change(self, images: Array) -> Array:
        return pixels.to_grayscale(images)


class RandomInvert(_Sometimes):
    """The negative, with a chance of ``p``."""

    def change(self, images: Array) -> Array:
        return pixels.invert(images)


class RandomAutocontrast(_Sometimes):
    """Each channel stretched to 0..255, with a chance of ``p``."""

    def change(self, images: Array) -> Array:
        return pixels.autocontrast(images)


class RandomEqualize(_Sometimes):
    """Each channel's histogram evened out, with a chance of ``p``."""

    def change(self, images: Array) -> Array:
        return pixels.equalize(images)


class RandomPosterize(_Sometimes):
    """Only the ``bits`` highest bits are left, with a chance of ``p``."""

    def __init__(self, bits: int, p: float = 0.5) -> None:
        super().__init__(p)
        if not isinstance(bits, int) or not 0 <= bits <= 8:
            raise ArgumentError(f"RandomPosterize: bits={bits!r}", fix="give a whole number from 0 to 8")
        self.bits = bits

    def change(self, images: Array) -> Array:
        return pixels.posterize(images, self.bits)


class RandomSolarize(_Sometimes):
    """Bytes from ``threshold`` on inverted, with a chance of ``p``."""

    def __init__(self, threshold: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.threshold = threshold

    def change(self, images: Array) -> Array:
        return pixels.solarize(images, self.threshold)


class RandomAdjustSharpness(_Sometimes):
    """Sharper by ``sharpness_factor`` (0 is smooth, 1 the picture), with a chance of ``p``."""

    def __init__(self, sharpness_factor: float, p: float = 0.5) -> None:
        super().__init__(p)
        if not sharpness_factor >= 0:
            raise ArgumentError(f"RandomAdjustSharpness: sharpness_factor={sharpness_factor!r}", fix="give a number from 0 on")
        self.sharpness_factor = sharpness_factor

    def change(self, images: Array) -> Array:
        return pixels.adjust_sharpness(images, self.sharpness_factor)
