"""ImageNet (Deng et al. 2009; ILSVRC 2012) where it lies unpacked: its makers give it to registered researchers alone."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import ClassVar

from ...core.atomic import storage_errors
from ...core.errors import DataError
from .arrays import check_split
from .folder import pictures_in, subfolders
from .pictures import ClassPictures, Corrupt, Transform

_SOLUTION = "LOC_val_solution.csv"
_KAGGLE = Path("ILSVRC") / "Data" / "CLS-LOC"


class ImageNet(ClassPictures):
    """Photos of a thousand classes, or of some of them, in folders below ``train`` and ``val`` called n01440764 and so on.

    The classes are numbered by their WordNet ids in order, as in every ImageNet model; where not all are there, by those that
    ``train`` has.

    Args:
        folder: with ``train`` and ``val``, or as Kaggle packs it, ``ILSVRC`` beside ``LOC_val_solution.csv``, where the
            pictures of ``val`` lie in one folder.
        split: "train" or "val".
        transform, corrupt, threads: as for :class:`~nyala.vision.datasets.pictures.Pictures`.

    Attributes:
        wnids: WordNet id of each class.
        classes: their names where all thousand are there, else the ids.

    Raises:
        ArgumentError: another split.
        DataError: no such folders, or pictures without a class.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "val")

    def __init__(
        self,
        folder: str | Path,
        split: str,
        *,
        transform: Transform | None = None,
        corrupt: Corrupt = "raise",
        threads: int | None = None,
    ) -> None:
        check_split("ImageNet", split, self.splits)
        root = Path(folder).expanduser()
        inside = root / _KAGGLE if (root / _KAGGLE).is_dir() else root
        trained = inside / "train"
        self.wnids = tuple(subfolders(trained if trained.is_dir() else inside / split))
        number = {wnid: i for i, wnid in enumerate(self.wnids)}
        flat = split == "val" and (root / _SOLUTION).is_file()
        samples = _listed(inside / "val", root / _SOLUTION, number) if flat else _sorted(inside / split, number)
        super().__init__(samples, _names(self.wnids), transform=transform, corrupt=corrupt, threads=threads)


def _sorted(folder: Path, number: dict[str, int]) -> list[tuple[Path, int]]:
    names = subfolders(folder)
    strange = next((name for name in names if name not in number), None)
    if strange is not None:
        raise DataError(f"{folder} has the class {strange}, which the training part has not", fix="keep the same classes in both")
    return [(path, number[name]) for name in names for path in pictures_in(folder / name)]


def _listed(folder: Path, table: Path, number: dict[str, int]) -> list[tuple[Path, int]]:
    """Pictures of one folder, with classes from Kaggle's table; those of classes that are not there are left out."""
    with storage_errors(table, "read"), open(table, encoding="utf-8", newline="") as file:
        rows = {row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(file)}
    found = pictures_in(folder)
    unknown = next((p for p in found if p.stem not in rows), None)
    if unknown is not None:
        raise DataError(f"{table} has no class of {unknown.name}", fix="get the table again")
    return [(p, number[rows[p.stem]]) for p in found if rows[p.stem] in number]


def _names(wnids: tuple[str, ...]) -> tuple[str, ...]:
    if len(wnids) != 1000 or wnids[0] != "n01440764" or wnids[-1] != "n15075141":
        return wnids
    return tuple((Path(__file__).parents[1] / "cards" / "labels" / "imagenet-1k.txt").read_text(encoding="utf-8").splitlines())
