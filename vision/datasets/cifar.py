"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 32x32 colour pictures, 50,000 for training and 10,000 for testing.

The binary version is read: the Python version is pickled, and nyala unpickles nothing. No licence is stated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...core.atomic import storage_errors
from ...core.errors import DataError
from ...hub.archives import place
from ...hub.download import Download
from .arrays import ArrayPictures, check_split

_PIXELS = 3 * 32 * 32
_PICKLED = ("cifar-10-batches-py", "cifar-100-python")


class CIFAR10(ArrayPictures):
    """Ten classes of things.

    Args:
        split: "train" or "test".
        folder: with the unpacked binary version, or with ``cifar-10-binary.tar.gz``; left out, it is fetched once.

    Attributes:
        images: (N, 32, 32, 3) uint8.
        labels: (N,) int64, 0..9.
        classes: the ten names.

    Raises:
        ArgumentError: another split.
        DataError: damaged files, or neither archive nor files in the folder.
        NetworkError, IntegrityError, UnsafeFileError: it cannot be fetched, other bytes came, or they are dangerous.

    Example:
        >>> CIFAR10.classes[:3]
        ('airplane', 'automobile', 'bird')
    """

    title: ClassVar[str] = "CIFAR-10"
    # sha256 of the archive, as TensorFlow Datasets publishes it
    archive: ClassVar[Download] = Download(
        "cifar-10-binary.tar.gz",
        ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
        folder="datasets/cifar-10",
        sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        verified=False,
    )
    inside: ClassVar[str] = "cifar-10-batches-bin"
    parts: ClassVar[dict[str, tuple[str, ...]]] = {
        "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        "test": ("test_batch.bin",),
    }
    marks: ClassVar[int] = 1  # bytes of labels before each picture
    classes: tuple[str, ...] = (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )

    def __init__(self, split: str, *, folder: str | Path | None = None) -> None:
        check_split(self.title, split, self.splits)
        root = self._place(split, folder)
        images, labels = zip(*(_read(root / name, self.marks) for name in self.parts[split]), strict=True)
        self.take(np.concatenate(images), np.concatenate(labels), root)

    def take(self, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], root: Path) -> None:
        """Keeps what was read: pictures, and (N, marks) labels."""
        self.keep(images, labels[:, 0], root, (32, 32, 3))

    def _place(self, split: str, folder: str | Path | None) -> Path:
        try:
            return place(self.archive, f"{self.inside}/{self.parts[split][0]}", folder) / self.inside
        except DataError as error:
            if folder is not None and any((Path(folder).expanduser() / name).exists() for name in _PICKLED):
                error.why = "the Python version that lies there is pickled: reading it could run code"
                error.fix = f"get the binary version, {self.archive.name}, or leave the folder out"
            raise


class CIFAR100(CIFAR10):
    """A hundred classes, or the twenty that they belong to, as :class:`CIFAR10`.

    Args:
        split: "train" or "test".
        folder: with the unpacked binary version, or with ``cifar-100-binary.tar.gz``; left out, it is fetched once.
        coarse: the twenty superclasses instead.
    """

    title: ClassVar[str] = "CIFAR-100"
    # sha256 of the archive, as TensorFlow Datasets publishes it
    archive: ClassVar[Download] = Download(
        "cifar-100-binary.tar.gz",
        ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
        folder="datasets/cifar-100",
        sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        verified=False,
    )
    inside: ClassVar[str] = "cifar-100-binary"
    parts: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("train.bin",), "test": ("test.bin",)}
    marks: ClassVar[int] = 2

    def __init__(self, split: str, *, folder: str | Path | None = None, coarse: bool = False) -> None:
        self.coarse = coarse
        super().__init__(split, folder=folder)

    def take(self, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], root: Path) -> None:
        names = root / ("coarse_label_names.txt" if self.coarse else "fine_label_names.txt")
        with storage_errors(names, "read"):
            self.classes = tuple(names.read_text(encoding="utf-8").split())
        self.keep(images, labels[:, 0 if self.coarse else 1], root, (32, 32, 3))


def _read(path: Path, marks: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Pictures (N, 32, 32, 3) and labels (N, marks) of one file: for each picture its labels, then the planes of its colours."""
    with storage_errors(path, "read"):
        content = np.fromfile(path, np.uint8)
    row = marks + _PIXELS
    if not len(content) or len(content) % row:
        raise DataError(f"{path} holds {len(content)} bytes, no multiple of {row}", fix="delete it, so that it is fetched again")
    rows = content.reshape(-1, row)
    planes = rows[:, marks:].reshape(-1, 3, 32, 32)  # (N, C, H, W) -> (N, H, W, C)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), rows[:, :marks]
