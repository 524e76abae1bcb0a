"""Checkpoints: ``checkpoints/step-XXXXXXXX/{state.safetensors, state.json}``, each there whole or not at all.

``state.json`` holds the sha256 of ``state.safetensors`` and of itself, so a damaged checkpoint is noticed, renamed aside and
skipped.
The weights of the best evaluation lie in ``checkpoints/best-XXXXXXXX`` for as long as a kept checkpoint refers to them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core import checkpoint
from ...core.atomic import atomic_folder, remove_leftovers, storage_errors
from ...core.errors import CheckpointError, IntegrityError
from ..proof import hashing

ARRAYS, RECORD = "state.safetensors", "state.json"


@dataclass(frozen=True)
class Saved:
    """A checkpoint as read back: ``arrays`` by name, and the JSON ``record`` (step, counters, optimizer numbers)."""

    folder: Path
    arrays: Mapping[str, np.ndarray]
    record: Mapping[str, Any]


class Store:
    """The ``checkpoints`` folder of a run.

    Args:
        folder: the run folder.
        keep: how many of the newest checkpoints stay.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder / "checkpoints", keep
        with storage_errors(self.folder):
            self.folder.mkdir(exist_ok=True)
        remove_leftovers(self.folder)

    def save(self, step: int, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> None:
        """Writes the checkpoint of ``step`` (an older one of the same step is replaced), then drops those no longer needed.

        Raises:
            StorageError: full disk or read-only folder; the older checkpoints are untouched.
        """
        self._write(f"step-{step:08d}", arrays, {**record, "step": step})
        self._prune()

    def save_best(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes the weights of the best evaluation so far; older ones stay until no checkpoint refers to them."""
        self._write(f"best-{step:08d}", arrays, {"step": step})

    def best(self, step: int) -> Saved:
        """The weights that ``save_best(step)`` wrote.

        Raises:
            IntegrityError: they are missing or damaged.
        """
        folder = self.folder / f"best-{step:08d}"
        fault = _fault(folder)
        if fault:
            raise IntegrityError(
                f"{folder} {fault}", why="it holds the best weights of this run", fix="resume: the run goes back to before it"
            )
        return _read(folder)

    def latest(self, fault_of: Callable[[Mapping[str, Any]], str] | None = None) -> tuple[Saved | None, list[str]]:
        """The newest whole checkpoint, and a line for each damaged one that was renamed aside to reach it.

        Args:
            fault_of: given a checkpoint's record, says why it is of no use after all, or gives an empty string.
        """
        notes: list[str] = []
        for folder in sorted(self.folder.glob("step-*"), reverse=True):
            fault = _fault(folder) or self._best_fault(folder) or (fault_of(_record(folder)) if fault_of else "")
            if not fault:
                return _read(folder), notes
            aside = _free_name(folder.with_name(f"damaged-{folder.name}"))
            with storage_errors(folder, "rename"):
                folder.rename(aside)
            notes.append(f"checkpoint {folder.name} {fault}: renamed to {aside.name} and skipped")
        return None, notes

    def keep_newest(self) -> None:
        """Drops all but the newest checkpoint and its best weights: a finished run needs no way back."""
        self.keep = 1
        self._prune()

    def _best_fault(self, folder: Path) -> str:
        best = _record(folder).get("best_step")
        fault = _fault(self.folder / f"best-{best:08d}") if best is not None else ""
        return f"refers to best-{best:08d}, which {fault}" if fault else ""

    def _write(self, name: str, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> None:
        with atomic_folder(self.folder / name, replace=True) as folder:
            checkpoint.save_file(dict(arrays), folder / ARRAYS)
            whole = {**record, "sha256": hashing.of_file(folder / ARRAYS)}
            (folder / RECORD).write_text(json.dumps({**whole, "record_sha256": _digest(whole)}, indent=1) + "\n")

    def _prune(self) -> None:
        steps = sorted(self.folder.glob("step-*"))
        kept = steps[-self.keep :]
        wanted = {_best_step(f) for f in kept if (f / RECORD).is_file()}
        bests = [f for f in self.folder.glob("best-*") if int(f.name.removeprefix("best-")) not in wanted]
        for folder in [*steps[: -self.keep], *bests]:
            with storage_errors(folder, "remove"):
                shutil.rmtree(folder)


def _best_step(folder: Path) -> int | None:
    try:
        found: int | None = _record(folder).get("best_step")
    except ValueError:  # damaged, and so of no use to anybody
        return None
    return found


def _fault(folder: Path) -> str:
    """What is wrong with a checkpoint folder, or an empty string."""
    if not (folder / ARRAYS).is_file() or not (folder / RECORD).is_file():
        return "is incomplete"
    try:
        record = _record(folder)
    except ValueError:
        return f"has a damaged {RECORD}"
    if record.pop("record_sha256", None) not in (None, _digest(record)):  # checkpoints of the first release have none
        return f"has a damaged {RECORD}"
    if record.get("sha256") != hashing.of_file(folder / ARRAYS):
        return "does not have the hash it was written with"
    return ""


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _record(folder: Path) -> dict[str, Any]:
    with storage_errors(folder / RECORD, "read"):
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    if not isinstance(record, dict):
        raise CheckpointError(f"{folder / RECORD} holds no table", fix="remove this checkpoint and resume")
    return record


def _read(folder: Path) -> Saved:
    return Saved(folder, checkpoint.load_file(folder / ARRAYS), _record(folder))


def _free_name(path: Path) -> Path:
    number = 1
    free = path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
