"""Reading users' data: folders, files of rows, and datasets of a model hub, as parts of a dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ....core.errors import DataError, NetworkError, UnknownNameError
from ...language.names import is_hub_id

if TYPE_CHECKING:
    from ...language.schema import Data
    from ..datasets import Raw
    from .manifests import Samples

__all__ = ["read"]


def read(recipe: Data) -> Raw:
    """The dataset of a folder, a file or a hub id, with the parts that it has.

    Raises:
        DataError: nothing there, or nothing that could be read; the file and the line are named.
        UnknownNameError, AccessError, NetworkError, IntegrityError: of a hub dataset.
    """
    from .manifests import assemble

    parts, commit = _parts(recipe.name, recipe)
    for name, given in (("validation", recipe.validation), ("test", recipe.test)):
        if given is not None:
            other = _parts(given, recipe)[0]
            parts[name] = other.get(name, other["train"])
    return replace(assemble(parts, recipe.name), commit=commit)


def _parts(name: str, recipe: Data) -> tuple[dict[str, Samples], str]:
    """The parts by name, and the commit of a hub dataset."""
    from .folders import read_folder
    from .manifests import read_manifest
    from .tables import ending

    path = Path(name).expanduser()
    if path.exists() and recipe.subset is not None:
        why, fix = "only a hub dataset has such", "leave it out, or name the folder"
        raise DataError(f"data.subset is {recipe.subset!r}", why=why, fix=fix)
    if path.is_dir():
        return read_folder(path, recipe), ""
    if path.is_file() and ending(path):
        return {"train": read_manifest(path, recipe)}, ""
    if not path.exists() and is_hub_id(name):
        from .hub import fetch_dataset

        try:
            return fetch_dataset(name, recipe)
        except (UnknownNameError, NetworkError) as error:  # it may have been meant as a path
            error.fix = f"{error.fix.rstrip('.')}. There is no folder or file of this name here either"
            raise
    what = "is neither a folder nor a file of rows" if path.exists() else "is not there"
    raise DataError(f"{path} {what}", fix="give a folder with a subfolder a class, or a .csv, .tsv, .jsonl or .parquet file")
