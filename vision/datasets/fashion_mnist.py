"""Fashion-MNIST (Xiao, Rasul, Vollgraf, arXiv:1708.07747): 28x28 grey pictures of ten kinds of clothes. Licence: MIT.

A sample of 2,000 + 1,000 pictures ships with nyala; the full set of 60,000 + 10,000 is read from a folder, from where
Debian's package ``dataset-fashion-mnist`` puts it, or downloaded once into the cache.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import ArgumentError, DataError
from ...hub.download import Download, fetch
from .idx import read_idx

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_SAMPLE = Path(__file__).parent / "samples" / "fashion-mnist"
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
_PREFIX = {"train": "train", "test": "t10k"}


class FashionMNIST:
    """Pictures and labels of one split.

    Args:
        split: "train" or "test".
        sample: the shipped sample instead of the full set.
        folder: where the four ``.gz`` files lie; left out, they are looked for and downloaded if need be.

    Attributes:
        images: (N, 28, 28) uint8.
        labels: (N,) int64, 0..9.
        classes: the ten names.

    Raises:
        ArgumentError: another split.
        DataError: damaged files.
        NetworkError: the full set is neither here nor can it be fetched.

    Example:
        >>> data = FashionMNIST("test", sample=True)
        >>> data.images.shape, data.classes[data.labels[0]]
        ((1000, 28, 28), 'Ankle boot')
    """

    classes = CLASSES

    def __init__(self, split: str, *, sample: bool = False, folder: str | Path | None = None) -> None:
        if split not in _PREFIX:
            raise ArgumentError(f"Fashion-MNIST has no split {split!r}", fix="use 'train' or 'test'")
        images, labels = self.files(split, sample=sample, folder=folder)
        self.images, self.labels = read_idx(images), read_idx(labels).astype(np.int64)
        if self.images.shape[1:] != (28, 28) or len(self.images) != len(self.labels) or self.labels.max(initial=0) > 9:
            raise DataError(f"{images.parent} does not hold Fashion-MNIST", fix="delete the folder, so that it is fetched again")

    @staticmethod
    def files(split: str, *, sample: bool = False, folder: str | Path | None = None) -> tuple[Path, Path]:
        """The files of pictures and labels, fetched if they are nowhere."""
        names = [f"{_PREFIX[split]}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")]
        for place in [_SAMPLE] if sample else [Path(folder)] if folder is not None else [_DEBIAN]:
            if all((place / n).is_file() for n in names) or folder is not None:
                return place / names[0], place / names[1]
        first, second = (fetch(_download(n)) for n in names)
        return first, second

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray[Any, Any], int]:
        return self.images[index], int(self.labels[index])


# sha256 of what each file holds once unpacked; the archives of the mirrors may be packed in different ways
_CONTENT = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


def _download(name: str) -> Download:
    return Download(
        name=name,
        urls=tuple(mirror + name for mirror in _MIRRORS),
        content_sha256=_CONTENT[name],
        folder="datasets/fashion-mnist",
        max_bytes=64 << 20,
    )
