"""Pictures with boxes: how they become batches for detectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.random import Key
from ...vision.detection.preprocess import padded
from ...vision.transforms import Mosaic
from ...vision.transforms.sample import Sample
from ..language import pictures
from ..language.schema import Augment, RandomResizedCrop
from . import augment
from .picture_changes import sample_changed
from .tasks import Task

NOTHING = -1  # the class of a row that only fills up


@dataclass(frozen=True)
class BoxedPicture:
    """A picture in a file and what is in it; the file is read when the sample is asked for.

    Attributes:
        path: the file.
        boxes: (M, 4) float32: left, top, right, bottom, in pixels.
        labels: (M,) int64.
    """

    path: Path
    boxes: np.ndarray
    labels: np.ndarray

    def files(self) -> list[Path]:
        """The picture's."""
        return [self.path]

    def sample(self) -> Sample:
        """The picture, with the boxes cut off at its edges.

        Raises:
            DataError: a file that is no picture.
        """
        return Sample.read(self.path, boxes=self.boxes, labels=self.labels).clipped()


def sample_of(raw: Sample | BoxedPicture) -> Sample:
    """A picture of either kind, read."""
    return raw.sample() if isinstance(raw, BoxedPicture) else raw


class Boxes(Task):
    """Pictures with boxes: changed at random, then the preprocessing that came with the weights; boxes become shares of the
    picture. Of what is turned or cut off, boxes hold what is left; objects without as much as a pixel go.

    Args:
        preprocess: a :class:`~nyala.vision.detection.DetectionPreprocess`.
        takes_mask: whether the model is told which pixels fill up a batch.
    """

    def __init__(self, preprocess: Any, takes_mask: bool) -> None:
        self.preprocess, self.takes_mask = preprocess, takes_mask

    def together(self, raw: Any, augments: Sequence[Augment], key: Key, others: Callable[[Key, int], list[Any]]) -> Any:
        """Where the recipe has a mosaic, the sample as one with three others."""
        if not augments or not isinstance(wanted := augments[0], pictures.Mosaic):
            return raw
        draw = key.fold(0)
        if draw.fold("whether").uniform((1,))[0] >= wanted.p:
            return raw
        four = [sample_of(one) for one in (raw, *others(draw.fold("others"), 3))]
        return Mosaic((four[0].height, four[0].width), wanted.center)(four, draw)

    def prepare(self, raw: Any, augments: Sequence[Augment] = (), key: Key | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The picture, (3, H, W) float32, and its objects, (M, 5) float32: class, middle, width and height."""
        sample = sample_of(raw)
        if key is not None:
            sample = self._changed(sample, augments, key)
        return self.preprocess.one(sample.image), objects_of(sample)

    @staticmethod
    def _changed(sample: Sample, augments: Sequence[Augment], key: Key) -> Sample:
        done = 0
        while done < len(augments):
            sample, done = sample_changed(sample, augments, key, done)
            if done < len(augments) and isinstance(crop := augments[done], RandomResizedCrop):
                sample = cut(sample, augment.resized_crop_box((sample.width, sample.height), crop, key.fold(done)))
                done += 1
        return sample

    def collate(self, prepared: Sequence[Any], indices: np.ndarray) -> dict[str, Any]:  # noqa: ARG002 - the task's signature
        given = padded([pixels for pixels, _ in prepared])
        if not self.takes_mask or bool((given["pixel_mask"] == 1).all().item()):
            del given["pixel_mask"]
        return given

    def targets(self, prepared: Sequence[Any], labels: Sequence[int], inputs: Any) -> np.ndarray:  # noqa: ARG002 - ditto
        """(N, M, 5) float32: the objects of each picture, filled up by rows of the class ``NOTHING``."""
        most = max((len(objects) for _, objects in prepared), default=0)
        told = np.full((len(prepared), max(1, most), 5), NOTHING, np.float32)
        for row, (_, objects) in zip(told, prepared, strict=True):
            row[: len(objects)] = objects
        return told

    def show(self, raw: Any) -> dict[str, Any]:
        from ..report.samples import show_picture

        return show_picture(outlined(raw))


def cut(sample: Sample, box: tuple[int, int, int, int]) -> Sample:
    """A part of a picture with what is seen there of its objects.

    Example:
        >>> whole = Sample(np.zeros((4, 8, 3), np.uint8), boxes=[[0, 0, 4, 2], [6, 0, 8, 4]], labels=[1, 2])
        >>> part = cut(whole, (2, 1, 6, 4))
        >>> part.image.shape, part.boxes.tolist(), part.labels.tolist()
        ((3, 4, 3), [[0.0, 0.0, 2.0, 1.0]], [1])
    """
    left, top, right, bottom = box
    boxes = None if sample.boxes is None else sample.boxes - np.array([left, top, left, top], np.float32)
    return sample.replace(image=sample.image[top:bottom, left:right], boxes=boxes).clipped()


def objects_of(sample: Sample) -> np.ndarray:
    """Class, middle, width and height of each object, in shares of the picture: (M, 5) float32.

    Example:
        >>> objects_of(Sample(np.zeros((4, 8, 3), np.uint8), boxes=[[0, 0, 4, 2]], labels=[1])).tolist()
        [[1.0, 0.25, 0.25, 0.5, 0.5]]
    """
    boxes, labels = sample.boxes, sample.labels
    if boxes is None or labels is None:
        return np.zeros((0, 5), np.float32)
    sides = np.array([sample.width, sample.height], np.float32)
    first, second = boxes[:, :2] / sides, boxes[:, 2:] / sides
    return np.concatenate([labels[:, None].astype(np.float32), (first + second) / 2, second - first], 1)


def outlined(raw: Sample | BoxedPicture) -> np.ndarray:
    """The picture with frames around its objects, as a report shows it."""
    from PIL import Image, ImageDraw

    from ...vision.palette import colour

    sample = sample_of(raw)
    image = Image.fromarray(np.repeat(sample.image, 4 - sample.image.shape[2], 2)[..., :3])
    pen, thick = ImageDraw.Draw(image), max(1, max(image.size) // 96)  # reports show it 192 pixels wide
    if sample.boxes is not None and sample.labels is not None:
        for (left, top, right, bottom), label in zip(sample.boxes.round().tolist(), sample.labels.tolist(), strict=True):
            pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour(label), width=thick)
    return np.asarray(image)
