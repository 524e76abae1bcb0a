"""Oxford-IIIT Pet (Parkhi et al. 2012): photos of 37 breeds of cats and dogs, with outlines. Licence: CC BY-SA 4.0."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from ...core.atomic import storage_errors
from ...core.errors import ArgumentError, DataError
from ...hub.archives import place
from ...hub.download import Download
from ..transforms import Sample
from .arrays import check_split
from .maps import read_map
from .pictures import ClassPictures, Corrupt, Transform

_MIRRORS = ("https://thor.robots.ox.ac.uk/~vgg/data/pets/", "https://www.robots.ox.ac.uk/~vgg/data/pets/data/")
SPECIES = ("cat", "dog")


class OxfordPets(ClassPictures):
    """Photos with a breed each, or with the outline of the animal.

    Args:
        split: "trainval" (3,680) or "test" (3,669).
        target: "category": the breed; "species": cat or dog; "segmentation": a :class:`~nyala.vision.transforms.Sample` whose
            ``masks`` is the published map: 1 animal, 2 background, 3 border, and whose one label is the breed.
        folder: with ``images`` and ``annotations``, or with their archives; left out, they are fetched once.
        transform, corrupt, threads: as for :class:`~nyala.vision.datasets.pictures.Pictures`.

    Raises:
        ArgumentError: another split or target.
        DataError: files that are not those of the dataset, or none.
        NetworkError, IntegrityError, UnsafeFileError: it cannot be fetched, other bytes came, or they are dangerous.
    """

    splits: ClassVar[tuple[str, ...]] = ("trainval", "test")
    # sha256 of the archives, as TensorFlow Datasets publishes them
    images: ClassVar[Download] = Download(
        "images.tar.gz",
        tuple(f"{mirror}images.tar.gz" for mirror in _MIRRORS),
        folder="datasets/oxford-pets",
        sha256="67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
        verified=False,
    )
    annotations: ClassVar[Download] = Download(
        "annotations.tar.gz",
        tuple(f"{mirror}annotations.tar.gz" for mirror in _MIRRORS),
        folder="datasets/oxford-pets",
        sha256="52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
        verified=False,
    )

    def __init__(
        self,
        split: str,
        *,
        target: Literal["category", "species", "segmentation"] = "category",
        folder: str | Path | None = None,
        transform: Transform | None = None,
        corrupt: Corrupt = "raise",
        threads: int | None = None,
    ) -> None:
        check_split("Oxford Pets", split, self.splits)
        if target not in ("category", "species", "segmentation"):
            raise ArgumentError(f"target={target!r}", fix="use 'category', 'species' or 'segmentation'")
        notes = place(self.annotations, f"annotations/{split}.txt", folder) / "annotations"
        pictures = place(self.images, "images", folder) / "images"
        rows = _rows(notes / f"{split}.txt")
        breeds = {label: name.rpartition("_")[0].replace("_", " ") for name, label, _ in rows}
        if sorted(breeds) != list(range(len(breeds))):
            raise DataError(
                f"{notes / split}.txt numbers {len(breeds)} breeds up to {max(breeds)}", fix="get the annotations again"
            )
        classes = SPECIES if target == "species" else tuple(breeds[i] for i in range(len(breeds)))
        samples = [(pictures / f"{name}.jpg", kind if target == "species" else label) for name, label, kind in rows]
        self.target, self.trimaps = target, notes / "trimaps"
        super().__init__(samples, classes, transform=transform, corrupt=corrupt, threads=threads)

    def read(self, index: int) -> Sample:
        path, label = self.samples[index]
        sample = Sample.read(path)
        if self.target != "segmentation":
            return sample
        return sample.replace(masks=read_map(self.trimaps / f"{path.stem}.png"), labels=[label])

    def result(self, made: Any, index: int) -> Any:
        return made if self.target == "segmentation" else super().result(made, index)


def _rows(path: Path) -> list[tuple[str, int, int]]:
    """(name, breed, species) of each line, numbered from 0."""
    found = []
    with storage_errors(path, "read"):
        lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields or line.startswith("#"):
            continue
        if len(fields) < 3 or not (fields[1].isdigit() and fields[2] in ("1", "2")):
            raise DataError(
                f"{path}:{number}: {line[:60]!r} is no picture with its breed and species", fix="get the annotations again"
            )
        found.append((fields[0], int(fields[1]) - 1, int(fields[2]) - 1))
    if not found:
        raise DataError(f"{path} is empty", fix="get the annotations again")
    return found
