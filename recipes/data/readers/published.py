"""Published sets of pictures with a class each: by name, fetched once and checked; or a folder that such a set lies in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ....core.errors import DataError
from ....core.progress import notice
from ....vision import datasets
from ....vision.datasets.arrays import ArrayPictures
from ....vision.datasets.masks import MaskedPicture
from ....vision.datasets.pictures import damaged, told
from ....vision.io import load_image
from ...language.schema import Columns, Data
from ...proof import hashing
from ..datasets import Part, Raw

_ARRAYS = {"train": "train", "test": "test"}


@dataclass(frozen=True)
class Published:
    """A set, and what tells that a folder holds it.

    Attributes:
        kind: its class; called with a split and ``folder``.
        splits: part -> the split that it is.
        marks: names of files or folders of which one is in such a folder.
    """

    kind: Callable[..., Any]
    splits: dict[str, str]
    marks: tuple[str, ...]

    def read(self, folder: Path | None = None) -> Raw:
        """Its parts: arrays in memory, or the paths of pictures."""
        parts, hashes, classes = {}, {}, []
        for name, split in self.splits.items():
            found = self.kind(split, folder=folder)
            classes = list(found.classes)
            if isinstance(found, ArrayPictures):
                parts[name] = Part(list(found.images), found.labels)
                hashes[name] = hashing.of_arrays({"images": found.images, "labels": found.labels})
            else:  # a picture's folder and name count for the hash, and not where they lie
                parts[name] = Part([path for path, _ in found.samples], found.labels)
                hashes[name] = hashing.of_files((f"{path.parent.name}/{path.name}", path) for path, _ in found.samples)
        return Raw("image", classes, parts["train"], parts["test"], hashes, parts.get("validation"))


PUBLISHED = {
    "mnist": Published(datasets.MNIST, _ARRAYS, ("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz")),
    "kmnist": Published(datasets.KMNIST, _ARRAYS, ()),
    "cifar10": Published(datasets.CIFAR10, _ARRAYS, ("cifar-10-batches-bin", "cifar-10-binary.tar.gz", "data_batch_1.bin")),
    "cifar100": Published(datasets.CIFAR100, _ARRAYS, ("cifar-100-binary", "cifar-100-binary.tar.gz", "fine_label_names.txt")),
    "svhn": Published(datasets.SVHN, _ARRAYS, ("train_32x32.mat",)),
    "oxford-pets": Published(datasets.OxfordPets, {"train": "trainval", "test": "test"}, ("annotations/trainval.txt",)),
    "flowers-102": Published(datasets.Flowers102, {"train": "train", "validation": "val", "test": "test"}, ("imagelabels.mat",)),
    "food-101": Published(datasets.Food101, _ARRAYS, ("food-101/meta/train.txt", "food-101.tar.gz", "meta/classes.txt")),
}


def read(recipe: Data) -> Raw | None:
    """The set that a folder holds as it is published; None for any other.

    Raises:
        DataError: damaged, or parts or columns are named beside its own.
    """
    folder = Path(recipe.name).expanduser()
    name = next((n for n, one in PUBLISHED.items() if any((folder / mark).exists() for mark in one.marks)), None)
    if name is None or not folder.is_dir():
        return None
    refused = [key for key in ("validation", "test", "subset") if getattr(recipe, key) is not None]
    refused += ["columns"] if recipe.columns != Columns() else []
    if refused:
        raise DataError(f"{recipe.name} holds {name}, which has its own parts", fix=f"leave data.{refused[0]} out")
    return replace(PUBLISHED[name].read(folder), notes=(f"read as {name}",))


def without_damaged(raw: Raw, threads: int | None = None) -> Raw:
    """The same data without the pictures that cannot be read, which are counted and told.

    Every picture is read once, in threads; so samples have the same numbers in every run.

    Args:
        raw: pictures with a class each, with boxes or with masks; a damaged mask, or one of another size, is a damaged picture.
        threads: as many as there are processors if left out.

    Raises:
        DataError: data of another kind.
    """
    if raw.kind not in ("image", "boxes", "masks"):
        raise DataError(f"data.corrupt='skip', and the data are of the kind {raw.kind!r}", fix="leave it out: it is for pictures")
    parts: dict[str, Any] = {}
    for name in ("train", "validation", "test"):
        part = getattr(raw, name)
        out = damaged(_reader(part.inputs), len(part), threads) if part is not None else []
        if out:
            notice(f"{name}: {told(out, len(part))}", kind=f"damaged, {name}")
            parts[name] = part.take(np.setdiff1d(np.arange(len(part)), [one.index for one in out]))
    return replace(raw, **parts)


def _reader(inputs: Sequence[Any]) -> Callable[[int], Any]:
    """Reads a picture: a file's, one with boxes in a file, or one that is here already."""

    def read(index: int) -> Any:
        one = inputs[index]
        if isinstance(one, MaskedPicture):
            return one.sized()
        return load_image(getattr(one, "path", getattr(one, "image", one)))

    return read
