"""What all transforms have in common: what they take, how they draw, how they are put together.

A transform is a function of a picture and a key. Called on a batch, it changes picture ``i`` exactly as it would change it alone
with ``key.fold(i)``, whatever else is in the batch and wherever the arrays are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core import devices, random
from ...core.errors import ArgumentError, DataError, kind_of
from ...core.random import Key
from .sample import Sample

Drawn = tuple[float, ...]  # what was drawn for one picture
Array = Any  # (N, H, W, C) uint8 of NumPy or CuPy


class Transform(ABC):
    """A change of pictures, at random or not.

    ``transform(picture, key)`` takes a :class:`Sample`, an array (H, W, C) or a batch (N, H, W, C) of uint8, of NumPy or CuPy, or
    a PIL image, and returns the same kind. Without a key it draws from the ambient stream (:func:`nyala.manual_seed`), which each
    thread has for itself: a dataset whose samples threads prepare passes on the key that its ``get(index, key)`` is handed.

    Raises:
        DataError: another kind of input.
    """

    def __call__(self, picture: Any, key: Key | None = None) -> Any:
        key = random.next_key("augment") if key is None else key
        if isinstance(picture, Sample):
            return self.one(picture, key)
        if type(picture).__module__.startswith("PIL."):
            return _pil(self.one(Sample.read(picture), key).image)
        array = _checked(picture)
        if array.ndim == 4:
            return self.many(array, [key.fold(i) for i in range(len(array))])
        changed = self.many(array.reshape(*array.shape[:2], -1)[None], [key])[0]
        return changed[:, :, 0] if array.ndim == 2 and changed.shape[2] == 1 else changed

    def one(self, sample: Sample, key: Key) -> Sample:
        """The sample, changed by what ``key`` draws."""
        return self.moved(sample, self.draw(key, sample.height, sample.width))

    def many(self, images: Array, keys: Sequence[Key]) -> Array:
        """(N, H, W, C) pictures, each changed by what its own key draws."""
        return self.pixels(images, [self.draw(key, *images.shape[1:3]) for key in keys])

    def draw(self, key: Key, height: int, width: int) -> Drawn:  # noqa: ARG002 - for subclasses
        """What the change of one picture of this size depends on."""
        return ()

    @abstractmethod
    def pixels(self, images: Array, drawn: Sequence[Drawn]) -> Array:
        """The pictures (N, H, W, C), each changed by what was drawn for it."""

    def moved(self, sample: Sample, drawn: Drawn) -> Sample:
        """The sample, changed: here its colours alone."""
        return sample.replace(image=self.pixels(sample.image[None], [drawn])[0])


def _checked(picture: Any) -> Array:
    on_gpu = hasattr(getattr(picture, "device", None), "id")
    if not isinstance(picture, np.ndarray) and not on_gpu:
        raise DataError(
            f"{kind_of(picture)} cannot be transformed",
            why="transforms take a Sample, a uint8 array (H, W, C) or (N, H, W, C), or a PIL image",
            fix="Sample.read(...) takes paths and bytes; a tensor's array is its .array",
        )
    shape, ndim = picture.shape, picture.ndim
    if picture.dtype != np.uint8 or 0 in shape or not (ndim == 2 or (ndim in (3, 4) and shape[-1] in (1, 3))):
        raise DataError(
            f"an array of {picture.dtype} and shape {shape} cannot be transformed",
            why="pictures are uint8 of shape (H, W, C) or (N, H, W, C), of 1 or 3 channels",
            fix="transpose (C, H, W) to (H, W, C); scale floats in 0..1 with (x * 255).round().astype('uint8')",
        )
    return picture


def _pil(image: np.ndarray[Any, Any]) -> Any:
    from PIL import Image

    return Image.fromarray(image)


def some(images: Array, chosen: Sequence[bool], change: Callable[[Array, list[int]], Array]) -> Array:
    """Those of the pictures that are chosen, changed; the others as they are.

    Args:
        images: (N, H, W, C).
        chosen: N of them.
        change: called with the chosen pictures and their numbers.
    """
    numbers = [i for i, yes in enumerate(chosen) if yes]
    if not numbers:
        return images
    if len(numbers) == len(images):
        return change(images, numbers)
    places = devices.module_of(images).asarray(numbers)
    changed = change(images[places], numbers)
    if changed.shape[1:] != images.shape[1:]:
        raise ArgumentError(
            f"some pictures of a batch became {changed.shape[1]} x {changed.shape[2]}, others stayed at "
            f"{images.shape[1]} x {images.shape[2]}",
            fix="change the size of all, or of one picture at a time",
        )
    out = images.copy()
    out[places] = changed
    return out


class Compose(Transform):
    """One transform after another; each draws for itself.

    Example:
        >>> from nyala.vision.transforms import RandomInvert
        >>> Compose([RandomInvert(p=1.0)] * 2)(np.arange(6, dtype=np.uint8).reshape(1, 2, 3)).ravel().tolist()
        [0, 1, 2, 3, 4, 5]
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = _transforms("Compose", transforms, least=0)

    def one(self, sample: Sample, key: Key) -> Sample:
        for place, transform in enumerate(self.transforms):
            sample = transform.one(sample, key.fold(place))
        return sample

    def many(self, images: Array, keys: Sequence[Key]) -> Array:
        for place, transform in enumerate(self.transforms):
            images = transform.many(images, [key.fold(place) for key in keys])
        return images

    def pixels(self, images: Array, drawn: Sequence[Drawn]) -> Array:  # noqa: ARG002 - the common signature
        return images

    def __repr__(self) -> str:
        return f"Compose({self.transforms})"


