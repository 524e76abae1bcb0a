"""Parts of pictures, and pictures with something around them. Names, arguments and defaults are torchvision's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core.devices import module_of
from ...core.errors import ArgumentError, DataError
from ...core.random import Key
from .geometry import Geometric, Matrix, fill_of, moving, scaling, size_of
from .resizing import FILTERS, resize
from .sample import Sample
from .taps import taps_of
from .transform import Array, Drawn, interval, share


class _Window(Geometric):
    """A part of the picture, which may reach beyond it; drawn are top, left, height and width."""

    fill: Any = 0

    def pixels(self, images: Array, drawn: Sequence[Drawn]) -> Array:
        fill = fill_of(type(self).__name__, self.fill, images.shape[3])
        return _windows(images, drawn, fill)

    def masks(self, masks: Array, drawn: Drawn, fill: int) -> Array:
        return _windows(masks[..., None], [drawn] * len(masks), np.array([fill]))[..., 0]

    def matrix(self, drawn: Drawn, height: int, width: int) -> Matrix:  # noqa: ARG002 - it moves all alike
        return moving(-drawn[1], -drawn[0])


def _windows(images: Array, drawn: Sequence[Drawn], fill: Array) -> Array:
    xp, boxes = module_of(images), [tuple(map(int, d)) for d in drawn]
    height, width = images.shape[1:3]
    if not len(images):
        return images
    first = boxes[0]
    inside = all(t >= 0 and left >= 0 and t + h <= height and left + w <= width for t, left, h, w in boxes)
    if inside and len(set(boxes)) == 1:
        return images[:, first[0] : first[0] + first[2], first[1] : first[1] + first[3]]
    if inside:
        return xp.stack([x[t : t + h, left : left + w] for x, (t, left, h, w) in zip(images, boxes, strict=True)])
    out = xp.empty((len(images), first[2], first[3], images.shape[3]), images.dtype)
    out[:] = xp.asarray(fill, images.dtype)
    for x, y, (t, left, h, w) in zip(images, out, boxes, strict=True):
        rows, columns = _inside(t, h, height), _inside(left, w, width)
        y[rows.start - t : rows.stop - t, columns.start - left : columns.stop - left] = x[rows, columns]
    return out


def _inside(start: int, length: int, size: int) -> slice:
    """The part of a window that lies on a side of ``size`` pixels; empty where it lies beside it."""
    first = min(max(start, 0), size)
    return slice(first, max(min(start + length, size), first))


class CenterCrop(_Window):
    """The middle of the picture; what is smaller gets black around it."""

    def __init__(self, size: Any) -> None:
        self.size = size_of("CenterCrop", size)

    def draw(self, key: Key, height: int, width: int) -> Drawn:  # noqa: ARG002 - nothing is random
        sides = [self._place(have, want) for have, want in zip((height, width), self.size, strict=True)]
        return (*sides, *self.size)

    @staticmethod
    def _place(have: int, want: int) -> int:
        return -((want - have) // 2) if have < want else round((have - want) / 2.0)

    def __repr__(self) -> str:
        return f"CenterCrop({self.size})"


class RandomCrop(_Window):
    """A part of a given size from anywhere in the picture.

    Args:
        size: height and width in pixels.
        padding: pixels of ``fill`` put around the picture before.
        pad_if_needed: put as many around as the size needs.
        fill: colour of what is around it.
        mask_fill: class of what is around it.

    Raises:
        DataError: a picture smaller than the part.
    """

    def __init__(self, size: Any, padding: int = 0, pad_if_needed: bool = False, fill: Any = 0, mask_fill: int = 0) -> None:
        self.size, self.padding, self.pad_if_needed = size_of("RandomCrop", size), padding, pad_if_needed
        self.fill, self.mask_fill = fill, mask_fill
        if padding < 0:
            raise ArgumentError(f"RandomCrop: padding={padding}", fix="give a number of pixels from 0 on")

    def draw(self, key: Key, height: int, width: int) -> Drawn:
        """Top, left, height and width."""
        starts = []
        for unit, have, want in zip(key.uniform(2, dtype=np.float64), (height, width), self.size, strict=True):
            around = max(self.padding, want - have if self.pad_if_needed else 0)
            spare = have + 2 * around - want
            if spare < 0:
                raise DataError(
                    f"a part of {self.size[0]} x {self.size[1]} pixels of a picture of {height} x {width}",
                    why="the picture is smaller",
                    fix="pass pad_if_needed=True, or resize before",
                )
            starts.append(int(unit * (spare + 1)) - around)
        return (*starts, *self.size)

    def __repr__(self) -> str:
        return f"RandomCrop({self.size}, padding={self.padding})"


class Pad(_Window):
    """Pixels put around the picture.

    Args:
        padding: of all sides; or left and right, top and bottom; or left, top, right, bottom.
        fill: their colour.
        mask_fill: their class.
    """

    def __init__(self, padding: int | Sequence[int], fill: Any = 0, mask_fill: int = 0) -> None:
        sides = (padding,) * 4 if isinstance(padding, int) else tuple(padding) * (2 if len(padding) == 2 else 1)
        if len(sides) != 4 or min(sides) < 0:
            raise ArgumentError(f"Pad: padding={padding!r}", fix="give one, two or four numbers of pixels from 0 on")
        self.padding, self.fill, self.mask_fill = sides, fill, mask_fill

    def draw(self, key: Key, height: int, width: int) -> Drawn:  # noqa: ARG002 - nothing is random
        left, top, right, bottom = self.padding
        return -top, -left, height + top + bottom, width + left + right

    def __repr__(self) -> str:
        return f"Pad({self.padding})"


class _Scaled(Geometric):
    """A part of the picture scaled to a size; drawn are left, top, right, bottom, and height and width of the result."""

    interpolation = "bilinear"

    def pixels(self, images: Array, drawn: Sequence[Drawn]) -> Array:
        boxes: list[Any] = [d[:4] for d in drawn]
        size = int(drawn[0][4]), int(drawn[0][5])
        return resize(images, size, self.interpolation, boxes[0] if len(set(boxes)) == 1 else boxes)

    def masks(self, masks: Array, drawn: Drawn, fill: int) -> Array:  # noqa: ARG002 - nothing is left empty
        left, top, right, bottom, height, width = drawn
        rows = taps_of(masks.shape[1], [(top, bottom)], int(height), "nearest")
        columns = taps_of(masks.shape[2], [(left, right)], int(width), "nearest")
        masks = masks if rows is None else masks[:, rows.start[0]]
        return masks if columns is None else masks[:, :, columns.start[0]]

    def matrix(self, drawn: Drawn, height: int, width: int) -> Matrix:  # noqa: ARG002 - all is drawn
        left, top, right, bottom, tall, wide = drawn
        return scaling(wide / (right - left), tall / (bottom - top)) @ moving(-left, -top)


class Resize(_Scaled):
    """Scaled to a size, antialiased, equal to Pillow's to the bit.

    Args:
        size: height and width; or one number, the shorter side, the other keeping its ratio.
        interpolation: as for :func:`resize`.
        max_size: the longer side becomes no longer than this; then the shorter one is less than ``size``.

    Example:
        >>> Resize(4)(np.zeros((8, 16, 3), np.uint8)).shape
        (4, 8, 3)
    """

    def __init__(self, size: Any, interpolation: str = "bilinear", max_size: int | None = None) -> None:
        self.short = int(size) if isinstance(size, (int, np.integer)) else None
        self.size, self.interpolation, self.max_size = size_of("Resize", size), _filter("Resize", interpolation), max_size
        if max_size is not None and (self.short is None or max_size <= self.short):
            raise ArgumentError(f"Resize: size={size!r}, max_size={max_size}", fix="max_size is more than one given number")

    def draw(self, key: Key, height: int, width: int) -> Drawn:  # noqa: ARG002 - nothing is random
        size = self.size
        if self.short is not None:
            short, long = self.short, int(self.short * max(height, width) / min(height, width))
            if self.max_size is not None and long > self.max_size:
                short, long = int(self.max_size * short / long), self.max_size
            size = (max(short, 1), long) if height <= width else (long, max(short, 1))
        return 0, 0, width, height, *size

    def __repr__(self) -> str:
        return f"Resize({self.short or self.size}, {self.interpolation!r})"


class RandomResizedCrop(_Scaled):
    """A part of random area and aspect ratio, scaled to a size (Szegedy et al., arXiv:1409.4842).

    Args:
        size: height and width of the result.
        scale: bounds of the part's share of the area.
        ratio: bounds of its width over its height.
        interpolation: as for :func:`resize`.
    """

    def __init__(
        self,
        size: Any,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: str = "bilinear",
    ) -> None:
        self.size, self.interpolation = size_of("RandomResizedCrop", size), _filter("RandomResizedCrop", interpolation)
        self.scale = interval("RandomResizedCrop", "scale", scale, 1e-6, 1.0)
        self.ratio = interval("RandomResizedCrop", "ratio", ratio, 1e-3, 1e3)

    def draw(self, key: Key, height: int, width: int) -> Drawn:
        """Up to ten tries of a part that lies inside; else the middle with the nearest ratio, as torchvision has it."""
        units = key.uniform((10, 4), dtype=np.float64)
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for area, aspect, down, across in units:
            pixels = height * width * (self.scale[0] + area * (self.scale[1] - self.scale[0]))
            ratio = math.exp(low + aspect * (high - low))
            w, h = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
            if 0 < w <= width and 0 < h <= height:
                top, left = int(down * (height - h + 1)), int(across * (width - w + 1))
                return left, top, left + w, top + h, *self.size
        w, h = width, height
        if width / height < self.ratio[0]:
            h = max(1, round(width / self.ratio[0]))
        elif width / height > self.ratio[1]:
            w = max(1, round(height * self.ratio[1]))
        left, top = (width - w) // 2, (height - h) // 2
        return left, top, left + w, top + h, *self.size

    def __repr__(self) -> str:
        return f"RandomResizedCrop({self.size}, scale={self.scale}, ratio={self.ratio})"


class RandomZoomOut(_Window):
    """The picture somewhere on a larger ground, as detectors learn small objects (Liu et al., arXiv:1512.02325).

    Args:
        fill: colour of the ground.
        side_range: bounds of the ground's sides over the picture's.
        p: chance.
        mask_fill: class of the ground.
    """

    def __init__(self, fill: Any = 0, side_range: tuple[float, float] = (1.0, 4.0), p: float = 0.5, mask_fill: int = 0) -> None:
        self.fill, self.mask_fill, self.p = fill, mask_fill, share("RandomZoomOut", "p", p)
        self.side_range = interval("RandomZoomOut", "side_range", side_range, 1.0, 100.0)

    def draw(self, key: Key, height: int, width: int) -> Drawn:
        """Top, left, height and width of the ground, from the picture's corner."""
        whether, side, across, down = key.uniform(4, dtype=np.float64)
        if whether >= self.p:
            return 0, 0, height, width
        factor = self.side_range[0] + side * (self.side_range[1] - self.side_range[0])
        tall, wide = int(height * factor), int(width * factor)
        return -int(down * (tall - height + 1)), -int(across * (wide - width + 1)), tall, wide

    def many(self, images: Array, keys: Sequence[Key]) -> Array:
        if len(images) > 1:
            raise DataError("RandomZoomOut on a batch", why="its pictures would have many sizes", fix="take them one by one")
        return super().many(images, keys)

    def __repr__(self) -> str:
        return f"RandomZoomOut(side_range={self.side_range}, p={self.p})"


