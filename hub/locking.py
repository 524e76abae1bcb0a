"""``nyala lock``: what names mean here and now, written down file by file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..core.errors import ArgumentError, IntegrityError, NetworkError
from .cards import FileSpec, SourceSpec
from .client import Resolved, fetch_resolved, resolve
from .files import Files
from .integrity import sha256_file
from .lockfile import DEFAULT, Entry, Lock, read, to_toml, write
from .progress import download_bar
from .storage import cache_folder, is_offline, locked, logger


@dataclass(frozen=True)
class Change:
    """What locking a name did to the lock file.

    Attributes:
        name: the entry.
        state: ``"new"``, ``"unchanged"`` or ``"changed"``.
        entry: what the file says now.
        before: what it said, where it was changed.
    """

    name: str
    state: str
    entry: Entry
    before: Entry | None = None


def lock(
    names: Sequence[str], file: str | os.PathLike[str] = DEFAULT, *, update: bool = False, offline: bool = False
) -> list[Change]:
    """Write what ``names`` mean into a lock file; its other entries stay as they are.

    The files are fetched where they are not here yet, and each is hashed anew, small ones too.

    Args:
        names: catalogue names or hub ids, ``org/name@refs/pr/3`` as well. None of them: every name of the file.
        file: the lock file; made where it is not there.
        update: look whether a branch of a model hub has moved. Without it a name means what was fetched first, or, where
            it is in the file, what the file says.
        offline: make no network call.

    Raises:
        UnknownNameError: no such name; the file is then as it was.
        ArgumentError: a folder or a bundle: nobody else could fetch it; or no name at all and no file.
        NetworkError, AccessError, IntegrityError, StorageError: see :func:`.client.fetch`.
        DataError: the lock file is malformed.
    """
    path = Path(file).expanduser()
    with locked(_lock_of(path), str(path)):
        entries: Lock = read(path) if path.exists() or not names else {}
        changes = [_change(entries, name, path, update, offline) for name in names or sorted(entries)]
        for change in changes:
            entries[change.name] = change.entry
        if not path.exists() or any(change.state != "unchanged" for change in changes):
            write(path, entries)
    return changes


def _lock_of(path: Path) -> Path:
    """Two commands that write one lock file take turns; the marker lies in the cache and not beside the file."""
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    return cache_folder() / ".locks" / f"lockfile--{name}.lock"


def _change(entries: Lock, name: str, path: Path, update: bool, offline: bool) -> Change:
    resolved = resolve(name, lock="")
    key = resolved.key
    if not key:
        raise ArgumentError(
            f"{name} lies on this machine", why="a lock file pins what others can fetch too", fix="`nyala bundle` packs it"
        )
    before = entries.get(key)
    if before is not None and not update:  # the file says what the name means
        resolved = resolve(name, lock=path)
    kept = before is not None and not update
    entry = entry_of(resolved, fetch_resolved(resolved, offline=offline, update=update), before, offline or kept)
    if before is None:
        return Change(key, "new", entry)
    same = to_toml({key: before}) == to_toml({key: entry})
    return Change(key, "unchanged", entry) if same else Change(key, "changed", entry, before)


def entry_of(resolved: Resolved, files: Files, before: Entry | None = None, offline: bool = False) -> Entry:
    """The entry for files that were fetched: their source pinned, each file hashed.

    Args:
        resolved: the name.
        files: what :func:`.client.fetch_resolved` gave for it.
        before: an older entry; its licence is kept where the hub cannot be asked.
        offline: do not ask the hub for its licence.

    Raises:
        IntegrityError: a file has changed since it was fetched.
    """
    source = source_of(resolved, files)
    specs = {name: _spec(name, files, source.files.get(name), digest) for name, digest in hashes(files).items()}
    pinned = msgspec.structs.replace(
        source, files=specs, verified=True, commit=files.revision if source.kind == "hub" else "", authority=DEFAULT
    )
    return Entry(pinned, resolved.card.license if resolved.card else stated_license(pinned, before, offline))


def source_of(resolved: Resolved, files: Files) -> SourceSpec:
    """The source that files came from, among those of their name."""
    return next(spec for spec in resolved.sources if spec.label == files.origin)


def _spec(name: str, files: Files, known: FileSpec | None, digest: str) -> FileSpec:
    expected = files.hashes.get(name, digest)
    if digest != expected:
        raise IntegrityError(
            f"{files[name]} has sha256 {digest}, it was fetched with {expected}",
            why="the file was changed or damaged since",
            fix="delete it, then try again",
        )
    return FileSpec(known.path if known else "", digest, files[name].stat().st_size)


def hashes(files: Files) -> dict[str, str]:
    """The sha256 of each file's bytes, read now; with a bar where that takes a while."""
    total, done, found = sum(files[name].stat().st_size for name in files), 0, {}
    with download_bar(f"hashing {files.origin}", total) as show:
        for name in sorted(files):
            found[name] = sha256_file(files[name])
            done += files[name].stat().st_size
            show(done)
    return found


def stated_license(source: SourceSpec, before: Entry | None, offline: bool) -> str:
    """The licence of a repository without a card: the one it states; what was locked before where it cannot be asked."""
    if source.kind != "hub" or offline or is_offline():
        return before.license if before else ""
    from .sources.model_hub import ModelHub

    try:
        return ModelHub(source, cache_folder()).listing(patient=True).license
    except NetworkError as error:
        logger.warning("%s; the licence of %s stays unknown", error.what, source.repo)
        return before.license if before else ""
