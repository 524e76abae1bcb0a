"""``nyala bundle``: packs models into one file; see :mod:`.bundled` for what is in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import msgspec

from ..core.atomic import atomic_write, storage_errors
from ..core.errors import ArgumentError, IntegrityError, NyalaError, StorageError
from ..core.part import FilePart, open_binary
from .bundled import FORMAT, MANIFEST, SUFFIX, VERSION, Packed
from .cards import Card, FileSpec
from .client import Resolved, fetch_resolved, resolve
from .files import Files
from .golden import check, record
from .integrity import sha256_file
from .load import load
from .lockfile import chosen
from .lockfile import read as read_lock
from .locking import source_of, stated_license
from .progress import download_bar
from .quota import in_words
from .sources.selection import helper_files, shard_names

_ALIGNED = 64  # bytes: the place of each member, so that every tensor of a mapped file is aligned
_PADDING = 0xD935  # the kind of extra field that aligning tools of zip archives use
_BIG = 1 << 31  # from here on sizes are written with 64 bits
_CHUNK = 1 << 20

Data = Path | FilePart | bytes


@dataclass(frozen=True)
class Bundled:
    """What was written.

    Attributes:
        path: the bundle.
        sha256, size: of the whole file.
        models: for each model its number of files, their bytes, and its licence.
    """

    path: Path
    sha256: str
    size: int
    models: dict[str, tuple[int, int, str]]


@dataclass(frozen=True)
class _Member:
    """A member to be written; its bytes have been read once."""

    name: str
    data: Data
    size: int
    sha256: str
    crc: int


def bundle(
    names: Sequence[str], output: str | os.PathLike[str], *, lock: str | Path | None = None, offline: bool = False
) -> Bundled:
    """Pack models into one file that :func:`nyala.load` reads in place. Equal models make equal bytes.

    Each model is fetched where it is not here yet, and run on its golden input first: what does not answer as it should
    is not packed. A model without a golden gets one: its own answer on this machine.

    Args:
        names: catalogue names, hub ids, folders, or folders of finished runs.
        output: the bundle, ``FILE.nyala``; an existing one is replaced once the new one is whole.
        lock: a lock file; see :func:`.client.resolve`.
        offline: make no network call.

    Raises:
        ArgumentError: no name, another ending than ``.nyala``, two models of one name, or a bundle among them.
        UnknownNameError, NetworkError, AccessError: see :func:`.client.fetch`.
        IntegrityError: bytes or a golden answer that are not right.
        StorageError: full disk, read-only or missing folder. Nothing is left behind.
    """
    path = Path(output).expanduser()
    if path.suffix != SUFFIX or not names:
        what = f"the bundle {path} does not end in {SUFFIX}" if names else "no name was given"
        raise ArgumentError(what, why="loading knows bundles by that", fix=f"nyala bundle NAME... -o FILE{SUFFIX}")
    _require_folder(path)
    packed: dict[str, Packed] = {}
    members: dict[str, Data] = {}
    for name in names:
        key, model, data = _model(name, lock, offline)
        if key in packed:
            raise ArgumentError(f"two models would be called {key!r} in the bundle", fix="name each model once")
        packed[key] = model
        members |= data
    _write(path, packed, members)
    counted = {key: _counted(model, members) for key, model in packed.items()}
    return Bundled(path, sha256_file(path), path.stat().st_size, counted)


def _counted(model: Packed, members: Mapping[str, Data]) -> tuple[int, int, str]:
    files = [data for name, data in members.items() if name.startswith(f"{model.folder}/files/")]
    return len(files), sum(_size(data) for data in files), model.license


def _model(name: str, lock: str | Path | None, offline: bool) -> tuple[str, Packed, dict[str, Data]]:
    """The name a model has in the bundle, its description, and its members."""
    resolved = resolve(name, lock=lock)
    if resolved.sources[0].kind == "bundle":
        raise ArgumentError(f"{name} is a bundle already", fix="name what it was made from, or copy the file")
    files = fetch_resolved(resolved, offline=offline)
    if "adapter_config.json" in files:
        raise ArgumentError(f"{name} is an adapter", why="it is of no use without its base", fix="merge it into its base first")
    pipeline = load(name, lock=lock, offline=True, device="cpu")
    golden, source = resolved.golden, "the card"
    if golden is None:
        golden, source = record(pipeline), "the machine that made the bundle"
    elif not (answer := check(pipeline, golden)).right:
        raise IntegrityError(f"{name} does not answer as its card says: {answer}", fix="nyala verify " + name)
    key = resolved.key or _folder_name(name)
    folder = quote(key, safe="@")
    card = resolved.card
    packed = Packed(
        folder=folder,
        origin=files.origin if resolved.key else f"folder {key}",  # nobody else has the folder that it was
        revision=files.revision,
        license=_license(resolved, files, lock, offline),
        card=card is not None,
        golden=golden,
        golden_from=source,
    )
    members: dict[str, Data] = {f"{folder}/files/{local}": files[local] for local in _wanted(files, resolved)}
    if card is not None:
        members |= {f"{folder}/{local}": data for local, data in _card_members(card).items()}
    return key, packed, members


def _license(resolved: Resolved, files: Files, lock: str | Path | None, offline: bool) -> str:
    if resolved.card is not None:
        return resolved.card.license
    if not resolved.key:
        return _base_license(Path(resolved.sources[0].folder))
    file = chosen(lock)
    entry = read_lock(file).get(resolved.key) if file is not None else None
    return stated_license(source_of(resolved, files), entry, offline)


def _base_license(folder: Path) -> str:
    """The licence of the weights that a run began with, where ``folder`` is a run's model; else empty."""
    try:
        manifest = json.loads((folder.parent / "manifest.json").read_text(encoding="utf-8"))
        card = resolve(str(manifest["weights"]["name"]), lock="").card
    except (OSError, ValueError, KeyError, TypeError, NyalaError):  # no run, or its base is not known here
        return ""
    return card.license if card else ""


