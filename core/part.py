"""A file that lies inside another one, such as the weights in a bundle, used where it lies."""

from __future__ import annotations

import io
import mmap
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from .errors import CheckpointError

if TYPE_CHECKING:
    from typing import IO


@dataclass(frozen=True)
class FilePart:
    """The bytes ``start`` to ``stop`` of the file ``archive``, read like a :class:`pathlib.Path`.

    Args:
        archive: the file on the disk.
        name: what the part is called inside it, e.g. ``"resnet18/model.safetensors"``.
        start, stop: its place in bytes.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> _ = Path(folder.name, "all").write_text("head{}tail")
        >>> part = FilePart(Path(folder.name, "all"), "m/config.json", 4, 6)
        >>> part.read_text(), part.suffix, part.stat().st_size
        ('{}', '.json', 2)
    """

    archive: Path
    name: str
    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.archive}/{self.name}"

    def __fspath__(self) -> str:
        """For messages. Nothing lies at this path, so what does not know parts fails instead of reading other bytes."""
        return str(self)

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.stop - self.start

    @property
    def parent(self) -> Path:
        """The folder it would lie in, if the archive were one."""
        return Path(str(self)).parent

    @property
    def suffix(self) -> str:
        """The end of its name from the last dot on."""
        return PurePosixPath(self.name).suffix

    def is_file(self) -> bool:
        """Whether the archive is there and long enough."""
        try:
            return self.archive.stat().st_size >= self.stop
        except OSError:
            return False

    exists = is_file

    def stat(self) -> os.stat_result:
        """What the system says about the archive, but with the part's own size."""
        of = self.archive.stat()
        fields = {name: getattr(of, name) for name in dir(of) if name.startswith("st_")}
        return os.stat_result([*of[:6], self.size, *of[7:]], fields)

    def open(self) -> io.BufferedReader:
        """The part as a binary file of its own; the caller closes it.

        Raises:
            CheckpointError: the archive has become shorter than it was.
            OSError: it cannot be opened.
        """
        file = open(self.archive, "rb")  # noqa: SIM115 - the window owns it
        if os.fstat(file.fileno()).st_size < self.stop:
            file.close()
            raise CheckpointError(f"{self} reaches beyond the end of {self.archive}", fix="copy or fetch that file again")
        return io.BufferedReader(_Window(file, self.start, self.stop), 1 << 16)

    def read_bytes(self) -> bytes:
        """All its bytes."""
        with self.open() as file:
            return file.read()

    def read_text(self, encoding: str = "utf-8") -> str:
        """All its text."""
        return self.read_bytes().decode(encoding)


class _Window(io.RawIOBase):
    """A range of an open file, as a file."""

    def __init__(self, file: IO[bytes], start: int, stop: int) -> None:
        self._file, self._start, self._stop = file, start, stop
        self._file.seek(start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._file.tell() - self._start, os.SEEK_END: self._stop - self._start}[whence]
        return self._file.seek(self._start + max(0, base + offset)) - self._start

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, buffer: Any) -> int:
        left = max(0, self._stop - self._file.tell())
        chunk = self._file.read(min(len(buffer), left))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        self._file.close()
        super().close()


def open_binary(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a file, or a :class:`FilePart`, for reading."""
    return path.open() if isinstance(path, FilePart) else open(path, "rb")


def size_of(path: str | os.PathLike[str], file: BinaryIO) -> int:
    """Bytes of an open file, or of the part of it that ``path`` is."""
    return path.size if isinstance(path, FilePart) else os.fstat(file.fileno()).st_size


def map_file(path: str | os.PathLike[str], file: BinaryIO, *, writable: bool) -> Any:
    """The bytes of an open file, or of a part of one, mapped into memory: a buffer of exactly these.

    Args:
        path: what was opened; a :class:`FilePart` says which bytes of ``file``.
        file: the file on the disk, of the part its archive.
        writable: copy-on-write instead of read-only.
    """
    access = mmap.ACCESS_COPY if writable else mmap.ACCESS_READ
    if not isinstance(path, FilePart):
        return mmap.mmap(file.fileno(), 0, access=access)
    page = path.start - path.start % mmap.ALLOCATIONGRANULARITY  # a mapping begins at a page
    mapped = mmap.mmap(file.fileno(), path.stop - page, access=access, offset=page)
    return memoryview(mapped)[path.start - page :]
