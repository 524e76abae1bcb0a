"""``nyala verify RUN --against OTHER``: two run folders side by side, such as of a laptop and a server; nothing is repeated."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core.errors import ReproducibilityError
from ..folder import run as runs
from ..folder.run import Run
from ..language.identity import placeless
from ..progress import Progress
from . import compare, levels, manifest, repetition
from .levels import Level
from .verify import Result, by_score, changed_files, not_bitwise


def against(
    folder: str | Path,
    other: str | Path,
    progress: Progress | None = None,
    *,
    level: Level | None = None,
    overrides: Sequence[str] = (),
) -> Result:
    """Compares two runs; the shorter one sets how far.

    Args:
        folder, other: the run folders. Neither needs to be finished.
        progress: shows a repetition.
        level: what must hold, as for ``verify``. With ``bounded`` the run is repeated here, twice, to measure the bound.
        overrides: where data and weights lie here, for that repetition.

    Returns:
        What was found; ``notes`` say how recipe, data, weights, code and environments differ.

    Raises:
        ReproducibilityError: one of them has made no step.
    """
    one, two = runs.open_run(folder, list(overrides)), runs.open_run(other)
    for run in (one, two):
        if not (run.folder / runs.METRICS).is_file() or not len(compare.losses(run.folder)):
            raise ReproducibilityError(f"{run.folder} has made no step yet", fix=f"nyala resume {run.folder}")
    a, b, inputs = one.manifest(), two.manifest(), _inputs(one, two)
    expected, others = levels.expected(a, b)
    notes = (*inputs, *others)
    wanted: Level = "bitwise" if expected == "bitwise" and not inputs else "statistical"  # a bound is only measured where asked
    result = replace(_bits(one, two), notes=notes, wanted=level or wanted, other=str(two.folder))
    damaged = [f"{r.folder.name}/{name}" for r in (one, two) if r.finished for name in changed_files(r)]
    if damaged:
        told = f"{', '.join(damaged)} changed after the run: not the hash in the manifest"
        return replace(result, equal=False, level="none", first=told, why=(f"bitwise: {told}",))
    if result.equal:
        return result
    result = replace(result, why=(not_bitwise(notes),))
    if level == "bitwise":
        return result
    same = not inputs and a["seeds"] == b["seeds"]
    return _below_bitwise(one, two, progress or Progress(), result, same, measure=level == "bounded")


def _inputs(one: Run, two: Run) -> list[str]:
    """How the recipes, data and weights differ; folders do not count, for other machines have others."""
    a, b = one.manifest(), two.manifest()
    recipes = [placeless(run.recorded) for run in (one, two)]
    notes = [f"another recipe, {key}" for key in runs.changed_keys(*recipes) if key != "seed"]
    for part in ("data", "weights"):
        names = [k for k in sorted(a[part] | b[part]) if k != "name" and a[part].get(k) != b[part].get(k)]
        notes += [f"other {part}, {', '.join(names)}"] if names else []
    return notes


def _bits(one: Run, two: Run) -> Result:
    """The comparison bit by bit, as far as both runs have come."""
    lengths = [len(compare.losses(run.folder)) for run in (one, two)]
    ended = one.finished and two.finished
    steps = None if ended else min(lengths)
    lenient = one.manifest()["code"] != two.manifest()["code"]
    difference = compare.first(one.folder / runs.METRICS, two.folder / runs.METRICS, steps, lenient=lenient)
    made: list[dict[str, Any]] = [manifest.outputs(run.folder) if ended else {} for run in (one, two)]
    compared = {name: made[0].get(name) == made[1].get(name) for name in sorted(made[0] | made[1])}
    compared[runs.METRICS] = difference is None
    first = str(difference or "")
    if not first and not all(compared.values()):
        first = "the steps are equal, but not " + ", ".join(name for name, same in compared.items() if not same)
    proof = one.manifest().get("proof", "") if ended else ""
    return Result(not first, min(lengths), compared, first, level="none" if first else "bitwise", proof=proof)


def _below_bitwise(one: Run, two: Run, show: Progress, result: Result, same: bool, measure: bool) -> Result:
    """Looks for the highest level below bitwise that holds."""
    found, reason = None, "what went in is not the same"
    if same and measure and one.finished and two.finished:
        with tempfile.TemporaryDirectory(prefix="nyala-verify-") as temporary:
            again = repetition.repeat(one.loaded, Path(temporary), show)
            found, reason = repetition.bound(one.folder, two.folder, again, show)
    elif same:
        reason = _apart(one, two)
    if found is not None and found.holds:
        return replace(result, level="bounded", bound=found)
    result = replace(result, bound=found, why=(*result.why, f"bounded: {reason or found}"))
    if not one.finished or not two.finished:
        return replace(result, why=(*result.why, "statistical: one of the runs is not finished"))
    return by_score(result, one.folder, two.folder, one.recipe.train.best.metric)


def _apart(one: Run, two: Run) -> str:
    """How far two runs are apart, where no bound is measured."""
    a, b = (compare.losses(run.folder) for run in (one, two))
    count = min(len(a), len(b))
    text = f"no bound was measured; losses differ by {abs(a[:count] - b[:count]).max():.2g} at most"
    weights = [compare.last_weights(run.folder) for run in (one, two)]
    if weights[0] and weights[1] and weights[0][0] == weights[1][0]:
        length = compare.distance(weights[0][1], {k: 0 * v for k, v in weights[0][1].items()}) or 1.0
        text += f", the last weights by {compare.distance(weights[0][1], weights[1][1]) / length:.2g} of their length"
    return f"{text}; --level bounded repeats the run here and measures it" if one.finished and two.finished else text
