"""A bundle: models with all they need in one file, for a machine without a network. Read where it lies, never unpacked.

The file is a zip archive whose members are stored as they are, so weights are mapped into memory in place, and any zip
program shows what is in it. ``manifest.json`` comes first and names every other member with its sha256 and size. For a
model called NAME there are ``NAME/files/...`` (weights, configuration, tokenizer), and ``NAME/card.toml`` with its label
names where it has a card; its golden answer stands in the manifest.

A bundle may come from anywhere, so it is read strictly: compressed members (which could unpack to more than any disk
holds), names given twice or leading out of their folder, members that the manifest does not name or that have another
size, are all refused. Nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ..core.atomic import storage_errors
from ..core.checkpoint.archive import Member, read_members
from ..core.checkpoint.header import Json
from ..core.errors import (
    ArgumentError,
    CheckpointError,
    DataError,
    IntegrityError,
    MissingFileError,
    UnknownNameError,
    did_you_mean,
)
from ..core.part import FilePart
from .cards import Card, FileSpec, Golden, check_relative, parse_card
from .files import Files

SUFFIX = ".nyala"
MANIFEST = "manifest.json"
FORMAT = "nyala-bundle"
VERSION = 1

_MAX_MANIFEST = 32 << 20  # bytes; one with a thousand files has about 200 kB
_MAX_CARD = 4 << 20
_NAME = re.compile(r"(?P<path>.+?\.nyala)(#(?P<model>.+))?", re.DOTALL)
_AGAIN = "copy the bundle again from where it came"


class Packed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model of a bundle, as its manifest describes it.

    Attributes:
        folder: the member names of its files begin with it.
        origin, revision: where its files came from when the bundle was made.
        license: SPDX identifier; empty where nobody states one.
        card: whether it has ``card.toml``.
        golden: an input with its known answer.
        golden_from: who gave that answer.
    """

    folder: str
    origin: str
    revision: str = ""
    license: str = ""
    card: bool = False
    golden: Golden | None = None
    golden_from: str = ""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What ``manifest.json`` says."""

    format: str
    version: int
    models: dict[str, Packed]
    members: dict[str, FileSpec]


@dataclass(frozen=True)
class Model:
    """One model of an opened bundle: its name there, and what the manifest says of it."""

    name: str
    packed: Packed


@dataclass(frozen=True)
class Bundle:
    """An opened bundle. Its structure has been checked; its bytes are hashed when they are used.

    Attributes:
        path: the file.
        manifest: what it says.
        members: where each member lies.
    """

    path: Path
    manifest: Manifest
    members: Mapping[str, Member]

    @property
    def names(self) -> list[str]:
        """The models in it."""
        return sorted(self.manifest.models)

    def model(self, name: str = "") -> Model:
        """One model: by its name or any name its card has; without a name the only one.

        Raises:
            UnknownNameError: it is not in there; names the nearest.
            ArgumentError: no name, and several models.
        """
        if not name:
            if len(self.names) != 1:
                held = f"it holds {', '.join(self.names)}" if self.names else "it holds none"
                raise ArgumentError(
                    f"{self.path} is a bundle of {len(self.names)} models",
                    why=held,
                    fix=f"name one: {self.path}#{(self.names or ['NAME'])[0]}",
                )
            name = self.names[0]
        if name not in self.manifest.models:
            known = {other: key for key in self.names for other in self._other_names(key)}
            if name not in known:
                fix = did_you_mean(name, [*self.names, *known]) or f"it holds {', '.join(self.names)}"
                raise UnknownNameError(f"{self.path} holds no model called {name!r}", fix=fix)
            name = known[name]
        return Model(name, self.manifest.models[name])

    def _other_names(self, name: str) -> list[str]:
        card = self.card(name)
        return card.names if card else []

    def part(self, member: str) -> FilePart:
        """A member where it lies."""
        found = self.members[member]
        return FilePart(self.path, member, found.start, found.stop)

    def files(self, name: str, origin: str = "") -> Files:
        """The files of a model, where they lie, with the hashes they should have."""
        packed = self.manifest.models[name]
        start = f"{packed.folder}/files/"
        inside = {m.removeprefix(start): m for m in self.manifest.members if m.startswith(start)}
        hashes = {local: self.manifest.members[m].sha256 for local, m in inside.items()}
        parts = {local: self.part(m) for local, m in inside.items()}
        return Files(parts, origin=origin or f"bundle {self.path}", revision=packed.revision, hashes=hashes)

    def card(self, name: str) -> Card | None:
        """The card of a model, with its label names in it; None where it was bundled without one.

        Raises:
            DataError: it is no card.
            IntegrityError: its bytes are not those that the manifest names.
        """
        packed = self.manifest.models[name]
        if not packed.card:
            return None
        member = f"{packed.folder}/card.toml"
        card = parse_card(self._text(member), str(self.part(member)))
        if isinstance(card.labels, str):
            labels = self._text(f"{packed.folder}/{check_relative(card.labels)}").splitlines()
            card = msgspec.structs.replace(card, labels=labels)
        return card

    def _text(self, member: str) -> str:
        """A small member, checked against the manifest."""
        if member not in self.members:
            raise IntegrityError(f"{self.path} has no member {member}", why="a card in it needs one", fix=_AGAIN)
        part, stated = self.part(member), self.manifest.members[member]
        if part.size > _MAX_CARD:
            raise DataError(f"{part} has {part.size} bytes", why="no card or list of labels is that long", fix=_AGAIN)
        raw = part.read_bytes()
        if hashlib.sha256(raw).hexdigest() != stated.sha256:
            raise IntegrityError(f"{part} does not have the sha256 that the bundle's manifest states", fix=_AGAIN)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{part} is not UTF-8 at byte {error.start}", fix=_AGAIN) from error


def split_name(name: str) -> tuple[Path, str]:
    """The bundle's path, and the model in it, of ``FILE.nyala`` or ``FILE.nyala#NAME``.

    Example:
        >>> split_name("zoo.nyala#org/m@main")
        (PosixPath('zoo.nyala'), 'org/m@main')
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ArgumentError(f"{name!r} is no bundle", fix=f"write FILE{SUFFIX}, or FILE{SUFFIX}#NAME")
    return Path(match["path"]).expanduser(), match["model"] or ""


