"""Archives of data: fetched, checked and unpacked once, or found where the user has them.

Nothing in an archive is trusted: no member may leave the folder, be a link or a device, and all of them together may not be much
larger than the archive says it is. A folder gets its name once every member is in it.
"""

from __future__ import annotations

import gzip
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ..core.atomic import atomic_folder, storage_errors
from ..core.errors import DataError, IntegrityError, UnsafeFileError
from .download import Download, fetch, is_wanted
from .mutex import locked
from .progress import download_bar
from .storage import make_folder, require_space

MOST_MEMBERS = 5_000_000
_GROWTH = 20  # a text of annotations unpacks to five or ten times its size, pictures hardly grow
_ALLOWED = 64 << 20  # bytes that any archive may hold, however small it is
_CHUNK = 1 << 20
_DRIVE = re.compile(r"[A-Za-z]:")
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError)


def place(archive: Download, holds: str, folder: str | Path | None = None, limit: int | None = None) -> Path:
    """The folder with what an archive holds.

    Args:
        archive: a ``.tar``, ``.tar.gz``, ``.tgz`` or ``.zip`` file and where to get it.
        holds: a path that is in it: whichever folder has it is the one.
        folder: the user's: unpacked already, or with the archive in it, which is then unpacked into the cache. Left out, the
            archive is fetched.
        limit: bytes that it may unpack to; twenty times its own size by default.

    Raises:
        DataError: the user's folder has neither.
        NetworkError, IntegrityError, UnsafeFileError, StorageError: it cannot be fetched, is not the one that was meant, is
            damaged or dangerous, or there is no room.
    """
    if folder is not None:
        root = Path(folder).expanduser()
        found = _inside(root, holds)
        if found is not None:
            return found
        file = root / archive.name
        if not file.is_file():
            raise DataError(
                f"{root} holds neither {holds} nor {archive.name}" if root.is_dir() else f"there is no folder {root}",
                fix=f"give the folder in which {PurePosixPath(holds).parts[0]} lies; left out, the data are fetched",
            )
        if not is_wanted(archive, file):
            raise IntegrityError(
                f"{file} has another sha256 than the pinned {archive.pinned[:12]}...",
                fix="get it again; where you trust it, unpack it yourself and give that folder",
            )
        return _unpacked(archive, holds, limit, lambda: file)
    return _unpacked(archive, holds, limit, lambda: fetch(archive))


def _inside(root: Path, holds: str) -> Path | None:
    """The folder that has ``holds``: this one, the one above where this is its first part, or one inside."""
    if not root.is_dir():
        return None
    with storage_errors(root, "read"):
        above = [root.parent] if root.resolve().name == PurePosixPath(holds).parts[0] else []
        for one in (root, *above, *sorted(p for p in root.iterdir() if p.is_dir())):
            if (one / holds).exists():
                return one
    return None


def _unpacked(archive: Download, holds: str, limit: int | None, file: Callable[[], Path]) -> Path:
    folder = archive.path.with_name(f"{_stem(archive.name)}-{archive.pinned[:12] or 'unpinned'}")
    if folder.is_dir():
        return folder
    make_folder(folder.parent)
    with locked(folder.with_name(f".{folder.name}.lock"), archive.name):
        if not folder.is_dir():
            source = file()
            require_space(folder.parent, source.stat().st_size, archive.name)
            with atomic_folder(folder) as new:
                count = unpack(source, new, limit)
                if not (new / holds).exists():
                    raise IntegrityError(f"{archive.name} holds {count} files, and no {holds}", fix="get it again")
            if source == archive.path:
                source.unlink(missing_ok=True)  # what it held is here now
    return folder


def _stem(name: str) -> str:
    return re.sub(r"\.(tar\.gz|tgz|tar|zip)$", "", name)


@dataclass(frozen=True)
class _Member:
    """A plain file in an archive: its name, and how it is opened."""

    name: str
    open: Callable[[], IO[bytes]]


