"""PyTorch's file format by hand: programs, tensors, and the two containers around them."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(value: int) -> bytes:
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def items(*values: bytes) -> bytes:
    return b"(" + b"".join(values) + b"t"


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + items(*arguments) + b"R"


def storage(key: str = "0", kind: bytes = name("torch", "FloatStorage"), size: bytes = integer(6), *more: bytes) -> bytes:
    return items(text("storage"), kind, text(key), text("cpu"), size, *more) + b"Q"


def tensor(
    block: bytes = storage(),
    offset: int = 0,
    shape: tuple[int, ...] = (2, 3),
    stride: tuple[int, ...] = (3, 1),
    rest: tuple[bytes, ...] = (b"\x89", call(name("collections", "OrderedDict"))),
    function: bytes = name("torch._utils", "_rebuild_tensor_v2"),
) -> bytes:
    return call(function, block, integer(offset), items(*map(integer, shape)), items(*map(integer, stride)), *rest)


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def state(**entries: bytes) -> bytes:
    pairs = b"".join(text(key) + value for key, value in entries.items())
    return program(call(name("collections", "OrderedDict")) + b"(" + pairs + b"u")


NUMBERS = np.arange(6, dtype=np.float32)


def zipped(path: Path, code: bytes, blocks: dict[str, bytes] | None = None, order: bytes = b"little", root: str = "m") -> Path:
    blocks = {"0": NUMBERS.tobytes()} if blocks is None else blocks
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{root}/data.pkl", code)
        archive.writestr(f"{root}/byteorder", order)
        for key, block in blocks.items():
            archive.writestr(f"{root}/data/{key}", block)
        archive.writestr(f"{root}/version", b"3\n")
    return path


SYSTEM = program(b"}(" + text("little_endian") + b"\x88u")
MAGIC = 0x1950A86A20F9469CFC6C


def streamed(
    path: Path,
    code: bytes,
    blocks: tuple[tuple[str, int, bytes], ...] = (("0", 6, NUMBERS.tobytes()),),
    magic: int = MAGIC,
    version: int = 1001,
    system: bytes = SYSTEM,
    tail: bytes = b"",
) -> Path:
    keys = program(b"](" + b"".join(text(key) for key, _, _ in blocks) + b"e")
    data = b"".join(struct.pack("<q", count) + raw for _, count, raw in blocks)
    path.write_bytes(program(integer(magic)) + program(integer(version)) + system + code + keys + data + tail)
    return path


WRITERS: list[Callable[[Path, bytes], Path]] = [zipped, streamed]
