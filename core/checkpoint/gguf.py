"""GGUF files: llama.cpp's container of weights, most of them quantized in blocks, with tokenizer and sizes as metadata.

Read only; every number is checked against the file's size before anything is allocated. Blocks are widened to float32.
Layout: magic, version 2 or 3, metadata, tensor infos, then the data at multiples of the alignment.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from ..atomic import storage_errors
from ..errors import CheckpointError
from ..part import FilePart, map_file, open_binary, size_of
from .binary import Walk
from .header import name_problem, shorten

Array = np.ndarray[Any, np.dtype[Any]]

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_MOST_DIMS = 8


@dataclass(frozen=True)
class Gguf:
    """A file's metadata, and its tensors as they lie in it.

    Attributes:
        metadata: by key, as Python values.
        shapes: tensor name -> shape, rows first as in PyTorch.
    """

    path: Path | FilePart
    metadata: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    _kinds: dict[str, int]
    _places: dict[str, tuple[int, int]]

    def load(self) -> dict[str, Array]:
        """All tensors, float32 (float16 and bfloat16 stay as they are).

        Raises:
            StorageError: the file cannot be read.
        """
        return self.read(self.shapes)

    def read(self, names: Iterable[str]) -> dict[str, Array]:
        """Some of the tensors, as ``load`` gives them.

        Raises:
            StorageError: the file cannot be read.
        """
        with storage_errors(self.path, "read"), open_binary(self.path) as file:
            view = np.frombuffer(map_file(self.path, file, writable=False), np.uint8)
        found = {}
        for name in names:
            start, size = self._places[name]
            found[name] = _KINDS[self._kinds[name]].widen(view[start : start + size]).reshape(self.shapes[name])
        return found


def read_gguf(path: str | Path | FilePart) -> Gguf:
    """The head of a GGUF file.

    Raises:
        CheckpointError: not a GGUF file, damaged, or with a kind of numbers that is not read here.
        StorageError: the file cannot be read.
    """
    path = path if isinstance(path, FilePart) else Path(path)
    with storage_errors(path, "read"), open_binary(path) as file:
        if size_of(path, file) < 24:
            raise CheckpointError(f"{path} is not a GGUF file", why="it is too short", fix="get the file again")
        return _Reader(path, memoryview(map_file(path, file, writable=False))).head()


class _Reader(Walk):
    """Walks through the head; every step is checked against the end of the file."""

    def text(self) -> str:
        size = self.number("<Q")
        if size > len(self.content) - self.at:
            raise self.bad(f"a text of {size} bytes is longer than the file")
        raw = self.content[self.at : self.at + size]
        self.at += size
        try:
            return bytes(raw).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.bad(f"a text is not UTF-8: {error.reason}") from error

    def value(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            raise self.bad(f"metadata of kind {kind}, which there is not")
        inner, count = self.number("<I"), self.number("<Q")
        if inner in _SCALARS:
            return self._numbers(_SCALARS[inner], count)
        if inner != _STRING or count > (len(self.content) - self.at) // 8:
            raise self.bad(f"a list of {count} values of kind {inner}")
        return [self.text() for _ in range(count)]

    def _numbers(self, form: str, count: int) -> list[Any]:
        size = struct.calcsize(form)
        if count > (len(self.content) - self.at) // size:
            raise self.bad(f"a list of {count} numbers is longer than the file")
        found = np.frombuffer(self.content[self.at : self.at + count * size], np.dtype(form.replace("?", "b1")))
        self.at += count * size
        return list(found.tolist())

    def head(self) -> Gguf:
        magic, version = bytes(self.content[:4]), struct.unpack_from("<I", self.content, 4)[0]
        if magic != b"GGUF":
            raise CheckpointError(f"{self.path} is not a GGUF file", why=f"it begins with {magic!r}", fix="check the path")
        if version not in (2, 3):
            raise CheckpointError(f"{self.path} is of GGUF version {version}", why="versions 2 and 3 are read", fix="convert it")
        self.at = 8
        tensors, pairs = self.number("<Q"), self.number("<Q")
        if max(tensors, pairs) > len(self.content):
            raise self.bad(f"{tensors} tensors and {pairs} values of metadata do not fit into it")
        metadata = {}
        for _ in range(pairs):
            key = self.text()
            if key in metadata:
                raise self.bad(f"its metadata has {shorten(key)} twice")
            metadata[key] = self.value(self.number("<I"))
        infos = [self._info() for _ in range(tensors)]
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
            raise self.bad(f"an alignment of {alignment}")
        start = -(-self.at // alignment) * alignment
        return self._placed(metadata, infos, start)

    def _info(self) -> tuple[str, tuple[int, ...], int, int]:
        name, count = self.text(), self.number("<I")
        if problem := name_problem(name):
            raise self.bad(f"tensor name {shorten(name)} {problem}")
        if count > _MOST_DIMS:
            raise self.bad(f"{name} has {count} dimensions")
        dims = [self.number("<Q") for _ in range(count)]
        kind, offset = self.number("<I"), self.number("<Q")
        if kind not in _KINDS:
            known = ", ".join(k.name for k in _KINDS.values())
            raise CheckpointError(
                f"{self.path}: {name} has numbers of kind {kind}", why=f"nyala reads {known}", fix="get another file"
            )
        return name, tuple(reversed(dims)), kind, offset

    def _placed(self, metadata: dict[str, Any], infos: list[tuple[str, tuple[int, ...], int, int]], start: int) -> Gguf:
        places: dict[str, tuple[int, int]] = {}
        for name, shape, number, offset in infos:
            kind, total = _KINDS[number], math.prod(shape)
            if name in places:
                raise self.bad(f"two tensors are called {name}")
            if math.prod(max(length, 1) for length in shape) >= 1 << 59:  # also of nothing: no array can have such a shape
                raise self.bad(f"{name} lies behind its end: no memory holds shape {shape}")
            if total % kind.block or (shape and shape[-1] % kind.block):
                raise self.bad(f"{name} of shape {shape} is not made of blocks of {kind.block}")
            size = total // kind.block * kind.bytes
            if start + offset + size > len(self.content):
                raise self.bad(f"{name} lies behind its end")
            places[name] = start + offset, size
        self._check_apart(places)
        shapes = {name: shape for name, shape, _, _ in infos}
        return Gguf(self.path, metadata, shapes, {name: kind for name, _, kind, _ in infos}, places)

    def _check_apart(self, places: dict[str, tuple[int, int]]) -> None:
        """Tensors that share bytes would make a small file fill any memory, for each is widened by itself."""
        end, before = 0, ""
        for name, (start, size) in sorted(places.items(), key=lambda item: item[1]):
            if size and start < end:
                raise self.bad(f"{name} shares bytes with {before}")
            end, before = max(end, start + size), name


# ---- kinds of numbers ---------------------------------------------------------------------------------------------


def _half(blocks: Array, start: int) -> Array:
    """A float16 of each block, as float32 (blocks, 1)."""
    return np.ascontiguousarray(blocks[:, start : start + 2]).view("<f2").astype(np.float32)


def _nibbles(packed: Array) -> Array:
    """(blocks, bytes) -> (blocks, 2 * bytes): all low halves, then all high ones."""
    return np.concatenate([packed & 15, packed >> 4], axis=1)


def _q4_0(raw: Array) -> Array:
    b = raw.reshape(-1, 18)
    return _half(b, 0) * (_nibbles(b[:, 2:]).astype(np.float32) - 8)


def _q4_1(raw: Array) -> Array:
    b = raw.reshape(-1, 20)
    return _half(b, 0) * _nibbles(b[:, 4:]).astype(np.float32) + _half(b, 2)


def _q8_0(raw: Array) -> Array:
    b = raw.reshape(-1, 34)
    return _half(b, 0) * np.ascontiguousarray(b[:, 2:]).view(np.int8).astype(np.float32)


def _six_bits(packed: Array) -> tuple[Array, Array]:
    """(blocks, 12) bytes -> eight scales and eight minima of six bits each, (blocks, 8)."""
    low, mid, high = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate([low & 63, (high & 15) | (low >> 6 << 4)], axis=1)
    minima = np.concatenate([mid & 63, (high >> 4) | (mid >> 6 << 4)], axis=1)
    return scales.astype(np.float32), minima.astype(np.float32)


def _q4_k(raw: Array) -> Array:
    b = raw.reshape(-1, 144)
    scales, minima = _six_bits(b[:, 4:16])
    packed = b[:, 16:].reshape(-1, 4, 32)  # each row of 32 bytes holds two groups of 32 numbers
    numbers = np.stack([packed & 15, packed >> 4], axis=2).reshape(-1, 8, 32).astype(np.float32)
    return (_half(b, 0) * scales)[..., None] * numbers - (_half(b, 2) * minima)[..., None]


def _q6_k(raw: Array) -> Array:
    b = raw.reshape(-1, 210)
    low, high = b[:, :128].reshape(-1, 2, 64), b[:, 128:192].reshape(-1, 2, 32)
    quarters = [low[..., :32] & 15, low[..., 32:] & 15, low[..., :32] >> 4, low[..., 32:] >> 4]
    numbers = np.stack([q | ((high >> (2 * i) & 3) << 4) for i, q in enumerate(quarters)], axis=2)
    signed = (numbers.astype(np.int8) - 32).reshape(-1, 16, 16).astype(np.float32)
    scales = np.ascontiguousarray(b[:, 192:208]).view(np.int8).astype(np.float32)
    return (_half(b, 208) * scales)[..., None] * signed


def _as(dtype: Any) -> Callable[[Array], Array]:
    return lambda raw: np.array(raw).view(dtype)


@dataclass(frozen=True)
class _Kind:
    """How numbers are stored: ``block`` of them in ``bytes``, and back to floats."""

    name: str
    block: int
    bytes: int
    widen: Callable[[Array], Array]


_KINDS = {
    0: _Kind("F32", 1, 4, _as(np.dtype("<f4"))),
    1: _Kind("F16", 1, 2, _as(np.dtype("<f2"))),
    2: _Kind("Q4_0", 32, 18, _q4_0),
    3: _Kind("Q4_1", 32, 20, _q4_1),
    8: _Kind("Q8_0", 32, 34, _q8_0),
    12: _Kind("Q4_K", 256, 144, _q4_k),
    14: _Kind("Q6_K", 256, 210, _q6_k),
    30: _Kind("BF16", 1, 2, _as(np.dtype(ml_dtypes.bfloat16))),
}
