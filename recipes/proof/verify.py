"""``nyala verify RUN``: are the files what the manifest says, and does the run come out the same again, and at which level?"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from ...core.errors import RecipeError, ReproducibilityError
from ..folder import run as runs
from ..folder.run import Run
from ..progress import Progress
from . import bounds, chain, compare, levels, manifest, repetition
from .bounds import Bound
from .levels import Level, Score
from .repetition import Repetition


@dataclass(frozen=True)
class Result:
    """What a verification found.

    Attributes:
        equal: every compared bit is the same.
        steps: how many steps were compared.
        compared: each output file -> whether it is the same.
        first: what differs first, in words; empty where nothing does.
        notes: what differs in environment or code between then and now.
        level: the highest level that holds, or ``none``.
        wanted: the level that was asked for, or else the one that the environment and the code let expect.
        why: for each level above the one that holds, why it does not.
        other: the run folder compared with, where nothing was repeated.
        bound: losses and weights against the measured bound, where that was looked at.
        score: the final score against its interval, where that was looked at.
        proof: the run's last link, which stands for its whole history; empty for runs of the first release.
    """

    equal: bool
    steps: int
    compared: Mapping[str, bool] = field(default_factory=dict)
    first: str = ""
    notes: tuple[str, ...] = ()
    level: Level = "none"
    wanted: Level = "bitwise"
    why: tuple[str, ...] = ()
    other: str = ""
    bound: Bound | None = None
    score: Score | None = None
    proof: str = ""

    @property
    def holds(self) -> bool:
        """Whether the wanted level is reached."""
        return levels.reaches(self.level, self.wanted)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "holds": self.holds}

    def __str__(self) -> str:
        lines = [f"{'equal ' if same else 'DIFFERS'}  {name}" for name, same in self.compared.items()]
        lines += [f"note     {note}" for note in self.notes]
        lines += [f"proof    {self.proof}"] if self.proof and self.equal else []
        if self.equal:
            how = "compared" if self.other else "repeated"
            lines.append(f"equal: {_steps(self.steps)} {how}, every bit the same")
        else:
            lines += [f"different: {self.first}", *(f"not {line}" for line in self.why)]
        return "\n".join([*lines, self._verdict()])

    def _verdict(self) -> str:
        said = {
            "bitwise": "every bit is the same",
            "bounded": f"{self.bound}\n         the bound: {bounds.Bound.said()}",
            "statistical": str(self.score),
            "none": "no level holds" if len(self.why) > 1 else "lower levels were not looked at",
        }[self.level]
        text = f"level    {self.level}: {said}"
        return text if self.holds else f"{text}\n         {self.wanted} was expected"


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"


def verify(
    folder: str | Path,
    progress: Progress | None = None,
    *,
    steps: int | None = None,
    level: Level | None = None,
    seed: int | None = None,
    overrides: Sequence[str] = (),
) -> Result:
    """Repeats a finished run in a temporary folder and compares hash by hash.

    First the files are held against the manifest: a file changed after the run is named without repeating anything. A run that
    does not come out bit by bit is repeated once more to measure how far rounding carries it (``bounds.py``).

    Args:
        folder: the run folder.
        progress: shows the repetition.
        steps: repeat only this many steps and compare only their metrics.
        level: what must hold. By default what the environment and the code let expect: ``bitwise`` on a machine of one class,
            ``bounded`` on another, ``statistical`` with another seed or version.
        seed: repeat with another seed; only ``statistical`` can hold then.
        overrides: places of data and weights that lie elsewhere now (``data.name=...``), and keys that cannot change a result.

    Returns:
        What was found; a difference is a result here and no exception.

    Raises:
        ReproducibilityError: the run never came to its end, so there is nothing to compare with.
        RecipeError: ``steps`` with ``statistical``, which needs the end; ``seed`` with a level above ``statistical``.
    """
    run = runs.open_run(folder, list(overrides))
    _check(run, folder, steps, level, seed)
    runs.check_places(run, "verify")
    loaded = run.loaded if seed is None else replace(run.loaded, recipe=msgspec.structs.replace(run.recipe, seed=seed))
    show = progress or Progress()
    with tempfile.TemporaryDirectory(prefix="nyala-verify-") as temporary:
        again = repetition.repeat(loaded, Path(temporary), show, steps)
        result = _bits(run, again.run, steps)
        result = replace(result, wanted=level or result.wanted)
        if result.equal or level == "bitwise" or changed_files(run):
            return result
        return _below_bitwise(run, again, show, result)


def _check(run: Run, folder: str | Path, steps: int | None, level: Level | None, seed: int | None) -> None:
    """What was asked for can be answered."""
    if not run.manifest().get("outputs"):
        raise ReproducibilityError(
            f"{folder} is not finished", why="it has no results to compare with", fix=f"nyala resume {folder}"
        )
    if steps is not None and (level == "statistical" or seed is not None):
        raise RecipeError("statistical needs the whole run", why="a final score is compared", fix="leave --steps out")
    if seed is not None and level not in (None, "statistical"):
        raise RecipeError(f"{level} cannot hold with another seed", fix="ask for --level statistical, or leave --seed out")


def changed_files(run: Run) -> list[str]:
    """The results of a finished run that are not what its manifest says, or the manifest, where its proof does not follow."""
    written = run.manifest()
    old, now = written["outputs"], manifest.outputs(run.folder)
    changed = [name for name in sorted(old | now) if old.get(name) != now.get(name)]
    if changed or "proof" not in written or "genesis" not in written:  # the first release had neither
        return changed
    whole, _ = chain.replay(written["genesis"], (run.folder / runs.METRICS).read_bytes().splitlines(keepends=True))
    return [] if whole.seal(old) == written["proof"] else [runs.MANIFEST]


def _bits(run: Run, again: Run, steps: int | None) -> Result:
    """The comparison bit by bit."""
    before, after = run.manifest(), again.manifest()
    lenient = before["code"] != after["code"]
    difference = compare.first(run.folder / runs.METRICS, again.folder / runs.METRICS, steps, lenient=lenient)
    count = len(compare.losses(again.folder))
    changed = changed_files(run)
    old, new = before["outputs"], manifest.outputs(again.folder)
    compared = {} if steps else {name: old.get(name) == new.get(name) for name in sorted(old | new)}
    if steps or lenient:
        compared[runs.METRICS] = difference is None
    compared |= dict.fromkeys(changed, False)
    first = str(difference or "")
    if changed and not difference:
        hashed = "its proof does not follow from the metrics" if changed == [runs.MANIFEST] else "not the hash in the manifest"
        first = f"{', '.join(changed)} changed after the run: {hashed}"
    elif not all(compared.values()) and not difference:
        first = "the steps are equal, but not " + ", ".join(name for name, same in compared.items() if not same)
    if changed:
        first += _broken_link(run, before)
    reached, notes = levels.expected(before, after)
    found = Result(not first, count, compared, first, notes, wanted=reached, proof=before.get("proof", ""))
    if not first:
        return replace(found, level="bitwise")
    return replace(found, why=(f"bitwise: {', '.join(changed)} changed after the run" if changed else not_bitwise(notes),))


def not_bitwise(notes: Sequence[str]) -> str:
    """Why two runs are not the same bit by bit, given what is not the same about their machines and code."""
    if notes:
        return "bitwise: what the notes name may change how sums are rounded"
    return "bitwise: the machines are of one class, code and inputs are the same: nothing known explains it"


def _broken_link(run: Run, written: Mapping[str, Any]) -> str:
    """Where a changed metrics file stops to fit its chain, in words, or an empty string."""
    first = written.get("genesis")
    if first is None:
        return ""
    lines = (run.folder / runs.METRICS).read_bytes().splitlines(keepends=True)
    _, fault = chain.replay(first, [line for line in lines if line.endswith(b"\n")])
    return f"; {fault}" if fault else ""


def _below_bitwise(run: Run, again: Repetition, show: Progress, result: Result) -> Result:
    """Looks for the highest level below bitwise that holds."""
    if run.recipe.seed != again.run.recipe.seed:
        result = replace(result, why=(*result.why, "bounded: another seed draws other numbers"))
    else:
        found, reason = repetition.bound(run.folder, again.run.folder, again, show)
        if found is not None and found.holds:
            return replace(result, level="bounded", bound=found)
        result = replace(result, bound=found, why=(*result.why, f"bounded: {reason or found}"))
    if again.steps is not None:
        return replace(result, why=(*result.why, "statistical: only the first steps were repeated"))
    return by_score(result, run.folder, again.run.folder, run.recipe.train.best.metric)


def by_score(result: Result, old: Path, new: Path, metric: str) -> Result:
    """``result``, at the level ``statistical`` where the final score of the second run lies in the interval of the first's."""
    found = levels.score(old, new, metric)
    if found is not None and found.holds:
        return replace(result, level="statistical", score=found)
    return replace(result, score=found, why=(*result.why, f"statistical: {found or f'no interval is known for {metric}'}"))


def first_difference(old: Path, new: Path, steps: int | None = None) -> str:
    """The first step at which two metrics files differ, in words, or an empty string.

    Args:
        old: the recorded file.
        new: the repeated one.
        steps: compare only up to this step.
    """
    return str(compare.first(old, new, steps) or "")
