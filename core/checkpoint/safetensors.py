"""safetensors files: a reader that copies nothing and a writer that gives the same bytes every time.

The reader maps the file copy-on-write: opening costs a millisecond whatever the size, pages come in when they are used, the
arrays are writable, and the file never changes. The writer sorts everything, so equal tensors make equal files.
"""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..atomic import atomic_write, storage_errors
from ..errors import ArgumentError, CheckpointError, DtypeError, did_you_mean, kind_of
from ..part import FilePart, map_file, size_of
from .header import (
    DTYPE_NAMES,
    DTYPES,
    MAX_HEADER,
    MAX_TENSORS,
    UNTRUSTED,
    Header,
    TensorInfo,
    header_length,
    name_problem,
    parse_header,
    shorten,
)

StrPath = str | os.PathLike[str]
Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]

_FLOATS = {DTYPES[name] for name in DTYPES if name.startswith(("F", "BF"))}


def load_file(path: StrPath, *, writable: bool = True, dtype: npt.DTypeLike | None = None) -> Arrays:
    """Read a safetensors file without copying it.

    Args:
        path: the file, or a :class:`~nyala.core.part.FilePart` of one. It must not be shortened while the arrays live;
            replacing it by renaming is safe.
        writable: map copy-on-write, so arrays can be changed in memory (never in the file); else read-only.
        dtype: convert floating-point tensors to this dtype (a copy of each that differs); others keep theirs.

    Returns:
        The tensors by name, as views of the mapped file. F16 becomes ``float16``; BF16 and the F8 family become the dtypes
        of ``ml_dtypes``. A tensor that the file holds unaligned, as some old files do, is copied.

    Raises:
        CheckpointError: missing, truncated or malformed: names the file, the tensor, the cause and the remedy.
        StorageError: the disk failed or reading is not permitted.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> save_file({"weight": np.eye(2, dtype=np.float16)}, Path(folder.name, "model.safetensors"))
        >>> load_file(Path(folder.name, "model.safetensors"), dtype="float32")
        {'weight': array([[1., 0.],
               [0., 1.]], dtype=float32)}
    """
    with open_regular(path) as file, storage_errors(path, "read"):
        header, _ = _read_header(str(path), file, size_of(path, file))
        buffer = map_file(path, file, writable=writable)
    return _views(str(path), buffer, header, dtype)


def load(data: bytes | bytearray | memoryview, *, dtype: npt.DTypeLike | None = None) -> Arrays:
    """Read the bytes of a safetensors file; the arrays are writable and independent of ``data``.

    Raises:
        CheckpointError: the bytes are truncated or malformed.

    Example:
        >>> load(save({"bias": np.zeros(3, np.int32)}))
        {'bias': array([0, 0, 0], dtype=int32)}
    """
    header, _ = _read_header("safetensors bytes", io.BytesIO(data), memoryview(data).nbytes)
    return _views("safetensors bytes", bytearray(data), header, dtype)


def read_header(path: StrPath) -> Header:
    """Names, dtypes, shapes and metadata of a safetensors file, without touching its tensors.

    Returns:
        A :class:`Header`: ``.tensors[name]`` has ``dtype``, ``shape``, ``start`` and ``stop``; ``.metadata`` is text by text.

    Raises:
        CheckpointError: missing, truncated or malformed.
        StorageError: the disk failed or reading is not permitted.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> save_file({"weight": np.eye(2)}, Path(folder.name, "m.safetensors"), metadata={"format": "np"})
        >>> header = read_header(Path(folder.name, "m.safetensors"))
        >>> header.tensors["weight"].shape, header.metadata
        ((2, 2), {'format': 'np'})
    """
    with open_regular(path) as file, storage_errors(path, "read"):
        return _read_header(str(path), file, size_of(path, file))[0]


