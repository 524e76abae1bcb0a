"""Datasets of a model hub: which of its files are data, and how they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ....core.errors import DataError, did_you_mean
from ....hub.datasets import Snapshot
from ....hub.datasets import fetch_dataset as fetch
from ...language.schema import Data
from .folders import SAMPLES, SPLITS, read_folder
from .manifests import Samples
from .tables import ending

_NO_DATA = ("dataset_info.json", "dataset_infos.json", "croissant.json", "dataset_dict.json", "state.json", "license.txt")


def fetch_dataset(name: str, recipe: Data) -> tuple[dict[str, Samples], str]:
    """The parts of a hub dataset, and the commit they are of.

    Raises:
        DataError: several configurations and none chosen, or no data in it.
        UnknownNameError, AccessError, NetworkError, IntegrityError: from the hub.
    """
    snapshot = fetch(name, lambda files: chosen(files, recipe.subset, name), recipe.subset or "")
    folder = snapshot.folder / _common(list(snapshot.files))
    parts = read_folder(folder, recipe)
    return {part: _named(samples, snapshot) for part, samples in parts.items()}, snapshot.commit


def _named(samples: Samples, snapshot: Snapshot) -> Samples:
    """Places as the hub calls the files, not as the cache does."""
    return replace(samples, places=[p.replace(str(snapshot.folder) + "/", f"{snapshot.repo}: ") for p in samples.places])


def chosen(files: Sequence[str], subset: str | None = None, name: str = "the dataset") -> list[str]:
    """The files that hold data: of the one configuration, or of the ``subset`` that is named.

    A configuration is a folder with splits or with files of rows of its own; ``data`` alone is none.

    Raises:
        DataError: several configurations and no ``subset``, or one that there is not.

    Example:
        >>> chosen(["README.md", "data/train.csv", "data/test.csv"])
        ['data/train.csv', 'data/test.csv']
        >>> chosen(["en/train.csv", "fr/train.csv"], "fr")
        ['fr/train.csv']
    """
    data = [file for file in files if _is_data(file)]
    groups: dict[str, list[str]] = {}
    for file in data:
        groups.setdefault(_configuration(file), []).append(file)
    known = sorted(g for g in groups if g)
    if subset is None:
        if len(groups) < 2 or not known:
            return data
        raise DataError(
            f"{name} has {len(known)} configurations: {', '.join(known[:10])}{', ...' if len(known) > 10 else ''}",
            fix=f'choose one, e.g. data.subset="{known[0]}"',
        )
    if subset not in groups:
        raise DataError(
            f"{name} has no configuration {subset!r}",
            fix=did_you_mean(subset, known) or f"it has {', '.join(known) or 'only one'}",
        )
    return groups[subset]


def _is_data(file: str) -> bool:
    path = PurePosixPath(file)
    hidden = any(part.startswith((".", "__")) for part in path.parts)
    if hidden or path.name.lower() in _NO_DATA or path.stem.lower().startswith(("readme", "license", "requirements")):
        return False
    return bool(ending(Path(file))) or path.suffix.lower() in SAMPLES


def _configuration(file: str) -> str:
    """The folder above a split or a file of rows; empty for the top, for ``data``, and for what belongs to a split's folder."""
    parts = PurePosixPath(file).parts
    splits = {name for names in SPLITS.values() for name in names}
    above = [part for part in parts[:-1] if part.lower() != "data"]
    if not above or above[0].lower() in splits or not ending(Path(file)):
        cut = next((i for i, part in enumerate(above) if part.lower() in splits), None)
        return "/".join(above[:cut]) if cut else ""
    return "/".join(above[: next((i for i, part in enumerate(above) if part.lower() in splits), None)])


def _common(files: Sequence[str]) -> str:
    """The deepest folder that all files lie in, a split's or a class's own folder left out."""
    parents = [PurePosixPath(file).parts[:-1] for file in files]
    common: list[str] = []
    for level in zip(*parents, strict=False):
        if len(set(level)) > 1 or level[0].lower() in {n for names in SPLITS.values() for n in names}:
            break
        common.append(level[0])
    return "/".join(common)
