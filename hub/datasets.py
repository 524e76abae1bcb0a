"""Datasets of a model hub: ``org/name[@revision]`` -> verified files in one folder, pinned to a commit."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import NetworkError, UnknownNameError
from .sources.dataset_hub import DatasetHub, DatasetSpec
from .storage import cache_folder, is_offline

_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Snapshot:
    """A dataset as it was at one commit.

    Attributes:
        repo: ``org/name``.
        commit: 40 hex digits.
        folder: where its files lie, under their own names; others may lie there too.
        files: name -> path, of those that were asked for.
    """

    repo: str
    commit: str
    folder: Path
    files: dict[str, Path]


def fetch_dataset(name: str, choose: Callable[[Sequence[str]], Sequence[str]], part: str = "") -> Snapshot:
    """The files of a dataset, verified; downloaded where they are not here yet.

    What was fetched once stays what it is, though the branch move on; a commit that is cached makes no network call.

    Args:
        name: ``org/name``, or ``org/name@revision`` with a branch, a tag or a commit.
        choose: of the names of all files, those that are wanted.
        part: a word for what ``choose`` chooses, where it is not all there is.

    Raises:
        UnknownNameError: no such dataset or revision.
        MissingFileError: nothing in it is wanted.
        AccessError, NetworkError, IntegrityError, StorageError: as for a model.
    """
    found = _ID.fullmatch(name)
    if not found:
        raise UnknownNameError(f"{name!r} is no name of a hub dataset", fix="write org/name, or org/name@revision")
    revision = found["revision"] or "main"
    spec = DatasetSpec(kind="hub", repo=found["repo"], commit=revision if _COMMIT.fullmatch(revision) else "", revision=revision)
    source = DatasetHub(spec, cache_folder(), choose, part)
    files = source.cached()
    if files is None:
        if is_offline():
            raise NetworkError(
                f"{spec.label} is not cached, and no network may be used",
                fix="fetch it once with a network, or give a folder with its files",
            )
        files = source.fetch(patient=True)
    folder = source.place.snapshot(files.revision, "x").parent
    return Snapshot(spec.repo, files.revision, folder, {file: Path(files[file]) for file in files})
