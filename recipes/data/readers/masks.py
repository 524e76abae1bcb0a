"""Folders of pictures with a class for every pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ....core.errors import DataError
from ....vision.datasets import ade20k
from ....vision.datasets.masks import MaskedPicture, MaskFolder, is_mask_folder
from ...language.schema import Columns, Data
from ...proof import hashing
from ..datasets import Part, Raw

_PARTS = {"train": ("train", "training"), "validation": ("val", "validation"), "test": ("test",)}


def read(recipe: Data) -> Raw | None:
    """The dataset of a folder of pictures and masks, with its parts; None for any other.

    Raises:
        DataError: a part that has no masks, or columns, which such folders have not.
    """
    folder = Path(recipe.name).expanduser()
    scenes = ade20k.folder_of(folder)
    if scenes is None and not is_mask_folder(folder):
        return None
    if recipe.subset is not None or recipe.columns != Columns():
        key = "subset" if recipe.subset is not None else "columns"
        raise DataError(f"{recipe.name} is a folder of pictures and masks", fix=f"leave data.{key} out")
    if scenes is not None:
        return _ade20k(scenes, recipe)
    named = {"validation": recipe.validation, "test": recipe.test}
    places = {part: _place(folder, part) for part in named}
    places |= {part: Path(name).expanduser() for part, name in named.items() if name is not None}
    train = MaskFolder(_place(folder, "train") or folder)
    parts = {"train": train}
    parts |= {part: MaskFolder(place, train.classes) for part, place in places.items() if place is not None}
    hashes = {
        part: hashing.of_files((path.relative_to(found.folder).as_posix(), path) for one in found for path in one.files())
        for part, found in parts.items()
    }
    return of_masks(parts, train.classes, hashes)


def _ade20k(folder: Path, recipe: Data) -> Raw:
    """ADE20K's scenes as they are published: those for validation, on which everybody reports scores, are the test part.

    Raises:
        DataError: further parts are named beside its own.
    """
    refused = next((key for key in ("validation", "test") if getattr(recipe, key) is not None), None)
    if refused is not None:
        raise DataError(f"{recipe.name} holds ADE20K, which has its own parts", fix=f"leave data.{refused} out")
    parts: dict[str, list[MaskedPicture]] = {}
    hashes: dict[str, str] = {}
    classes: list[str] = []
    for part, split in (("train", "train"), ("test", "val")):
        parts[part], classes = ade20k.masked_pictures(folder, split)
        files = (path for one in parts[part] for path in one.files())
        hashes[part] = hashing.of_files((path.relative_to(folder).as_posix(), path) for path in files)
    raw = of_masks(parts, classes, hashes)
    return replace(raw, notes=("read as ADE20K's scenes; the published validation part is the test part",))


def _place(folder: Path, part: str) -> Path | None:
    found = (folder / name for name in _PARTS[part])
    return next((place for place in found if place.is_dir()), None)


def of_masks(parts: Mapping[str, Sequence[MaskedPicture]], classes: list[str], hashes: dict[str, str]) -> Raw:
    """Parts of pictures with masks."""
    if len(classes) < 2:
        raise DataError(f"the masks have {len(classes)} class", why="there is nothing to tell apart", fix="name two or more")
    made = {name: Part(list(found), np.zeros(len(found), np.int64)) for name, found in parts.items()}
    return Raw("masks", classes, made["train"], made.get("test"), hashes, validation=made.get("validation"))
