"""sha256 of files, of folders and of parameters: what a manifest is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ...hub.integrity import sha256_file as of_file

__all__ = ["of_arrays", "of_code", "of_file", "of_files"]

PACKAGE = Path(__file__).parents[2]
_CODE = (".py", ".toml", ".cu", ".cuh", ".json")
_ROOMS = ("core", "hub", "vision", "audio", "text", "recipes")


def of_files(named: Iterable[tuple[str, Path]]) -> str:
    """One sha256 for many files, each under its name; their order does not matter."""
    total = hashlib.sha256()
    for name, path in sorted(named):
        total.update(f"{name}\0{of_file(path)}\n".encode())
    return total.hexdigest()


def of_code() -> str:
    """sha256 over nyala's own source files, as installed."""
    files = [PACKAGE / "__init__.py"]
    for room in _ROOMS:
        files += [p for p in (PACKAGE / room).rglob("*") if p.suffix in _CODE and p.is_file()]
    return of_files((p.relative_to(PACKAGE).as_posix(), p) for p in files)


def of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """sha256 over names, dtypes, shapes and bytes, in the order of the names.

    Example:
        >>> of_arrays({"w": np.zeros(2, np.float32)})[:12]
        '2d3c4d38442d'
    """
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name}\0{array.dtype}\0{array.shape}\0".encode())
        total.update(array.reshape(-1).view(np.uint8).data)
    return total.hexdigest()