def is_bundle_name(name: str) -> bool:
    """Whether a name is meant for a bundle: it is not when a folder has it, or part of it, as its name.

    Example:
        >>> is_bundle_name("zoo.nyala#minilm"), is_bundle_name("minilm")
        (True, False)
    """
    return bool(_NAME.fullmatch(name)) and not split_name(name)[0].is_dir()


def open_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Open a bundle and check its structure; its weights are not read.

    Raises:
        MissingFileError: there is no such file.
        CheckpointError: no zip archive, a truncated one, or one that could be read in two ways.
        UnsafeFileError: see :class:`~nyala.core.errors.UnsafeFileError`; never for what nyala wrote.
        DataError: a zip archive that is no bundle, or of a later version.
        IntegrityError: the members are not those that the manifest names.
        StorageError: the disk failed or reading is not permitted.
    """
    path = Path(path)
    if not path.is_file():
        near = did_you_mean(path.name, [p.name for p in path.parent.glob(f"*{SUFFIX}")]) if path.parent.is_dir() else ""
        raise MissingFileError(f"there is no bundle {path}", fix=near or "check the path")
    members = _members(path)
    manifest = _manifest(path, members)
    _check_members(path, manifest, members)
    return Bundle(path, manifest, members)


def _members(path: Path) -> dict[str, Member]:
    with storage_errors(path, "read"), open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise CheckpointError(f"{path} is empty", fix=_AGAIN)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            if buffer[:4] != b"PK\x03\x04":
                raise DataError(
                    f"{path} is no bundle", why=f"it begins with {buffer[:8]!r}", fix="make one: nyala bundle NAME -o FILE.nyala"
                )
            members = read_members(str(path), buffer)
    for name, member in members.items():
        if not member.stored:
            raise DataError(
                f"{path}: {name} is compressed", why="a bundle's members are stored as they are", fix="do not use this file"
            )
        _check_name(path, name)
    return members


def _check_name(path: Path, name: str) -> None:
    try:
        check_relative(name)
    except ArgumentError as error:
        raise DataError(f"{path}: {error.what}", why=error.why, fix="do not use this file") from error


def _manifest(path: Path, members: Mapping[str, Member]) -> Manifest:
    found = members.get(MANIFEST)
    if found is None:
        raise DataError(
            f"{path} is a zip archive, but no bundle",
            why=f"it has no {MANIFEST}",
            fix="nyala bundle NAME -o FILE.nyala makes one",
        )
    if found.stop - found.start > _MAX_MANIFEST:
        raise DataError(
            f"{path}: {MANIFEST} has {found.stop - found.start} bytes", why=f"the limit is {_MAX_MANIFEST}", fix=_AGAIN
        )
    raw = FilePart(path, MANIFEST, found.start, found.stop).read_bytes()
    if zlib.crc32(raw) != found.crc:
        raise IntegrityError(
            f"{path}: {MANIFEST} is damaged", why="it does not have the checksum in the archive's table", fix=_AGAIN
        )
    table: dict[str, Any] = Json(str(path), MANIFEST).decode(raw.strip())
    if table.get("format") != FORMAT or table.get("version") != VERSION:
        said = f"{table.get('format')!r} version {table.get('version')!r}"
        raise DataError(
            f"{path} is a bundle of another kind: {said}",
            why=f"this nyala reads {FORMAT!r} version {VERSION}",
            fix="update nyala",
        )
    try:
        return msgspec.convert(table, Manifest)
    except msgspec.ValidationError as error:
        raise DataError(f"{path}: {MANIFEST}: {error}", fix=_AGAIN) from error


def _check_members(path: Path, manifest: Manifest, members: Mapping[str, Member]) -> None:
    """The archive holds exactly what the manifest names, and each model's files lie in a folder of its own."""
    there, named = set(members) - {MANIFEST}, set(manifest.members)
    if there != named:
        missing, strange = sorted(named - there), sorted(there - named)
        said = f"it lacks {missing[0]}" if missing else f"it holds {strange[0]}, which the manifest does not name"
        raise IntegrityError(f"{path} does not hold what its manifest names: {said}", fix=_AGAIN)
    for name, spec in manifest.members.items():
        size = members[name].stop - members[name].start
        if size != spec.size or not re.fullmatch(r"[0-9a-f]{64}", spec.sha256):
            said = f"{name} has {size} bytes, its manifest says {spec.size}" if size != spec.size else f"{name} has no sha256"
            raise IntegrityError(f"{path}: {said}", fix=_AGAIN)
    folders = [packed.folder for packed in manifest.models.values()]
    if len(set(folders)) != len(folders) or not all(f and "/" not in f for f in folders):
        raise DataError(f"{path}: {MANIFEST}: each model needs a folder of its own", fix=_AGAIN)
    strays = sorted(name for name in named if name.partition("/")[0] not in folders)
    if strays:
        raise DataError(f"{path}: {strays[0]} belongs to no model", fix=_AGAIN)