class RandomChoice(Compose):
    """One of several transforms, with equal chances or those of ``p``."""

    def __init__(self, transforms: Sequence[Transform], p: Sequence[float] | None = None) -> None:
        self.transforms = _transforms("RandomChoice", transforms, least=1)
        chances = np.ones(len(self.transforms)) if p is None else np.asarray(p, np.float64)
        if len(chances) != len(self.transforms) or not np.isfinite(chances).all() or chances.min() < 0 or chances.sum() <= 0:
            raise ArgumentError(f"chances {p} of {len(self.transforms)} transforms", fix="give each a share, none negative")
        self.bounds = np.cumsum(chances) / chances.sum()

    def _choice(self, key: Key) -> int:
        last = int(np.flatnonzero(np.diff(self.bounds, prepend=0.0))[-1])  # rounding must not reach beyond
        return min(int(np.searchsorted(self.bounds, key.fold("which").uniform(), side="right")), last)

    def one(self, sample: Sample, key: Key) -> Sample:
        return self.transforms[self._choice(key)].one(sample, key)

    def many(self, images: Array, keys: Sequence[Key]) -> Array:
        choices = [self._choice(key) for key in keys]
        if len(set(choices)) == 1:
            return self.transforms[choices[0]].many(images, keys)
        for number in sorted(set(choices)):
            images = self._some_by(number, images, choices, keys)
        return images

    def _some_by(self, number: int, images: Array, choices: Sequence[int], keys: Sequence[Key]) -> Array:
        change = self.transforms[number].many
        return some(images, [c == number for c in choices], lambda x, at: change(x, [keys[i] for i in at]))

    def __repr__(self) -> str:
        return f"RandomChoice({self.transforms})"


class RandomApply(Compose):
    """Several transforms one after another, with a chance of ``p``; else none of them."""

    def __init__(self, transforms: Sequence[Transform], p: float = 0.5) -> None:
        super().__init__(transforms)
        self.p = share("RandomApply", "p", p)

    def _chosen(self, key: Key) -> bool:
        return bool(key.fold("whether").uniform() < self.p)

    def one(self, sample: Sample, key: Key) -> Sample:
        return super().one(sample, key) if self._chosen(key) else sample

    def many(self, images: Array, keys: Sequence[Key]) -> Array:
        change = super().many
        return some(images, [self._chosen(key) for key in keys], lambda x, at: change(x, [keys[i] for i in at]))

    def __repr__(self) -> str:
        return f"RandomApply({self.transforms}, p={self.p})"


def _transforms(name: str, transforms: Sequence[Transform], least: int) -> list[Transform]:
    made = list(transforms)
    wrong = next((t for t in made if not isinstance(t, Transform)), None)
    if wrong is not None:
        raise ArgumentError(f"{name} was given {kind_of(wrong)}", fix="give it transforms of nyala.vision.transforms")
    if len(made) < least:
        raise ArgumentError(f"{name} of no transforms", fix="give at least one")
    return made


def share(name: str, what: str, value: float) -> float:
    """A chance, from 0 to 1.

    Raises:
        ArgumentError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ArgumentError(f"{name}: {what}={value!r}", why="a chance is a number from 0 to 1", fix="give one")
    return float(value)


def interval(name: str, what: str, value: Any, low: float, high: float) -> tuple[float, float]:
    """A lower and an upper bound, both within limits.

    Raises:
        ArgumentError: they are none.
    """
    try:
        first, last = (float(v) for v in value)
    except (TypeError, ValueError):
        first, last = np.nan, np.nan
    if not low <= first <= last <= high:
        raise ArgumentError(
            f"{name}: {what}={value!r}", why=f"it is two numbers from {low:g} to {high:g}, the smaller first", fix="correct it"
        )
    return first, last
