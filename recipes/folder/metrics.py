"""``metrics.jsonl``: the truth about a run, one JSON object a line, without a word about wall-clock time.

Times go to ``timings.jsonl`` beside it, so that two runs with the same numbers have the same bytes here. A checkpoint records
how long the file was; resuming cuts it back to that, so that replayed steps are not in it twice.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from ...core.atomic import storage_errors
from ...core.errors import IntegrityError
from ..proof import chain


def encode(record: dict[str, Any]) -> bytes:
    """One line: keys in the order given, floats by their shortest exact spelling, NaN and infinity as strings.

    Example:
        >>> encode({"kind": "step", "loss": float("nan")})
        b'{"kind":"step","loss":"nan"}\\n'
    """
    clean = {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return (json.dumps(clean, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n").encode()


class Log:
    """An append-only file of JSON lines.

    Args:
        path: the file; it is created where it is missing.
        offset: cut the file back to this many bytes first, or None to append; a last line without its end, of a killed process or
            a full disk, is cut off then.

    Raises:
        IntegrityError: the file is shorter than ``offset``.
        StorageError: full disk, read-only folder.
    """

    def __init__(self, path: Path, offset: int | None = None) -> None:
        self.path = path
        with storage_errors(path):
            self._file: BinaryIO = open(path, "ab")  # noqa: SIM115 - closed by __exit__
            size = self._file.tell()
            if offset is not None and size < offset:
                self._file.close()
                raise IntegrityError(
                    f"{path} has {size} bytes and the checkpoint was written after {offset}",
                    why="lines of it are lost",
                    fix="resume from an older checkpoint by removing the newest one, or start again in a new folder",
                )
            end = _whole(path, size) if offset is None else offset
            if end < size:
                self._file.truncate(end)

    def write(self, record: dict[str, Any]) -> None:
        """Appends one line, and hands it to the operating system at once."""
        with storage_errors(self.path):
            self._file.write(encode(record))
            self._file.flush()

    def sync(self) -> int:
        """Makes everything written so far durable; returns the length of the file in bytes."""
        with storage_errors(self.path):
            os.fsync(self._file.fileno())
            return self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with storage_errors(self.path):
            self._file.close()


class Chained(Log):
    """``metrics.jsonl`` itself: its ``hash`` records carry the chain of ``chain.py``.

    Args:
        path, offset: as for ``Log``.
        first: the chain's first value.
    """

    def __init__(self, path: Path, offset: int, first: str) -> None:
        super().__init__(path, offset)
        with storage_errors(path, "read"):
            content = path.read_bytes()
        self._chain, _ = chain.replay(first, content.splitlines(keepends=True))
        self._content = hashlib.sha256(content)
        self.listeners: list[Callable[[dict[str, Any]], None]] = []

    def write(self, record: dict[str, Any]) -> None:
        """Appends one line, and hands the record to the listeners."""
        super().write(record)
        for heard in self.listeners:
            heard(record)
        line = encode(record)
        self._chain.add(line)
        self._content.update(line)

    def link(self, record: dict[str, Any]) -> None:
        """Appends a ``hash`` record with the chain's next link in it."""
        self.write({**record, "chain": self._chain.link(record["parameters"])})

    def seal(self, outputs: Mapping[str, str]) -> str:
        """The last link of a run: over everything since the last ``hash`` record and the hashes of the results."""
        return self._chain.seal(outputs)

    @property
    def sha256(self) -> str:
        """Of everything written so far."""
        return self._content.hexdigest()


def fault(path: Path, length: int, sha256: str | None) -> str:
    """What is wrong with the first ``length`` bytes of a file, or an empty string.

    Args:
        path: the file; a missing one is an empty one.
        length: bytes.
        sha256: their hash, or None where it was not recorded.
    """
    with storage_errors(path, "read"):
        content = path.read_bytes()[:length] if path.is_file() else b""
    if len(content) < length:
        return f"{path.name} has {len(content)} bytes and it was written after {length}"
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        return f"{path.name} is not what it was when it was written"
    return ""


def _whole(path: Path, size: int) -> int:
    """The length of a file without a last line that has no end."""
    with open(path, "rb") as file:
        while size:
            start = max(0, size - 4096)
            file.seek(start)
            end = file.read(size - start).rfind(b"\n")
            if end >= 0:
                return start + end + 1
            size = start
    return 0


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file of JSON lines; a last line without its newline (a killed process) is left out.

    Raises:
        IntegrityError: a line that is no JSON object.
    """
    with storage_errors(path, "read"):
        raw = path.read_bytes()
    for number, line in enumerate(raw.split(b"\n")[:-1], 1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise IntegrityError(
                f"{path}, line {number}, is no JSON", why=str(error), fix="take this file from a backup, or run again"
            ) from error
        yield record


def history(path: Path) -> Iterator[dict[str, Any]]:
    """The records of ``metrics.jsonl``: each has its kind and step, a step its loss and a hash its hash.

    Raises:
        IntegrityError: a line that is no JSON object, or no such record.
    """
    for number, record in enumerate(read(path), 1):
        try:
            _ = {"step": lambda r: float(r["loss"]), "hash": lambda r: str(r["parameters"])}.get(record["kind"], len)(record)
            _ = int(record["step"])
        except (TypeError, KeyError, ValueError) as error:
            raise IntegrityError(
                f"{path}, line {number}, is no record of a run", why=repr(error), fix="take this file from a backup, or run again"
            ) from error
        yield record
