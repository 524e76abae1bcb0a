"""The header of a safetensors file, read strictly.

A file is eight bytes with the header's length (little-endian), the header (JSON), and the tensors' bytes. Two readers of one
file must see the same tensors, so whatever another reader may take differently is refused here: a name given twice, fields
nobody defined, bytes that belong to no tensor or to two.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import ml_dtypes
import numpy as np

from ..errors import CheckpointError

MAX_HEADER = 32 << 20  # bytes; the largest published single file needs about 1 MiB
MAX_TENSORS = 100_000
MAX_NAME = 1024  # characters
MAX_RANK = 32

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "U16": np.dtype(np.uint16),
    "I16": np.dtype(np.int16),
    "U32": np.dtype(np.uint32),
    "I32": np.dtype(np.int32),
    "U64": np.dtype(np.uint64),
    "I64": np.dtype(np.int64),
    "F16": np.dtype(np.float16),
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
    "C64": np.dtype(np.complex64),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}

INCOMPLETE = "download or copy the file again: this one is incomplete or damaged"
UNTRUSTED = "do not use this file: get it again from its publisher, or save the tensors again with a correct writer"


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor lies: ``start`` and ``stop`` count bytes from the beginning of the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Header:
    """What a safetensors file says about itself: its tensors in the file's order of names, and its text metadata."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]


def header_length(source: str, first: bytes, size: int) -> int:
    """The length of the JSON part, from the file's first bytes and its size."""
    if size < 8:
        raise CheckpointError(f"{source} has {size} bytes", why="a safetensors file has at least 8", fix=INCOMPLETE)
    refuse_other_formats(source, first, _PYTORCH)
    length = int.from_bytes(first[:8], "little")
    if 8 + length > size:
        why = f"its first 8 bytes announce a header of {length} bytes"
        raise CheckpointError(f"{source} has {size} bytes", why=why, fix=INCOMPLETE)
    if length > MAX_HEADER:
        raise CheckpointError(f"{source}: the header has {length} bytes", why=f"the limit is {MAX_HEADER}", fix=UNTRUSTED)
    return length


_OTHER_FORMATS = (
    (
        b"version https://git-lfs",
        "is a Git LFS pointer, not the file itself",
        "fetch the file with `git lfs pull`, or download it",
    ),
    (b"<", "is a web page, not a weight file", "open the address in a browser to see what it says, then download the file again"),
    (b"GGUF", "is a GGUF file", "get the safetensors version of these weights"),
    (b"\x89HDF", "is an HDF5 file", "get the safetensors version of these weights"),
)
_PYTORCH = (
    (b"PK\x03\x04", "is a zip archive, as PyTorch writes it", "read it with nyala.checkpoint.load_pth"),
    (b"\x80\x02", "is a PyTorch file of the old kind", "read it with nyala.checkpoint.load_pth"),
)


def refuse_other_formats(source: str, first: bytes, more: tuple[tuple[bytes, str, str], ...] = ()) -> None:
    """Say what a file is that begins with the bytes ``first``, where it is a well-known kind that is no weight file."""
    for magic, what, fix in _OTHER_FORMATS + more:
        # A real file starts with a length: these magics would all announce headers of more than MAX_HEADER bytes.
        if first.lstrip().startswith(magic) and int.from_bytes(first[:8], "little") > MAX_HEADER:
            raise CheckpointError(f"{source} {what}", fix=fix)


