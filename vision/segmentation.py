"""The pipeline that gives every pixel of a picture a class."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.atomic import atomic_write
from ..core.autograd import no_grad
from ..core.errors import ArgumentError, DataError, did_you_mean
from ..hub.pipeline import Pipeline, as_is
from ..hub.results import Results, table
from .io import load_image
from .palette import colour
from .preprocess import ImagePreprocess
from .several import PerPicture

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..core.nn import Module
    from ..hub.cards import Card
    from ..hub.files import Files

Array = np.ndarray[Any, Any]
_AT_ONCE = 1 << 24  # probabilities that are held at once


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation(Results):
    """The class of every pixel of one picture.

    Attributes:
        mask: (H, W) uint8 or uint16, a class's number for every pixel of the picture.
        labels: names of all classes, by number.
        scores: by number of those classes that are there, the mean probability of its pixels.
        source: the picture, as it was given.

    Example:
        >>> found = Segmentation(np.array([[0, 0, 1]], np.uint8), ("background", "cat"), {0: 0.9, 1: 0.8}, None)
        >>> found.where("cat").tolist(), found.classes()
        ([[False, False, True]], [0, 1])
    """

    mask: Array
    labels: tuple[str, ...]
    scores: dict[int, float]
    source: Any

    def classes(self) -> list[int]:
        """The numbers of the classes that are there, the largest area first."""
        counts = np.bincount(self.mask.ravel(), minlength=len(self.labels))
        return [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]]

    def where(self, label: str | int) -> Array:
        """(H, W) bool: the pixels of a class, by its name or number.

        Raises:
            ArgumentError: no such class.
        """
        if isinstance(label, str) and label not in self.labels:
            raise ArgumentError(f"no class is called {label!r}", fix=did_you_mean(label, self.labels) or "see .labels")
        number = self.labels.index(label) if isinstance(label, str) else label
        if not 0 <= number < len(self.labels):
            raise ArgumentError(f"class {number}", why=f"there are {len(self.labels)}, from 0", fix="see .labels")
        return self.mask == number

    def share(self, label: str | int) -> float:
        """Of the picture's pixels, those of a class."""
        return float(self.where(label).mean())

    def __repr__(self) -> str:
        return table(["class", "share of the picture", "score"], self.rows())

    def rows(self) -> list[list[object]]:
        """For each class that is there its name, its share of the picture and its score."""
        return [[self.labels[k], self.share(k), self.scores[k]] for k in self.classes()]

    def to_dict(self) -> dict[str, Any]:
        """For each class that is there its pixels, their share of the picture, their score, and the box around them."""
        found = []
        for k in self.classes():
            rows, columns = np.nonzero(self.mask == k)
            box = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
            said = {"label": self.labels[k], "index": k, "pixels": len(rows), "share": len(rows) / self.mask.size}
            found.append({**said, "score": self.scores[k], "box": box})
        return {"size": list(self.mask.shape[::-1]), "classes": found}

    def draw(self) -> Image:
        """The picture with its classes in colour, and beside it what the colours mean."""
        from .overlay import segmentation

        return segmentation([self])

    def colours(self) -> Array:
        """(classes, 3) uint8: each class's colour."""
        return np.array([colour(k) for k in range(len(self.labels))], np.uint8)

    def save_mask(self, path: str | Path) -> None:
        """Write the numbers themselves as a PNG: with a palette up to 256 classes, else in 16 bits; other programs read both.

        Raises:
            ArgumentError: a name that does not end in .png.
            StorageError: the file cannot be written.
        """
        from PIL import Image as pil

        if Path(path).suffix.lower() != ".png":
            raise ArgumentError(f"{path}: a mask is a PNG", why="other formats change numbers", fix="end the name in .png")
        image = pil.fromarray(self.mask)
        if self.mask.dtype == np.uint8:
            image.putpalette(self.colours().tobytes())
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
        atomic_write(Path(path), buffer.getvalue())


