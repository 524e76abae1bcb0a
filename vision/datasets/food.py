"""Food-101 (Bossard et al. 2014): photos of 101 dishes, 750 each for training and 250 for testing. No licence is stated."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ...core.atomic import storage_errors
from ...core.errors import DataError
from ...hub.archives import place
from ...hub.download import Download
from .arrays import check_split
from .pictures import ClassPictures, Corrupt, Transform


class Food101(ClassPictures):
    """Photos with a dish each; those for training are noisy by design, some with a wrong label.

    Args:
        split: "train" (75,750) or "test" (25,250).
        folder: with ``food-101``, or with ``food-101.tar.gz``; left out, it is fetched once, 5 GB.
        transform, corrupt, threads: as for :class:`~nyala.vision.datasets.pictures.Pictures`.

    Raises:
        ArgumentError: another split.
        DataError: files that are not those of the dataset, or none.
        NetworkError, IntegrityError, UnsafeFileError: it cannot be fetched, other bytes came, or they are dangerous.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    # sha256 of the archive, as TensorFlow Datasets publishes it
    archive: ClassVar[Download] = Download(
        "food-101.tar.gz",
        ("http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",),
        folder="datasets/food-101",
        max_bytes=6 << 30,
        sha256="d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4",
        verified=False,
    )

    def __init__(
        self,
        split: str,
        *,
        folder: str | Path | None = None,
        transform: Transform | None = None,
        corrupt: Corrupt = "raise",
        threads: int | None = None,
    ) -> None:
        check_split("Food-101", split, self.splits)
        root = place(self.archive, f"food-101/meta/{split}.txt", folder) / "food-101"
        names = _lines(root / "meta" / "classes.txt")
        number = {name: i for i, name in enumerate(names)}
        listed = _lines(root / "meta" / f"{split}.txt")
        strange = next((line for line in listed if line.partition("/")[0] not in number), None)
        if strange is not None:
            raise DataError(f"{root / 'meta' / split}.txt names {strange!r}, which is in no class", fix="get the archive again")
        samples = [(root / "images" / f"{line}.jpg", number[line.partition("/")[0]]) for line in listed]
        classes = [name.replace("_", " ") for name in names]
        super().__init__(samples, classes, transform=transform, corrupt=corrupt, threads=threads)


def _lines(path: Path) -> list[str]:
    with storage_errors(path, "read"):
        return path.read_text(encoding="utf-8").split()
