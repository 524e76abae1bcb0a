"""The run folder: which files a run has, how it is made, and how an old one is opened again.

``recipe.resolved.toml``, ``manifest.json``, ``metrics.jsonl`` (the truth), ``timings.jsonl``, ``checkpoints/``, ``model/``
(loads with ``nyala.load``), ``predictions.jsonl`` and ``report.html``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from ...core.atomic import atomic_write, storage_errors
from ...core.errors import IntegrityError, RecipeError, StorageError
from ..language import config, resolved
from ..language.config import Loaded
from ..language.schema import INDIFFERENT, Recipe, digest

RECIPE = "recipe.resolved.toml"
MANIFEST = "manifest.json"
METRICS = "metrics.jsonl"
TIMINGS = "timings.jsonl"
PREDICTIONS = "predictions.jsonl"
REPORT = "report.html"
MODEL = "model"
ADAPTER = "adapter"

# Where data and weights lie: a run may go on with them elsewhere, for what they are is proved by their hashes.
PLACES = ("data.name", "data.validation", "data.test", "model.name", "train.distill.teacher")


@dataclass(frozen=True)
class Run:
    """A run folder and the recipe in it.

    Attributes:
        folder: where it is.
        loaded: the recipe as it is used now: its data and weights may lie elsewhere than when the run began.
        written: the recipe as it stands in the folder, where that is another.
    """

    folder: Path
    loaded: Loaded
    written: Recipe | None = None

    @property
    def recipe(self) -> Recipe:
        return self.loaded.recipe

    @property
    def recorded(self) -> Recipe:
        """The recipe that the run began with."""
        return self.written or self.loaded.recipe

    @property
    def finished(self) -> bool:
        """Whether the run came to its end: the manifest then lists its outputs."""
        return bool(self.manifest().get("outputs"))

    def manifest(self) -> dict[str, Any]:
        """The manifest as written so far, or an empty dictionary; see ``read_manifest``."""
        return read_manifest(self.folder)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder, or an empty dictionary where none is written yet.

    Raises:
        IntegrityError: it is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    with storage_errors(path, "read"):
        content = path.read_bytes()
    try:
        manifest = json.loads(content)
        _ = manifest["recipe"]["name"], manifest["data"]["name"], manifest["weights"]["name"], dict(manifest.get("outputs", {}))
        _ = manifest["code"]["version"], manifest["code"]["sha256"][:8], manifest["seeds"]["seed"], dict(manifest["environment"])
        _ = [(r["step"], "; ".join(r["differences"])) for r in manifest.get("resumed", [])]
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"{path} is damaged", why=repr(error), fix="take this file from a backup, or run again") from error
    return dict(manifest)


def create(loaded: Loaded, folder: str | Path | None = None) -> Run:
    """Makes the folder of a new run and writes the resolved recipe into it.

    Args:
        loaded: the recipe.
        folder: the run folder itself. By default ``<run.folder>/<recipe>-<n>`` with the first free ``n``. A folder that holds an
        unfinished run
            of the same recipe is taken up again.

    Raises:
        RecipeError: the folder holds a run of another recipe, or other files.
        StorageError: the folder cannot be made.
    """
    if folder is None:
        path = next_free(Path(loaded.recipe.run.folder).expanduser(), loaded.recipe.run.name or loaded.name.rpartition("/")[2])
    else:
        path = Path(folder).expanduser().resolve()
        if path.exists() and not path.is_dir():
            raise RecipeError(f"{path} is a file", why="a run needs a folder", fix="give another folder, or none")
        with storage_errors(path, "create"):
            path.mkdir(parents=True, exist_ok=True)
        _refuse_strangers(path, loaded)
    if not (path / RECIPE).exists():
        atomic_write(path / RECIPE, resolved.to_toml(loaded))
    return Run(path, loaded)


def discard_unbegun(run: Run, *more: str) -> None:
    """Removes the folder of a run that failed before it began, and an empty ``runs``.

    Only where nothing is in it but the recipe, and files called as in ``more``.
    """
    with storage_errors(run.folder, "remove"):
        there = list(run.folder.iterdir())
        if {path.name for path in there} <= {RECIPE, ".lock", *more}:
            for path in there:
                path.unlink()
            run.folder.rmdir()
            if run.folder.parent == Path(run.recipe.run.folder).expanduser().resolve() and not any(run.folder.parent.iterdir()):
                run.folder.parent.rmdir()


def open_run(folder: str | Path, overrides: list[str] | None = None) -> Run:
    """Opens an existing run folder.

    Args:
        folder: the run folder.
        overrides: only for keys that cannot change a result, such as ``data.workers``, and for places: data and weights may have
            moved, and their hashes are compared.

    Raises:
        RecipeError: not a run folder, or an override that would change the result.
        IntegrityError: the folder's manifest is damaged.
    """
    path = Path(folder).expanduser().resolve()
    if not (path / RECIPE).is_file():
        why = "it has no " + RECIPE if path.is_dir() else "there is no such folder"
        raise RecipeError(f"{folder} is not a run folder", why=why, fix="give the folder that `nyala run` printed")
    for text in overrides or ():
        key = text.partition("=")[0].strip()
        if not any(key == known or key.startswith(known + ".") for known in (*INDIFFERENT, *PLACES)):
            allowed = ", ".join((*INDIFFERENT, *PLACES))
            raise RecipeError(
                f"{key} cannot change in a run that has begun",
                why="the result would mix two recipes",
                fix=f"only {allowed} may; or start a new run",
            )
    loaded = config.load(path / RECIPE, overrides or (), look_up=False)
    written = config.load(path / RECIPE, look_up=False).recipe if overrides else None
    origins = resolved.origins_of((path / RECIPE).read_text(encoding="utf-8"))
    origins |= {key: origin for key, origin in loaded.origins.items() if origin == "override"}
    begun = read_manifest(path)
    return Run(path, replace(loaded, name=begun["recipe"]["name"] if begun else loaded.name, origins=origins), written)


def check_places(run: Run, command: str = "resume") -> None:
    """The folders that the recipe names are there.

    Args:
        run: the run.
        command: what the user is told to say the new place to.

    Raises:
        RecipeError: naming those that are not, and how to say where they lie now.
    """
    missing = {}
    for place in PLACES:
        value: Any = run.recipe
        for key in place.split("."):
            value = getattr(value, key, None)
        if value and Path(value).is_absolute() and not Path(value.partition("#")[0]).exists():
            missing[place] = value
    if missing:
        raise RecipeError(
            f"{run.folder} cannot be repeated or go on: "
            + ", ".join(f"{place} {value} is not there" for place, value in missing.items()),
            why="data and weights are read again, and their hashes compared",
            fix=f"give the new place, as in nyala {command} {run.folder} " + " ".join(f"{place}=PATH" for place in missing),
        )


def next_free(parent: Path, stem: str) -> Path:
    """Makes ``<parent>/<stem>-<n>`` with the first free ``n``."""
    with storage_errors(parent, "create"):
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1_000_000):
            path = (parent / f"{stem}-{number}").resolve()
            try:
                path.mkdir()  # fails where it exists: two processes never get the same folder
            except FileExistsError:
                continue
            return path
    raise StorageError(f"{parent} has a million runs of {stem}", fix="remove some, or give another folder with --folder")


def _refuse_strangers(path: Path, loaded: Loaded) -> None:
    """A folder with another recipe's run, or with files that are no run's, is left alone."""
    if not (path / RECIPE).exists():
        others = [p.name for p in path.iterdir() if p.name != ".lock" and not p.name.startswith(".nyala-tmp-")]
        if others:
            raise RecipeError(
                f"{path} is not empty and no run folder", why=f"it holds {others[0]}", fix="give an empty or a new folder"
            )
        return
    old = config.load(path / RECIPE, look_up=False).recipe
    if digest(old) != digest(loaded.recipe):
        changed = changed_keys(old, loaded.recipe)
        raise RecipeError(
            f"{path} holds a run of another recipe: {', '.join(changed[:5])} {'differs' if len(changed) == 1 else 'differ'}"
            if changed
            else f"{path} holds a run of another recipe",
            why="one folder holds one run",
            fix="give another folder, or none: a new one is then made",
        )


def changed_keys(old: Recipe, new: Recipe) -> list[str]:
    """Key paths of two recipes whose values differ; where a run is written does not count."""
    a, b = (dict(config.leaves(msgspec.to_builtins(r))) for r in (old, new))
    return [path for path in sorted(a.keys() | b.keys()) if a.get(path) != b.get(path) and not path.startswith("run.")]
