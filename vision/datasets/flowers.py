"""Oxford Flowers 102 (Nilsback & Zisserman 2008): photos of 102 kinds of flowers. No licence is stated."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...core.errors import DataError
from ...hub.archives import place
from ...hub.download import Download, fetch
from .arrays import check_split
from .mat import read_mat
from .pictures import ClassPictures, Corrupt, Transform

_URL = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
# sha256 of the files, as TensorFlow Datasets publishes them
_HASHES = {
    "102flowers.tgz": "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
    "imagelabels.mat": "4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d",
    "setid.mat": "46b8678f91fd95d3c8f4feab80d271a6c834a1dd896fe29fd3e6ad9ce5c8dccd",
}
_IDS = {"train": "trnid", "val": "valid", "test": "tstid"}


class Flowers102(ClassPictures):
    """Photos with a kind of flower each.

    Args:
        split: "train" (1,020), "val" (1,020) or "test" (6,149).
        folder: with ``jpg``, or its archive, and the two ``.mat`` files; left out, they are fetched once.
        transform, corrupt, threads: as for :class:`~nyala.vision.datasets.pictures.Pictures`.

    Raises:
        ArgumentError: another split.
        DataError: files that are not those of the dataset, or none.
        NetworkError, IntegrityError, UnsafeFileError: it cannot be fetched, other bytes came, or they are dangerous.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")

    def __init__(
        self,
        split: str,
        *,
        folder: str | Path | None = None,
        transform: Transform | None = None,
        corrupt: Corrupt = "raise",
        threads: int | None = None,
    ) -> None:
        check_split("Flowers-102", split, self.splits)
        root = place(download("102flowers.tgz"), "jpg", folder)
        found: dict[str, np.ndarray[Any, Any]] = {}
        for name in ("imagelabels.mat", "setid.mat"):
            found |= read_mat(root / name if folder is not None and (root / name).is_file() else _file(name, folder))
        missing = {"labels", _IDS[split]} - set(found)
        if missing:
            raise DataError(f"the .mat files of Flowers-102 have no {missing.pop()!r}", fix="get them again")
        labels, ids = (found[name].reshape(-1).astype(np.int64) for name in ("labels", _IDS[split]))
        classes = names()
        if ids.min(initial=1) < 1 or ids.max(initial=0) > len(labels) or not ((labels >= 1) & (labels <= len(classes))).all():
            raise DataError("the .mat files of Flowers-102 do not fit together", fix="get them again")
        samples = [(root / "jpg" / f"image_{i:05d}.jpg", int(labels[i - 1]) - 1) for i in ids.tolist()]
        super().__init__(samples, classes, transform=transform, corrupt=corrupt, threads=threads)


def names() -> tuple[str, ...]:
    """The 102 kinds, by number.

    Example:
        >>> len(names()), names()[0]
        (102, 'pink primrose')
    """
    return tuple((Path(__file__).parent / "names" / "flowers-102.txt").read_text(encoding="utf-8").splitlines())


def download(name: str) -> Download:
    """One of the three files, and where to get it."""
    return Download(name, (_URL + name,), folder="datasets/flowers-102", sha256=_HASHES[name], verified=False)


def _file(name: str, folder: str | Path | None) -> Path:
    return fetch(download(name)) if folder is None else Path(folder).expanduser() / name
