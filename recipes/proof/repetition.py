"""A run repeated in a temporary folder, and once more with every weight's last bit moved: what ``verify`` compares with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..folder import run as runs
from ..folder.run import Run
from ..language.config import Loaded
from ..progress import Progress
from ..training import trainer
from ..training.trainer import Training
from . import bounds, compare
from .bounds import Bound


@dataclass
class Repetition:
    """A recipe carried out again.

    Attributes:
        run: the new run.
        start: the weights that it began with.
        steps: how many steps it made, or None for all.
    """

    run: Run
    start: dict[str, np.ndarray]
    steps: int | None


def repeat(loaded: Loaded, folder: Path, show: Progress, steps: int | None = None) -> Repetition:
    """Carries a recipe out in ``folder/run``, all of it or its first ``steps`` steps."""
    made = Repetition(runs.create(loaded, folder / "run"), {}, steps)

    def remember(training: Training) -> None:
        if not made.start:
            made.start |= {k: np.array(v) for k, v in trainer.arrays(training.setup.model.state_dict()).items()}

    trainer.train(made.run, show, stop_after=steps, before_update=remember)
    return made


def bound(old: Path, new: Path, around: Repetition, show: Progress) -> tuple[Bound | None, str]:
    """Two runs against the bound that is measured around a repetition; or no bound, and why there is none.

    Args:
        old, new: run folders; ``new`` may be the repetition's own.
        around: the repetition; it is repeated once more.
        show: shows that.
    """
    a, b = (compare.losses(folder, around.steps) for folder in (old, new))
    if len(a) != len(b):
        return None, f"the runs have {len(a)} and {len(b)} steps"
    far = bounds.beyond_cap(a, b)
    if far is not None:
        apart = f"the losses of step {far} are {abs(a[far - 1] - b[far - 1]):.2g} apart"
        return None, f"{apart}, and no bound allows more than {bounds.CAP:.0%} of the loss"
    show.note("measuring how far rounding carries this run: once more, with every weight's last bit moved")
    nudged = runs.create(around.run.loaded, around.run.folder.parent / "nudged")
    trainer.train(nudged, show, stop_after=around.steps, before_update=bounds.nudge)
    again, moved = (compare.losses(folder, around.steps) for folder in (around.run.folder, nudged.folder))
    if not len(a) == len(again) == len(moved):
        return None, f"moving the last bits changes the number of steps, {len(again)} -> {len(moved)}"
    weights, limit = _shares(old, new, around, nudged)
    return bounds.judge(a, b, bounds.bounds(again, moved), weights, limit), ""


def _shares(old: Path, new: Path, around: Repetition, nudged: Run) -> tuple[float | None, float]:
    """The distance of the last weights as a share of the way they went, and the bound of it; None where a run has none."""
    found = [compare.last_weights(folder) for folder in (old, new, around.run.folder, nudged.folder)]
    if any(f is None for f in found) or len({f[0] for f in found if f}) != 1:
        return None, 0.0
    a, b, again, moved = (f[1] for f in found if f)
    way = compare.distance(again, around.start) or 1.0
    return compare.distance(a, b) / way, min(bounds.FACTOR * compare.distance(moved, again) / way, bounds.CAP)