class Segmentations(PerPicture):
    """One :class:`Segmentation` a picture; prints as a table and draws all of them."""

    def __init__(self, found: Sequence[Segmentation]) -> None:
        super().__init__(found, [one.source for one in found])

    def __repr__(self) -> str:
        rows = [
            [self.name(i) if j == 0 else "", *cells] for i, one in enumerate(self.found) for j, cells in enumerate(one.rows())
        ]
        return table(["picture", "class", "share of the picture", "score"], rows)

    def to_dict(self) -> list[dict[str, Any]]:
        """For each picture its classes."""
        return [{"input": self.name(i), **one.to_dict()} for i, one in enumerate(self.found)]

    def draw(self) -> Image:
        """All pictures below each other."""
        from .overlay import segmentation

        return segmentation(self.found)


@dataclass(frozen=True)
class GreyPreprocess(ImagePreprocess):
    """For models that see one channel: the picture in grey (ITU-R 601, as Pillow), by the first channel's mean and deviation.

    Example:
        >>> GreyPreprocess((8, 8))(np.zeros((20, 30, 3), np.uint8)).shape
        (1, 1, 8, 8)
    """

    def normalise(self, pixels: Array) -> Array:
        """(..., H, W, 3) uint8 -> (..., 1, H, W) float32."""
        wide = pixels.astype(np.uint32) * np.array([19595, 38470, 7471], np.uint32)
        grey = ((wide.sum(-1) + 0x8000) >> 16).astype(np.uint8)
        return super().normalise(np.repeat(grey[..., None], 3, -1))[..., :1, :, :]

    def restore(self, prepared: Array) -> Array:
        """(1, H, W) float32 -> (H, W, 3) uint8: a prepared picture to look at again."""
        return np.repeat(super().restore(np.repeat(prepared, 3, 0))[..., :1], 3, -1)


def _seeing(preprocess: ImagePreprocess, channels: int) -> ImagePreprocess:
    """What shows the whole picture in as many channels as a model has.

    Raises:
        ArgumentError: pictures have no such number of channels.
    """
    if channels not in (1, 3):
        raise ArgumentError(
            f"a model of {channels} channels", why="pictures have 3, or 1 in grey", fix="call .model on prepared tensors"
        )
    whole = {**asdict(preprocess), "crop_mode": "squash", "crop_pct": 1.0}
    return (GreyPreprocess if channels == 1 else ImagePreprocess)(**whole)


@dataclass(frozen=True, eq=False, repr=False)
class ImageSegmentation(Pipeline):
    """Pictures -> the class of every pixel. Call it on one picture or a list: paths, bytes, PIL images, uint8 arrays.

    The whole picture is scaled to the size that the model takes, and its answer back to the picture's own.

    Attributes:
        labels: names of the classes, in the order of the logits.
        batch_size: pictures that go through the model at once.
    """

    labels: tuple[str, ...] = ()
    batch_size: int = 4

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> Pipeline:  # type: ignore[override]
        """Preprocessing and labels as for classification, but that the whole picture is seen.

        Of a model of volumes, a :class:`~nyala.vision.volumes.VolumeSegmentation`.

        Raises:
            ArgumentError: a model that gives whole pictures a class.
        """
        from .models.segmenter import Segmenter
        from .pipelines import labels_of, preprocessing_of

        if not isinstance(model, Segmenter):
            raise ArgumentError(
                f"{type(model).__name__} gives no class to every pixel",
                why="it has no head for that",
                fix="choose a model for image-segmentation: SegFormer, UPerNet, U-Net",
            )
        c: Any = model.config
        if getattr(c, "spatial_dims", 2) == 3:
            from .volumes import VolumeSegmentation

            return VolumeSegmentation.from_files(model, files, card, config)
        whole = _seeing(preprocessing_of(files, card, config), int(c.in_chans))
        classes = int(c.num_classes)
        labels = tuple(labels_of(config, card, classes))
        return cls(model, whole, as_is, card, files, config, ("background", *labels) if classes == 1 else labels)

    def logits(self, inputs: Sequence[Any]) -> Iterator[Array]:
        """For each picture (classes, H', W') float32: what the model says, in its own resolution."""
        device = next(self.model.parameters()).device
        for i in range(0, len(inputs), self.batch_size):
            with no_grad():
                found = self.model(self.preprocess(list(inputs[i : i + self.batch_size])).to(device))
            yield from found.float().cpu().numpy()

    def __call__(self, inputs: Any) -> Any:
        """A :class:`Segmentation` for one picture, :class:`Segmentations` for a list.

        Raises:
            DataError: no picture, or one that cannot be read.
        """
        several = isinstance(inputs, (list, tuple))
        sources = list(inputs) if several else [inputs]
        if not sources:
            raise DataError("no picture to work on", fix="pass at least one")
        images = [load_image(source) for source in sources]
        found = [
            self._settled(logits, image.size[::-1], source)
            for logits, image, source in zip(self.logits(images), images, sources, strict=True)
        ]
        return Segmentations(found) if several else found[0]

    def _settled(self, logits: Array, size: tuple[int, int], source: Any) -> Segmentation:
        if len(logits) == 1:  # one number a pixel: for the class, against nothing
            logits = np.concatenate([np.zeros_like(logits), logits])
        mask, scores = likeliest(logits, size)
        return Segmentation(mask, self.labels, scores, source)


