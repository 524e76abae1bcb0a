"""From pictures to what detectors take: resized by their sides, normalised, and filled up to one size in a batch.

Source: transformers' image processors of DETR and YOLOS on Pillow, to the bit of the uint8 picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from ...core.create import from_numpy
from ...core.errors import ArgumentError, DataError
from ...core.tensor import Tensor
from ..io import MAX_PIXELS, load_image, name_of
from ..preprocess import ImagePreprocess
from ..transforms.resizing import resize_image

_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers, as transformers writes them
_FIX = "correct the preprocessor_config.json"


@dataclass(frozen=True)
class DetectionPreprocess:
    """Resize a picture, keep its proportions unless ``size`` says otherwise, scale to 0..1 and normalise.

    Attributes:
        shortest_edge: of the resized picture, in pixels.
        longest_edge: what its other side may have at most; a longer picture becomes smaller for it.
        size: (height, width) of every picture instead, whatever its proportions.
        multiple_of: sides are cut down to multiples of this (YOLOS: 16).
        resample: Pillow's filter: "nearest", "bilinear", "bicubic" or "lanczos".
        mean, std: of each channel, on the scale 0..1.

    Example:
        >>> prepare = DetectionPreprocess(shortest_edge=32, longest_edge=50)
        >>> prepare.target(100, 200), prepare.target(60, 80)
        ((25, 50), (32, 42))
        >>> given = prepare([np.zeros((60, 80, 3), np.uint8), np.zeros((80, 60, 3), np.uint8)])
        >>> given["pixel_values"].shape, given["pixel_mask"].numpy().sum(axis=(1, 2)).tolist()
        ((2, 3, 42, 42), [1344.0, 1344.0])
    """

    shortest_edge: int = 800
    longest_edge: int | None = 1333
    size: tuple[int, int] | None = None
    multiple_of: int = 1
    resample: str = "bilinear"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        sides = [self.shortest_edge, self.longest_edge or self.shortest_edge, *(self.size or ()), self.multiple_of]
        if min(sides) < 1 or max(sides) ** 2 > MAX_PIXELS:
            raise ArgumentError(f"preprocessing that makes no sense: {self}", fix=_FIX)
        if self.resample not in _FILTERS.values():
            raise ArgumentError(f"resample={self.resample!r}", fix=f"use one of {', '.join(_FILTERS.values())}")
        self._scale()

    def _scale(self) -> ImagePreprocess:
        """What normalises."""
        return ImagePreprocess(mean=self.mean, std=self.std)

    @staticmethod
    def from_processor(config: Mapping[str, Any], multiple_of: int = 1) -> DetectionPreprocess:
        """Read transformers' ``preprocessor_config.json``.

        Raises:
            DataError: a step that is left out, or a value that is no number or size.
            ArgumentError: numbers that make no sense.

        Example:
            >>> DetectionPreprocess.from_processor({"size": 512, "max_size": 864}).longest_edge
            864
        """
        left_out = next((k for k in ("do_resize", "do_rescale", "do_normalize") if config.get(k) is False), None)
        if left_out:
            raise DataError(f"{left_out} is false in the preprocessor_config.json", why="nyala does all three steps", fix=_FIX)
        default = DetectionPreprocess()
        try:
            return DetectionPreprocess(
                **_sides(config.get("size"), config.get("max_size", 1333)),
                multiple_of=multiple_of,
                resample=_FILTERS[config.get("resample", 2)],
                mean=tuple(float(m) for m in config.get("image_mean") or default.mean),
                std=tuple(float(s) for s in config.get("image_std") or default.std),
            )
        except (AttributeError, TypeError, ValueError, KeyError) as error:
            if isinstance(error, (ArgumentError, DataError)):
                raise
            raise DataError(f"preprocessing that makes no sense: {error!r}", fix=_FIX) from error

    def to_preprocessor(self) -> dict[str, Any]:
        """The ``preprocessor_config.json`` that :meth:`from_processor` reads."""
        if self.size is not None:
            size = {"height": self.size[0], "width": self.size[1]}
        else:
            size = {"shortest_edge": self.shortest_edge}
            size |= {"longest_edge": self.longest_edge} if self.longest_edge else {}
        numbers = {name: number for number, name in _FILTERS.items()}
        scale = {"image_mean": list(self.mean), "image_std": list(self.std), "rescale_factor": 1 / 255}
        steps = {"do_resize": True, "do_rescale": True, "do_normalize": True, "do_pad": True}
        return {"size": size, "resample": numbers[self.resample], **scale, **steps}

    def target(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) to which a picture of ``height`` x ``width`` pixels is resized."""
        if self.size is not None:
            return self.size
        short, long = min(height, width), max(height, width)
        size: float = self.shortest_edge
        exact = size
        if self.longest_edge is not None and float(long) / float(short) * size > self.longest_edge:
            exact = self.longest_edge * float(short) / float(long)
            size = round(exact)
        if short == size and (self.multiple_of == 1 or exact == size):
            found = (height, width)
        elif width < height:
            found = (int(exact * height / width), int(size))
        else:
            found = (int(size), int(exact * width / height))
        return max(found[0] - found[0] % self.multiple_of, 1), max(found[1] - found[1] % self.multiple_of, 1)

    def resize(self, source: Any) -> np.ndarray[Any, Any]:
        """The picture in the size that the model sees: (H, W, 3) uint8.

        Raises:
            DataError: no picture, or one that is too thin for the model.
        """
        image = load_image(source)
        height, width = self.target(image.height, image.width)
        if min(height, width) < self.multiple_of:
            raise DataError(
                f"{name_of(source)} has {image.width} x {image.height} pixels: that is too thin",
                why=f"it would be resized to {width} x {height}",
                fix="cut it into pieces",
            )
        return resize_image(image, (height, width), self.resample)

    def one(self, source: Any) -> np.ndarray[Any, Any]:
        """One prepared picture: (3, H, W) float32."""
        return self.normalise(self.resize(source))

    def normalise(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(H, W, 3) uint8 -> (3, H, W) float32, scaled and normalised."""
        return self._scale().normalise(pixels)

    def restore(self, prepared: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(3, H, W) float32 -> (H, W, 3) uint8: a prepared picture to look at again."""
        return self._scale().restore(prepared)

    def __call__(self, inputs: Any) -> dict[str, Tensor]:
        """One picture or several -> ``pixel_values`` (N, 3, H, W) and ``pixel_mask`` (N, H, W), 1 where the picture is.

        Raises:
            DataError: no picture at all, or one that cannot be read.
        """
        several = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        if not several:
            raise DataError("no picture to work on", fix="pass at least one")
        return padded([self.one(source) for source in several])


def padded(prepared: Sequence[np.ndarray[Any, Any]]) -> dict[str, Tensor]:
    """Prepared pictures (3, H, W) in one batch: each in the left upper corner, zeros around it.

    Example:
        >>> given = padded([np.ones((3, 2, 4), np.float32), np.ones((3, 3, 2), np.float32)])
        >>> given["pixel_values"].shape, given["pixel_mask"].sum().item()
        ((2, 3, 3, 4), 14.0)
    """
    height, width = (max(x.shape[axis] for x in prepared) for axis in (1, 2))
    pixels = np.zeros((len(prepared), prepared[0].shape[0], height, width), np.float32)
    mask = np.zeros((len(prepared), height, width), np.float32)
    for i, x in enumerate(prepared):
        pixels[i, :, : x.shape[1], : x.shape[2]] = x
        mask[i, : x.shape[1], : x.shape[2]] = 1
    return {"pixel_values": from_numpy(pixels), "pixel_mask": from_numpy(mask)}


def _sides(size: Any, longest: Any) -> dict[str, Any]:
    """``size`` as transformers writes it: one number, sides, or edges."""
    if size is None:
        return {}
    if not isinstance(size, Mapping):
        return {"shortest_edge": index(size), "longest_edge": None if longest is None else index(longest)}
    if "height" in size and "width" in size:
        return {"size": (index(size["height"]), index(size["width"]))}
    if "shortest_edge" not in size:
        raise DataError(f"size has {', '.join(map(str, size))}", why="nyala reads sides and edges", fix=_FIX)
    long = size.get("longest_edge")
    return {"shortest_edge": index(size["shortest_edge"]), "longest_edge": None if long is None else index(long)}