class Json:
    """Reads one JSON object strictly; every complaint names the file and the part of it, e.g. ``the header``."""

    def __init__(self, source: str, part: str) -> None:
        self.source, self.part = source, part
        self.objects = 0

    def fail(self, what: str, why: str = "", fix: str = UNTRUSTED) -> NoReturn:
        raise CheckpointError(f"{self.source}: {what}", why=why, fix=fix)

    def decode(self, raw: bytes) -> dict[str, Any]:
        if not raw.startswith(b"{") or not raw.rstrip(b" ").endswith(b"}"):
            self.fail(f"{self.part} does not begin with '{{' and end with '}}'", why=f"it begins with {raw[:8]!r}")
        try:
            entries = json.loads(raw.decode(), object_pairs_hook=self.pairs, parse_constant=self.constant)
        except RecursionError:
            self.fail(f"{self.part} is nested too deeply")
        except UnicodeDecodeError as error:
            self.fail(f"{self.part} is not UTF-8", why=f"byte {error.start} is {raw[error.start]:#04x}")
        except CheckpointError:
            raise
        except ValueError as error:  # JSON that is none, or a number of thousands of digits
            self.fail(f"{self.part} is not valid JSON", why=str(error).splitlines()[0])
        assert isinstance(entries, dict)  # it begins with '{'
        return entries

    def pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        self.objects += 1
        if self.objects > MAX_TENSORS + 2:  # with the outer object and the metadata; later the memory has been spent
            self.fail(f"{self.part} names more than {MAX_TENSORS} tensors")
        made = dict(pairs)
        if len(made) != len(pairs):
            seen: set[str] = set()
            twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            self.fail(f"{shorten(twice)} is given twice in {self.part}", why="readers would disagree about its value")
        return made

    def constant(self, name: str) -> NoReturn:
        self.fail(f"{self.part} holds {name}", why="JSON knows no such number")


