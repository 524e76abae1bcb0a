"""Several pictures made into one: MixUp and CutMix of prepared batches, Mosaic of samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...core import random
from ...core.devices import module_of, move
from ...core.errors import ArgumentError, DataError, IndexRangeError, ShapeError, kind_of
from ...core.random import Key
from ...core.tensor import Tensor
from .chance import dirichlet
from .crops import Resize
from .geometry import fill_of, moved_boxes, moved_points, moving, size_of
from .sample import Sample

Array = Any


class _Mix(ABC):
    """Args:
    num_classes: how many classes there are.
    alpha: of the beta distribution that the shares are drawn from: 1 makes all shares equally frequent, less prefers small ones.
    """

    def __init__(self, num_classes: int, alpha: float = 1.0) -> None:
        if num_classes < 1 or not alpha > 0:
            raise ArgumentError(
                f"{type(self).__name__}: num_classes={num_classes}, alpha={alpha}", fix="give more than 0 of both"
            )
        self.num_classes, self.alpha = num_classes, alpha

    def __call__(self, images: Any, labels: Any, key: Key | None = None) -> tuple[Any, Any]:
        """Each picture mixed with the one before it; the first with the last.

        Args:
            images: (N, C, H, W) of a floating dtype: an array of NumPy or CuPy, or a Tensor.
            labels: (N,) whole numbers.
            key: what is drawn from; the ambient stream if left out.

        Returns:
            Pictures likewise, and (N, num_classes) float32: the share of each class, as ``F.cross_entropy`` takes them.

        Raises:
            ShapeError: shapes that do not go together.
            IndexRangeError: a label outside the classes.
        """
        if isinstance(images, Tensor):
            mixed, shares = self(images.array, labels.array if isinstance(labels, Tensor) else labels, key)
            return Tensor(mixed), Tensor(shares)
        key = random.next_key("augment") if key is None else key
        numbers = self._numbers(images, labels)
        xp = module_of(images)
        classes = xp.asarray(np.eye(self.num_classes, dtype=np.float32)[numbers])
        share = float(dirichlet(key.fold("share"), self.alpha, 2)[0])
        mixed, share = self.mix(images, xp.roll(images, 1, axis=0), share, key)
        kept = np.float32(share)
        return mixed, classes * kept + xp.roll(classes, 1, axis=0) * np.float32(1 - kept)

    def _numbers(self, images: Array, labels: Any) -> np.ndarray[Any, Any]:
        name = type(self).__name__
        numbers = np.asarray(move(labels, "cpu") if hasattr(labels, "__cuda_array_interface__") else labels)
        if not hasattr(images, "ndim") or images.ndim != 4 or images.dtype.kind != "f":
            said = f"{images.dtype} and shape {images.shape}" if hasattr(images, "ndim") else kind_of(images)
            raise ShapeError(f"{name} of pictures of {said}", why="they are (N, C, H, W) floats", fix="mix prepared batches")
        if numbers.shape != (len(images),) or numbers.dtype.kind not in "iu":
            raise ShapeError(
                f"{name} of {len(images)} pictures and labels of {numbers.dtype} and shape {numbers.shape}",
                fix="give one whole number a picture",
            )
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < self.num_classes:
            wrong = int(np.flatnonzero((numbers < 0) | (numbers >= self.num_classes))[0])
            raise IndexRangeError(
                f"label {numbers[wrong]} of picture {wrong}",
                why=f"there are {self.num_classes} classes",
                fix="number them from 0",
            )
        return numbers

    @abstractmethod
    def mix(self, images: Array, others: Array, share: float, key: Key) -> tuple[Array, float]:
        """Mixed pictures, and the share that the first ones have in them."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.num_classes}, alpha={self.alpha})"


class MixUp(_Mix):
    """Weighted means of pictures and of their labels (Zhang et al., arXiv:1710.09412).

    Args:
        num_classes: how many classes there are.
        alpha: of the beta distribution that the shares are drawn from.

    Example:
        >>> from nyala.core import random
        >>> pictures = np.zeros((2, 3, 4, 4), np.float32)
        >>> mixed, shares = MixUp(num_classes=5)(pictures, np.array([0, 4]), random.key(0, "doc"))
        >>> shares.sum(axis=1).tolist()
        [1.0, 1.0]
    """

    def mix(self, images: Array, others: Array, share: float, key: Key) -> tuple[Array, float]:  # noqa: ARG002 - for CutMix
        kept = images.dtype.type(share)
        return images * kept + others * images.dtype.type(1 - kept), share


class CutMix(_Mix):
    """A rectangle of each picture replaced by another's, labels by the areas (Yun et al., arXiv:1905.04899); arguments as for
    :class:`MixUp`."""

    def mix(self, images: Array, others: Array, share: float, key: Key) -> tuple[Array, float]:
        height, width = images.shape[2:]
        down, across = key.fold("middle").uniform(2, dtype=np.float64)
        half = 0.5 * np.sqrt(1.0 - share)
        y, x, h, w = int(down * height), int(across * width), int(half * height), int(half * width)
        top, bottom, left, right = max(y - h, 0), min(y + h, height), max(x - w, 0), min(x + w, width)
        mixed = images.copy()
        mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
        return mixed, 1.0 - (bottom - top) * (right - left) / (height * width)


