"""The files of one model, by their local names, wherever they lie."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core.atomic import storage_errors
from ..core.errors import CheckpointError, DataError, MissingFileError, kind_of
from ..core.part import FilePart, open_binary

# In the order a loader prefers them.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "models/model.pt",
)
_PICKLED = (".pth", ".pt", ".bin")
GGUF = ".gguf"
ONNX = ".onnx"
CTRANSLATE2 = "model.bin"


class Files(Mapping[str, Path | FilePart]):
    """A read-only mapping: local name (``"config.json"``, ``"1_Pooling/config.json"``) -> path of the file.

    Of a bundle the values are :class:`~nyala.core.part.FilePart`, which read like paths and cannot be opened by ``open``: use
    their methods, or :meth:`copy`.

    Args:
        paths: name -> path.
        origin: where they come from, for messages and manifests, e.g. ``"model hub timm/resnet18.a1_in1k"``.
        revision: the commit or version; empty for a plain folder.
        hashes: name -> sha256, for the files whose bytes were hashed on the way in.

    Example:
        >>> import pathlib
        >>> files = Files({"config.json": pathlib.Path("m/config.json")}, origin="folder m")
        >>> "tokenizer.json" in files, files.get("tokenizer.json")
        (False, None)
    """

    def __init__(
        self, paths: Mapping[str, Path | FilePart], *, origin: str, revision: str = "", hashes: Mapping[str, str] | None = None
    ) -> None:
        self._paths = dict(paths)
        self.origin = origin
        self.revision = revision
        self.hashes = dict(hashes or {})

    def __getitem__(self, name: str) -> Path | FilePart:
        return self._paths[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __repr__(self) -> str:
        return f"Files({sorted(self._paths)}, origin={self.origin!r})"

    def size(self, name: str) -> int:
        """The bytes of a file."""
        return self._paths[name].stat().st_size

    def copy(self, name: str, target: str | Path) -> None:
        """Write a file's bytes to ``target``."""
        with open_binary(self._paths[name]) as source, open(target, "wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)

    def require(self, name: str, purpose: str) -> Path | FilePart:
        """The path of a file that must be there.

        Args:
            name: its local name.
            purpose: what it is needed for, e.g. ``"turn text into tokens"``.

        Raises:
            MissingFileError: it is not among the files.
        """
        if name in self._paths:
            return self._paths[name]
        names = sorted(self._paths)
        there = ", ".join(names[:8]) + (f", ... ({len(names)} files)" if len(names) > 8 else "")
        raise MissingFileError(
            f"{self.origin} has no {name}",
            why=f"it is needed to {purpose}; {f'what is there: {there}' if there else 'no file is there'}",
            fix=f"put {name} beside the weights, or load by a name that has it",
        )

    def read_json(self, name: str, purpose: str = "load the model") -> dict[str, Any]:
        """The content of a JSON file that holds an object.

        Raises:
            MissingFileError: it is not there.
            DataError: it is not JSON, or not an object.
            StorageError: it cannot be read.
        """
        path = self.require(name, purpose)
        try:
            with storage_errors(path, "read"):
                content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:  # JSONDecodeError and UnicodeDecodeError both
            raise DataError(f"{path} is not JSON: {error}", fix="restore the file from where it came") from error
        if not isinstance(content, dict):
            raise DataError(f"{path} holds {kind_of(content)}, not an object", fix="restore the file")
        return content

    def weights(self) -> str:
        """The local name of the weights: safetensors first, then its shards' index, then a PyTorch state dict.

        Raises:
            MissingFileError: there are none.
            CheckpointError: several files could be meant.
        """
        for name in WEIGHTS:
            if name in self._paths:
                return name
        others = sorted(name for name in self._paths if name.endswith((".safetensors", GGUF, ONNX, *_PICKLED)))
        if len(others) == 1:
            return others[0]
        if others:
            raise CheckpointError(
                f"{self.origin} has several weight files: {', '.join(others)}",
                why="nyala cannot know which is meant",
                fix="keep one of them, or call it model.safetensors",
            )
        self.require("model.safetensors", "fill the model's parameters")
        raise AssertionError("unreachable")


def folder_files(folder: str | Path, *, origin: str = "") -> Files:
    """The files of a local folder, two levels deep at most, hidden ones left out.

    Raises:
        MissingFileError: there is no such folder.
        StorageError: it cannot be read.

    Example:
        >>> import tempfile, pathlib
        >>> root = tempfile.TemporaryDirectory()
        >>> _ = pathlib.Path(root.name, "config.json").write_text("{}")
        >>> folder_files(root.name).read_json("config.json")
        {}
    """
    root = Path(folder)
    if not root.is_dir():
        raise MissingFileError(f"there is no folder {root}", fix="check the path")
    with storage_errors(root, "read"):
        found = [path for pattern in ("*", "*/*") for path in root.glob(pattern) if path.is_file()]
    paths = {path.relative_to(root).as_posix(): path for path in sorted(found)}
    visible = {name: path for name, path in paths.items() if not any(part.startswith(".") for part in name.split("/"))}
    return Files(visible, origin=origin or f"folder {root}")
