"""Pictures with boxes in COCO's format: a JSON file with the pictures beside it, or a folder of both, with parts or without."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ....core.errors import DataError
from ....vision.datasets.coco import CocoDetection
from ...language.schema import Columns, Data
from ...proof import hashing
from ..boxes import BoxedPicture
from ..datasets import Part, Raw

NAMES = ("_annotations.coco.json", "annotations.json", "instances.json")
_PARTS = {"train": ("train",), "validation": ("valid", "val", "validation"), "test": ("test",)}
_KEYS = {"images", "annotations", "categories"}


def read(recipe: Data) -> Raw | None:
    """The dataset of such a file or folder; None for anything else.

    Raises:
        DataError: parts with other classes, or columns, which such files have not.
    """
    place = Path(recipe.name).expanduser()
    parts = _parts(place)
    if not parts:
        return None
    if recipe.subset is not None or recipe.columns != Columns():
        key = "subset" if recipe.subset is not None else "columns"
        raise DataError(f"{recipe.name} is in COCO's format", fix=f"leave data.{key} out")
    for part, name in (("validation", recipe.validation), ("test", recipe.test)):
        if name is not None:
            parts[part] = _file(Path(name).expanduser())
    read_ = {part: CocoDetection(_pictures(file), file, crowds=False) for part, file in parts.items()}
    classes = list(read_["train"].classes)
    for part, found in read_.items():
        if list(found.classes) != classes:
            raise DataError(
                f"{parts[part]} has the classes {', '.join(found.classes)}",
                why=f"the training part has {', '.join(classes)}",
                fix="number the categories alike in all files",
            )
    made = {part: _part(found) for part, found in read_.items()}
    hashes = {part: _hash(parts[part], made[part]) for part in made}
    return Raw("boxes", classes, made["train"], made.get("test"), hashes, validation=made.get("validation"))


def _parts(place: Path) -> dict[str, Path]:
    """The annotations of each part; empty where there are none."""
    if place.is_file():
        return {"train": place} if _is_coco(place) else {}
    found = {part: file for part, names in _PARTS.items() for name in names if (file := _beside(place / name)) is not None}
    whole = _beside(place)
    return found if "train" in found else {"train": whole} if whole is not None else {}


def _beside(folder: Path) -> Path | None:
    """The annotations in a folder."""
    return next((folder / name for name in NAMES if (folder / name).is_file() and _is_coco(folder / name)), None)


def _file(place: Path) -> Path:
    """The annotations that ``data.validation`` or ``data.test`` names.

    Raises:
        DataError: there are none.
    """
    found = place if place.is_file() else _beside(place)
    if found is None:
        raise DataError(f"{place} holds no annotations", fix=f"name a JSON file in COCO's format, or a folder with {NAMES[0]}")
    return found


def _is_coco(path: Path) -> bool:
    if path.suffix != ".json":
        return False
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, Mapping) and content.keys() >= _KEYS


def _pictures(file: Path) -> Path:
    """The folder that the names in the file count from: the file's own, ``images`` beside it, or where COCO has them.

    Raises:
        DataError: the first picture lies in none of them.
    """
    first = next((str(one["file_name"]) for one in json.loads(file.read_bytes())["images"]), "")
    stem = file.stem.partition("_")[2]  # annotations/instances_train2017.json -> train2017
    places = [file.parent, file.parent / "images", file.parent.parent / "images", *([file.parent.parent / stem] if stem else [])]
    found = next((place for place in places if (place / first).is_file()), None)
    if found is None:
        looked = ", ".join(str(place) for place in places)
        raise DataError(f"{file} names {first}, which is not there", why=f"looked in {looked}", fix="put the pictures there")
    return found


def _part(found: CocoDetection) -> Part:
    rows = []
    for i, one in enumerate(found.samples):
        target = found.target(i)
        rows.append(BoxedPicture(one.path, target["boxes"].astype(np.float32), target["labels"]))
    return Part(rows, np.zeros(len(rows), np.int64))


def _hash(file: Path, part: Part) -> str:
    pictures = ((one.path.name, one.path) for one in part.inputs)
    return hashing.of_files([(file.name, file), *pictures])
