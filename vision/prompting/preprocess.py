"""From a picture to what SAM takes: its longer side at one size, and zeros below or on the right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...core.tensor import Tensor
from ..io import load_image, name_of
from ..preprocess import ImagePreprocess

# What transformers' processor says of each published SAM, for a model whose files say nothing.
USUAL: dict[str, Any] = {"size": {"longest_edge": 1024}, "pad_size": {"height": 1024, "width": 1024}, "resample": 2}


@dataclass(frozen=True)
class PromptedPreprocess(ImagePreprocess):
    """Resize the longer side, scale to 0..1, normalise, and fill up to ``size`` with zeros.

    Source: transformers' ``SamImageProcessor`` on Pillow, to the bit of the uint8 picture.

    Attributes:
        longest_edge: the longer side in pixels.

    Example:
        >>> PromptedPreprocess((64, 64), "bilinear", crop_mode="squash", longest_edge=64).sides(100, 30)
        (64, 19)
    """

    longest_edge: int = 1024

    @staticmethod
    def from_processor(config: Mapping[str, Any]) -> PromptedPreprocess:
        """Read transformers' ``preprocessor_config.json``; keys that are absent are those of the published models.

        Raises:
            DataError: a step that is left out, or a value that is no number or size.
            ArgumentError: numbers that make no sense.
        """
        said = {**USUAL, **config}
        plain = ImagePreprocess.from_processor({**said, "size": said["pad_size"], "do_center_crop": False, "crop_size": None})
        longest = said["size"].get("longest_edge") if isinstance(said["size"], Mapping) else None
        if said.get("do_pad") is False or not isinstance(longest, int) or not 0 < longest <= min(plain.size):
            raise DataError(
                f"preprocessor_config.json: size={said['size']}, pad_size={said['pad_size']}, do_pad={said.get('do_pad', True)}",
                why="the longer side becomes size['longest_edge'], and the picture is filled up to pad_size",
                fix="correct it",
            )
        return PromptedPreprocess(
            plain.size, plain.interpolation, plain.crop_pct, plain.mean, plain.std, plain.crop_mode, longest_edge=longest
        )

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of a picture of ``height`` x ``width`` pixels once it is resized."""
        scale = self.longest_edge / max(height, width)
        return int(height * scale + 0.5), int(width * scale + 0.5)

    def crop(self, source: Any) -> np.ndarray[Any, Any]:
        """The whole picture resized, not filled up: (h, w, 3) uint8.

        Raises:
            DataError: no picture, or one that is far longer than wide.
        """
        from PIL import Image as pil

        image = load_image(source)
        height, width = self.sides(image.height, image.width)
        if min(height, width) < 1:
            raise DataError(
                f"{name_of(source)} has {image.width} x {image.height} pixels: that is too thin",
                why=f"nothing would be left with its longer side at {self.longest_edge}",
                fix="cut it into pieces",
            )
        return np.asarray(image.resize((width, height), getattr(pil.Resampling, self.interpolation.upper())))

    def one(self, source: Any) -> np.ndarray[Any, Any]:
        """One prepared picture: (3, H, W) float32."""
        pixels = self.normalise(self.crop(source))
        down, across = (full - side for full, side in zip(self.size, pixels.shape[1:], strict=True))
        return np.pad(pixels, ((0, 0), (0, down), (0, across)))

    def places(self, pixels: np.ndarray[Any, Any], height: int, width: int) -> np.ndarray[Any, Any]:
        """(..., 2), x and y in a picture of ``height`` x ``width`` -> the same places in the resized one, float32."""
        down, across = self.sides(height, width)
        return (np.asarray(pixels, np.float64) * (across / width, down / height)).astype(np.float32)

    def __call__(self, inputs: Any) -> Tensor:
        """One picture or several -> (N, 3, H, W)."""
        several = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        if not several:
            raise DataError("no picture to work on", fix="pass at least one")
        return Tensor(np.stack([self.one(source) for source in several]))
