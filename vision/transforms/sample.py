"""A picture with what is known about places in it: boxes, masks and keypoints, which every transform moves along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...core.errors import DataError, kind_of
from ..io import load_image

Array = np.ndarray[Any, Any]
_VALUES = ("boxes", "keypoints")


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture and its objects. All coordinates are in pixels from the left upper corner: pixel (0, 0) reaches from 0 to 1.

    Attributes:
        image: (H, W, 3) or (H, W, 1) uint8; (H, W) becomes (H, W, 1).
        boxes: (N, 4) float32, one an object: left, top, right, bottom.
        masks: (N, H, W) bool or uint8, one an object; or (H, W) of whole numbers, the class of each pixel.
        keypoints: (N, K, 2) float32, K points an object: x, y; or (N, K, 3) with their visibility, 0 where there is none.
        labels: (N,) int64, the class of each object.
        other: what else is known of the objects, arrays with N rows: ``iscrowd``, ``area``, ...

    A sample is never changed: transforms make new ones, which may share arrays with it.

    Raises:
        DataError: something that is no picture, or shapes, values or numbers of objects that do not go together.

    Example:
        >>> sample = Sample(np.zeros((4, 6, 3), np.uint8), boxes=[[1, 1, 3, 2], [0, 0, 6, 4]], labels=[7, 8])
        >>> len(sample), sample.height, sample.width, sample.keep([False, True]).labels.tolist()
        (2, 4, 6, [8])
    """

    image: Array
    boxes: Array | None = None
    masks: Array | None = None
    keypoints: Array | None = None
    labels: Array | None = None
    other: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", _picture(self.image))
        for name in _VALUES:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _numbers(name, getattr(self, name)))
        if self.masks is not None:
            object.__setattr__(self, "masks", _masks(self.masks, self.height, self.width))
        if self.labels is not None:
            object.__setattr__(self, "labels", _labels(self.labels))
        object.__setattr__(self, "other", {name: np.asarray(rows) for name, rows in self.other.items()})
        _same_count(self)

    @classmethod
    def read(cls, source: Any, **known: Any) -> Sample:
        """The picture that :func:`~nyala.vision.io.load_image` reads from a path, bytes, a PIL image or an array, in RGB.

        Args:
            source: the picture.
            known: ``boxes``, ``masks``, ``keypoints``, ``labels``, ``other``.
        """
        return cls(np.asarray(load_image(source)), **known)

    @property
    def height(self) -> int:
        """Of the picture, in pixels."""
        return int(self.image.shape[0])

    @property
    def width(self) -> int:
        """Of the picture, in pixels."""
        return int(self.image.shape[1])

    @property
    def class_map(self) -> bool:
        """Whether ``masks`` is one map of classes, not a mask an object."""
        return self.masks is not None and self.masks.ndim == 2

    def __len__(self) -> int:
        """How many objects there are."""
        return next((len(rows) for _, rows in _rows(self)), 0)

    def replace(self, **changed: Any) -> Sample:
        """A new sample with other values of the attributes that are named."""
        return replace(self, **changed)

    def keep(self, rows: Any) -> Sample:
        """Only some of the objects: those where ``rows`` (N,) is true, or whose numbers it holds."""
        rows = np.asarray(rows)
        rows = rows.astype(np.int64) if rows.dtype != bool else rows  # an empty list too
        kept: dict[str, Any] = {name: values[rows] for name, values in _rows(self) if name not in self.other}
        return replace(self, **kept, other={name: values[rows] for name, values in self.other.items()})

    def clipped(self, least: float = 1.0) -> Sample:
        """Boxes cut off at the picture's edges, without the objects of which less than ``least`` pixels a side is left;
        keypoints outside lose their visibility."""
        sample = self
        if self.keypoints is not None and self.keypoints.shape[2] == 3:
            points = self.keypoints.copy()
            inside = (points[..., :2] >= 0) & (points[..., :2] < np.array([self.width, self.height], np.float32))
            points[..., 2] *= inside.all(axis=-1)
            sample = sample.replace(keypoints=points)
        if self.boxes is None:
            return sample
        boxes = self.boxes.clip(0, np.array([self.width, self.height] * 2, np.float32))
        return sample.replace(boxes=boxes).keep(((boxes[:, 2:] - boxes[:, :2]) >= least).all(axis=1))


