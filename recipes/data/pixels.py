"""Pictures with a class for every pixel: how they are prepared, changed at random together with their masks, and shown."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core.create import from_numpy
from ...core.errors import DataError
from ...core.random import Key
from ...vision.datasets.masks import VOID, MaskedPicture
from ...vision.transforms.sample import Sample
from ..language.schema import Augment, RandomResizedCrop
from . import augment
from .picture_changes import sample_changed
from .tasks import Task


class MaskedPictures(Task):
    """Pictures by the preprocessing that came with the weights, masks to the same size, each pixel the nearest one's.

    Args:
        preprocess: an :class:`~nyala.vision.preprocess.ImagePreprocess` that shows the whole picture.
        classes: names by number.
    """

    def __init__(self, preprocess: Any, classes: Sequence[str]) -> None:
        self.preprocess, self.classes = preprocess, tuple(classes)

    def prepare(
        self, raw: MaskedPicture, augments: Sequence[Augment] = (), key: Key | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(C, H, W) float32 and the classes of its pixels, (H, W) int64."""
        mask = raw.sized()
        self._check(raw, mask)
        if key is None:
            return self.preprocess.one(raw.image), self._scaled(mask)
        done = 0
        if augments and isinstance(augments[0], RandomResizedCrop):
            from ...vision.io import load_image

            image, done = load_image(raw.image), 1
            box = augment.resized_crop_box(image.size, augments[0], key.fold(0))
            seen, mask = self.preprocess.part(image, box), self._scaled(mask, box)
        else:
            seen, mask = self.preprocess.crop(raw.image), self._scaled(mask)
        sample, done = sample_changed(Sample(seen, masks=mask), augments, key, done, mask_fill=VOID)
        pixels, mask = self.preprocess.normalise(sample.image), np.asarray(sample.masks)
        return augment.image(pixels, augments, key, done), augment.mask(mask, augments, key, done)

    def _check(self, raw: MaskedPicture, mask: np.ndarray) -> None:
        if int(mask.max()) >= len(self.classes):
            where = raw.mask if not isinstance(raw.mask, np.ndarray) else "a mask"
            raise DataError(
                f"{where} has class {int(mask.max())} and there are {len(self.classes)} (0 to {len(self.classes) - 1})",
                fix="name all classes in classes.txt, a line each, or correct the mask; 255 does not count",
            )

    def _scaled(self, mask: np.ndarray, box: tuple[int, int, int, int] | None = None) -> np.ndarray:
        from PIL import Image

        height, width = self.preprocess.size
        image = Image.fromarray(mask.astype(np.int32))
        return np.asarray(image.resize((width, height), Image.Resampling.NEAREST, box=box), np.int64)

    def collate(self, prepared: Sequence[Any], indices: np.ndarray) -> Any:  # noqa: ARG002 - the task's signature
        return from_numpy(np.stack([pixels for pixels, _ in prepared]))

    def targets(self, prepared: Sequence[Any], labels: Sequence[int], inputs: Any) -> np.ndarray:  # noqa: ARG002 - they are masks
        return np.stack([mask for _, mask in prepared])

    def show(self, raw: MaskedPicture) -> dict[str, Any]:
        """The picture with its true classes in colour."""
        from ...vision.overlay import tinted

        image = tinted(raw.image, raw.numbers().clip(0), self.classes)
        image.thumbnail((192, 192))
        buffer = io.BytesIO()
        image.save(buffer, "PNG", optimize=True)
        return {"picture": buffer.getvalue(), "tiny": False}


def pixel_weights(masks: Sequence[MaskedPicture], classes: int) -> np.ndarray:
    """Weights that let every class count alike: pixels / (classes that occur * pixels of the class), float32 (K,)."""
    counts = np.zeros(classes, np.int64)
    for one in masks:
        numbers = one.numbers()
        counts += np.bincount(numbers[numbers != VOID], minlength=classes)[:classes]
    seen = np.count_nonzero(counts)
    return np.where(counts > 0, counts.sum() / (seen * np.maximum(counts, 1)), 1.0).astype(np.float32)