def unpack(archive: str | Path, folder: str | Path, limit: int | None = None) -> int:
    """Writes the files of a ``.tar``, ``.tar.gz``, ``.tgz`` or ``.zip`` file into an empty folder; returns how many.

    Args:
        archive: the file.
        folder: must exist.
        limit: bytes that all files together may have; by default twenty times the archive's own, and at least 64 MiB.

    Raises:
        UnsafeFileError: a member that would lie outside, a link, a device, an encrypted file; more bytes or members than allowed.
        IntegrityError: damaged, or cut off.
        StorageError: it cannot be read, or the folder not be written.

    Example:
        >>> import tempfile
        >>> root = tempfile.TemporaryDirectory()
        >>> with zipfile.ZipFile(Path(root.name, "a.zip"), "w") as file:
        ...     file.writestr("pictures/one.txt", "1")
        >>> unpack(Path(root.name, "a.zip"), root.name), Path(root.name, "pictures/one.txt").read_text()
        (1, '1')
    """
    archive, folder = Path(archive), Path(folder)
    with storage_errors(archive, "read"):
        size = archive.stat().st_size
    left = limit if limit is not None else max(_ALLOWED, _GROWTH * size)
    count = 0
    with _members(archive, left) as (members, file), download_bar(f"unpacking {archive.name}", size) as show:
        for member in members:
            count += 1
            if count > MOST_MEMBERS:
                raise _unsafe(archive, f"it holds more than {MOST_MEMBERS:,} files")
            target = folder / _safe(member.name, archive)
            with storage_errors(target):
                target.parent.mkdir(parents=True, exist_ok=True)
            left = _write(member, target, left, archive)
            show(file.tell())
    return count


def _write(member: _Member, target: Path, left: int, archive: Path) -> int:
    """Writes a file; the bytes that the others may still have."""
    with member.open() as source, storage_errors(target), open(target, "wb") as out:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)  # what comes out counts, not what the archive says of it
            if left < 0:
                raise _unsafe(archive, "it unpacks to far more bytes than an archive of its size should")
            out.write(chunk)
    return left


def _safe(name: str, archive: Path) -> PurePosixPath:
    """A member's path inside the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    parts = [part for part in path.parts if part != "."]
    if path.is_absolute() or not parts or ".." in parts or _DRIVE.match(name) or any(ord(c) < 32 for c in name):
        raise _unsafe(archive, f"its member {name!r} would lie outside the folder")
    return PurePosixPath(*parts)


def _unsafe(archive: Path, why: str) -> UnsafeFileError:
    return UnsafeFileError(f"{archive.name} was not unpacked", why=why, fix="get it from a place that you trust")


@contextmanager
def _members(archive: Path, limit: int) -> Iterator[tuple[Iterator[_Member], IO[bytes]]]:
    """The plain files of an archive, and the archive itself; folders are left out, and whatever else it holds is an error."""
    try:
        with storage_errors(archive, "read"), open(archive, "rb") as file:
            if archive.suffix == ".zip":
                with zipfile.ZipFile(file) as zipped:
                    yield _zipped(zipped, archive), file
            else:
                packed = archive.suffix in (".gz", ".tgz")
                stream: Any = (
                    gzip.GzipFile(fileobj=file) if packed else file
                )  # not left to tarfile, which checks no sum of a gzip stream
                bounded: Any = _Bounded(stream, 2 * limit + _ALLOWED, archive)
                with tarfile.open(fileobj=bounded, mode="r|") as tar:
                    yield _tarred(tar, archive), file
                while packed and stream.read(_CHUNK):  # to its end, where its sum stands
                    pass
    except _DAMAGED as error:
        raise IntegrityError(f"{archive.name} is damaged: {error or type(error).__name__}", fix="get it again") from error


class _Bounded:
    """A stream that ends in an error after so many bytes: tarfile takes a header of any length into memory."""

    def __init__(self, stream: IO[bytes], left: int, archive: Path) -> None:
        self.stream, self.left, self.archive = stream, left, archive

    def read(self, size: int = -1) -> bytes:
        """As of any file."""
        chunk = self.stream.read(size)
        self.left -= len(chunk)
        if self.left < 0:
            raise _unsafe(self.archive, "it unpacks to far more bytes than an archive of its size should")
        return chunk


def _zipped(zipped: zipfile.ZipFile, archive: Path) -> Iterator[_Member]:
    for info in zipped.infolist():
        mode = info.external_attr >> 16
        if info.flag_bits & 1:
            raise _unsafe(archive, f"its member {info.filename!r} is encrypted")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _unsafe(archive, f"its member {info.filename!r} is no plain file")
        if not info.is_dir():
            yield _Member(info.filename, lambda info=info: zipped.open(info))  # type: ignore[misc]


def _tarred(tar: tarfile.TarFile, archive: Path) -> Iterator[_Member]:
    for info in tar:
        if info.isfile():
            yield _Member(info.name, lambda info=info: _opened(tar, info))  # type: ignore[misc]
        elif not info.isdir():
            raise _unsafe(archive, f"its member {info.name!r} is a link or a device")


def _opened(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    found = tar.extractfile(info)
    assert found is not None  # it is a plain file
    return found