def _rows(sample: Sample) -> list[tuple[str, Array]]:
    """What has one row an object."""
    named = [(n, getattr(sample, n)) for n in ("boxes", "keypoints", "labels")]
    named += [("masks", None if sample.class_map else sample.masks), *sample.other.items()]
    return [(name, values) for name, values in named if values is not None]


def _picture(image: Any) -> Array:
    if not isinstance(image, np.ndarray):
        raise DataError(
            f"the image of a Sample is {kind_of(image)}",
            why="a Sample holds a uint8 array (H, W, 3)",
            fix="Sample.read(...) takes paths, bytes and PIL images",
        )
    array = image[:, :, None] if image.ndim == 2 else image
    if array.ndim != 3 or array.shape[2] not in (1, 3) or array.dtype != np.uint8 or 0 in array.shape:
        raise DataError(
            f"the image of a Sample has dtype {image.dtype} and shape {image.shape}",
            why="a Sample holds uint8 of shape (H, W, 3) or (H, W, 1)",
            fix="transpose (C, H, W) to (H, W, C); scale floats in 0..1 with (x * 255).round().astype('uint8')",
        )
    return array


def _numbers(name: str, values: Any) -> Array:
    """Boxes (N, 4) and keypoints (N, K, 2 or 3)."""
    try:
        array = np.asarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"the {name} of a Sample are not numbers: {error}", fix="give every object as many numbers") from None
    if array.size == 0:
        array = array.reshape((0, 4) if name == "boxes" else (0, *(array.shape[1:] if array.ndim == 3 else (0, 2))))
    fits = array.ndim == 2 and array.shape[1] == 4 if name == "boxes" else array.ndim == 3 and array.shape[2] in (2, 3)
    if not fits:
        shape = "(N, 4)" if name == "boxes" else "(N, K, 2) or (N, K, 3)"
        raise DataError(f"the {name} of a Sample have shape {array.shape}", why=f"they need {shape}", fix="check the annotations")
    bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1) if array.size else np.zeros(len(array), bool)
    if name == "boxes":
        bad |= (array[:, 2:] < array[:, :2]).any(axis=1)
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        why = "a box is left, top, right, bottom" if name == "boxes" else "points are finite numbers"
        raise DataError(
            f"{name}[{i}] is {array[i].tolist()}", why=why, fix="convert boxes of x, y, width, height; remove what is empty"
        )
    return array


def _masks(masks: Any, height: int, width: int) -> Array:
    array = np.asarray(masks)
    if array.size == 0:
        array = np.zeros((0, height, width), bool)
    if array.ndim not in (2, 3) or array.shape[-2:] != (height, width) or array.dtype.kind not in "bui":
        raise DataError(
            f"the masks of a Sample have dtype {array.dtype} and shape {array.shape}",
            why=f"they are bool or whole numbers of shape (N, {height}, {width}), or ({height}, {width}) for a map of classes",
            fix="check the annotations",
        )
    return array


def _labels(labels: Any) -> Array:
    array = np.asarray(labels)
    if array.size and (array.dtype.kind not in "ui" or array.ndim != 1):
        raise DataError(
            f"the labels of a Sample have dtype {array.dtype} and shape {array.shape}",
            why="they are whole numbers, one an object",
            fix="number the classes",
        )
    return array.reshape(-1).astype(np.int64)


def _same_count(sample: Sample) -> None:
    counts = {name: len(values) if values.ndim else -1 for name, values in _rows(sample)}
    if len(set(counts.values())) > 1 or -1 in counts.values():
        said = ", ".join(f"{count} {name}" if count >= 0 else f"one number as {name}" for name, count in counts.items())
        raise DataError(f"a Sample with {said}", why="each has one row an object", fix="check the annotations")