class Mosaic:
    """Four samples around a point, with all their objects, as detectors see more of them at once (Bochkovskiy et al.,
    arXiv:2004.10934).

    Args:
        size: height and width of the result. Each sample is scaled to fit into it, and cut off at the edges of its quarter.
        center: bounds of the point, as shares of height and width.
        fill: colour of what stays empty.
        mask_fill: its class.
        interpolation: as for :func:`resize`.

    Raises:
        DataError: not four samples, or samples of which different things are known.

    Example:
        >>> sample = Sample(np.zeros((6, 8, 3), np.uint8), boxes=[[1, 1, 3, 5]])
        >>> Mosaic(16)([sample] * 4).image.shape
        (16, 16, 3)
    """

    def __init__(
        self,
        size: Any,
        center: tuple[float, float] = (0.3, 0.7),
        fill: Any = 114,
        mask_fill: int = 0,
        interpolation: str = "bilinear",
    ) -> None:
        self.size, self.fill, self.mask_fill, self.interpolation = size_of("Mosaic", size), fill, mask_fill, interpolation
        if not 0 <= center[0] <= center[1] <= 1:
            raise ArgumentError(f"Mosaic: center={center!r}", fix="give two shares from 0 to 1, the smaller first")
        self.center = center

    def __call__(self, samples: Sequence[Sample], key: Key | None = None) -> Sample:
        """The four as one, from the upper left to the lower right; their labels and the rest one after the other."""
        _alike(samples)
        key = random.next_key("augment") if key is None else key
        low, high = self.center
        unit = low + key.uniform(2, dtype=np.float64) * (high - low)
        middle = round(unit[0] * self.size[0]), round(unit[1] * self.size[1])
        parts = [self._part(sample, quarter, middle) for quarter, sample in enumerate(samples)]
        image = np.empty((*self.size, samples[0].image.shape[2]), np.uint8)
        image[:] = fill_of("Mosaic", self.fill, image.shape[2])
        for part in parts:
            image[part.here] = part.sample.image[part.there]
        known = {name: _stacked(parts, name) for name in ("boxes", "keypoints", "labels")}
        other = {name: np.concatenate([part.sample.other[name] for part in parts]) for name in samples[0].other}
        return Sample(image, masks=self._masks(parts), other=other, **known).clipped()

    def _part(self, sample: Sample, quarter: int, middle: tuple[int, int]) -> _Part:
        """The sample, scaled, and which of its pixels go where."""
        factor = min(self.size[0] / sample.height, self.size[1] / sample.width)
        small = max(1, round(sample.height * factor)), max(1, round(sample.width * factor))
        sample = Resize(small, self.interpolation)(sample, random.key(0, "none"))
        here, there = [], []
        for after, at, side, whole in zip(divmod(quarter, 2), middle, small, self.size, strict=True):
            start = at if after else at - side
            first, last = (at, min(at + side, whole)) if after else (max(start, 0), at)
            here.append(slice(first, last))
            there.append(slice(first - start, last - start))
        return _Part(sample, (here[0], here[1]), (there[0], there[1]))

    def _masks(self, parts: Sequence[_Part]) -> Array | None:
        masks = [part.sample.masks for part in parts if part.sample.masks is not None]
        if not masks:
            return None
        kind = np.result_type(*masks)
        if parts[0].sample.class_map:
            classes = np.full(self.size, self.mask_fill, kind)
            for part, mask in zip(parts, masks, strict=True):
                classes[part.here] = mask[part.there]
            return classes
        placed = []
        for part, mask in zip(parts, masks, strict=True):
            placed.append(np.zeros((len(mask), *self.size), kind))
            placed[-1][(slice(None), *part.here)] = mask[(slice(None), *part.there)]
        return np.concatenate(placed)

    def __repr__(self) -> str:
        return f"Mosaic({self.size})"


class _Part(NamedTuple):
    """A sample, and which of its pixels go where: rows and columns."""

    sample: Sample
    here: tuple[slice, slice]
    there: tuple[slice, slice]

    def boxes(self) -> Array:
        by = moving(self.here[1].start - self.there[1].start, self.here[0].start - self.there[0].start)
        low, high = ([getattr(side, end) for side in self.here[::-1]] for end in ("start", "stop"))
        return moved_boxes(self.sample.boxes, by).clip(low * 2, high * 2).astype(np.float32)

    def keypoints(self) -> Array:
        by = moving(self.here[1].start - self.there[1].start, self.here[0].start - self.there[0].start)
        low, high = ([getattr(side, end) for side in self.here[::-1]] for end in ("start", "stop"))
        points = moved_points(self.sample.keypoints, by)
        if points.shape[2] == 3:
            points[..., 2] *= ((points[..., :2] >= low) & (points[..., :2] < high)).all(axis=-1)
        return points

    def labels(self) -> Array:
        return self.sample.labels


def _stacked(parts: Sequence[_Part], name: str) -> Array | None:
    return None if getattr(parts[0].sample, name) is None else np.concatenate([getattr(part, name)() for part in parts])


def _alike(samples: Sequence[Sample]) -> None:
    """Four samples of which the same is known."""
    if len(samples) != 4 or not all(isinstance(sample, Sample) for sample in samples):
        raise DataError(f"a mosaic of {len(samples)} pictures", why="it is made of four samples", fix="pass a list of four")
    for number, sample in enumerate(samples):
        for name in ("boxes", "masks", "keypoints", "labels"):
            if (getattr(sample, name) is None) != (getattr(samples[0], name) is None):
                raise DataError(
                    f"a mosaic of samples of which only some have {name} (0 and {number} differ)", fix="give all of them or none"
                )
        alike = sample.class_map == samples[0].class_map and sample.other.keys() == samples[0].other.keys()
        if not alike or sample.image.shape[2] != samples[0].image.shape[2]:
            raise DataError(
                f"a mosaic of samples of different kinds (0 and {number} differ)",
                why="channels, the kind of masks and what else is known must agree",
                fix="prepare all of them alike",
            )
