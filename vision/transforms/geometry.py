"""What all transforms have in common that move places: pictures, boxes, masks and keypoints go the same way."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core.errors import ArgumentError
from .sample import Sample
from .transform import Array, Drawn, Transform

Matrix = np.ndarray[Any, Any]  # (3, 3) float64, from places (x, y, 1) in the old picture to places in the new one


class Geometric(Transform):
    """A transform that moves places. Boxes become the smallest that hold their moved corners, cut off at the picture's edges;
    objects of whose box less than a pixel is left go, with all that is known of them."""

    @abstractmethod
    def matrix(self, drawn: Drawn, height: int, width: int) -> Matrix:
        """Where places of a picture of this size go."""

    @abstractmethod
    def masks(self, masks: Array, drawn: Drawn, fill: int) -> Array:
        """(N, H, W) masks moved as the picture is, each pixel taken from the nearest one; ``fill`` where there was nothing."""

    def moved(self, sample: Sample, drawn: Drawn) -> Sample:
        image = self.pixels(sample.image[None], [drawn])[0]
        if sample.boxes is None and sample.masks is None and sample.keypoints is None:
            return sample.replace(image=image)
        matrix = self.matrix(drawn, sample.height, sample.width)
        known: dict[str, Any] = {}
        if sample.boxes is not None:
            known["boxes"] = moved_boxes(sample.boxes, matrix)
        if sample.keypoints is not None:
            known["keypoints"] = moved_points(sample.keypoints, matrix)
        if sample.masks is not None:
            many = sample.masks[None] if sample.class_map else sample.masks
            masks = self.masks(many, drawn, self.mask_fill if sample.class_map else 0)
            known["masks"] = masks[0] if sample.class_map else masks
        return sample.replace(image=image, **known).clipped()

    mask_fill: int = 0  # the class of pixels where there was nothing


def moved_points(points: Array, matrix: Matrix) -> Array:
    """(..., 2 or 3) keypoints where ``matrix`` takes them; visibilities stay."""
    places = points[..., :2].astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]
    moved = points.copy()
    moved[..., :2] = places[..., :2] / np.where(places[..., 2:] == 0, 1e-9, places[..., 2:])
    return moved


def moved_boxes(boxes: Array, matrix: Matrix) -> Array:
    """(N, 4): the smallest boxes that hold the moved corners.

    Example:
        >>> quarter = np.array([[0.0, -1, 4], [1, 0, 0], [0, 0, 1]])
        >>> moved_boxes(np.array([[0, 0, 2, 1]], np.float32), quarter).tolist()
        [[3.0, 0.0, 4.0, 2.0]]
    """
    corners = moved_points(boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2), matrix)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def scaling(x: float, y: float) -> Matrix:
    """Everything ``x`` times as wide and ``y`` times as high."""
    return np.diag([x, y, 1.0])


def moving(x: float, y: float) -> Matrix:
    """Everything so many pixels to the right and down."""
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def size_of(name: str, size: Any) -> tuple[int, int]:
    """(height, width): one number means both.

    Raises:
        ArgumentError: it is no size.
    """
    sides = (size, size) if isinstance(size, (int, np.integer)) and not isinstance(size, bool) else size
    if not isinstance(sides, Sequence) or len(sides) != 2 or not all(isinstance(s, (int, np.integer)) and s > 0 for s in sides):
        raise ArgumentError(f"{name}: size={size!r}", fix="give a whole number of pixels, or height and width")
    return int(sides[0]), int(sides[1])


def fill_of(name: str, fill: Any, channels: int) -> Array:
    """(channels,) uint8: one number means all of them.

    Raises:
        ArgumentError: it is no colour.
    """
    values = np.asarray(fill, np.float64).reshape(-1)
    if len(values) not in (1, channels) or not ((values >= 0) & (values <= 255)).all():
        raise ArgumentError(
            f"{name}: fill={fill!r} for pictures of {channels} channels", fix="give a level from 0 to 255, or one a channel"
        )
    return np.broadcast_to(values.astype(np.uint8), (channels,))
