"""``weights.lock.toml``: for each name the exact bytes behind it, as a file that goes into version control.

An entry holds the source with its commit, the sha256 and size of every file, and the licence at the time of locking. A
name that is resolved with a lock file means these bytes: branches are not looked at, and other bytes are an error. The
file is plain TOML in a fixed order, so equal locks are equal files and a change is one readable line.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..core.atomic import atomic_write, storage_errors
from ..core.errors import ArgumentError, DataError, MissingFileError, UnknownNameError, did_you_mean
from .cards import FileSpec, SourceSpec

DEFAULT = "weights.lock.toml"
VARIABLE = "NYALA_LOCK"
FORMAT = 1

_HEAD = "# The exact bytes behind each name, written by `nyala lock`. Keep this file in version control.\n"
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_KINDS = ("hub", "package")
_UNWRITTEN = ("files", "verified", "authority")


class Entry(msgspec.Struct, frozen=True):
    """What a lock file says about one name.

    Attributes:
        source: where the bytes come from: one source, with a commit or version, and each file's sha256 and size.
        license: SPDX identifier at the time of locking; empty where nobody states one.
    """

    source: SourceSpec
    license: str = ""

    def __post_init__(self) -> None:
        if self.source.kind not in _KINDS:
            raise ValueError(f"kind {self.source.kind!r} cannot be locked")
        if self.source.kind == "hub" and not self.source.commit:
            raise ValueError("a hub source needs its commit")
        if not self.source.files or not all(file.sha256 for file in self.source.files.values()):
            raise ValueError("every file needs its sha256")

    @property
    def pin(self) -> str:
        """The commit or version."""
        return self.source.commit or self.source.version

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.source.files.values())


Lock = dict[str, Entry]


def chosen(lock: str | os.PathLike[str] | None) -> Path | None:
    """The lock file to use: the argument, else ``$NYALA_LOCK``, else none. An empty argument means none, whatever is set.

    Example:
        >>> chosen("") is None
        True
    """
    given = os.environ.get(VARIABLE, "") if lock is None else os.fspath(lock)
    return Path(given).expanduser() if given else None


def default_file() -> Path:
    """What the commands read and write where no file is named: ``$NYALA_LOCK``, else ``weights.lock.toml`` here."""
    return chosen(None) or Path(DEFAULT)


def read(path: str | os.PathLike[str]) -> Lock:
    """Read a lock file, strictly.

    Raises:
        MissingFileError: there is none.
        DataError: no TOML, an unknown key, a missing hash, another format's version; names the entry.
        StorageError: it cannot be read.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name, "weights.lock.toml")
        >>> files = {"config.json": FileSpec(sha256="0" * 64, size=2)}
        >>> write(path, {"org/m": Entry(SourceSpec(kind="hub", repo="org/m", commit="a" * 40, files=files), "mit")})
        >>> read(path)["org/m"].pin[:4]
        'aaaa'
    """
    path = Path(path)
    try:
        with storage_errors(path, "read"):
            text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 at byte {error.start}", fix=_restore(path)) from error
    except OSError as error:
        if path.exists():
            raise
        raise MissingFileError(f"there is no lock file {path}", fix=f"write it: nyala lock NAME --file {path}") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path} is not TOML: {error}", fix=_restore(path)) from error
    return _parsed(path, table)


def _restore(path: Path) -> str:
    return f"restore it from version control, or write it anew: nyala lock NAME --file {path}"


def _parsed(path: Path, table: Mapping[str, Any]) -> Lock:
    unknown = sorted(set(table) - {"format", "models"})
    models = table.get("models", {})
    if table.get("format") != FORMAT or unknown or not isinstance(models, dict):
        said = f"unknown keys {', '.join(unknown)}" if unknown else f"format = {table.get('format')!r}"
        raise DataError(f"{path} is no lock file of this nyala: {said}", why=f"it reads format {FORMAT}", fix=_restore(path))
    return {name: _entry(path, name, entry) for name, entry in models.items()}


def _entry(path: Path, name: str, table: Any) -> Entry:
    try:
        if not isinstance(table, dict):
            raise ValueError("it is no table")
        known = {"verified", "authority"} & set(table)
        if known:
            raise ValueError(f"unknown key {sorted(known)[0]!r}")
        fields = {key: value for key, value in table.items() if key != "license"}
        source = msgspec.convert({**fields, "verified": True, "authority": str(path.name)}, SourceSpec)
        return Entry(source, msgspec.convert(table.get("license", ""), str))
    except (ValueError, msgspec.ValidationError, ArgumentError) as error:
        raise DataError(f"{path}: the entry {name!r}: {error}", fix=_restore(path)) from error


def write(path: str | os.PathLike[str], lock: Mapping[str, Entry]) -> None:
    """Write a lock file, whole or not at all; equal content makes equal bytes.

    Raises:
        StorageError: full disk, read-only or missing folder.
    """
    atomic_write(path, to_toml(lock))


def to_toml(lock: Mapping[str, Entry]) -> str:
    """The text of a lock file: names and files in alphabetical order, defaults left out.

    Example:
        >>> files = {"config.json": FileSpec(sha256="0" * 64, size=2)}
        >>> print(to_toml({"org/m": Entry(SourceSpec(kind="hub", repo="org/m", commit="a" * 40, files=files), "mit")}))
        # The exact bytes behind each name, written by `nyala lock`. Keep this file in version control.
        format = 1
        <BLANKLINE>
        [models."org/m"]
        license = "mit"
        kind = "hub"
        repo = "org/m"
        commit = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        revision = "main"
        [models."org/m".files]
        "config.json" = { sha256 = "0000000000000000000000000000000000000000000000000000000000000000", size = 2 }
        <BLANKLINE>
    """
    lines = [f"{_HEAD}format = {FORMAT}"]
    for name in sorted(lock):
        lines += _table(name, lock[name])
    return "\n".join([*lines, ""])


def _table(name: str, entry: Entry) -> Iterator[str]:
    place = f"models.{_key(name)}"
    yield f"\n[{place}]"
    yield f"license = {_text(entry.license)}"
    for key, value in msgspec.to_builtins(entry.source).items():
        if key not in _UNWRITTEN and value and not (key == "revision" and entry.source.kind != "hub"):
            yield f"{key} = {_text(value) if isinstance(value, str) else value}"
    yield f"[{place}.files]"
    for file, spec in sorted(entry.source.files.items()):
        yield f"{_text(file)} = {{ {_file(file, spec)} }}"


def _file(name: str, spec: FileSpec) -> str:
    path = f"path = {_text(spec.path)}, " if spec.path not in ("", name) else ""
    return f"{path}sha256 = {_text(spec.sha256)}, size = {spec.size}"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON's escapes are TOML's, but for this one


def entry_for(lock: Mapping[str, Entry], key: str, path: Path) -> Entry:
    """The entry of a name.

    Args:
        lock: a lock file's content.
        key: what :class:`.client.Resolved` calls the name: ``name`` or ``name@revision``. A revision also finds the entry
            of the bare name if that was locked at this branch or commit.
        path: the lock file's, for messages.

    Raises:
        UnknownNameError: the lock file has none; names the nearest.

    Example:
        >>> files = {"config.json": FileSpec(sha256="0" * 64)}
        >>> lock = {"org/m": Entry(SourceSpec(kind="hub", repo="org/m", commit="a" * 40, files=files))}
        >>> entry_for(lock, "org/m@" + "a" * 40, Path("weights.lock.toml")).source.repo
        'org/m'
    """
    if key in lock:
        return lock[key]
    bare, _, revision = key.partition("@")
    entry = lock.get(bare)
    if entry is not None and revision:
        if revision in (entry.source.commit, entry.source.revision):
            return entry
        why = f"it has {bare} at {entry.source.revision}, commit {entry.source.commit[:12]}"
        raise UnknownNameError(f"{path} has no {key}", why=why, fix=f"nyala lock {key} --file {path}")
    why = f"it has {', '.join(sorted(lock)[:8])}" if lock else "it is empty"
    near = did_you_mean(key, lock)
    fix = f"{near} To add it: nyala lock {key} --file {path}".strip()
    raise UnknownNameError(f"{path} has no {key}", why=why, fix=fix)
