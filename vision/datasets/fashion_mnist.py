"""Fashion-MNIST (Xiao, Rasul, Vollgraf, arXiv:1708.07747): 28x28 grey pictures of ten kinds of clothes. Licence: MIT.

A sample of 2,000 + 1,000 pictures ships with nyala; the full set of 60,000 + 10,000 is read from a folder, from where
Debian's package ``dataset-fashion-mnist`` puts it, or downloaded once into the cache: from the web, or out of that package.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import ClassVar

from ...core.atomic import atomic_write
from ...core.errors import NetworkError
from ...hub.debian import DebianPackage, unpacked
from ...hub.download import Download
from .mnist import MNIST

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_SAMPLE = Path(__file__).parent / "samples" / "fashion-mnist"
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_PACKAGE = DebianPackage(
    "dataset-fashion-mnist",
    "0.0~git20200523.55506a9-1",
    "pool/main/d/dataset-fashion-mnist/",
    "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
    30_900_652,
)


class FashionMNIST(MNIST):
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

    title: ClassVar[str] = "Fashion-MNIST"
    place: ClassVar[str] = "datasets/fashion-mnist"
    mirrors: ClassVar[tuple[str, ...]] = (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    )
    # sha256 of what each file holds once unpacked; the archives of the mirrors may be packed in different ways
    hashes: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    }
    classes: tuple[str, ...] = CLASSES

    def __init__(self, split: str, *, sample: bool = False, folder: str | Path | None = None) -> None:
        super().__init__(split, folder=_SAMPLE if sample else folder)

    @classmethod
    def files(cls, split: str, folder: str | Path | None = None, *, sample: bool = False) -> tuple[Path, Path]:
        """The files of pictures and labels, fetched if they are nowhere: from the mirrors, else from Debian's package."""
        local = _SAMPLE if sample else _DEBIAN if folder is None and _DEBIAN.is_dir() else folder
        try:
            return super().files(split, local)
        except NetworkError as error:
            cls._from_debian(error)
        return super().files(split)

    @classmethod
    def _from_debian(cls, error: NetworkError) -> None:
        """Puts the package's files where the mirrors' would be; where it cannot be had either, the mirrors' error stands."""
        try:
            folder = unpacked(_PACKAGE, lambda path: PurePosixPath(path.name) if path.name in cls.hashes else None)
        except NetworkError:
            raise error from None
        for name in cls.hashes:
            atomic_write(cls.download(name).path, (folder / name).read_bytes())

    @classmethod
    def download(cls, name: str) -> Download:
        """One of the four files, and where to get it."""
        urls = tuple(mirror + name for mirror in cls.mirrors)
        return Download(name, urls, cls.hashes[name], cls.place, max_bytes=64 << 20)
