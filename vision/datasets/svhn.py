"""Street View House Numbers (Netzer et al. 2011), cropped digits: 32x32 colour pictures of ten classes.

Licence: for non-commercial use.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from ...core.errors import DataError
from ...hub.download import Download, fetch
from .arrays import ArrayPictures, check_split
from .mat import read_mat

# sha256 of the files, as TensorFlow Datasets publishes them
_HASHES = {
    "train": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    "test": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
    "extra": "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3",
}


class SVHN(ArrayPictures):
    """Pictures and labels of one split, fetched once into the cache.

    Args:
        split: "train" (73,257), "test" (26,032) or "extra" (531,131, easier ones; 1.6 GB in memory).
        folder: where ``train_32x32.mat`` and so on lie.

    Attributes:
        images: (N, 32, 32, 3) uint8.
        labels: (N,) int64: the digit, 0 for the 0 that the files call 10.
        classes: "0" to "9".

    Raises:
        ArgumentError: another split.
        DataError: a damaged file, or none in the folder.
        NetworkError, IntegrityError: it cannot be fetched, or other bytes came.

    Example:
        >>> SVHN.splits
        ('train', 'test', 'extra')
    """

    title: ClassVar[str] = "SVHN"
    splits: ClassVar[tuple[str, ...]] = ("train", "test", "extra")
    classes: tuple[str, ...] = tuple("0123456789")

    def __init__(self, split: str, *, folder: str | Path | None = None) -> None:
        check_split(self.title, split, self.splits)
        path = fetch(self.download(split)) if folder is None else Path(folder).expanduser() / f"{split}_32x32.mat"
        found = read_mat(path)
        if not {"X", "y"} <= set(found) or found["X"].ndim != 4 or found["X"].dtype != np.uint8:
            raise DataError(
                f"{path} does not hold SVHN's digits", why=f"it has {', '.join(found) or 'no arrays'}", fix="get it again"
            )
        images = np.ascontiguousarray(found["X"].transpose(3, 0, 1, 2))  # (H, W, C, N) -> (N, H, W, C)
        labels = found["y"].reshape(-1).astype(np.int64)
        self.keep(images, np.where(labels == 10, 0, labels), path, (32, 32, 3))

    @classmethod
    def download(cls, split: str) -> Download:
        """The file of a split, and where to get it."""
        name = f"{split}_32x32.mat"
        url = f"http://ufldl.stanford.edu/housenumbers/{name}"
        return Download(name, (url,), folder="datasets/svhn", sha256=_HASHES[split], verified=False)
