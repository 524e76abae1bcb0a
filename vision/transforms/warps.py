"""Pictures turned, sheared and seen askew. Names, arguments and defaults are torchvision's, and values those on PIL images."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core import kernels
from ...core.errors import ArgumentError
from ...core.random import Key
from .geometry import Geometric, Matrix, fill_of
from .transform import Array, Drawn, interval, share

FILTERS = ("nearest", "bilinear", "bicubic")


def affine_inverse(
    center: tuple[float, float], angle: float, translate: tuple[float, float], scale: float, shear: tuple[float, float]
) -> Drawn:
    """Rotation, shear, scaling and shift in the order of torchvision's sums, so that pixels come from the very same places.

    Args:
        center: x and y that stay where they are, but for the shift.
        angle: clockwise, in degrees.
        translate: shift to the right and down, in pixels.
        scale: how much larger.
        shear: along x and along y, in degrees.

    Returns:
        The eight numbers of ``warp_bytes``: the way from the result back to the picture.

    Example:
        >>> affine_inverse((0, 0), 0, (5, 0), 2, (0, 0))
        (0.5, 0.0, -2.5, 0.0, 0.5, 0.0, 0.0, 0.0)
    """
    turn, sx, sy = (math.radians(v) for v in (angle, *shear))
    a, b = math.cos(turn - sy) / math.cos(sy), -math.cos(turn - sy) * math.tan(sx) / math.cos(sy) - math.sin(turn)
    c, d = math.sin(turn - sy) / math.cos(sy), -math.sin(turn - sy) * math.tan(sx) / math.cos(sy) + math.cos(turn)
    matrix = [x / scale for x in (d, -b, 0.0, -c, a, 0.0)]
    (cx, cy), (tx, ty) = center, translate
    matrix[2] += matrix[0] * (-cx - tx) + matrix[1] * (-cy - ty) + cx
    matrix[5] += matrix[3] * (-cx - tx) + matrix[4] * (-cy - ty) + cy
    return (*(m + 0.0 for m in matrix), 0.0, 0.0)


def rotation_inverse(center: tuple[float, float], angle: float) -> Drawn:
    """Likewise for a turn counter-clockwise, as Pillow's ``Image.rotate`` computes it; ``angle`` in degrees."""
    turn = -math.radians(angle % 360.0)
    cos, sin = round(math.cos(turn), 15), round(math.sin(turn), 15)
    (x, y) = center
    return cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y, 0.0, 0.0


class _Warp(Geometric):
    """Pixels taken from elsewhere in the picture; drawn are the eight numbers that say from where, see ``warp_bytes``."""

    def __init__(self, interpolation: str, fill: Any, mask_fill: int) -> None:
        name = type(self).__name__
        if interpolation not in FILTERS:
            raise ArgumentError(f"{name}: interpolation={interpolation!r}", fix=f"use one of {', '.join(FILTERS)}")
        self.interpolation, self.fill, self.mask_fill = interpolation, fill, mask_fill

    @abstractmethod
    def draw(self, key: Key, height: int, width: int) -> Drawn:
        """The eight numbers; none where the picture stays as it is."""

    def pixels(self, images: Array, drawn: Sequence[Drawn]) -> Array:
        if not any(drawn):
            return images
        fill = fill_of(type(self).__name__, self.fill, images.shape[3])
        numbers = np.array([d or _STAY for d in drawn], np.float64)
        return kernels.of(images).warp_bytes(images, numbers, images.shape[1:3], self.interpolation, fill)

    def masks(self, masks: Array, drawn: Drawn, fill: int) -> Array:
        if not drawn:
            return masks
        numbers, (height, width) = np.array(drawn), masks.shape[1:]
        row, column = np.mgrid[:height, :width] + 0.5
        below = numbers[6] * column + numbers[7] * row + 1
        across = np.floor((numbers[0] * column + numbers[1] * row + numbers[2]) / below).astype(np.int64)
        down = np.floor((numbers[3] * column + numbers[4] * row + numbers[5]) / below).astype(np.int64)
        inside = (across >= 0) & (across < width) & (down >= 0) & (down < height)
        moved = masks[:, down.clip(0, height - 1), across.clip(0, width - 1)]
        return np.where(inside, moved, np.asarray(fill, masks.dtype))

    def matrix(self, drawn: Drawn, height: int, width: int) -> Matrix:  # noqa: ARG002 - all is drawn
        return np.linalg.inv(np.array([*drawn, 1.0]).reshape(3, 3)) if drawn else np.eye(3)


class FixedWarp(_Warp):
    """A map that is drawn elsewhere."""

    def __init__(self, interpolation: str = "nearest", fill: Any = 0, mask_fill: int = 0) -> None:
        super().__init__(interpolation, fill, mask_fill)

    def draw(self, key: Key, height: int, width: int) -> Drawn:  # noqa: ARG002 - nothing is drawn here
        return ()


_STAY: Drawn = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


