"""Checkpoints cut into several files, with an index that says which tensor lies in which."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..atomic import atomic_write, storage_errors
from ..errors import ArgumentError, CheckpointError, StorageError
from ..part import FilePart
from .header import INCOMPLETE, UNTRUSTED, Json, shorten
from .pth import load_pth
from .safetensors import Arrays, StrPath, load_file, open_regular, save_file

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_KNOWN = (INDEX, SINGLE, "pytorch_model.bin.index.json", "pytorch_model.bin")  # the best first
_SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\.(safetensors|bin)")  # a plain file name: no folder, no way out of one
_MAX_INDEX = 64 << 20


def load_sharded(
    path: StrPath,
    *,
    shards: Mapping[str, StrPath] | None = None,
    writable: bool = True,
    dtype: npt.DTypeLike | None = None,
) -> Arrays:
    """Read a checkpoint that is cut into several files, without copying it.

    Args:
        path: the index (``*.index.json``), or the folder that holds it. A folder with a single ``model.safetensors`` or
            ``pytorch_model.bin`` is read as well. Shards may be safetensors or PyTorch files.
        shards: where each shard lies, by its name in the index; by default beside the index.
        writable: map copy-on-write, so arrays can be changed in memory (never in the files); else read-only.
        dtype: convert floating-point tensors to this dtype (a copy of each that differs); others keep theirs.

    Returns:
        The tensors by name, in the index's order.

    Raises:
        CheckpointError: a malformed index, a shard name that is no plain file name, a missing shard, a tensor that is
            missing or lies in another shard than the index says.
        UnsafeFileError: a PyTorch shard that would run code.
        StorageError: the disk failed or reading is not permitted.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> save_sharded({"a": np.zeros(4), "b": np.ones(4)}, folder.name, max_shard_bytes=32)
        ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
        >>> sorted(load_sharded(folder.name))
        ['a', 'b']
    """
    path = _find(Path(path)) if os.path.isdir(path) else path
    if not os.fspath(path).endswith(".json"):
        return _load_one(path, writable, dtype)
    places = read_index(path)
    arrays: Arrays = {}
    for shard in sorted(set(places.values())):
        wanted = {name for name, place in places.items() if place == shard}
        place = shards[shard] if shards and shard in shards else Path(path).parent / shard
        arrays.update(_load_shard(Path(path).name, place, wanted, writable, dtype))
    return {name: arrays[name] for name in places}


def read_index(path: StrPath) -> dict[str, str]:
    """The file that each tensor of a sharded checkpoint lies in, by the tensor's name.

    Raises:
        CheckpointError: missing, malformed, or a shard name that is no plain file name.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> _ = save_sharded({"a": np.zeros(4), "b": np.ones(4)}, folder.name, max_shard_bytes=32)
        >>> read_index(Path(folder.name, INDEX))["b"]
        'model-00002-of-00002.safetensors'
    """
    source = os.fspath(path)
    with open_regular(path) as file, storage_errors(path, "read"):
        size = os.fstat(file.fileno()).st_size
        raw = file.read(size) if size <= _MAX_INDEX else b""  # reading "at most n" would allocate n at once
    if size > _MAX_INDEX:
        raise CheckpointError(f"{source} has {size} bytes", why=f"an index has at most {_MAX_INDEX}", fix=UNTRUSTED)
    index = Json(source, "the index").decode(raw.strip())
    places = index.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{source} has no weight_map", why="it must say which tensor is in which file", fix=INCOMPLETE)
    for name, shard in places.items():
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard):
            shown = shorten(str(shard))
            why = "a shard is a .safetensors or .bin file in the index's own folder"
            raise CheckpointError(f"{source}: tensor {shorten(name)} is said to be in {shown}", why=why, fix=UNTRUSTED)
    return places


def _find(folder: Path) -> Path:
    found = [folder / name for name in _KNOWN if (folder / name).is_file()]
    with storage_errors(folder, "read"):
        found += sorted(entry for entry in folder.iterdir() if entry.name.endswith(".safetensors.index.json"))
    if not found:
        raise CheckpointError(f"{folder} has no weights", why=f"none of {', '.join(_KNOWN)}", fix="check the folder")
    return found[0]


def _load_one(path: StrPath, writable: bool, dtype: npt.DTypeLike | None) -> Arrays:
    load = load_file if os.fspath(path).endswith(".safetensors") else load_pth
    return load(path, writable=writable, dtype=dtype)


def _load_shard(index: str, path: StrPath, wanted: set[str], writable: bool, dtype: npt.DTypeLike | None) -> Arrays:
    if not isinstance(path, FilePart) and not os.path.exists(path):
        raise CheckpointError(
            f"{os.fspath(path)} is missing", why=f"{index} puts {len(wanted)} tensors there", fix="download the file"
        )
    arrays = _load_one(path, writable, dtype)
    missing, extra = sorted(wanted - set(arrays)), sorted(set(arrays) - wanted)
    if missing:
        what = f"{os.fspath(path)} lacks {_list(missing)}"
        raise CheckpointError(what, why=f"{index} says they are there", fix="download index and shards again, of one revision")
    if extra:
        what = f"{os.fspath(path)} also holds {_list(extra)}"
        raise CheckpointError(what, why=f"{index} does not name them there", fix="download index and shards again")
    return arrays


def _list(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(shorten(name) for name in names[:3]) + more


def save_sharded(
    tensors: Mapping[str, npt.ArrayLike],
    folder: StrPath,
    max_shard_bytes: int = 5_000_000_000,
    metadata: Mapping[str, str] | None = None,
) -> list[str]:
    """Write tensors into ``folder`` as one safetensors file, or as several with an index where they are larger than one may be.

    Equal content makes equal files. Each file is written whole or not at all, the index last; for all or nothing, write into an
    :func:`~nyala.core.atomic.atomic_folder`.

    Args:
        tensors: arrays by name; cut in this order.
        folder: an existing folder without weights in it (other files do not matter).
        max_shard_bytes: tensor bytes per file; a larger tensor has a file of its own.
        metadata: texts by name, written into every file.

    Returns:
        The names of the weight files: ``["model.safetensors"]`` or ``["model-00001-of-0000N.safetensors", ...]``.

    Raises:
        StorageError: the folder already holds weights, which a reader could take for these; full disk; no such folder.
        ArgumentError: ``max_shard_bytes`` below 1, or a name that the format cannot hold.
        DtypeError: a dtype that the format does not know.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> save_sharded({"a": np.zeros(4), "b": np.ones(4)}, folder.name)
        ['model.safetensors']
    """
    if max_shard_bytes < 1:
        raise ArgumentError(f"max_shard_bytes is {max_shard_bytes}", why="it must be at least 1", fix="leave it out")
    folder = Path(folder)
    with storage_errors(folder):
        old = sorted(entry.name for entry in folder.iterdir() if entry.name.startswith("model") and ".safetensors" in entry.name)
    if old:
        raise StorageError(f"{folder} already holds {old[0]}", fix="choose another folder, or remove the old weights first")
    arrays = {name: np.asarray(value) for name, value in tensors.items()}
    shards = _cut(arrays, max_shard_bytes)
    files = [f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))] if len(shards) > 1 else [SINGLE]
    for file, shard in zip(files, shards, strict=True):
        save_file(shard, folder / file, metadata)
    if len(shards) > 1:
        _write_index(folder / INDEX, files, shards)
    return files


def _cut(arrays: Arrays, max_bytes: int) -> list[Arrays]:
    shards: list[Arrays] = [{}]
    room = max_bytes
    for name, array in arrays.items():
        if array.nbytes > room and shards[-1]:
            shards.append({})
            room = max_bytes
        shards[-1][name] = array
        room -= array.nbytes
    return shards


def _write_index(path: Path, files: list[str], shards: list[Arrays]) -> None:
    places = {name: file for file, shard in zip(files, shards, strict=True) for name in shard}
    total = sum(array.nbytes for shard in shards for array in shard.values())
    index: dict[str, Any] = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    atomic_write(path, json.dumps(index, indent=2, ensure_ascii=False) + "\n")
