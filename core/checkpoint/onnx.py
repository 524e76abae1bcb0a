"""The weights in ONNX files, read without the onnx package; the graph itself is not run.

An ONNX file is a protocol buffer: fields of a number, a wire type and a value, nested (onnx.proto3, ModelProto). Read only; every
length is checked against its surroundings before anything is taken. PyTorch's exporter keeps the names of parameters, but folds
those of linear layers into transposed constants without names: they get back the name that their node's path tells.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
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

# TensorProto.DataType
_DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    4: np.dtype("<u2"),
    5: np.dtype("<i2"),
    6: np.dtype("<i4"),
    7: np.dtype("<i8"),
    9: np.dtype(bool),
    10: np.dtype("<f2"),
    11: np.dtype("<f8"),
    12: np.dtype("<u4"),
    13: np.dtype("<u8"),
    16: np.dtype(ml_dtypes.bfloat16),
}
_MOST_DIMS = 8
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_TENSOR = 7, 1, 5
_NODE_INPUT, _NODE_NAME, _NODE_KIND = 1, 3, 4
_DIMS, _DTYPE, _FLOATS, _LONGS, _NAME, _RAW, _PLACE = 1, 2, 4, 7, 8, 9, 14
_FOLDED = re.compile(r"onnx::MatMul_\d+")


@dataclass(frozen=True)
class Onnx:
    """What an ONNX file holds of weights.

    Attributes:
        shapes: tensor name -> shape, under the names in the file.
        linear: of the tensors without a name of their own, those that are the transposed weights of linear layers -> their name.
    """

    path: Path | FilePart
    shapes: dict[str, tuple[int, ...]]
    linear: dict[str, str]
    _places: dict[str, tuple[int, np.dtype[Any]]]

    def load(self) -> dict[str, Array]:
        """All tensors: views of the file; weights of linear layers under their own names, and as PyTorch has them, (out, in).

        Raises:
            StorageError: the file cannot be read.
        """
        with storage_errors(self.path, "read"), open_binary(self.path) as file:
            content = map_file(self.path, file, writable=False)
        found = {}
        for name, (start, dtype) in self._places.items():
            array: Array = np.frombuffer(content, dtype, math.prod(self.shapes[name]), start).reshape(self.shapes[name])
            found[self.linear.get(name, name)] = array.T if name in self.linear else array
        return found


def read_onnx(path: str | Path | FilePart) -> Onnx:
    """Find the weights in an ONNX file.

    Raises:
        CheckpointError: not such a file, damaged, its numbers in other files, or with a kind of numbers that is not read here.
        StorageError: the file cannot be read.

    Example:
        >>> import tempfile
        >>> raw = b"\\x3a\\x13\\x2a\\x11\\x08\\x02\\x10\\x01\\x42\\x01a\\x4a\\x08" + np.float32([1, 2]).tobytes()
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name, "m.onnx")
        >>> _ = path.write_bytes(raw)
        >>> read_onnx(path).load()["a"].tolist()
        [1.0, 2.0]
    """
    path = path if isinstance(path, FilePart) else Path(path)
    with storage_errors(path, "read"), open_binary(path) as file:
        if size_of(path, file) < 16:
            raise CheckpointError(f"{path} is no ONNX file", why="it is too short", fix="get the file again")
        return _Reader(path, memoryview(map_file(path, file, writable=False))).read()


class _Reader(Walk):
    """Walks through the fields; a field's value is a number, or the (begin, end) of its bytes."""

    def read(self) -> Onnx:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.places: dict[str, tuple[int, np.dtype[Any]]] = {}
        linear: dict[str, str] = {}
        graphs = [place for number, place in self.fields((0, len(self.content))) if number == _MODEL_GRAPH]
        if len(graphs) != 1:
            raise CheckpointError(f"{self.path} is no ONNX file", why="it has no graph", fix="check the path")
        for number, place in self.fields(graphs[0]):
            if number == _GRAPH_TENSOR:
                self.tensor(place)
            elif number == _GRAPH_NODE:
                linear |= self.node(place)
        kept = {tensor: name for tensor, name in linear.items() if len(self.shapes.get(tensor, ())) == 2}
        if len(set(kept.values())) != len(kept) or set(kept.values()) & set(self.shapes):
            raise CheckpointError(f"{self.path}: two tensors would get one name", fix="load another format of these weights")
        return Onnx(self.path, self.shapes, kept, self.places)

    def varint(self, end: int) -> int:
        value = 0
        for shift in range(0, 70, 7):
            if self.at >= end:
                raise self.bad("a number is cut off")
            byte = self.content[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise self.bad("a number has more than ten bytes")

    def fields(self, place: Any) -> Iterator[tuple[int, Any]]:
        """The fields between two places."""
        at, end = self.inside(place)
        while at < end:
            self.at = at
            number, wire = divmod(self.varint(end), 8)
            if wire == 0:
                value: Any = self.varint(end)
            elif wire in (1, 2, 5):
                size = self.varint(end) if wire == 2 else 8 if wire == 1 else 4
                if size > end - self.at:
                    raise self.bad(f"a field of {size} bytes reaches beyond what it lies in")
                value = (self.at, self.at + size)
                self.at += size
            else:
                raise self.bad(f"a field of wire type {wire}")
            at = self.at
            yield number, value

    def inside(self, place: Any) -> tuple[int, int]:
        """The place of a value that must be bytes."""
        if not isinstance(place, tuple):
            raise self.bad("a number stands where bytes belong")
        return place

    def text(self, place: Any) -> str:
        begin, end = self.inside(place)
        try:
            return bytes(self.content[begin:end]).decode()
        except UnicodeDecodeError:
            raise self.bad("a name is no text") from None

    def node(self, place: Any) -> dict[str, str]:
        """What a node tells of a folded weight: the tensor's name -> the parameter's."""
        inputs, name, kind = [], "", ""
        for number, value in self.fields(place):
            if number == _NODE_INPUT:
                inputs.append(self.text(value))
            elif number == _NODE_NAME:
                name = self.text(value)
            elif number == _NODE_KIND:
                kind = self.text(value)
        if kind != "MatMul" or not name.endswith("/MatMul"):
            return {}
        module = name.strip("/").removesuffix("/MatMul").replace("/", ".")
        return {tensor: f"{module}.weight" for tensor in inputs if _FOLDED.fullmatch(tensor)}

    def tensor(self, place: Any) -> None:
        dims: list[int] = []
        name, kind, data = "", 0, None
        for number, value in self.fields(place):
            if number == _DIMS:
                dims += self.packed(value) if isinstance(value, tuple) else [value]
            elif number == _DTYPE and isinstance(value, int):
                kind = value
            elif number == _NAME:
                name = self.text(value)
            elif number in (_RAW, _FLOATS, _LONGS) and isinstance(value, tuple):
                data = self.data(number, value)
            elif number == _PLACE and value == 1:
                raise CheckpointError(f"{self.path}: {name} lies in another file", fix="load another format of these weights")
        if problem := name_problem(name):
            raise self.bad(f"tensor name {shorten(name)} {problem}")
        if name in self.shapes:
            raise self.bad(f"two tensors are called {name}")
        self.place(name, tuple(dims), kind, data)

    def packed(self, place: tuple[int, int]) -> list[int]:
        found, self.at = [], place[0]
        while self.at < place[1]:
            found.append(self.varint(place[1]))
        return found

    def data(self, number: int, place: tuple[int, int]) -> tuple[int, int]:
        """Where the numbers lie; those of ``float_data`` are as in memory, longs are not."""
        if number == _LONGS:
            raise CheckpointError(f"{self.path}: whole numbers of varying length", fix="load another format of these weights")
        return place

    def place(self, name: str, shape: tuple[int, ...], kind: int, data: tuple[int, int] | None) -> None:
        if kind not in _DTYPES:
            known = ", ".join(d.name for d in _DTYPES.values())
            raise CheckpointError(
                f"{self.path}: {name} has numbers of kind {kind}", why=f"nyala reads {known}", fix="get another file"
            )
        if len(shape) > _MOST_DIMS or math.prod(max(length, 1) for length in shape) >= 1 << 59:
            raise self.bad(f"{name} has shape {shape[:_MOST_DIMS]}, which no memory holds")
        begin, end = data or (0, 0)
        if math.prod(shape) * _DTYPES[kind].itemsize != end - begin:
            raise self.bad(f"{name} of shape {shape} and {_DTYPES[kind].name} has {end - begin} bytes")
        self.shapes[name], self.places[name] = shape, (begin, _DTYPES[kind])
