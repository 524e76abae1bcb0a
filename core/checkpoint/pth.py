"""PyTorch's own files (``.pth``, ``.pt``, ``.bin``), read without running anything in them.

Both layouts are read: the zip archive of PyTorch 1.6 and later, and the stream before it. The description of the tensors goes
through :class:`~nyala.core.checkpoint.machine.Machine`; their numbers are views of the mapped file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ..atomic import storage_errors
from ..errors import CheckpointError, UnsafeFileError
from ..part import map_file, size_of
from .archive import Member, read_members
from .header import INCOMPLETE, UNTRUSTED, name_problem, refuse_other_formats, shorten
from .machine import CONVERT, Machine, Storage, TensorRecord
from .safetensors import Arrays, StrPath, convert_floats, open_regular

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model")
_SPREAD = 16  # what all views together may show, in sizes of the file: tied weights need 2 or 3 ...
_SPREAD_FLOOR = 64 << 20  # ... and small files with expanded tensors more

Spans = dict[str, tuple[int, int]]
Records = dict[str, TensorRecord]


def load_pth(path: StrPath, *, writable: bool = True, dtype: npt.DTypeLike | None = None) -> Arrays:
    """Read the state dict in a PyTorch file; nothing in the file can run.

    Args:
        path: a file written by ``torch.save`` from a state dict, or from a dict that holds one under ``state_dict``,
            ``model_state_dict``, ``model_state`` or ``model``. It must not be shortened while the arrays live.
        writable: map copy-on-write, so arrays can be changed in memory (never in the file); else read-only.
        dtype: convert floating-point tensors to this dtype (a copy of each that differs); others keep theirs.

    Returns:
        The tensors by name, with the file's names as they are. Tensors that share memory in the file share it here.

    Raises:
        UnsafeFileError: the file names anything else than PyTorch's tensors, e.g. a whole pickled model: shows the name.
        CheckpointError: missing, truncated or malformed, or no state dict.
        StorageError: the disk failed or reading is not permitted.

    Example:
        >>> try:
        ...     load_pth("resnet50-0676ba61.pth")
        ... except CheckpointError as error:
        ...     print(error.what)
        there is no file resnet50-0676ba61.pth
    """
    source = os.fspath(path)
    with open_regular(path) as file, storage_errors(path, "read"):
        size = size_of(path, file)
        if size < 16:
            raise CheckpointError(f"{source} has {size} bytes", why="that is too short for a PyTorch file", fix=INCOMPLETE)
        buffer = map_file(path, file, writable=writable)
    records, spans = _read_zip(source, buffer) if buffer[:4] == b"PK\x03\x04" else _read_stream(source, buffer)
    arrays = _Builder(source, buffer, spans).build(records)
    return arrays if dtype is None else convert_floats(arrays, dtype)


def _read_zip(source: str, buffer: Any) -> tuple[Records, Spans]:
    members = read_members(source, buffer)
    roots = [name.removesuffix("/data.pkl") for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(roots) != 1:
        raise CheckpointError(f"{source} is a zip archive, but none that PyTorch wrote", fix="name a file written by torch.save")
    root = roots[0]
    if f"{root}/constants.pkl" in members:
        raise UnsafeFileError(f"{source} is a TorchScript program", why="it holds code, not only weights", fix=CONVERT)
    order = _stored(source, f"{root}/byteorder", members[f"{root}/byteorder"]) if f"{root}/byteorder" in members else None
    if order and bytes(buffer[order[0] : order[1]]) != b"little":
        _fail_endian(source)
    start, stop = _stored(source, f"{root}/data.pkl", members[f"{root}/data.pkl"])
    machine = Machine(source, buffer, start, stop)
    records = _state_dict(source, machine.run())
    return records, {key: _member_of(source, root, key, members) for key in machine.storages}


def _member_of(source: str, root: str, key: str, members: Mapping[str, Member]) -> tuple[int, int]:
    name = f"{root}/data/{key}"
    if name not in members:
        raise CheckpointError(f"{source}: the zip archive has no {shorten(name)}", why="a tensor needs it", fix=INCOMPLETE)
    return _stored(source, name, members[name])


def _stored(source: str, name: str, member: Member) -> tuple[int, int]:
    if not member.stored:
        fix = "unpack the file and save it again with torch.save"
        raise CheckpointError(f"{source}: zip member {shorten(name)} is compressed", why="PyTorch stores it plainly", fix=fix)
    return member.start, member.stop


def _fail_endian(source: str) -> NoReturn:
    raise CheckpointError(f"{source} was saved on a big-endian machine", fix="load it there and save it as safetensors")


def _read_stream(source: str, buffer: Any) -> tuple[Records, Spans]:
    """Five programs one after the other (mark, version, machine, tensors, keys), then each storage's size and numbers."""
    first = bytes(buffer[:512])
    refuse_other_formats(source, first)
    if first[257:262] == b"ustar":
        fix = "load it in PyTorch and save it again"
        raise CheckpointError(f"{source} is a tar file, as PyTorch wrote before version 0.2", fix=fix)
    if first[:1] != b"\x80":
        fix = "read .safetensors files with load_file" if first[8:9] == b"{" else "name a file written by torch.save"
        raise CheckpointError(f"{source} is not a PyTorch file", why=f"it begins with {first[:8]!r}", fix=fix)
    position, values, storages = 0, [], {}
    for _ in range(5):
        machine = Machine(source, buffer, position)
        values.append(machine.run())
        position = machine.position
        storages.update(machine.storages)
        if values[0] != _MAGIC:
            raise CheckpointError(f"{source} was not written by torch.save", fix="name a file written by torch.save")
    _, version, system, value, keys = values
    if version != _PROTOCOL or not isinstance(system, dict):
        raise CheckpointError(f"{source}: version {version!r:.20} is unknown", fix="load it in PyTorch and save it again")
    if system.get("little_endian") is not True:
        _fail_endian(source)
    records = _state_dict(source, value)
    return records, _stream_spans(source, buffer, position, storages, keys)


