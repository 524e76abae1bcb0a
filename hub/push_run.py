"""What a run's folder says of itself, read as plain data: what was trained, from what, on what, and how well.

The files are those that every run has: ``manifest.json``, ``recipe.resolved.toml``, ``metrics.jsonl`` and ``model/``.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.atomic import storage_errors
from ..core.errors import DataError, IntegrityError, MissingFileError
from .integrity import sha256_file

MANIFEST = "manifest.json"
RECIPE = "recipe.resolved.toml"
METRICS = "metrics.jsonl"
MODEL = "model"
_NO_SCORES = ("step", "weights_step", "samples", "epoch")


@dataclass(frozen=True)
class RunFacts:
    """A finished run, for its model card.

    Attributes:
        folder: the run's folder.
        name: the recipe's name.
        description: the recipe's own line about itself.
        recipe: the resolved recipe as nested dictionaries.
        manifest: content of ``manifest.json``.
        scores: what the run came to on its test part, by name.
        samples: how many samples that part has.
    """

    folder: Path
    name: str
    description: str
    recipe: Mapping[str, Any]
    manifest: Mapping[str, Any]
    scores: Mapping[str, float] = field(default_factory=dict)
    samples: int = 0

    @property
    def base(self) -> str:
        """The name of the weights that the run began with."""
        return str(self.recipe.get("model", {}).get("name", ""))

    @property
    def data(self) -> str:
        """The name of the dataset; of a folder or file its last part."""
        name = str(self.recipe.get("data", {}).get("name", ""))
        return Path(name).name if names_a_path(name) else name


def is_run(folder: Path) -> bool:
    """Whether ``folder`` is the folder of a recipe run, finished or not."""
    return (folder / RECIPE).is_file() and not (folder / "config.json").is_file()


def read_run(folder: Path) -> RunFacts:
    """Read a finished run.

    Raises:
        MissingFileError: the run has not come to its end.
        IntegrityError: a file of the model is not the one that the run wrote.
        DataError: a file of the run is damaged.
    """
    manifest = _json(folder / MANIFEST) if (folder / MANIFEST).is_file() else {}
    outputs = manifest.get("outputs")
    if not isinstance(outputs, dict) or not outputs or not (folder / MODEL).is_dir():
        raise MissingFileError(
            f"the run {folder} is not finished", why="it has no final model yet", fix=f"let it finish: nyala resume {folder}"
        )
    _check_outputs(folder, outputs)
    recipe = _toml(folder / RECIPE)
    final = _final_record(folder / METRICS)
    scores = {k: float(v) for k, v in final.items() if type(v) in (int, float) and k not in _NO_SCORES}
    scores = dict(sorted(scores.items(), key=lambda score: score[0] == "loss"))  # what people look for comes first
    named = manifest.get("recipe")
    name = str(named.get("name", "")) if isinstance(named, dict) else ""
    text = str(recipe.get("description", ""))
    return RunFacts(folder, name or folder.name, text, recipe, manifest, scores, int(final.get("samples", 0)))


def _check_outputs(folder: Path, outputs: Mapping[str, Any]) -> None:
    """The manifest goes along as proof: what it proves must be what is uploaded."""
    for name, expected in outputs.items():
        if not name.startswith(f"{MODEL}/"):
            continue
        path = folder / name
        if not path.is_file():
            raise IntegrityError(f"{path} is missing", why="the run wrote it", fix="restore it, or run again")
        if sha256_file(path) != expected:
            raise IntegrityError(
                f"{path} was changed after the run had ended",
                why="its sha256 is not the one in manifest.json, which would be uploaded with it",
                fix="restore the file, run again, or push the folder of the model itself, which claims no run",
            )


def base_of(facts: RunFacts) -> str:
    """The name of the published weights at the root of a run: a run that began with another run's result is followed.

    Returns an empty string where the trail ends in a folder.
    """
    name = facts.base
    for _ in range(10):
        folder = Path(name).expanduser()
        if not folder.is_dir():
            return "" if names_a_path(name) else name
        if not (folder / RECIPE).is_file():
            return ""
        name = str(_toml(folder / RECIPE).get("model", {}).get("name", ""))
    return ""


def names_a_path(name: str) -> bool:
    """Whether a name in a recipe is a path of this machine.

    Example:
        >>> names_a_path("spam-sample"), names_a_path("org/name"), names_a_path("~/pictures"), names_a_path("mail.jsonl")
        (False, False, True, True)
    """
    path = Path(name)
    odd = path.is_absolute() or name.startswith((".", "~")) or name.endswith((".jsonl", ".csv", ".json"))
    return odd or name.count("/") > 1 or path.expanduser().exists()


def _final_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    with storage_errors(path, "read"):
        lines = path.read_text(encoding="utf-8").splitlines()
    try:
        records = [record for record in map(json.loads, lines) if isinstance(record, dict)]
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}", fix="restore it, or run again") from error
    return next((record for record in reversed(records) if record.get("kind") == "final"), {})


def _json(path: Path) -> dict[str, Any]:
    with storage_errors(path, "read"):
        content = path.read_bytes()
    try:
        value = json.loads(content)
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}", fix="restore the file from where it came") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} holds no object", fix="restore the file from where it came")
    return value


def _toml(path: Path) -> dict[str, Any]:
    with storage_errors(path, "read"):
        content = path.read_bytes()
    try:
        return tomllib.loads(content.decode())
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError both
        raise DataError(f"{path} is not TOML: {error}", fix="restore the file from where it came") from error