class RandomIoUCrop(_Window):
    """A part that overlaps some object by a drawn share, keeping the objects whose middles are in it (Liu et al.,
    arXiv:1512.02325).

    Args:
        min_scale, max_scale: bounds of the part's sides over the picture's.
        min_aspect_ratio, max_aspect_ratio: bounds of its width over its height.
        sampler_options: overlaps (intersection over union) one of which is drawn; 1 or more leaves the picture as it is.
        trials: parts that are tried before another overlap is drawn.

    Raises:
        DataError: a picture without boxes.
    """

    def __init__(
        self,
        min_scale: float = 0.3,
        max_scale: float = 1.0,
        min_aspect_ratio: float = 0.5,
        max_aspect_ratio: float = 2.0,
        sampler_options: Sequence[float] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0),
        trials: int = 40,
    ) -> None:
        self.scale = interval("RandomIoUCrop", "scale", (min_scale, max_scale), 1e-3, 1.0)
        self.ratio = interval("RandomIoUCrop", "aspect_ratio", (min_aspect_ratio, max_aspect_ratio), 1e-3, 1e3)
        self.options, self.trials = tuple(sampler_options), trials
        if not self.options or trials < 1:
            raise ArgumentError("RandomIoUCrop without overlaps or trials", fix="give at least one of each")

    def one(self, sample: Sample, key: Key) -> Sample:
        if sample.boxes is None:
            raise DataError("RandomIoUCrop on a sample without boxes", fix="use RandomCrop, or give it boxes")
        for turn in range(100):
            draw = key.fold(turn)
            least = self.options[int(draw.fold("overlap").integers(0, len(self.options)))]
            if least >= 1 or not len(sample.boxes):
                return sample
            for unit in draw.uniform((self.trials, 4), dtype=np.float64):
                window = self._part(sample.height, sample.width, unit)
                kept = None if window is None else _kept(sample.boxes, window, least)
                if window is not None and kept is not None:
                    return self.moved(sample.keep(kept), window)
        return sample

    def many(self, images: Array, keys: Sequence[Key]) -> Array:  # noqa: ARG002 - it needs boxes
        raise DataError("RandomIoUCrop on pictures alone", why="it looks at boxes", fix="call it on a Sample")

    def _part(self, height: int, width: int, unit: Any) -> Drawn | None:
        span = self.scale[1] - self.scale[0]
        w, h = int(width * (self.scale[0] + span * unit[0])), int(height * (self.scale[0] + span * unit[1]))
        if not w or not h or not self.ratio[0] <= w / h <= self.ratio[1]:
            return None
        return int(unit[2] * (height - h + 1)), int(unit[3] * (width - w + 1)), h, w

    def __repr__(self) -> str:
        return f"RandomIoUCrop(scale={self.scale}, options={self.options})"


def _kept(boxes: Array, window: Drawn, least: float) -> Array | None:
    """Which boxes have their middle in the window, if one of them overlaps it enough; else None."""
    top, left, height, width = window
    low, high = np.array([left, top]), np.array([left + width, top + height])
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((middles > low) & (middles < high)).all(axis=1)
    shared = (np.minimum(boxes[:, 2:], high) - np.maximum(boxes[:, :2], low)).clip(0).prod(axis=1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + width * height - shared
    overlap = shared / np.maximum(union, 1e-9)
    return inside if inside.any() and overlap[inside].max() >= least else None


def _filter(name: str, interpolation: str) -> str:
    if interpolation not in FILTERS:
        raise ArgumentError(f"{name}: interpolation={interpolation!r}", fix=f"use one of {', '.join(FILTERS)}")
    return interpolation