class RandomAffine(_Warp):
    """Turned, shifted, scaled and sheared about the middle.

    Args:
        degrees: bounds of the angle, clockwise; one number means from -x to x.
        translate: largest shares of width and height by which it is shifted.
        scale: bounds of how much larger it becomes.
        shear: bounds of the shear along x in degrees, one number or two; four are those along x and along y.
        interpolation: "nearest", "bilinear" or "bicubic".
        fill: colour where there was nothing.
        center: x and y that stay; the middle if left out.
        mask_fill: class where there was nothing.
    """

    def __init__(
        self,
        degrees: Any,
        translate: tuple[float, float] | None = None,
        scale: tuple[float, float] | None = None,
        shear: Any = None,
        interpolation: str = "nearest",
        fill: Any = 0,
        center: tuple[float, float] | None = None,
        mask_fill: int = 0,
    ) -> None:
        super().__init__(interpolation, fill, mask_fill)
        name = type(self).__name__
        self.degrees = _degrees(name, "degrees", degrees, 360.0)
        self.translate = tuple(share(name, "translate", t) for t in (translate or (0, 0)))
        self.scale = interval(name, "scale", scale or (1.0, 1.0), 1e-3, 1e3)
        several = shear is not None and np.ndim(shear) == 1 and len(shear) == 4
        self.shear = (
            _degrees(name, "shear", shear[:2] if several else shear or 0, 89.0),
            _degrees(name, "shear", shear[2:] if several else 0, 89.0),
        )
        self.center = center

    def draw(self, key: Key, height: int, width: int) -> Drawn:
        """The way back from the result."""
        unit = key.uniform(6, dtype=np.float64)
        angle, scale, shear_x, shear_y = (
            low + u * (high - low) for u, (low, high) in zip(unit, (self.degrees, self.scale, *self.shear), strict=False)
        )
        most = self.translate[0] * width, self.translate[1] * height
        shift = tuple(float(round(t * (2 * u - 1))) for t, u in zip(most, unit[4:], strict=True))
        center = self.center or (width * 0.5, height * 0.5)
        return affine_inverse(center, angle, (shift[0], shift[1]), scale, (shear_x, shear_y))

    def __repr__(self) -> str:
        return f"RandomAffine({self.degrees}, {self.translate}, {self.scale}, {self.shear})"


class RandomRotation(_Warp):
    """Turned about the middle, the size staying.

    Args:
        degrees: bounds of the angle, counter-clockwise as torchvision has it here; one number means from -x to x.
        interpolation, fill, center, mask_fill: as for :class:`RandomAffine`.
    """

    def __init__(
        self, degrees: Any, interpolation: str = "nearest", fill: Any = 0, center: Any = None, mask_fill: int = 0
    ) -> None:
        super().__init__(interpolation, fill, mask_fill)
        self.degrees, self.center = _degrees("RandomRotation", "degrees", degrees, 360.0), center

    def draw(self, key: Key, height: int, width: int) -> Drawn:
        """The way back from the result."""
        low, high = self.degrees
        angle = low + float(key.uniform(dtype=np.float64)) * (high - low)
        return rotation_inverse(self.center or (width / 2, height / 2), angle)

    def __repr__(self) -> str:
        return f"RandomRotation({self.degrees})"


class RandomPerspective(_Warp):
    """Seen askew: each corner is moved towards the middle by up to half of ``distortion_scale``, with a chance of ``p``.

    Args:
        distortion_scale: 0 changes nothing, 1 most.
        p: chance.
        interpolation, fill, mask_fill: as for :class:`RandomAffine`.
    """

    def __init__(
        self,
        distortion_scale: float = 0.5,
        p: float = 0.5,
        interpolation: str = "bilinear",
        fill: Any = 0,
        mask_fill: int = 0,
    ) -> None:
        super().__init__(interpolation, fill, mask_fill)
        self.distortion_scale = share("RandomPerspective", "distortion_scale", distortion_scale)
        self.p = share("RandomPerspective", "p", p)

    def draw(self, key: Key, height: int, width: int) -> Drawn:
        """The way back from the result; nothing where the picture stays."""
        if key.fold("whether").uniform() >= self.p:
            return ()
        most = np.array([int(self.distortion_scale * (width // 2)), int(self.distortion_scale * (height // 2))])
        by = np.floor(key.uniform((4, 2), dtype=np.float64) * (most + 1))
        corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float64)
        return perspective_inverse(corners, corners + by * [[1, 1], [-1, 1], [-1, -1], [1, -1]])

    def __repr__(self) -> str:
        return f"RandomPerspective({self.distortion_scale}, p={self.p})"


def perspective_inverse(start: Array, end: Array) -> Drawn:
    """The eight numbers that bring four points (4, 2) ``end`` of the result to ``start`` in the picture.

    Example:
        >>> square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        >>> [round(n, 6) + 0.0 for n in perspective_inverse(square, square * 2)]
        [0.5, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0]
    """
    rows, values = [], []
    for (x, y), (u, v) in zip(start, end, strict=True):
        rows += [[u, v, 1, 0, 0, 0, -x * u, -x * v], [0, 0, 0, u, v, 1, -y * u, -y * v]]
        values += [x, y]
    found = np.linalg.lstsq(np.array(rows, np.float64), np.array(values, np.float64), rcond=None)[0]
    return tuple(float(n) for n in found.astype(np.float32))  # torchvision rounds them


def _degrees(name: str, what: str, value: Any, most: float) -> tuple[float, float]:
    if isinstance(value, (int, float)):
        if value < 0:
            raise ArgumentError(f"{name}: {what}={value!r}", fix="give a number from 0 on, or two bounds")
        value = (-value, value)
    return interval(name, what, value, -most, most)