def _stream_spans(source: str, buffer: Any, position: int, storages: Mapping[str, Storage], keys: Any) -> Spans:
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or set(keys) != set(storages):
        raise CheckpointError(f"{source}: the list of storages does not match the tensors", fix=INCOMPLETE)
    spans: Spans = {}
    for key in keys:
        storage = storages[key]
        size = int.from_bytes(buffer[position : position + 8], "little", signed=True)
        start = position + 8
        position = start + _nbytes(storage)
        if key in spans or size != storage.size or position > len(buffer):
            what = f"{source}: storage {shorten(key)} of {_nbytes(storage)} bytes is cut, or given twice"
            raise CheckpointError(what, why=f"the file has {len(buffer)} bytes", fix=INCOMPLETE)
        spans[key] = (start, position)
    if position != len(buffer):
        raise CheckpointError(f"{source}: {len(buffer) - position} bytes at the end belong to no tensor", fix=UNTRUSTED)
    return spans


def _nbytes(storage: Storage) -> int:
    return storage.size * (storage.dtype.itemsize if storage.dtype else 1)


def _state_dict(source: str, value: Any) -> Records:
    if not isinstance(value, dict):
        what = f"{source} holds a {'tensor' if isinstance(value, TensorRecord) else type(value).__name__}, not a state dict"
        raise CheckpointError(what, fix="save model.state_dict()")
    inner = next((value[name] for name in _WRAPPERS if isinstance(value.get(name), dict)), value)
    for name, entry in inner.items():
        shown = shorten(str(name))
        if not isinstance(entry, TensorRecord):
            kind = "dict" if isinstance(entry, dict) else type(entry).__name__
            raise CheckpointError(f"{source}: entry {shown} is a {kind}, not a tensor", fix="save model.state_dict()")
        problem = name_problem(name) if isinstance(name, str) else "is no text"
        if problem:
            raise CheckpointError(f"{source}: tensor name {shown} {problem}", fix=UNTRUSTED)
    return inner


class _Builder:
    """Turns records into arrays; each checked against the bytes that are there."""

    def __init__(self, source: str, buffer: Any, spans: Spans) -> None:
        self.source, self.buffer, self.spans = source, buffer, spans
        self.budget = max(_SPREAD * len(buffer), _SPREAD_FLOOR)
        self.blocks: dict[str, npt.NDArray[np.uint8]] = {}
        self.made: dict[int, npt.NDArray[Any]] = {}

    def build(self, records: Mapping[str, TensorRecord]) -> Arrays:
        arrays: Arrays = {}
        for name, record in records.items():
            if id(record) not in self.made:  # one record under two names: tied weights, one array
                self.made[id(record)] = self.array(name, record)
            arrays[name] = self.made[id(record)]
        return arrays

    def fail(self, name: str, what: str, why: str = "", fix: str = UNTRUSTED) -> NoReturn:
        raise CheckpointError(f"{self.source}: tensor {shorten(name)} {what}", why=why, fix=fix)

    def array(self, name: str, record: TensorRecord) -> npt.NDArray[Any]:
        itemsize, count = record.dtype.itemsize, math.prod(record.shape)
        if math.prod(max(size, 1) for size in record.shape) >= 1 << 59:
            self.fail(name, "has a shape that is more than any memory holds")
        if count == 0:
            return np.zeros(record.shape, record.dtype)
        block = self.block(name, record.storage)
        last = record.offset + sum((size - 1) * step for size, step in zip(record.shape, record.stride, strict=True))
        if (last + 1) * itemsize > block.size:
            self.fail(name, f"reaches item {last} of its storage", why=f"that has {block.size // itemsize}")
        self.budget -= count * itemsize
        if self.budget < 0:
            self.fail(name, f"shows {count * itemsize} bytes", why="the file's tensors show far more than the file holds")
        strides = tuple(step * itemsize for step in record.stride)
        array = np.ndarray(record.shape, record.dtype, block, record.offset * itemsize, strides)
        if record.dtype == np.bool_ and np.ndarray(array.shape, np.uint8, block, record.offset, strides).max() > 1:
            self.fail(name, "holds booleans other than 0 and 1")
        return array

    def block(self, name: str, storage: Storage) -> npt.NDArray[np.uint8]:
        if storage.key not in self.blocks:
            start, stop = self.spans[storage.key]
            size = _nbytes(storage)
            if size > stop - start:
                self.fail(name, f"has a storage of {size} bytes", why=f"the file holds {stop - start} of them", fix=INCOMPLETE)
            block = np.frombuffer(self.buffer, np.uint8, size, start)
            aligned = size == 0 or block.ctypes.data % 8 == 0  # streams put numbers anywhere: copied once, and still shared
            self.blocks[storage.key] = block if aligned else block.copy()
        return self.blocks[storage.key]
