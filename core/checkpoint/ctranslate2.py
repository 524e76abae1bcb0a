"""CTranslate2's files of weights (``model.bin``), as faster-whisper and others publish them.

Read only; every number is checked against the file's size before anything is allocated. Whole numbers with a scale are widened to
float32. Layout, little-endian: version 3 to 6, the model's specification and its revision, a count; then for each tensor its
name, shape, kind and bytes; then aliases, names for tensors that are there already.
"""

from __future__ import annotations

import math
import struct
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

_VERSIONS = range(3, 7)
_DTYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype("<f4"),
    1: np.dtype("i1"),
    2: np.dtype("<i2"),
    3: np.dtype("<i4"),
    4: np.dtype("<f2"),
    5: np.dtype(ml_dtypes.bfloat16),
}
_SCALE = "_scale"
_MOST_DIMS = 8


@dataclass(frozen=True)
class CTranslate2:
    """A file's head, and its tensors as they lie in it.

    Attributes:
        spec: what kind of model it is, e.g. "WhisperSpec"; revision: of that specification.
        shapes: tensor name -> shape; single numbers have the shape ().
        aliases: further name -> the name it stands for.
    """

    path: Path | FilePart
    spec: str
    revision: int
    shapes: dict[str, tuple[int, ...]]
    aliases: dict[str, str]
    _places: dict[str, tuple[int, np.dtype[Any]]]

    def load(self) -> dict[str, Array]:
        """All tensors but the scales, which are multiplied in: float32, float16 or bfloat16; whole numbers as they are.

        Raises:
            CheckpointError: a scale that does not fit its tensor.
            StorageError: the file cannot be read.
        """
        with storage_errors(self.path, "read"), open_binary(self.path) as file:
            content = map_file(self.path, file, writable=False)
        found = {}
        for name, (start, dtype) in self._places.items():
            shape = self.shapes[name]
            raw = np.frombuffer(content, dtype, math.prod(shape), start)
            found[name] = raw.reshape(shape)
        scales = {name: found.pop(name) for name in list(found) if name.endswith(_SCALE) and name.removesuffix(_SCALE) in found}
        for name, scale in scales.items():
            found[name.removesuffix(_SCALE)] = self._widened(found[name.removesuffix(_SCALE)], scale, name)
        return found

    def number(self, name: str) -> int | None:
        """A single number that the file holds; None where it does not."""
        if self.shapes.get(name) != ():
            return None
        start, dtype = self._places[name]
        with storage_errors(self.path, "read"), open_binary(self.path) as file:
            file.seek(start)
            raw = file.read(dtype.itemsize)
        return int(np.frombuffer(raw, dtype)[0])

    def _widened(self, whole: Array, scale: Array, name: str) -> Array:
        """CTranslate2 multiplies by the scale when it rounds, a row each or all alike."""
        if scale.size not in (1, whole.shape[0] if whole.ndim else 1):
            raise CheckpointError(f"{self.path}: {name} of shape {scale.shape} for {whole.shape}", fix="get the file again")
        factor = scale.astype(np.float32).reshape(-1, *[1] * (whole.ndim - 1))
        return whole.astype(np.float32) / factor


def is_ctranslate2(path: str | Path | FilePart) -> bool:
    """Whether a file begins as CTranslate2's do: a small version number, then a short name.

    Raises:
        StorageError: it cannot be read.
    """
    with storage_errors(path, "read"), open_binary(path) as file:
        head = file.read(64)
    if len(head) < 8:
        return False
    version, length = struct.unpack_from("<IH", head)
    spec = head[6 : 5 + length]
    return version in _VERSIONS and 1 < length < 58 and spec.isascii() and spec.decode("ascii").isidentifier()


def read_ctranslate2(path: str | Path | FilePart) -> CTranslate2:
    """The head of a CTranslate2 file.

    Raises:
        CheckpointError: not such a file, damaged, or with a kind of numbers that is not read here.
        StorageError: the file cannot be read.
    """
    path = path if isinstance(path, FilePart) else Path(path)
    with storage_errors(path, "read"), open_binary(path) as file:
        if size_of(path, file) < 16:
            raise CheckpointError(f"{path} is no CTranslate2 file", why="it is too short", fix="get the file again")
        return _Reader(path, memoryview(map_file(path, file, writable=False))).head()


class _Reader(Walk):
    """Walks through the file; every step is checked against its end."""

    def text(self) -> str:
        size = self.number("<H")
        if size > len(self.content) - self.at:
            raise self.bad(f"a name of {size} bytes is longer than the file")
        raw = bytes(self.content[self.at : self.at + size])
        self.at += size
        if not raw.endswith(b"\0") or not raw[:-1].isascii():
            raise self.bad("a name is no text")
        return raw[:-1].decode("ascii")

    def head(self) -> CTranslate2:
        version = self.number("<I")
        if version not in _VERSIONS:
            raise CheckpointError(
                f"{self.path} is no CTranslate2 file of version {_VERSIONS[0]} to {_VERSIONS[-1]}",
                why=f"it begins with {bytes(self.content[:4])!r}",
                fix="check the path, or convert the model again",
            )
        spec, revision = self.text(), self.number("<I")
        shapes: dict[str, tuple[int, ...]] = {}
        places: dict[str, tuple[int, np.dtype[Any]]] = {}
        for _ in range(self.number("<I")):
            name = self.text()
            if name in places:
                raise self.bad(f"two tensors are called {name}")
            if problem := name_problem(name):
                raise self.bad(f"tensor name {shorten(name)} {problem}")
            shapes[name], places[name] = self._tensor(name)
        return CTranslate2(self.path, spec, revision, shapes, self._aliases(places), places)

    def _tensor(self, name: str) -> tuple[tuple[int, ...], tuple[int, np.dtype[Any]]]:
        rank = self.number("<B")
        if rank > _MOST_DIMS:
            raise self.bad(f"{name} has {rank} dimensions")
        shape = tuple(self.number("<I") for _ in range(rank))
        kind, size = self.number("<B"), self.number("<I")
        if kind not in _DTYPES:
            raise CheckpointError(
                f"{self.path}: {name} has numbers of kind {kind}",
                why=f"nyala reads {', '.join(d.name for d in _DTYPES.values())}",
                fix="get another file",
            )
        dtype, start = _DTYPES[kind], self.at
        if math.prod(max(length, 1) for length in shape) >= 1 << 59:  # also of nothing: no array can have such a shape
            raise self.bad(f"{name} has shape {shape}, which no memory holds")
        if math.prod(shape) * dtype.itemsize != size:
            raise self.bad(f"{name} of shape {shape} and {dtype.name} is said to have {size} bytes")
        if size > len(self.content) - start:
            raise self.bad(f"{name} lies behind its end")
        self.at += size
        return shape, (start, dtype)

    def _aliases(self, places: dict[str, Any]) -> dict[str, str]:
        aliases = {}
        for _ in range(self.number("<I")):
            alias, name = self.text(), self.text()
            if name not in places or alias in places:
                raise self.bad(f"{alias} is said to stand for {name}")
            aliases[alias] = name
        if self.at != len(self.content):
            raise self.bad(f"{len(self.content) - self.at} byte(s) are left over")
        return aliases
