"""The zip archives that PyTorch writes, read where they lie.

PyTorch stores every member uncompressed and aligned, so a member is a range of the mapped file. Whatever an archive could use
to mislead is refused: compressed or encrypted members, names given twice, members that overlap or lie about their place.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from ..errors import CheckpointError
from .header import INCOMPLETE, MAX_TENSORS, UNTRUSTED, shorten

MAX_MEMBERS = MAX_TENSORS + 100

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s4B4H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_SATURATED = 0xFFFFFFFF


@dataclass(frozen=True)
class Member:
    """A range of bytes of the archive; ``stored`` is false where it is compressed. ``crc`` is the table's, unchecked."""

    start: int
    stop: int
    stored: bool
    crc: int = 0


def read_members(source: str, buffer: Any) -> dict[str, Member]:
    """Every file in the archive ``buffer``, by name.

    Raises:
        CheckpointError: no valid archive, or one that could be read in two ways.
    """
    return _Reader(source, buffer).read()


class _Reader:
    def __init__(self, source: str, buffer: Any) -> None:
        self.source, self.buffer = source, buffer
        self.limit = len(buffer)  # no member reaches beyond the table of members, which comes last

    def fail(self, what: str, why: str = "", fix: str = UNTRUSTED) -> NoReturn:
        raise CheckpointError(f"{self.source}: {what}", why=why, fix=fix)

    def unpack(self, form: struct.Struct, at: int, magic: bytes, what: str) -> tuple[Any, ...]:
        if not 0 <= at <= len(self.buffer) - form.size or self.buffer[at : at + 4] != magic:
            self.fail(f"the zip archive has no {what}", fix=INCOMPLETE)
        return form.unpack_from(self.buffer, at)

    def read(self) -> dict[str, Member]:
        count, size, position = self.directory()
        self.limit, stop = position, position + size
        members: dict[str, Member] = {}
        spans: list[tuple[int, int, str]] = []
        for _ in range(count):
            name, member, local, position = self.entry(position, stop)
            if name in members:
                self.fail(f"the zip archive holds {shorten(name)} twice")
            members[name] = member
            spans.append((local, member.stop, name))
        if position != stop:
            self.fail("the zip archive's table of members has an unexpected length")
        self.check_spans(sorted(spans))
        return members

    def directory(self) -> tuple[int, int, int]:
        """Count of members, and size and position of the table that lists them."""
        at = len(self.buffer) - _END.size
        _, disk, start_disk, here, count, size, position, comment = self.unpack(_END, at, b"PK\x05\x06", "end")
        before = at - _END64_LOCATOR.size
        end = at
        if before >= 0 and self.buffer[before : before + 4] == b"PK\x06\x07":
            _, disk, end, _ = _END64_LOCATOR.unpack_from(self.buffer, before)
            fields = self.unpack(_END64, end, b"PK\x06\x06", "64-bit end")
            start_disk, here, count, size, position = fields[5], *fields[6:10]
        if disk or start_disk or here != count or comment:
            self.fail("the zip archive is one of several parts, or has a comment")
        if count > MAX_MEMBERS:
            self.fail(f"the zip archive has {count} members", why=f"the limit is {MAX_MEMBERS}")
        if position + size > end or count * _CENTRAL.size > size:
            self.fail("the zip archive's table of members lies outside it", fix=INCOMPLETE)
        return count, size, position

    def entry(self, at: int, stop: int) -> tuple[str, Member, int, int]:
        fields = self.unpack(_CENTRAL, at, b"PK\x01\x02", f"member table at byte {at}")
        flags, method, _, _, crc, packed, size, name_length, extra_length, comment_length, disk, _, _, local = fields[5:]
        name_at = at + _CENTRAL.size
        extra_at = name_at + name_length
        following = extra_at + extra_length + comment_length
        if following > stop:
            self.fail("the zip archive's table of members is cut", fix=INCOMPLETE)
        raw = bytes(self.buffer[name_at:extra_at])
        name = self.check_name(raw)
        extra = bytes(self.buffer[extra_at : extra_at + extra_length])
        size, packed, local = self.widen(name, extra, [size, packed, local])
        if flags & 0x2041 or disk:
            self.fail(f"zip member {shorten(name)} is encrypted or lies in another part")
        start = self.data_start(local, raw, method)
        if start + packed > self.limit or (method == 0 and packed != size):
            self.fail(f"zip member {shorten(name)} has {packed} bytes", why="that is more than the archive holds", fix=INCOMPLETE)
        return name, Member(start, start + packed, method == 0, crc), local, following

    def check_name(self, raw: bytes) -> str:
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            self.fail(f"zip member name {raw[:80]!r} is not UTF-8")
        parts = name.split("/")
        if not name.isprintable() or name.startswith("/") or "\\" in name or ".." in parts or not parts[0]:
            self.fail(f"zip member name {shorten(name)} is empty, or leads out of the archive")
        return name

    def widen(self, name: str, extra: bytes, numbers: list[int]) -> list[int]:
        """Numbers too large for 32 bits stand in the extra field of kind 1, in this order."""
        wide: Iterator[int] = iter(())
        while len(extra) >= 4:
            kind, length = struct.unpack_from("<2H", extra)
            if length > len(extra) - 4:
                self.fail(f"zip member {shorten(name)} has a damaged extra field", fix=INCOMPLETE)
            if kind == 1:
                wide = iter(struct.unpack_from(f"<{length // 8}Q", extra, 4))
            extra = extra[4 + length :]
        widened = [next(wide, None) if number == _SATURATED else number for number in numbers]
        if None in widened:
            self.fail(f"zip member {shorten(name)} has no 64-bit size", fix=INCOMPLETE)
        return [number for number in widened if number is not None]

    def data_start(self, local: int, raw: bytes, method: int) -> int:
        *_, here, _, _, _, _, _, name_length, extra_length = self.unpack(_LOCAL, local, b"PK\x03\x04", f"member at byte {local}")
        name_at = local + _LOCAL.size
        if bytes(self.buffer[name_at : name_at + name_length]) != raw or here != method:
            self.fail(f"zip member {shorten(raw.decode())} has another name or method where it lies than in the table")
        return name_at + int(name_length) + int(extra_length)

    def check_spans(self, spans: list[tuple[int, int, str]]) -> None:
        if spans and spans[0][0] != 0:
            self.fail(f"{spans[0][0]} bytes before the first zip member belong to nothing")
        for (_, stop, _), (start, _, name) in itertools.pairwise(spans):
            if start < stop:
                self.fail(f"zip member {shorten(name)} shares bytes with another member")
