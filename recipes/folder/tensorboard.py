"""TensorBoard's event files, written by hand: a record is length, checksum, an ``Event`` in protobuf's wire format, checksum.

The formats: tensorflow/core/lib/io/record_writer.h (records, masked CRC32C) and tensorflow/core/util/event.proto (fields).
A run's file holds what ``metrics.jsonl`` says and nothing else: when a run goes on, it is made anew from the metrics that are
kept, so no point is in it twice.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from ...core.atomic import atomic_write, storage_errors
from ...core.errors import IntegrityError
from . import metrics
from . import run as runs

FILE = "events.out.tfevents.0.nyala"  # TensorBoard looks for "tfevents" in the name
# What a record's numbers are called there; slashes make groups.
_GROUPS = {"step": "train", "final": "test"}
_LEFT_OUT = ("kind", "step", "part", "samples", "correct", "weights_step", "fold")
_NOT_FINITE = ("nan", "inf", "-inf")  # how the metrics spell them


class Events:
    """Appends events to a file.

    Args:
        path: the file; what it held is replaced.
        beginning: records that are in it from the start, with the time of each.

    Raises:
        StorageError: full disk, read-only folder.
    """

    def __init__(self, path: Path, beginning: Iterable[tuple[Mapping[str, Any], float]] = ()) -> None:
        self.path = path
        content = bytearray(record(event(0.0, version=b"brain.Event:2")))
        self._clock = 0.0
        for line, clock in beginning:
            content += self._encode(line, clock)
        atomic_write(path, content)
        with storage_errors(path):
            self._file: BinaryIO = open(path, "ab")  # noqa: SIM115 - closed by __exit__

    def _encode(self, line: Mapping[str, Any], clock: float) -> bytes:
        values = dict(scalars(line))
        self._clock = max(self._clock, clock)
        return record(event(self._clock, int(line["step"]), values)) if values else b""

    def write(self, line: Mapping[str, Any], clock: float | None = None) -> None:
        """Appends the numbers of one line of the metrics; a line without any is left out.

        Args:
            line: with ``kind`` and ``step``.
            clock: seconds since 1970; now if left out.
        """
        with storage_errors(self.path):
            self._file.write(self._encode(line, time.time() if clock is None else clock))
            self._file.flush()

    def __enter__(self) -> Events:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with storage_errors(self.path):
            self._file.close()


def scalars(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """(tag, value) of the numbers in a line of the metrics.

    Example:
        >>> dict(scalars({"kind": "eval", "part": "validation", "step": 4, "loss": 0.5, "accuracy": 0.75}))
        {'validation/loss': 0.5, 'validation/accuracy': 0.75}
        >>> dict(scalars({"kind": "step", "step": 4, "loss": 0.5, "samples": 8, "correct": 6}))
        {'train/loss': 0.5, 'train/accuracy': 0.75}
    """
    kind = line.get("kind")
    if kind not in ("step", "eval", "final") or "step" not in line:
        return
    group = str(line.get("part") or _GROUPS.get(kind, kind))
    for name, value in line.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name not in _LEFT_OUT and (number or value in _NOT_FINITE):
            yield f"{group}/{name}", float(value)
    if kind == "step" and line.get("samples") and "correct" in line:
        yield f"{group}/accuracy", line["correct"] / line["samples"]


def follow(folder: Path) -> Events:
    """The event file of a run: made anew from the metrics that are there, and open for more.

    Args:
        folder: the run folder; its ``metrics.jsonl`` is cut back already, where the run goes on.
    """
    there = folder / runs.METRICS
    lines = list(metrics.read(there)) if there.is_file() else []
    clocks = _clocks(folder / runs.TIMINGS)
    return Events(folder / FILE, ((line, clocks.get(line.get("step", 0), 0.0)) for line in lines))


def _clocks(path: Path) -> dict[int, float]:
    """The time of each step; of a step that was made again after an interruption, the last one."""
    return {int(r["step"]): float(r["clock"]) for r in metrics.read(path) if "clock" in r} if path.is_file() else {}


# ---- the wire -----------------------------------------------------------------------------------------------------


def event(clock: float, step: int = 0, values: Mapping[str, float] | None = None, version: bytes = b"") -> bytes:
    """An ``Event`` message: wall_time = 1 (double), step = 2 (int64), file_version = 3 (string), summary = 5."""
    parts = [b"\x09", struct.pack("<d", clock)]
    if step:
        parts += [b"\x10", varint(step)]
    if version:
        parts.append(_field(3, version))
    if values:
        parts.append(_field(5, b"".join(_value(tag, v) for tag, v in values.items())))
    return b"".join(parts)


def _value(tag: str, value: float) -> bytes:
    """``Summary.value = 1``: tag = 1 (string), simple_value = 2 (float)."""
    try:
        number = struct.pack("<f", value)
    except OverflowError:  # beyond float32
        number = struct.pack("<f", float("inf") if value > 0 else float("-inf"))
    return _field(1, _field(1, tag.encode()) + b"\x15" + number)


def _field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """A whole number in groups of seven bits, the lowest first.

    Example:
        >>> varint(300).hex()
        'ac02'
    """
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def record(content: bytes) -> bytes:
    """A record as TensorFlow frames it: length, its masked checksum, content, its masked checksum."""
    length = struct.pack("<Q", len(content))
    return length + struct.pack("<I", masked(length)) + content + struct.pack("<I", masked(content))


def _table() -> tuple[int, ...]:
    found = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        found.append(byte)
    return tuple(found)


_CRC = _table()


def crc32c(content: bytes) -> int:
    """The Castagnoli checksum (RFC 3720, B.4).

    Example:
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def masked(content: bytes) -> int:
    """A checksum as records carry it: turned by 15 bits, plus a constant."""
    crc = crc32c(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read(path: Path) -> Iterator[tuple[int, float, dict[str, float]]]:
    """(step, time, {tag: value}) of each event that has values; a last record that is cut off is left out.

    Raises:
        IntegrityError: a checksum that does not fit.
    """
    content = path.read_bytes()
    place = 0
    while place + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        body = content[place + 12 : place + 12 + length]
        if place + 16 + length > len(content):
            return
        sums = struct.unpack_from("<I", content, place + 8) + struct.unpack_from("<I", content, place + 12 + length)
        if sums != (masked(content[place : place + 8]), masked(body)):
            raise IntegrityError(f"{path} is damaged at byte {place}", fix="remove it: `nyala resume` makes it anew")
        step, clock, values = _parsed(body)
        if values:
            yield step, clock, values
        place += 16 + length


def _parsed(body: bytes) -> tuple[int, float, dict[str, float]]:
    fields = dict(_fields(body))
    values = {}
    for number, entry in _fields(fields.get(5, b"")):
        inner = dict(_fields(entry)) if number == 1 else {}
        values[inner[1].decode()] = struct.unpack("<f", inner[2])[0]
    return fields.get(2, 0), struct.unpack("<d", fields[1])[0], values


def _fields(body: bytes) -> Iterator[tuple[int, Any]]:
    place = 0
    while place < len(body):
        key, place = _varint_at(body, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint_at(body, place)
            yield key >> 3, value
        else:
            size, place = (8, place) if kind == 1 else (4, place) if kind == 5 else _varint_at(body, place)
            yield key >> 3, body[place : place + size]
            place += size


def _varint_at(body: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[place]
        value, shift, place = value | (byte & 0x7F) << shift, shift + 7, place + 1
        if byte < 0x80:
            return value, place