def likeliest(logits: Array, size: tuple[int, int]) -> tuple[Array, dict[int, float]]:
    """The likeliest class of every pixel, in another resolution, and the mean probability of each class's pixels.

    The logits are enlarged, bilinearly as ``interpolate(..., mode="bilinear", align_corners=False)``, and the best is taken then.

    Args:
        logits: (classes, H', W') float32.
        size: (H, W) of the answer.

    Example:
        >>> mask, scores = likeliest(np.array([[[4.0, 0.0]], [[0.0, 4.0]]], np.float32), (1, 4))
        >>> mask.tolist(), [round(p, 3) for p in scores.values()]
        ([[0, 0, 1, 1]], [0.931, 0.931])
    """
    classes, (height, width) = len(logits), size
    kind = np.uint8 if classes <= 256 else np.uint16
    mask, sums = np.empty(size, kind), np.zeros(classes)
    top, bottom, down = _between(logits.shape[1], height)
    left, right, across = _between(logits.shape[2], width)
    step = max(1, _AT_ONCE // (classes * width))
    for start in range(0, height, step):
        rows = slice(start, start + step)
        share = down[rows, None]
        narrow = logits[:, top[rows]] * (1 - share) + logits[:, bottom[rows]] * share
        wide = narrow[:, :, left] * (1 - across) + narrow[:, :, right] * across
        best = wide.argmax(0)
        wide -= wide.max(0)
        probability = 1 / np.exp(wide, out=wide).sum(0)
        mask[rows] = best
        sums += np.bincount(best.ravel(), probability.ravel(), classes)
    counts = np.bincount(mask.ravel(), minlength=classes)
    return mask, {int(k): float(sums[k] / counts[k]) for k in np.flatnonzero(counts)}


def likeliest_of(logits: Array) -> Array:
    """(classes, ...) -> the number of the likeliest class (...); of one class, 1 where its number is above 0.

    Example:
        >>> likeliest_of(np.array([[1.0, 0.0], [0.0, 2.0]])).tolist(), likeliest_of(np.array([[-1.0, 1.0]])).tolist()
        ([0, 1], [0, 1])
    """
    if len(logits) == 1:
        return (logits[0] > 0).astype(np.uint8)
    return logits.argmax(0).astype(np.uint8 if len(logits) <= 256 else np.uint16)


def _between(size: int, out: int) -> tuple[Array, Array, Array]:
    """For each place of the answer the two that it lies between, and its share of the second."""
    centre = np.maximum((np.arange(out, dtype=np.float32) + np.float32(0.5)) * np.float32(size / out) - np.float32(0.5), 0)
    first = np.minimum(centre.astype(np.int64), size - 1)
    return first, np.minimum(first + 1, size - 1), (centre - first).astype(np.float32)
