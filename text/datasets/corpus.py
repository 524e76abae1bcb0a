"""Files of texts that are larger than memory: the file is mapped, and only where its texts begin and end is kept."""

from __future__ import annotations

import gzip
import mmap
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from ...core.atomic import storage_errors
from ...core.errors import ArgumentError, DataError

Unit = Literal["line", "paragraph"]
_CHUNK = 1 << 24  # bytes that are searched for line ends at once


class Corpus(Sequence[str]):
    """The lines or the paragraphs of a text file in UTF-8, as a sequence that decodes what is asked for.

    A file is mapped into memory, so that it may be larger than it; of each text 16 bytes are kept. Gzipped files are unpacked
    into memory.

    Args:
        path: the file.
        unit: "line" for a text a line, "paragraph" for texts with empty lines between them.
        empty: whether empty lines are texts too; paragraphs are never empty.

    Raises:
        DataError: no such file, or a damaged archive. A text that is not UTF-8 is named when it is read.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "lines.txt")
        >>> _ = file.write_text("one\\n\\ntwo\\nand more\\n")
        >>> list(Corpus(file)), list(Corpus(file, "paragraph"))
        (['one', 'two', 'and more'], ['one', 'two\\nand more'])
    """

    def __init__(self, path: str | Path, unit: Unit = "line", *, empty: bool = False) -> None:
        if unit not in ("line", "paragraph"):
            raise ArgumentError(f"unit={unit!r}", fix="use 'line' or 'paragraph'")
        self.path = Path(path)
        self._bytes = _mapped(self.path)
        starts, ends = _lines(self._bytes)
        if unit == "line":
            kept = np.ones(len(starts), bool) if empty else ends > starts
            self._starts, self._ends = starts[kept], ends[kept]
        else:
            self._starts, self._ends = _paragraphs(starts, ends)

    def select(self, indices: Sequence[int] | np.ndarray[Any, Any]) -> Corpus:
        """The texts at ``indices``, in that order; nothing is read."""
        chosen = object.__new__(Corpus)
        chosen.path, chosen._bytes = self.path, self._bytes
        where = np.asarray(indices, np.int64)
        chosen._starts, chosen._ends = self._starts[where], self._ends[where]
        return chosen

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Corpus: ...
    def __getitem__(self, index: int | slice) -> str | Corpus:
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        if not -len(self) <= index < len(self):
            raise IndexError(f"text {index} of {len(self)}")
        start, end = int(self._starts[index]), int(self._ends[index])
        raw = self._bytes[start:end]
        try:
            return raw.decode("utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = self._bytes[: start + error.start].count(b"\n") + 1
            raise DataError(
                f"{self.path}:{line} is not UTF-8: {error.reason} 0x{raw[error.start]:02x}", fix="save the file as UTF-8"
            ) from error

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"Corpus({str(self.path)!r}, {len(self):,} texts)"


def _mapped(path: Path) -> Any:
    """The bytes of a file, mapped; those of an empty or a gzipped one in memory."""
    if not path.is_file():
        raise DataError(f"there is no file {path}", fix="check the path")
    try:
        with storage_errors(path, "read"), open(path, "rb") as file:
            if path.suffix == ".gz":
                return gzip.decompress(file.read())
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}", fix="get the file again") from error


def _lines(data: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Where each line begins and ends, int64, without line ends and a byte order mark."""
    size, view = len(data), np.frombuffer(data, np.uint8)
    found = [np.flatnonzero(view[at : at + _CHUNK] == ord("\n")) + at for at in range(0, size, _CHUNK)]
    breaks = np.concatenate([np.zeros(0, np.int64), *found])
    if size and (not len(breaks) or breaks[-1] != size - 1):
        breaks = np.append(breaks, size)  # a last line without an end
    starts = np.append(0, breaks[:-1] + 1)[: len(breaks)]
    if len(starts) and data[:3] == b"\xef\xbb\xbf":
        starts[0] = 3
    returns = (breaks > starts) & (view[np.maximum(breaks, 1) - 1] == ord("\r")) if size else np.zeros(0, bool)
    return starts, breaks - returns  # Windows writes two characters at the end of a line


def _paragraphs(starts: np.ndarray[Any, Any], ends: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Runs of lines that are not empty."""
    full = np.concatenate([[False], ends > starts, [False]])
    first, behind = np.flatnonzero(full[1:] & ~full[:-1]), np.flatnonzero(full[:-1] & ~full[1:])
    return starts[first], ends[behind - 1]
