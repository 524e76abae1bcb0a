"""``manifest.json``: hashes of what went into a run and what came out, the environment, and the seeds.

It is written when the run begins (inputs) and completed when the run ends (outputs: the last thing written). A run that goes on
later compares the inputs: other data or other weights are refused by name, another environment is told and written down.
``data.sha256`` beside it lists each file of the data, in the format of ``sha256sum``, so that a changed one can be named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.atomic import atomic_write
from ...core.errors import IntegrityError
from ..folder import metrics
from ..folder import run as runs
from ..folder.run import Run
from ..language.identity import placeless
from ..language.schema import digest
from . import chain, environment, hashing

FORMAT = 2  # 1 had no chain and no proof, and said less about the environment
# What a finished run is judged by. The report and the timings hold nothing that is not derived from these, or is wall-clock time.
OUTPUTS = (runs.METRICS, runs.PREDICTIONS)
FILES = "data.sha256"


def begin(run: Run, data: Mapping[str, str], weights: Mapping[str, str], files: Sequence[Path] = ()) -> list[str]:
    """Writes the inputs of a new run, or compares them with those of a run that goes on.

    Args:
        run: the run.
        data: name -> sha256 of each part of the dataset.
        weights: file -> sha256 of the starting weights.
        files: what the data lie in, where each sample is a file.

    Returns:
        Lines to tell the user: what differs in environment or code, and may change the last bits.

    Raises:
        IntegrityError: the recipe, the data or the starting weights are not those the run began with.
    """
    from ... import __version__

    inputs: dict[str, Any] = {
        "format": FORMAT,
        "recipe": {"name": run.loaded.name, "sha256": digest(run.recorded)},
        "code": {"version": __version__, "sha256": hashing.of_code()},
        "data": {"name": run.recipe.data.name, **data},
        "weights": {"name": run.recipe.model.name, **weights},
        "seeds": {"seed": run.recipe.seed},
        "environment": environment.describe(run.recipe.train.device),
        # Folders are left out of it, for other machines have others: the hashes of their contents count.
        "genesis": chain.genesis(digest(placeless(run.recorded)), data, weights),
    }
    old = run.manifest()
    if not old:
        if files:
            atomic_write(run.folder / FILES, "".join(f"{sha256}  {name}\n" for name, sha256 in _hashed(run, files).items()))
        write(run.folder, inputs)
        return []
    for part in ("recipe", "data", "weights"):
        before, now = ({k: v for k, v in m[part].items() if k != "name"} for m in (old, inputs))
        changed = [k for k in sorted(before | now) if before.get(k) != now.get(k)]
        if changed:
            named = _changed_files(run, files) if part == "data" else []
            raise IntegrityError(
                f"the {part} of {run.folder} changed since the run began: {', '.join(changed)}{_few(named)}",
                why="the result would mix two sources",
                fix=f"bring the old {part} back, or start a new run",
            )
    return compare(old, inputs)


def went_on(run: Run, step: int, notes: Sequence[str]) -> None:
    """Writes down that a run goes on at ``step`` where something is not what it was: its bits may come from two machines."""
    if notes:
        old = run.manifest()
        write(run.folder, {**old, "resumed": [*old.get("resumed", []), {"step": step, "differences": list(notes)}]})


def _hashed(run: Run, files: Sequence[Path]) -> dict[str, str]:
    """Name below the data's folder -> sha256 of each file, by name."""
    data = run.recipe.data
    roots = [Path(name) for name in (data.name, data.validation, data.test) if name]
    named = {}
    for path in files:
        root = next((r for r in roots if path.is_relative_to(r)), None)
        named[(path.relative_to(root) if root else path).as_posix()] = path
    return {name: hashing.of_file(named[name]) for name in sorted(named)}


def _changed_files(run: Run, files: Sequence[Path]) -> list[str]:
    """The files of the data that are not what they were, as far as they were written down."""
    path = run.folder / FILES
    if not path.is_file():
        return []
    pairs = (line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines())
    before, now = {pair[1]: pair[0] for pair in pairs if len(pair) == 2}, _hashed(run, files)
    words = {True: "is new", False: "changed"}
    return [f"{name} is gone" for name in before if name not in now] + [
        f"{name} {words[name not in before]}" for name in now if before.get(name) != now[name]
    ]


def _few(named: Sequence[str]) -> str:
    more = f", and {len(named) - 5} more" if len(named) > 5 else ""
    return f" ({', '.join(named[:5])}{more})" if named else ""


def metrics_fault(run: Run, record: Mapping[str, Any]) -> str:
    """Why the metrics do not fit a checkpoint's record, or an empty string."""
    return metrics.fault(run.folder / runs.METRICS, record["metrics_bytes"], record.get("metrics_sha256"))


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two manifests' code and environment, as lines for the user."""
    notes = [f"another environment, {line}" for line in environment.differences(old["environment"], new["environment"])]
    if old["code"] != new["code"]:
        before, now = (f"{m['code']['version']} ({m['code']['sha256'][:8]})" for m in (old, new))
        notes.append(f"other nyala code, {before} -> {now}")
    return notes


def outputs(folder: Path) -> dict[str, str]:
    """File -> sha256 of what a run made: metrics, predictions, the adapter and the model folder."""
    found = [folder / name for name in OUTPUTS if (folder / name).is_file()]
    found += sorted(p for part in (runs.ADAPTER, runs.MODEL) for p in (folder / part).rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): hashing.of_file(p) for p in found}


def write(folder: Path, tree: Mapping[str, Any]) -> None:
    """Writes ``manifest.json`` whole or not at all."""
    atomic_write(folder / runs.MANIFEST, json.dumps(tree, indent=1, ensure_ascii=False) + "\n")
