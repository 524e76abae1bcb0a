"""From a picture to what a model takes: resize, crop, scale, normalise, exactly as the weights were evaluated.

Source: timm's evaluation transform (``create_transform(is_training=False)``) and transformers' image processors on Pillow, to the
bit of the uint8 crop.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import kernels
from ..core.errors import ArgumentError, DataError
from ..core.tensor import Tensor
from .io import MAX_PIXELS, load_image, name_of
from .transforms.resizing import resize_image

if TYPE_CHECKING:
    from PIL.Image import Image

_FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")
_MODES = ("center", "floor", "squash", "squash_floor")
_SMOOTH = ("ViT", "MobileNetV2", "Segformer")  # processors whose filter is bilinear where they do not say
_BY_NUMBER = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers, as transformers writes them


@dataclass(frozen=True)
class ImagePreprocess:
    """Resize the shorter side to ``size / crop_pct``, cut out the middle, scale to 0..1 and normalise.

    Attributes:
        size: (height, width) in pixels of what the model takes.
        interpolation: Pillow's filter: "nearest", "bilinear", "bicubic", "lanczos"; always antialiased as Pillow does.
        crop_pct: side of the crop over side of the resized picture, in (0, 1].
        mean, std: of each channel, on the scale 0..1.
        crop_mode: "center", timm's middle; "floor", transformers', where what is left over is odd; "squash" and "squash_floor"
            scale each side for itself before that.

    Example:
        >>> prepare = ImagePreprocess((8, 8))
        >>> prepare([np.zeros((20, 30, 3), np.uint8)]).shape
        (1, 3, 8, 8)
    """

    size: tuple[int, int] = (224, 224)
    interpolation: str = "bicubic"
    crop_pct: float = 0.875
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    crop_mode: str = "center"

    def __post_init__(self) -> None:
        if self.crop_mode not in _MODES:
            raise ArgumentError(f"crop_mode {self.crop_mode!r}", fix=f"use one of {', '.join(_MODES)}")
        if self.interpolation not in _FILTERS:
            raise ArgumentError(f"interpolation {self.interpolation!r}", fix=f"use one of {', '.join(_FILTERS)}")
        sides = min(self.size) > 0 and self.size[0] * self.size[1] <= MAX_PIXELS
        if not 0 < self.crop_pct <= 1 or not sides or len(self.mean) != 3 or len(self.std) != 3 or not min(self.std) > 0:
            raise ArgumentError(f"preprocessing that makes no sense: {self}", fix="check the card or the config.json")

    @staticmethod
    def from_config(config: Mapping[str, Any], image_size: int | None = None) -> ImagePreprocess:
        """Read timm's ``pretrained_cfg`` (or a card's preprocessing table); ``image_size`` replaces its size.

        Raises:
            DataError: a value that is no number or size.
            ArgumentError: numbers that make no sense.
        """
        default = ImagePreprocess()
        try:
            height, width = (index(side) for side in config.get("input_size", (3, *default.size))[1:])
            return ImagePreprocess(
                size=(height, width) if image_size is None else (image_size, image_size),
                interpolation=str(config.get("interpolation", default.interpolation)),
                crop_pct=float(config.get("crop_pct") or default.crop_pct),
                mean=tuple(float(m) for m in config.get("mean", default.mean)),
                std=tuple(float(s) for s in config.get("std", default.std)),
                crop_mode=str(config.get("crop_mode") or default.crop_mode),
            )
        except ArgumentError:
            raise
        except (
            AttributeError,
            TypeError,
            ValueError,
            KeyError,
        ) as error:  # null, a text, three sides: the file may come from anywhere
            raise DataError(f"preprocessing that makes no sense: {error}", fix="check the card or the config.json") from error

    @staticmethod
    def from_processor(config: Mapping[str, Any]) -> ImagePreprocess:
        """Read transformers' ``preprocessor_config.json``.

        Raises:
            DataError: a step that is left out, or a value that is no number or size.
            ArgumentError: numbers that make no sense.

        Example:
            >>> ImagePreprocess.from_processor({"size": {"height": 8, "width": 8}, "image_mean": [0.5] * 3}).crop_mode
            'squash'
        """
        default, fix = ImagePreprocess(), "correct the preprocessor_config.json"
        kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
        left_out = next((k for k in ("do_resize", "do_rescale", "do_normalize") if config.get(k) is False), None)
        if left_out:
            raise DataError(f"{left_out} is false in the preprocessor_config.json", why="nyala does all three steps", fix=fix)
        try:
            factor = config.get("rescale_factor") or 1 / 255
            if abs(factor * 255 - 1) > 1e-6 or config.get("rescale_offset"):
                raise DataError("levels are not scaled to 0..1", why=f"rescale_factor is {factor}", fix="nyala scales by 1 / 255")
            if kind.startswith("ConvNext"):
                config = _by_share(config)
            short, size = _sides(config.get("size", 224))
            cuts = config.get("do_center_crop", short is not None and "crop_size" in config)
            crop = _sides(config.get("crop_size") or size)[1] if cuts else None
            if crop is None and isinstance(config.get("size", 224), int):
                short = None  # one number without a crop means a square
            if short is not None and crop is None:
                raise DataError("size has a shortest_edge, and nothing is cut out: pictures would have many sizes", fix=fix)
            squash = short is None and (crop is None or crop == size)
            shorter = min(size) if short is None else short
            pct = 1.0 if squash or crop is None else _share(min(crop), shorter)
            if short is None and crop is not None and tuple(math.floor(side / pct) for side in crop) != size:
                raise DataError(f"size {size} and crop_size {crop} have different ratios", fix=fix)
            filter_ = 2 if kind.startswith(_SMOOTH) else 3
            return ImagePreprocess(
                size=crop or size,
                interpolation=_BY_NUMBER[config.get("resample", filter_)],
                crop_pct=pct,
                mean=tuple(float(m) for m in config.get("image_mean") or default.mean),
                std=tuple(float(s) for s in config.get("image_std") or default.std),
                crop_mode="squash" if squash else "squash_floor" if short is None else "floor",
            )
        except (AttributeError, TypeError, ValueError, KeyError) as error:
            if isinstance(error, (ArgumentError, DataError)):
                raise
            raise DataError(f"preprocessing that makes no sense: {error!r}", fix=fix) from error

    def crop(self, source: Any) -> np.ndarray[Any, Any]:
        """The part of a picture that the model sees: (H, W, 3) uint8."""
        image = load_image(source)
        height, width = self._scaled(image.width, image.height, name_of(source))
        middle = math.floor if self.crop_mode.endswith("floor") else round
        # where the resized picture is smaller than what the model takes, black is put around it first
        down, across = max(self.size[0] - height, 0), max(self.size[1] - width, 0)
        top, left = middle((height + down - self.size[0]) / 2.0), middle((width + across - self.size[1]) / 2.0)
        window = top, left, min(self.size[0], height), min(self.size[1], width)
        pixels = resize_image(image, (height, width), self.interpolation, window=window)
        if not (down or across):
            return pixels
        return np.pad(pixels, ((down // 2, (down + 1) // 2), (across // 2, (across + 1) // 2), (0, 0)))

    def part(self, image: Image, box: tuple[int, int, int, int]) -> np.ndarray[Any, Any]:
        """A part of a picture, scaled to what the model takes: (H, W, 3) uint8.

        Args:
            image: in RGB, as :func:`.io.load_image` gives it.
            box: left, top, right and bottom of the part, in its pixels.
        """
        return resize_image(image, self.size, self.interpolation, box)

    def one(self, source: Any) -> np.ndarray[Any, Any]:
        """One prepared picture: (3, H, W) float32."""
        return self.normalise(self.crop(source))

    def normalise(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(..., H, W, 3) uint8 -> (..., 3, H, W) float32, scaled and normalised."""
        several = pixels.reshape(-1, *pixels.shape[-3:])
        planes = kernels.of(several).look_up_planes(several, _levels(self.mean, self.std))
        return planes.reshape(*pixels.shape[:-3], *planes.shape[1:])

    def restore(self, prepared: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(3, H, W) float32 -> (H, W, 3) uint8: a prepared picture to look at again."""
        mean, std = (np.asarray(v, np.float32).reshape(3, 1, 1) for v in (self.mean, self.std))
        return np.moveaxis((prepared * std + mean) * 255, 0, -1).round().clip(0, 255).astype(np.uint8)

    def __call__(self, inputs: Any) -> Tensor:
        """One picture or several -> (N, 3, H, W).

        Raises:
            DataError: no picture at all, or one that cannot be read.
        """
        several = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        if not several:
            raise DataError("no picture to work on", fix="pass at least one")
        return Tensor(np.stack([self.one(source) for source in several]))

    def _scaled(self, width: int, height: int, name: str) -> tuple[int, int]:
        """Height and width of a picture before its middle is cut out."""
        # square inputs scale by the shorter side, others to cover the target
        scaled = [math.floor(n / self.crop_pct) for n in self.size]
        if self.crop_mode.startswith("squash"):
            new = scaled[0], scaled[1]
        elif scaled[0] == scaled[1]:
            short = scaled[0]
            new = (int(short * height / width), short) if width <= height else (short, int(short * width / height))
        else:
            ratio = max(scaled[0] / height, scaled[1] / width)
            new = (round(height * ratio), round(width * ratio))
        if new[0] * new[1] > MAX_PIXELS:
            raise DataError(
                f"{name} has {width} x {height} pixels: that is too thin",
                why=f"with its shorter side at {min(new)} it would have {new[0] * new[1] / 1e6:.0f} million pixels",
                fix="cut it into pieces",
            )
        return new

    def to_preprocessor(self) -> dict[str, Any]:
        """The same as transformers' ``preprocessor_config.json`` says it.

        Example:
            >>> ImagePreprocess.from_processor(ImagePreprocess().to_preprocessor()).crop_pct
            0.875
        """
        height, width = self.size
        crop = {"height": height, "width": width}
        if self.crop_mode.startswith("squash"):
            size = {side: math.floor(pixels / self.crop_pct) for side, pixels in crop.items()}
        else:
            size = {"shortest_edge": math.floor(min(self.size) / self.crop_pct)}
        number = next(n for n, name in _BY_NUMBER.items() if name == self.interpolation)
        return {
            "do_resize": True, "size": size, "resample": number, "do_center_crop": size != crop,
            **({} if size == crop else {"crop_size": crop}),
            "do_rescale": True, "do_normalize": True, "image_mean": list(self.mean), "image_std": list(self.std),
        }  # fmt: skip

    def to_config(self) -> dict[str, Any]:
        """The same as timm's ``pretrained_cfg`` says it."""
        return {
            "input_size": [3, *self.size],
            "interpolation": self.interpolation,
            "crop_pct": self.crop_pct,
            "crop_mode": self.crop_mode,
            "mean": list(self.mean),
            "std": list(self.std),
        }


@functools.lru_cache(maxsize=64)
def _levels(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray[Any, Any]:
    """(3, 256) float32: what each channel's bytes become."""
    middle, spread = (np.asarray(v, np.float32).reshape(-1, 1) for v in (mean, std))
    return (np.arange(256, dtype=np.float32) / np.float32(255) - middle) / spread


def _sides(size: Any) -> tuple[int | None, tuple[int, int]]:
    """transformers' size: the shorter side where it is that, and (height, width)."""
    if isinstance(size, Mapping) and "height" in size:
        return None, (index(size["height"]), index(size["width"]))
    short = index(size["shortest_edge"] if isinstance(size, Mapping) else size)
    return short, (short, short)


def _by_share(config: Mapping[str, Any]) -> dict[str, Any]:
    """ConvNeXt's processor, which says the share of the crop: below 384 pixels that is cut out, from there on nothing is."""
    short, size = _sides(config.get("size", 224))
    side = min(size) if short is None else short
    if side >= 384:
        return {**config, "size": {"height": side, "width": side}, "do_center_crop": False}
    resized = int(side / (config.get("crop_pct") or 224 / 256))
    return {**config, "size": {"shortest_edge": resized}, "crop_size": side, "do_center_crop": True}


def _share(crop: int, short: int) -> float:
    """The ``crop_pct`` that has the shorter side at ``short`` exactly, whatever division rounds to."""
    share = crop / short
    return share if math.floor(crop / share) == short else crop / (short + 0.5)
