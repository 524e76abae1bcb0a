"""ADE20K's scene parsing benchmark (Zhou et al., arXiv:1608.05442): photos with a map of 150 classes. Licence: BSD for the
annotations; the photos for non-commercial research."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from ...core.atomic import storage_errors
from ...core.errors import DataError
from ...hub.archives import place
from ...hub.download import Download
from ..transforms import Sample
from .arrays import check_split
from .maps import read_map
from .masks import MaskedPicture
from .pictures import Corrupt, Pictures, Transform

_FOLDER = "ADEChallengeData2016"
_PARTS = {"train": "training", "val": "validation"}
CLASSES, VOID, NAMES = 150, 255, "objectInfo150.txt"


class ADE20K(Pictures):
    """Photos with a map of classes: each a :class:`~nyala.vision.transforms.Sample` whose ``masks`` is (H, W) uint8.

    Args:
        split: "train" (20,210) or "val" (2,000).
        folder: with ``ADEChallengeData2016``, or with its archive; left out, it is fetched once, 0.9 GB. No sha256 of the
            archive is known: the first one that comes is noted, and holds from then on.
        reduce_labels: the 150 classes are 0 to 149, and what is none of them 255, as models are trained; else 1 to 150, and 0.
        transform, corrupt, threads: as for :class:`~nyala.vision.datasets.pictures.Pictures`.

    Attributes:
        classes: the 150 names, by number from 0; each is a list of words for it.

    Raises:
        ArgumentError: another split.
        DataError: files that are not those of the dataset, or none.
        NetworkError, IntegrityError, UnsafeFileError: it cannot be fetched, other bytes came, or they are dangerous.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "val")
    archive: ClassVar[Download] = Download(
        f"{_FOLDER}.zip",
        (f"http://data.csail.mit.edu/places/ADEchallenge/{_FOLDER}.zip",),
        folder="datasets/ade20k",
        max_bytes=2 << 30,
        verified=False,
    )
    samples: list[Path]

    def __init__(
        self,
        split: str,
        *,
        folder: str | Path | None = None,
        reduce_labels: bool = True,
        transform: Transform | None = None,
        corrupt: Corrupt = "raise",
        threads: int | None = None,
    ) -> None:
        check_split("ADE20K", split, self.splits)
        inside = f"{_FOLDER}/images/{_PARTS[split]}"
        self.root = place(self.archive, inside, folder) / _FOLDER
        self.split, self.reduce_labels = split, reduce_labels
        names = _names(self.root / NAMES)
        super().__init__(_photos(self.root, split), names, transform=transform, corrupt=corrupt, threads=threads)

    def read(self, index: int) -> Sample:
        photo = self.samples[index]
        path = self.root / "annotations" / _PARTS[self.split] / f"{photo.stem}.png"
        found = read_map(path)
        if found.max(initial=0) > CLASSES:
            raise DataError(f"{path} has class {int(found.max())}", why="there are 150", fix="get the archive again")
        if self.reduce_labels:
            found = np.where(found == 0, VOID, found - 1).astype(np.uint8)
        return Sample.read(photo, masks=found)


def folder_of(place: Path) -> Path | None:
    """The folder of the benchmark, where ``place`` is it or holds it, unpacked; else None.

    Example:
        >>> folder_of(Path("nowhere")) is None
        True
    """
    found = (place, place / _FOLDER)
    return next((one for one in found if (one / NAMES).is_file() and (one / "annotations").is_dir()), None)


def masked_pictures(folder: Path, split: str) -> tuple[list[MaskedPicture], list[str]]:
    """The photos of a split with their maps, read when they are needed, and the 150 names.

    Args:
        folder: as :func:`folder_of` gives it.
        split: "train" or "val".

    Raises:
        DataError: no photos, a photo without a map, or names that are not there.
    """
    photos = _photos(folder, split)
    maps = [folder / "annotations" / _PARTS[split] / f"{photo.stem}.png" for photo in photos]
    missing = next((path for path in maps if not path.is_file()), None)
    if missing is not None:
        raise DataError(f"there is no mask {missing}", why="each photo has a map of its name", fix="get the archive again")
    return [MaskedPicture(photo, path, 1) for photo, path in zip(photos, maps, strict=True)], _names(folder / NAMES)


def _photos(folder: Path, split: str) -> list[Path]:
    with storage_errors(folder, "read"):
        found = sorted((folder / "images" / _PARTS[split]).glob("*.jpg"))
    if not found:
        raise DataError(f"{folder / 'images' / _PARTS[split]} holds no photos", fix="get the archive again")
    return found


def _names(path: Path) -> list[str]:
    """The last column of the table of objects."""
    with storage_errors(path, "read"):
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:] if line.strip()]
    if len(rows) != CLASSES:
        raise DataError(f"{path} names {len(rows)} classes", why="there are 150", fix="get the archive again")
    return [row[-1].strip() for row in rows]