class _Parser(Json):
    """Reads one header; every complaint names the file, the tensor and what is wrong with it."""

    def __init__(self, source: str, size: int, base: int) -> None:
        super().__init__(source, "the header")
        self.size, self.base = size, base

    def parse(self, raw: bytes) -> Header:
        entries = self.decode(raw)
        metadata = self.metadata(entries.pop("__metadata__", {}))
        if len(entries) > MAX_TENSORS:
            self.fail(f"the header names more than {MAX_TENSORS} tensors")
        tensors = {name: self.tensor(name, entry) for name, entry in entries.items()}
        self.check_tiling(tensors)
        return Header(tensors, metadata)

    def metadata(self, metadata: Any) -> dict[str, str]:
        if not isinstance(metadata, dict):
            self.fail("__metadata__ is not an object of texts", why=f"it is a {_kind(metadata)}")
        for key, value in metadata.items():
            if not isinstance(value, str):
                self.fail(f"__metadata__ entry {shorten(key)} is not a text", why=f"it is a {_kind(value)}")
            if not _is_unicode(key + value):
                self.fail(f"__metadata__ entry {shorten(key)} is not valid Unicode")
        return metadata

    def tensor(self, name: str, entry: Any) -> TensorInfo:
        problem = name_problem(name)
        if problem:
            self.fail(f"tensor name {shorten(name)} {problem}")
        where = f"tensor {shorten(name)}"
        if not isinstance(entry, dict):
            self.fail(f"{where} is not described by an object", why=f"but by a {_kind(entry)}")
        self.check_fields(where, entry)
        dtype, shape = self.dtype(where, entry["dtype"]), self.shape(where, entry["shape"])
        start, stop = self.offsets(where, entry["data_offsets"])
        wanted = math.prod(shape) * dtype.itemsize
        if stop - start != wanted:
            why = f"shape {shape} of {entry['dtype']} needs {wanted}"
            self.fail(f"{where} has data_offsets [{start}, {stop}], that is {stop - start} bytes", why=why)
        return TensorInfo(dtype, shape, self.base + start, self.base + stop)

    def check_fields(self, where: str, entry: dict[str, Any]) -> None:
        wanted = {"dtype", "shape", "data_offsets"}
        missing, unknown = sorted(wanted - set(entry)), sorted(set(entry) - wanted)
        if missing:
            self.fail(f"{where} has no {' and no '.join(missing)}")
        if unknown:
            self.fail(f"{where} has unknown fields: {', '.join(shorten(name) for name in unknown[:3])}")

    def dtype(self, where: str, name: Any) -> np.dtype[Any]:
        if not isinstance(name, str) or name not in DTYPES:
            shown = shorten(name) if isinstance(name, str) else f"a {_kind(name)}"
            known = ", ".join(DTYPES)
            self.fail(f"{where} has dtype {shown}", why=f"nyala reads {known}", fix="get these weights in one of those dtypes")
        return DTYPES[name]

    def shape(self, where: str, shape: Any) -> tuple[int, ...]:
        if not isinstance(shape, list):
            self.fail(f"{where} has a shape that is a {_kind(shape)}", why="it must be a list of sizes")
        if len(shape) > MAX_RANK:
            self.fail(f"{where} has {len(shape)} dimensions", why=f"the limit is {MAX_RANK}")
        sizes = tuple(self.count(f"{where}: size {axis} of the shape", size) for axis, size in enumerate(shape))
        if math.prod(max(size, 1) for size in sizes) >= 1 << 59:  # also [0, 2**62], which no array can have
            self.fail(f"{where} has shape {_short_numbers(sizes)}", why="that is more than any memory holds")
        return sizes

    def offsets(self, where: str, offsets: Any) -> tuple[int, int]:
        if not isinstance(offsets, list) or len(offsets) != 2:
            self.fail(f"{where} has data_offsets that are not two numbers")
        start, stop = (self.count(f"{where}: an entry of data_offsets", offset) for offset in offsets)
        if stop < start:
            self.fail(f"{where} has data_offsets [{start}, {stop}]", why="it ends before it begins")
        if self.base + stop > self.size:
            self.fail(f"{where} reaches byte {self.base + stop}", why=f"the file has {self.size} bytes", fix=INCOMPLETE)
        return start, stop

    def count(self, what: str, number: Any) -> int:
        if type(number) is not int:  # `isinstance` would take True
            self.fail(f"{what} is a {_kind(number)}", why="it must be a whole number")
        if not 0 <= number < 1 << 62:
            self.fail(f"{what} is {_short_numbers((number,))}", why="it must lie between 0 and 2**62")
        return number

    def check_tiling(self, tensors: dict[str, TensorInfo]) -> None:
        end = self.base
        for name, info in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
            if info.start != end:
                problem = (
                    "shares bytes with another tensor" if info.start < end else f"comes after {info.start - end} unused bytes"
                )
                self.fail(
                    f"tensor {shorten(name)} {problem}", why=f"it begins at byte {info.start}, the one before ends at {end}"
                )
            end = info.stop
        if end != self.size:
            why = f"the tensors end at byte {end}, the file at {self.size}"
            self.fail(f"{self.size - end} bytes at the end belong to no tensor", why=why)


def parse_header(source: str, raw: bytes, size: int) -> Header:
    """Check the JSON part ``raw`` of a file of ``size`` bytes; ``source`` names the file in errors."""
    return _Parser(source, size, 8 + len(raw)).parse(raw)


def name_problem(name: str) -> str:
    """What is wrong with a tensor's name, or an empty string."""
    if not name:
        return "is empty"
    if len(name) > MAX_NAME:
        return f"has {len(name)} characters (the limit is {MAX_NAME})"
    if not name.isprintable():
        return "holds characters that cannot be printed"
    if ".." in name.replace("\\", "/").split("/"):
        return "climbs out of a folder"
    return ""


def shorten(text: str) -> str:
    """A name as errors show it: quoted, escaped, never longer than a line."""
    return ascii(text) if len(text) <= 80 else f"{text[:77]!a}..."


def _kind(value: Any) -> str:
    kinds = {dict: "object", list: "list", str: "text", bool: "boolean", int: "number", float: "fraction"}
    return kinds.get(type(value), "null")


def _short_numbers(numbers: tuple[int, ...]) -> str:
    shown = ", ".join(str(n) if abs(n) < 1 << 64 else f"about 2**{n.bit_length()}" for n in numbers[:8])
    return f"[{shown}{', ...' if len(numbers) > 8 else ''}]"


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
