"""``manifest.json``: hashes of what went into a run and what came out, the environment, and the seeds.

It is written when the run begins (inputs) and completed when the run ends (outputs: the last thing written). A run that goes on
later compares the
inputs: other data or other weights are refused, another environment is told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.atomic import atomic_write
from ..core.errors import IntegrityError
from . import chain, environment, hashing, metrics
from . import run as runs
from .run import Run
from .identity import placeless
from .schema import digest

FORMAT = 2  # 1 had no chain and no proof, and said less about the environment
# What a finished run is judged by. The report and the timings hold nothing that is not derived from these, or is wall-clock time.
OUTPUTS = (runs.METRICS, runs.PREDICTIONS)


def begin(run: Run, data: Mapping[str, str], weights: Mapping[str, str]) -> list[str]:
    """Writes the inputs of a new run, or compares them with those of a run that goes on.

    Args:
        run: the run.
        data: name -> sha256 of each part of the dataset.
        weights: file -> sha256 of the starting weights.

    Returns:
        Lines to tell the user: what differs in environment or code, and may change the last bits.

    Raises:
        IntegrityError: the recipe, the data or the starting weights are not those the run began with.
    """
    from .. import __version__

    inputs: dict[str, Any] = {
        "format": FORMAT,
        "recipe": {"name": run.loaded.name, "sha256": digest(run.recipe)},
        "code": {"version": __version__, "sha256": hashing.of_code()},
        "data": {"name": run.recipe.data.name, **data},
        "weights": {"name": run.recipe.model.name, **weights},
        "seeds": {"seed": run.recipe.seed},
        "environment": environment.describe(),
    }
    old = run.manifest()
    if not old:
        write(run.folder, inputs)
        return []
    for part in ("recipe", "data", "weights"):
        if old[part] != inputs[part]:
            changed = [k for k in sorted(old[part] | inputs[part]) if old[part].get(k) != inputs[part].get(k)]
            raise IntegrityError(
                f"the {part} of {run.folder} changed since the run began: {', '.join(changed)}",
                why="the result would mix two sources",
                fix=f"bring the old {part} back, or start a new run",
            )
    return compare(old, inputs)


def genesis(run: Run, data: Mapping[str, str], weights: Mapping[str, str]) -> str:
    """The first value of the run's chain. Folders are left out of it, for other machines have others: their contents' hashes count."""
    return chain.genesis(digest(placeless(run.recipe)), data, weights)


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
    """File -> sha256 of what a run made: metrics, predictions, and the model folder."""
    found = [folder / name for name in OUTPUTS if (folder / name).is_file()]
    found += sorted(p for p in (folder / runs.MODEL).rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): hashing.of_file(p) for p in found}


def write(folder: Path, tree: Mapping[str, Any]) -> None:
    """Writes ``manifest.json`` whole or not at all."""
    atomic_write(folder / runs.MANIFEST, json.dumps(tree, indent=1, ensure_ascii=False) + "\n")
