"""How far away each pixel of a picture is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import ArgumentError, DataError
from ..core.nn import functional as F
from ..core.tensor import Tensor
from ..hub.pipeline import Pipeline, as_is, no_grad
from ..hub.results import shortened, table
from .io import MAX_PIXELS, load_image, name_of
from .preprocess import ImagePreprocess
from .several import PerPicture

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..core.nn import Module
    from ..hub.cards import Card
    from ..hub.files import Files

# What transformers' processors of Depth Anything say, for a model whose files say nothing.
USUAL: dict[str, Any] = {"size": {"height": 518, "width": 518}, "keep_aspect_ratio": True, "ensure_multiple_of": 14}


@dataclass(frozen=True)
class DepthPreprocess(ImagePreprocess):
    """Resize as little as brings one side to ``size``, round the sides to whole patches, scale to 0..1 and normalise.

    Source: transformers' ``DPTImageProcessor`` on Pillow, to the bit of the uint8 picture.

    Attributes:
        keep_aspect_ratio: whether the other side follows; else both sides become those of ``size``.
        ensure_multiple_of: what the new sides are multiples of, in pixels.

    Example:
        >>> DepthPreprocess((28, 28), crop_mode="squash", keep_aspect_ratio=True, ensure_multiple_of=14).sides(100, 60)
        (42, 28)
    """

    keep_aspect_ratio: bool = False
    ensure_multiple_of: int = 1

    @staticmethod
    def from_processor(config: Mapping[str, Any]) -> DepthPreprocess:
        """Read transformers' ``preprocessor_config.json``; keys that are absent are those of Depth Anything.

        Raises:
            DataError: a step that is left out, or a value that is no number or size.
            ArgumentError: numbers that make no sense.
        """
        said = {**USUAL, **config}
        plain = ImagePreprocess.from_processor({**said, "do_center_crop": False, "crop_size": None})
        multiple = said["ensure_multiple_of"]
        if said.get("do_pad") or not isinstance(multiple, int) or multiple < 1 or plain.crop_mode != "squash":
            raise DataError(
                f"preprocessor_config.json: do_pad={said.get('do_pad')}, ensure_multiple_of={multiple!r}, size={said['size']}",
                why="pictures are resized to whole patches, and not padded",
                fix="correct it",
            )
        return DepthPreprocess(
            plain.size, plain.interpolation, plain.crop_pct, plain.mean, plain.std, plain.crop_mode,
            bool(said["keep_aspect_ratio"]), multiple,
        )  # fmt: skip

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of a picture of ``height`` x ``width`` pixels once it is resized."""
        down, across = self.size[0] / height, self.size[1] / width
        if self.keep_aspect_ratio:
            down = across = across if abs(1 - across) < abs(1 - down) else down
        rows, columns = (round(n / self.ensure_multiple_of) for n in (down * height, across * width))
        return rows * self.ensure_multiple_of, columns * self.ensure_multiple_of

    def crop(self, source: Any) -> np.ndarray[Any, Any]:
        """The picture as the model sees it, nothing cut off: (H, W, 3) uint8.

        Raises:
            DataError: no picture, or one that is far longer than wide.
        """
        from PIL import Image as pil

        image = load_image(source)
        height, width = self.sides(image.height, image.width)
        if not 0 < height * width <= MAX_PIXELS:
            raise DataError(
                f"{name_of(source)} has {image.width} x {image.height} pixels: that is too thin",
                why=f"it would be resized to {width} x {height}",
                fix="cut it into pieces",
            )
        return np.asarray(image.resize((width, height), getattr(pil.Resampling, self.interpolation.upper())))


@dataclass(frozen=True, eq=False)
class DepthMap:
    """The depth of each pixel of one picture.

    Attributes:
        depth: (H, W) float32 of the picture's own size; distances in metres, or inverse depth without a scale: larger is nearer.
        metric: whether it is in metres.
    """

    depth: np.ndarray[Any, Any]
    metric: bool = False

    @property
    def nearness(self) -> np.ndarray[Any, Any]:
        """(H, W) float32 from 0, the farthest pixel, to 1, the nearest."""
        low, high = float(self.depth.min()), float(self.depth.max())
        share = (self.depth - low) / (high - low) if high > low else np.zeros_like(self.depth)
        return (1 - share if self.metric else share).astype(np.float32)

    def __repr__(self) -> str:
        unit = " m" if self.metric else ""
        height, width = self.depth.shape
        return f"DepthMap({width} x {height} pixels, {self.depth.min():.4g} to {self.depth.max():.4g}{unit})"