def _folder_name(name: str) -> str:
    folder = Path(name).expanduser().resolve()
    return folder.parent.name if folder.name == "model" else folder.name


def _wanted(files: Files, resolved: Resolved) -> list[str]:
    """What a loader needs: all that a card or a listing named, and of a folder not what merely lies in it."""
    if resolved.sources[0].kind != "folder" or resolved.card is not None:
        return sorted(files)
    weights = files.weights()
    shards = shard_names(files.read_json(weights).get("weight_map"), weights) if weights.endswith(".json") else []
    for shard in shards:
        files.require(shard, "fill the model's parameters")
    return sorted({*helper_files(files), weights, *shards})


def _card_members(card: Card) -> dict[str, Data]:
    found: dict[str, Data] = {"card.toml": Path(card.path)}
    if isinstance(card.labels, str):
        found[card.labels] = Path(card.path).parent / card.labels
    return found


# -- writing


def _write(path: Path, packed: Mapping[str, Packed], data: Mapping[str, Data]) -> None:
    total = sum(_size(content) for content in data.values())
    with download_bar(f"packing {path.name}", 2 * total) as show:
        progress = _Progress(show)
        members = [_read(name, data[name], progress) for name in sorted(data)]
        manifest = _manifest(packed, members)
        _require_room(path, total + len(manifest) + 1024 * len(members))
        head = _Member(MANIFEST, manifest, len(manifest), hashlib.sha256(manifest).hexdigest(), zlib.crc32(manifest))

        def write(file: BinaryIO) -> None:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for member in (head, *members):
                    _add(archive, member, progress)

        atomic_write(path, write)


def _require_folder(path: Path) -> None:
    """Before the work and not after it: is there a place to write to?"""
    if path.is_dir() or not path.parent.is_dir():
        what = f"{path} is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise StorageError(what, fix="choose another file" if path.is_dir() else "create it first, or correct the path")


def _require_room(path: Path, size: int) -> None:
    with storage_errors(path.parent, "write to"):
        free = shutil.disk_usage(path.parent).free
    if free < size:
        raise StorageError(
            f"{path} needs {in_words(size)}, but its disk has {in_words(free)} free", fix="free some, or write to another disk"
        )


class _Progress:
    def __init__(self, show: Callable[[int], None]) -> None:
        self._show, self._done = show, 0

    def add(self, count: int) -> None:
        self._done += count
        self._show(self._done)


def _size(data: Data) -> int:
    return len(data) if isinstance(data, bytes) else data.stat().st_size


def _chunks(data: Data) -> Iterator[bytes]:
    if isinstance(data, bytes):
        yield data
        return
    with storage_errors(data, "read"), open_binary(data) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _read(name: str, data: Data, progress: _Progress) -> _Member:
    digest, crc, size = hashlib.sha256(), 0, 0
    for chunk in _chunks(data):
        digest.update(chunk)
        crc, size = zlib.crc32(chunk, crc), size + len(chunk)
        progress.add(len(chunk))
    return _Member(name, data, size, digest.hexdigest(), crc)


def _manifest(packed: Mapping[str, Packed], members: Sequence[_Member]) -> bytes:
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "models": {name: msgspec.to_builtins(packed[name]) for name in sorted(packed)},
        "members": {m.name: msgspec.to_builtins(FileSpec(sha256=m.sha256, size=m.size)) for m in members},
    }
    for entry in content["members"].values():
        del entry["path"]
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=False).encode()


def _add(archive: zipfile.ZipFile, member: _Member, progress: _Progress) -> None:
    """Write one member at an aligned place; its bytes must be those that were hashed."""
    big = member.size >= _BIG
    info = zipfile.ZipInfo(member.name)  # its date is the format's first day, so that it changes no byte
    info.create_system, info.external_attr, info.file_size = 3, 0o644 << 16, member.size
    assert archive.fp is not None
    place = archive.fp.tell() + 30 + len(member.name.encode()) + (20 if big else 0)
    gap = -(place + 4) % _ALIGNED
    info.extra = _PADDING.to_bytes(2, "little") + gap.to_bytes(2, "little") + b"\0" * gap
    with archive.open(info, "w", force_zip64=big) as out:
        for chunk in _chunks(member.data):
            out.write(chunk)
            progress.add(len(chunk))
    if member.crc != info.CRC or info.file_size != member.size:
        raise IntegrityError(f"{member.name} changed while it was being packed", fix="try again when nobody writes to it")
