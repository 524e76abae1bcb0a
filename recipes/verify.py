"""``nyala verify RUN``: are the files what the manifest says, and does the run come out the same again?"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import ReproducibilityError
from . import manifest, metrics, trainer
from . import run as runs
from .progress import Progress
from .run import Run


@dataclass(frozen=True)
class Result:
    """What a verification found.

    Attributes:
        equal: every compared bit is the same.
        steps: how many steps were compared.
        compared: each output file -> whether it is the same.
        first: what differs first, in words; empty where nothing does.
        notes: what differs in environment or code between then and now.
    """

    equal: bool
    steps: int
    compared: Mapping[str, bool] = field(default_factory=dict)
    first: str = ""
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{'equal ' if same else 'DIFFERS'}  {name}" for name, same in self.compared.items()]
        lines += [f"note     {note}" for note in self.notes]
        head = (
            f"equal: {self.steps} step{'' if self.steps == 1 else 's'} repeated, every bit the same"
            if self.equal
            else f"different: {self.first}"
        )
        return "\n".join([*lines, head])


def verify(folder: str | Path, progress: Progress | None = None, *, steps: int | None = None) -> Result:
    """Repeats a finished run in a temporary folder and compares hash by hash.

    First the files are held against the manifest: a file changed after the run is named without repeating anything.

    Args:
        folder: the run folder.
        progress: shows the repetition.
        steps: repeat only this many steps and compare only their metrics.

    Returns:
        What was found; a difference is a result here and no exception.

    Raises:
        ReproducibilityError: the run never came to its end, so there is nothing to compare with.
    """
    run = runs.open_run(folder)
    old = run.manifest()
    if not old.get("outputs"):
        raise ReproducibilityError(
            f"{folder} is not finished", why="it has no results to compare with", fix=f"nyala resume {folder}"
        )
    now = manifest.outputs(run.folder)
    changed = [name for name in sorted(old["outputs"] | now) if old["outputs"].get(name) != now.get(name)]
    with tempfile.TemporaryDirectory(prefix="nyala-verify-") as temporary:
        again = runs.create(run.loaded, Path(temporary) / "run")
        trainer.train(again, progress or Progress(), stop_after=steps)
        return _compare(run, again, changed, steps)


def _compare(run: Run, again: Run, changed: list[str], steps: int | None) -> Result:
    notes = tuple(manifest.compare(run.manifest(), again.manifest()))
    first = first_difference(run.folder / runs.METRICS, again.folder / runs.METRICS, steps)
    count = sum(1 for r in metrics.read(again.folder / runs.METRICS) if r["kind"] == "step")
    old, new = run.manifest()["outputs"], manifest.outputs(again.folder)
    compared = {runs.METRICS: not first} if steps else {name: old.get(name) == new.get(name) for name in sorted(old | new)}
    compared |= dict.fromkeys(changed, False)
    if not first and changed:
        first = f"{', '.join(changed)} changed after the run: not the hash in the manifest"
    if not first and not all(compared.values()):
        first = "the steps are equal, but not " + ", ".join(name for name, same in compared.items() if not same)
    return Result(not first, count, compared, first, notes)


def first_difference(old: Path, new: Path, steps: int | None = None) -> str:
    """The first step at which two metrics files differ, in words, or an empty string.

    Args:
        old: the recorded file.
        new: the repeated one.
        steps: compare only up to this step.
    """
    before = [r for r in metrics.read(old) if steps is None or (r["step"] <= steps and r["kind"] in ("step", "hash"))]
    after = [r for r in metrics.read(new) if steps is None or (r["step"] <= steps and r["kind"] in ("step", "hash"))]
    for a, b in zip(before, after, strict=False):
        if a != b:
            keys = [k for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k)]
            said = ", ".join(f"{k} {a.get(k)} -> {b.get(k)}" for k in keys)
            return f"step {min(a['step'], b['step'])} ({a['kind']}) differs first: {said}"
    if len(before) != len(after):
        where = (before if len(before) > len(after) else after)[min(len(before), len(after))]
        return f"step {where['step']} ({where['kind']}) is in one of the two runs only"
    return ""