class DepthMaps(PerPicture):
    """One :class:`DepthMap` a picture; prints as a table, and draws each picture beside its depth, near pixels bright.

    Example:
        >>> DepthMaps([DepthMap(np.array([[1.0, 3.0]]), metric=True)], ["street.png"])
        picture     width  height  nearest      farthest
        ----------  -----  ------  -----------  -----------
        street.png      2       1  1 m at 0, 0  3 m at 1, 0
    """

    def _ends(self, found: DepthMap) -> list[tuple[float, int, int]]:
        """The nearest and the farthest pixel: depth, x, y."""
        near = found.nearness
        places = (np.unravel_index(int(i), near.shape) for i in (near.argmax(), near.argmin()))
        return [(float(found.depth[y, x]), int(x), int(y)) for y, x in places]

    def __repr__(self) -> str:
        rows = []
        for i, found in enumerate(self.found):
            unit = " m" if found.metric else ""
            ends = [f"{value:.4g}{unit} at {x}, {y}" for value, x, y in self._ends(found)]
            rows.append([shortened(self.name(i), 44), *found.depth.shape[::-1], *ends])
        return table(["picture", "width", "height", "nearest", "farthest"], rows)

    def to_dict(self) -> list[dict[str, Any]]:
        """For each picture the depth row by row, whether it is in metres, and the nearest and the farthest pixel."""
        rows = []
        for i, found in enumerate(self.found):
            ends = [{"depth": value, "x": x, "y": y} for value, x, y in self._ends(found)]
            kind = {"metric": found.metric, "nearest": ends[0], "farthest": ends[1]}
            rows.append({"input": self.name(i), **kind, "depth": [[round(float(v), 6) for v in row] for row in found.depth]})
        return rows

    def draw(self) -> Image:
        """The pictures below each other, each beside its depth from dark, far, to bright, near."""
        from .drawing import depths

        return depths([(load_image(s), m.nearness, self._shown(m)) for s, m in zip(self.inputs, self.found, strict=True)])

    def _shown(self, found: DepthMap) -> tuple[str, str]:
        (near, *_), (far, *_) = self._ends(found)
        return (f"{far:.3g} m", f"{near:.3g} m") if found.metric else ("far", "near")


@dataclass(frozen=True, eq=False, repr=False)
class DepthEstimation(Pipeline):
    """Pictures -> depth. Call it on one picture (:class:`DepthMap`) or a list (:class:`DepthMaps`).

    Attributes:
        metric: whether the model gives metres.

    Example:
        >>> import nyala
        >>> pipe = nyala.load("depth-anything/Depth-Anything-V2-Small-hf")  # doctest: +SKIP
        >>> pipe("street.jpg").depth.shape  # doctest: +SKIP
        (480, 640)
    """

    metric: bool = False

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> DepthEstimation:
        """Preprocessing from ``preprocessor_config.json``, or as Depth Anything's."""
        if not hasattr(model.config, "depth_estimation_type"):
            raise ArgumentError(f"{type(model).__name__} estimates no depth", fix="choose a Depth Anything")
        said = files.read_json("preprocessor_config.json") if "preprocessor_config.json" in files else {}
        prepare = DepthPreprocess.from_processor(said)
        return cls(model, prepare, as_is, card, files, config, model.config.depth_estimation_type == "metric")

    def __call__(self, inputs: Any) -> Any:
        """One picture -> :class:`DepthMap`; a list -> :class:`DepthMaps`.

        Raises:
            DataError: no picture, or one that cannot be read.
        """
        several = isinstance(inputs, (list, tuple))
        sources = list(inputs) if several else [inputs]
        if not sources:
            raise DataError("no picture to work on", fix="pass at least one")
        found = [self._one(source) for source in sources]  # their sizes differ
        return DepthMaps(found, sources) if several else found[0]

    def _one(self, source: Any) -> DepthMap:
        image = load_image(source)
        with no_grad():
            depth: Tensor = self.model(self.preprocess(image).to(next(self.model.parameters())))
            depth = F.interpolate(depth.float().unsqueeze(1), (image.height, image.width), mode="bicubic", align_corners=False)
        return DepthMap(depth[0, 0].cpu().numpy(), self.metric)
