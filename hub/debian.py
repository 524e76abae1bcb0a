"""Data inside packages of Debian: a pinned ``.deb`` -> the files that are wanted of it, verified, in the cache.

apt is asked first, where there is one: it knows the mirrors that this machine should use. Else the archive's own servers are. No
package is installed and none of its scripts run: the archive is read here.
"""

from __future__ import annotations

import lzma
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ..core.atomic import atomic_folder, storage_errors
from ..core.errors import IntegrityError, NetworkError
from .download import Download, fetch
from .integrity import sha256_file
from .sources import child
from .storage import cache_folder, is_offline, locked, logger, make_folder, require_space

_SERVERS = ("http://deb.debian.org/debian/", "http://ftp.debian.org/debian/", "http://archive.debian.org/debian/")
_MAGIC = b"!<arch>\n"
_HEADER = 60  # bytes of an archive member's header
_LARGEST = 1 << 30  # of all files of a package together: no data set here is near it


@dataclass(frozen=True)
class DebianPackage:
    """A package at one version.

    Attributes:
        name, version: as Debian has them; the version may have an epoch (``1:1.4``).
        pool: its folder in the archive.
        sha256, size: of the ``.deb``.
    """

    name: str
    version: str
    pool: str
    sha256: str
    size: int

    @property
    def file(self) -> str:
        """Its name in the archive, where versions stand without their epoch."""
        return f"{self.name}_{self.version.rpartition(':')[2]}_all.deb"


def unpacked(package: DebianPackage, wanted: Callable[[PurePosixPath], PurePosixPath | None]) -> Path:
    """The folder with the wanted files of a package; fetched and unpacked once.

    Args:
        package: which one.
        wanted: a file's path inside the package (``usr/share/...``) -> what it is called in the folder; None leaves it out.

    Raises:
        NetworkError: it is not in the cache, and neither apt nor a server gave it.
        IntegrityError: other bytes than those that were pinned, or no such archive.
        StorageError: the cache cannot be written, or has no room.
    """
    folder = cache_folder() / "datasets" / "debian" / f"{package.name}_{package.version.replace(':', '.')}"
    if folder.is_dir():
        return folder
    if is_offline():
        raise NetworkError(
            f"the data of the Debian package {package.name} are not in the cache {folder.parent}",
            why="the network is forbidden (NYALA_OFFLINE or HF_HUB_OFFLINE)",
            fix=f"run it once with a network, or install the package: apt install {package.name}",
        )
    make_folder(folder.parent)
    with locked(folder.with_name(f".{folder.name}.lock"), package.file):
        if not folder.is_dir():
            require_space(folder.parent, 4 * package.size, package.file)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as work:
                archive = _downloaded(package, Path(work))
                with storage_errors(folder, "write to"), atomic_folder(folder) as new:
                    unpack(archive, new, wanted)
    return folder


def _downloaded(package: DebianPackage, work: Path) -> Path:
    found = _by_apt(package, work) if shutil.which("apt-get") else None
    if found is not None:
        return found
    urls = tuple(f"{server}{package.pool}{package.file}" for server in _SERVERS)
    cached = fetch(Download(package.file, urls, package.sha256, "datasets/debian", 2 * package.size))
    return Path(shutil.move(cached, work / package.file))


def _by_apt(package: DebianPackage, work: Path) -> Path | None:
    """The package as apt gets it; None where apt cannot, or has other bytes of this version."""
    place, log = make_folder(work / "apt"), work / "apt.log"
    command = ["apt-get", "download", "-q", f"{package.name}={package.version}"]
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    status = child.run(command, work, log, package.file, package.size, f"{package.name}: apt", environment, place)
    files = sorted(place.glob("*.deb"))
    if status or not files:
        last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no word"])[-1]
        logger.info("apt has no %s %s (%s): asking Debian's servers", package.name, package.version, last)
        return None
    if sha256_file(files[0]) != package.sha256:
        logger.warning("apt gave a %s with the wrong sha256: asking Debian's servers", package.file)
        return None
    return files[0]


def unpack(archive: Path, folder: Path, wanted: Callable[[PurePosixPath], PurePosixPath | None]) -> int:
    """Writes the wanted files of a ``.deb`` into a folder; returns how many.

    Args:
        archive: the file.
        folder: an empty folder.
        wanted: as for :func:`unpacked`.

    Raises:
        IntegrityError: no such archive, damaged, or larger than any data set.
    """
    count, size = 0, 0
    try:
        with (
            open(archive, "rb") as file,
            lzma.open(_data_of(file, archive)) as data,  # not left to tarfile, which takes a cut stream for an empty archive
            tarfile.open(fileobj=data, mode="r|") as tar,
        ):
            for member in tar:
                path = PurePosixPath(member.name)
                inside = member.isfile() and not path.is_absolute() and ".." not in path.parts
                name = wanted(path.relative_to(".")) if inside else None
                if name is None:
                    continue
                size += member.size
                if size > _LARGEST:
                    raise IntegrityError(f"{archive.name} holds more than {_LARGEST} bytes", fix="do not use it")
                _write(tar.extractfile(member), folder / name)
                count += 1
    except (tarfile.TarError, lzma.LZMAError, EOFError, ValueError) as error:
        raise IntegrityError(f"{archive.name} is damaged: {error}", fix="get the package again") from error
    return count


def _write(source: IO[bytes] | None, path: Path) -> None:
    assert source is not None  # it is a plain file
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)


def _data_of(file: IO[bytes], archive: Path) -> Any:
    """The file, standing where the package's own files begin: a ``.deb`` is an ar archive of three members."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise IntegrityError(f"{archive.name} is no Debian package", fix="get it again")
    while header := file.read(_HEADER):
        name, length = (
            header[:16].decode("ascii", "replace").strip().rstrip("/"),
            header[48:58].decode("ascii", "replace").strip(),
        )
        if len(header) < _HEADER or not length.isdigit():
            break
        if name == "data.tar.xz":
            return file
        file.seek(int(length) + int(length) % 2, os.SEEK_CUR)
    raise IntegrityError(f"{archive.name} has no data.tar.xz", why="it is damaged, or packed in another way", fix="get it again")