def widen(arrays: Mapping[str, npt.NDArray[Any]], dtype: npt.DTypeLike = np.float32) -> Arrays:
    """Convert floating-point arrays narrower than ``dtype`` (float16, bfloat16, float8) to it; the rest is passed on as it is.

    Example:
        >>> wide = widen({"w": np.ones(2, np.float16), "ids": np.ones(2, np.int64)})
        >>> [a.dtype.name for a in wide.values()]
        ['float32', 'int64']
    """
    target = np.dtype(dtype)
    narrow = {name for name, array in arrays.items() if array.dtype in _FLOATS and array.dtype.itemsize < target.itemsize}
    return {name: array.astype(target) if name in narrow else array for name, array in arrays.items()}


def save_file(tensors: Mapping[str, npt.ArrayLike], path: StrPath, metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, whole or not at all; equal content makes equal bytes.

    Args:
        tensors: arrays by name, of any layout: views, transposed and broadcast arrays are written as what they show.
        path: the file; an existing one is replaced only once the new one is safely on the disk.
        metadata: texts by name.

    Raises:
        ArgumentError: a name or a metadata value the format cannot hold.
        DtypeError: a dtype the format does not know, such as complex128 or object.
        StorageError: full disk, read-only or missing folder. Nothing is left behind.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> save_file({"weight": np.arange(6.0).reshape(2, 3).T}, Path(folder.name, "model.safetensors"))
        >>> load_file(Path(folder.name, "model.safetensors"))["weight"].shape
        (3, 2)
    """
    arrays, header = _prepare(tensors, metadata)
    atomic_write(path, lambda file: _write(file, arrays, header))


def save(tensors: Mapping[str, npt.ArrayLike], metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes that :func:`save_file` would write.

    Raises:
        ArgumentError: a name or a metadata value the format cannot hold.
        DtypeError: a dtype the format does not know.

    Example:
        >>> save({"b": np.zeros(2), "a": np.ones(2)}) == save({"a": np.ones(2), "b": np.zeros(2)})
        True
    """
    file = io.BytesIO()
    _write(file, *_prepare(tensors, metadata))
    return file.getvalue()


def open_regular(path: StrPath) -> BinaryIO:
    """Open a file, or a part of one, for reading; a missing file, a folder or a device is a clear error."""
    if isinstance(path, FilePart):
        with open_regular(path.archive):
            return path.open()
    with storage_errors(path, "read"):
        try:
            mode = os.stat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise CheckpointError(f"there is no file {os.fspath(path)}", fix=_nearby(Path(path))) from None
        if stat.S_ISDIR(mode):
            files = sorted(p.name for p in Path(path).iterdir() if p.suffix in (".safetensors", ".bin", ".pth", ".pt"))
            fix = f"name a file in it: {', '.join(files[:5])}" if files else "name a weight file"
            raise CheckpointError(f"{os.fspath(path)} is a folder, not a file", fix=fix)
        if not stat.S_ISREG(mode):
            raise CheckpointError(f"{os.fspath(path)} is not a regular file", fix="save what it gives to a file first")
        return open(path, "rb")


def _nearby(path: Path) -> str:
    try:
        return did_you_mean(path.name, [p.name for p in path.parent.iterdir()]) or "check the path"
    except OSError:
        return "check the path"  # the folder itself is missing or may not be read


def _read_header(source: str, file: BinaryIO, size: int) -> tuple[Header, int]:
    first = file.read(64)
    length = header_length(source, first, size)
    file.seek(8)
    return parse_header(source, file.read(length), size), 8 + length


def convert_floats(arrays: Arrays, dtype: npt.DTypeLike) -> Arrays:
    """Floating-point arrays as ``dtype``; those that have it already, and all others, as they are."""
    target = np.dtype(dtype)
    return {name: a.astype(target, copy=False) if a.dtype in _FLOATS else a for name, a in arrays.items()}


def _views(source: str, buffer: Any, header: Header, dtype: npt.DTypeLike | None) -> Arrays:
    arrays = {name: _view(source, buffer, name, info) for name, info in header.tensors.items()}
    return arrays if dtype is None else convert_floats(arrays, dtype)


def _view(source: str, buffer: Any, name: str, info: TensorInfo) -> npt.NDArray[Any]:
    count = (info.stop - info.start) // info.dtype.itemsize
    if count == 0:
        return np.zeros(info.shape, info.dtype)
    array = np.frombuffer(buffer, info.dtype, count, info.start).reshape(info.shape)
    if info.dtype == np.bool_ and array.view(np.uint8).max() > 1:
        # An array of booleans with other bytes breaks promises that NumPy's own loops rely on.
        raise CheckpointError(f"{source}: tensor {shorten(name)} holds booleans other than 0 and 1", fix=UNTRUSTED)
    return array if array.flags.aligned else array.copy()


def _prepare(tensors: Mapping[str, npt.ArrayLike], metadata: Mapping[str, str] | None) -> tuple[Arrays, bytes]:
    if not isinstance(tensors, Mapping):
        raise ArgumentError(f"{kind_of(tensors)} has no names", fix="pass a dict of names and arrays")
    arrays = {name: _as_array(name, tensors[name]) for name in tensors}
    if len(arrays) > MAX_TENSORS:
        raise ArgumentError(f"{len(arrays)} tensors", why=f"a file holds at most {MAX_TENSORS}", fix="use save_sharded")
    entries: dict[str, Any] = {"__metadata__": _checked_metadata(metadata)} if metadata else {}
    # Widest items first: with a header of a multiple of eight bytes every tensor is then aligned.
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    position = 0
    for name in order:
        array = arrays[name]
        end = position + array.nbytes
        entries[name] = {"dtype": _dtype_name(array), "shape": list(array.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ArgumentError(f"the header would have {len(text)} bytes", why=f"the limit is {MAX_HEADER}", fix="use save_sharded")
    return {name: arrays[name] for name in order}, len(text).to_bytes(8, "little") + text


def _as_array(name: Any, value: npt.ArrayLike) -> npt.NDArray[Any]:
    problem = name_problem(name) if isinstance(name, str) else f"is {kind_of(name)}, not a text"
    if problem or name == "__metadata__":
        shown = shorten(name) if isinstance(name, str) else repr(name)
        raise ArgumentError(f"tensor name {shown} {problem or 'is reserved'}", fix="rename the tensor")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:  # a list of uneven rows, an array on a GPU
        fix = "give NumPy arrays (of a GPU's array: its .get())"
        raise ArgumentError(f"tensor {shorten(name)} is {kind_of(value)}", why=str(error).splitlines()[0], fix=fix) from error
    if array.dtype.newbyteorder("=") not in DTYPE_NAMES and array.dtype not in DTYPE_NAMES:
        fix = f"convert it to one of {', '.join(str(dtype) for dtype in DTYPE_NAMES)}"
        raise DtypeError(f"tensor {shorten(name)} has dtype {array.dtype}", why="a safetensors file cannot hold it", fix=fix)
    return array


def _dtype_name(array: npt.NDArray[Any]) -> str:
    # ml_dtypes' own dtypes have no byte order to change, and lose their identity where one is asked for.
    return DTYPE_NAMES[array.dtype if array.dtype in DTYPE_NAMES else array.dtype.newbyteorder("=")]


def _checked_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            fix = "convert both to text, e.g. with json.dumps"
            raise ArgumentError(f"metadata {key!r} is {kind_of(value)}", why="names and values must be texts", fix=fix)
    return dict(sorted(metadata.items()))


def _write(file: BinaryIO, arrays: Arrays, header: bytes) -> None:
    file.write(header)
    for array in arrays.values():  # one at a time: a copy made for the layout lives no longer than its write
        if array.nbytes:
            file.write(_little_endian_bytes(array).data)


def _little_endian_bytes(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    swapped = array if array.dtype in DTYPE_NAMES else array.astype(array.dtype.newbyteorder("="))
    flat = np.asarray(swapped, order="C").reshape(-1).view(np.uint8)
    return np.not_equal(flat, 0).view(np.uint8) if array.dtype == np.bool_ else flat
