"""MNIST and the sets made like it: 28x28 grey pictures of ten classes, 60,000 for training and 10,000 for testing.

MNIST: LeCun, Cortes, Burges 1998; handwritten digits; CC BY-SA 3.0. KMNIST: Clanuwat et al., arXiv:1812.01718; cursive
hiragana; CC BY-SA 4.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ...core.errors import DataError
from ...hub.download import Download, fetch
from .arrays import ArrayPictures, check_split
from .idx import read_idx

_PREFIX = {"train": "train", "test": "t10k"}
_LARGEST = 64 << 20  # bytes of a file


class MNIST(ArrayPictures):
    """Pictures and labels of one split, fetched once into the cache.

    Args:
        split: "train" or "test".
        folder: where the four files lie, gzipped or not, as they are published or in torchvision's ``raw``.

    Attributes:
        images: (N, 28, 28) uint8.
        labels: (N,) int64, 0..9.
        classes: the ten names.

    Raises:
        ArgumentError: another split.
        DataError: damaged files, or none in the folder.
        NetworkError, IntegrityError: it cannot be fetched, or other bytes came.

    Example:
        >>> MNIST.classes[:3]
        ('0', '1', '2')
    """

    title: ClassVar[str] = "MNIST"
    place: ClassVar[str] = "datasets/mnist"
    mirrors: ClassVar[tuple[str, ...]] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    # sha256 of the files, as TensorFlow Datasets publishes them
    hashes: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    }
    classes: tuple[str, ...] = tuple("0123456789")

    def __init__(self, split: str, *, folder: str | Path | None = None) -> None:
        images, labels = self.files(split, folder)
        self.keep(read_idx(images), read_idx(labels), images.parent, (28, 28))

    @classmethod
    def files(cls, split: str, folder: str | Path | None = None) -> tuple[Path, Path]:
        """The files of pictures and labels, fetched if no folder is given and they are not in the cache."""
        check_split(cls.title, split, cls.splits)
        names = [f"{_PREFIX[split]}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")]
        images, labels = (
            cls.local(name, Path(folder).expanduser()) if folder is not None else fetch(cls.download(name)) for name in names
        )
        return images, labels

    @classmethod
    def local(cls, name: str, folder: Path) -> Path:
        """A file in the user's folder, compressed or not.

        Raises:
            DataError: it is not there.
        """
        for place in (folder, folder / "raw", folder / cls.__name__ / "raw"):
            for file in (place / name, place / name.removesuffix(".gz"), (place / name).with_suffix(".xz")):
                if file.is_file():
                    return file
        raise DataError(f"there is no file {folder / name}", fix=f"check the folder; left out, {cls.title} is fetched")

    @classmethod
    def download(cls, name: str) -> Download:
        """One of the four files, and where to get it."""
        urls = tuple(mirror + name for mirror in cls.mirrors)
        return Download(name, urls, folder=cls.place, max_bytes=_LARGEST, sha256=cls.hashes[name], verified=False)


class KMNIST(MNIST):
    """Kuzushiji-MNIST: ten cursive hiragana, as :class:`MNIST`.

    Example:
        >>> KMNIST.classes[:3]
        ('o', 'ki', 'su')
    """

    title: ClassVar[str] = "KMNIST"
    place: ClassVar[str] = "datasets/kmnist"
    mirrors: ClassVar[tuple[str, ...]] = (
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    )
    # sha256 of the files, as TensorFlow Datasets publishes them
    hashes: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "train-labels-idx1-ubyte.gz": "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "t10k-images-idx3-ubyte.gz": "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "t10k-labels-idx1-ubyte.gz": "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    }
    classes: tuple[str, ...] = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
