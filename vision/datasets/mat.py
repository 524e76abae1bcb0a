"""Numeric arrays in MATLAB's files of version 5 ("MAT-File Format", The MathWorks), which SVHN and Flowers-102 come in."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ...core.atomic import storage_errors
from ...core.errors import DataError

Array = np.ndarray[Any, Any]

_LIMIT = 1 << 32  # bytes of one variable: a file that claims more is damaged or hostile
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_MATRIX, _COMPRESSED, _COMPLEX = 14, 15, 0x0800


def read_mat(path: str | Path) -> dict[str, Array]:
    """The real numeric arrays of a file, by name, with the shapes that MATLAB shows; texts, cells and structures are left out.

    Raises:
        DataError: no such file, or it is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no file {path}", fix="check the path")
    with storage_errors(path, "read"):
        data = memoryview(path.read_bytes())
    try:
        return dict(_variables(data))
    except (ValueError, IndexError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged, or no MATLAB file of version 5: {error}", fix="get the file again") from error


def _variables(data: memoryview) -> list[tuple[str, Array]]:
    if bytes(data[126:128]) != b"IM":  # "MI": a machine that wrote numbers the other way round; none does any more
        raise ValueError("its header is another")
    found, at = [], 128
    while at < len(data):
        kind, body, at = _element(data, at, aligned=False)
        if kind == _COMPRESSED:
            kind, body, _ = _element(_inflated(body), 0)
        variable = _matrix(body) if kind == _MATRIX else None
        if variable is not None:
            found.append(variable)
    return found


def _inflated(body: memoryview) -> memoryview:
    machine = zlib.decompressobj()
    whole = machine.decompress(body, _LIMIT)
    if not machine.eof:
        raise ValueError("a variable ends before its end, or is too large")
    return memoryview(whole)


def _element(data: memoryview, at: int, aligned: bool = True) -> tuple[int, memoryview, int]:
    """(type, bytes, where the next one begins); those of up to four bytes stand in the tag itself."""
    first, length = (int(n) for n in np.frombuffer(data[at : at + 8], "<u4", 2))
    if first >> 16:
        return first & 0xFFFF, data[at + 4 : at + 4 + (first >> 16)], at + 8
    body = data[at + 8 : at + 8 + length]
    if len(body) != length:
        raise ValueError(f"it ends inside an element of {length} bytes")
    return first, body, at + 8 + (-(-length // 8) * 8 if aligned else length)


def _matrix(body: memoryview) -> tuple[str, Array] | None:
    """Name and array of a variable; None where it is no real numeric array."""
    _, flags, at = _element(body, 0)
    said = int(np.frombuffer(flags, "<u4", 1)[0])
    kind = _CLASSES.get(said & 0xFF)
    if kind is None or said & _COMPLEX:
        return None
    _, dims, at = _element(body, at)
    shape = tuple(int(n) for n in np.frombuffer(dims, "<i4"))
    _, name, at = _element(body, at)
    stored, values, _ = _element(body, at)
    if stored not in _TYPES or min(shape, default=0) < 0:
        raise ValueError(f"a variable of type {stored} and shape {shape}")
    array = np.frombuffer(values, f"<{_TYPES[stored]}")
    if array.size != math.prod(shape):
        raise ValueError(f"{array.size} values for the shape {shape}")
    return bytes(name).decode("ascii"), array.astype(kind, copy=False).reshape(shape, order="F")
