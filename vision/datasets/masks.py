"""Pictures with a class for every pixel: one of them, and folders of such."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError, did_you_mean
from ..io import load_image, name_of
from .maps import read_map

VOID = -100  # the class of pixels that do not count; what cross entropy ignores
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_FOLDERS = (("images", "masks"), ("images", "annotations"), ("JPEGImages", "SegmentationClass"))
_NAMES = ("classes.txt", "labels.txt")


@dataclass(frozen=True, eq=False)
class MaskedPicture:
    """A picture and its mask, read when they are needed.

    Attributes:
        image: a path, or (H, W, 3) or (H, W) uint8.
        mask: the path of a PNG whose pixels are class numbers, or (H, W) of whole numbers; 255 (65535 in 16 bits) does not count.
        first: what a file has for the first class; smaller numbers do not count.
    """

    image: Any
    mask: Any
    first: int = 0

    def numbers(self) -> np.ndarray[Any, Any]:
        """(H, W) int64: the class of every pixel, ``VOID`` where it does not count.

        Raises:
            DataError: a mask that is no picture of numbers, or damaged.
        """
        if isinstance(self.mask, np.ndarray):
            return _voided(self.mask)
        wide = _voided(read_map(self.mask))
        if self.first:
            wide = np.where(wide < self.first, VOID, wide - self.first)
        return wide

    def sized(self) -> np.ndarray[Any, Any]:
        """As ``numbers``, and checked to have the picture's size.

        Raises:
            DataError: it has another size.
        """
        found = self.numbers()
        size = load_image(self.image).size
        if found.shape != size[::-1]:
            what = name_of(self.mask) if not isinstance(self.mask, np.ndarray) else "a mask"
            raise DataError(
                f"{what} has {found.shape[1]} x {found.shape[0]} pixels, and its picture has {size[0]} x {size[1]}",
                fix="give each picture a mask of its own size",
            )
        return found

    def files(self) -> list[Path]:
        """The files that it lies in."""
        return [value for value in (self.image, self.mask) if isinstance(value, Path)]


def _voided(numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    wide = numbers.astype(np.int64)
    wide[wide == (255 if numbers.dtype.itemsize == 1 else 65535)] = VOID
    return wide


def is_mask_folder(folder: Path) -> bool:
    """Whether a folder, or its ``train`` folder, has pictures and masks side by side."""
    return folder.is_dir() and any(_pair(place) is not None for place in (folder, folder / "train"))


def _pair(folder: Path) -> tuple[Path, Path] | None:
    found = ((folder / a, folder / b) for a, b in _FOLDERS)
    return next(((a, b) for a, b in found if a.is_dir() and b.is_dir()), None)


class MaskFolder(Sequence[MaskedPicture]):
    """Pictures in ``images``, masks of the same names in ``masks`` or as VOC calls the two.

    Args:
        folder: holds both; with parts, ``train``, ``val`` and ``test`` folders hold them.

    Attributes:
        classes: names by number: the lines of ``classes.txt``, else ``class 0``, ``class 1``, ... as far as the masks have them.

    Raises:
        DataError: no pictures, a picture without a mask, or a class that has no name.
    """

    def __init__(self, folder: str | Path, classes: Sequence[str] | None = None) -> None:
        self.folder = Path(folder)
        pair = _pair(self.folder)
        if pair is None:
            fix = "put pictures into a folder images, and masks of the same names into a folder masks beside it"
            raise DataError(f"{folder} has no pictures with masks", fix=fix)
        images = sorted(p for p in pair[0].iterdir() if p.suffix.lower() in _PICTURES)
        if pair[0].name == "JPEGImages":  # VOC has masks of some pictures only
            images = [p for p in images if (pair[1] / f"{p.stem}.png").is_file()]
        if not images:
            raise DataError(f"there is no picture in {pair[0]}", fix=f"put pictures there: {', '.join(_PICTURES)}")
        self.samples = [MaskedPicture(path, _mask_of(path, pair[1])) for path in images]
        self.classes = list(classes or self._named() or self._numbered())

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> Any:
        return self.samples[index]

    def _named(self) -> list[str]:
        """The names in ``classes.txt``, here or one folder above, where the parts share it."""
        places = (place / name for place in (self.folder, self.folder.parent) for name in _NAMES)
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            return []
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]

    def _numbered(self) -> list[str]:
        most = max(int(sample.numbers().max()) for sample in self.samples)
        return [f"class {i}" for i in range(max(most, 1) + 1)]


def _mask_of(picture: Path, folder: Path) -> Path:
    path = folder / f"{picture.stem}.png"
    if path.is_file():
        return path
    near = did_you_mean(path.name, [p.name for p in folder.iterdir()])
    raise DataError(f"{picture} has no mask {path}", why="each picture has a PNG of the same name", fix=near or "add it")
