"""Cross-validation: one run for each fold, side by side in one folder, and what their scores come to.

``<folder>/fold-0``, ``fold-1``, ... are runs like any other: each can be looked at, verified and used. ``folds.json`` holds
the scores of all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...core.atomic import atomic_write, storage_errors
from ...core.errors import NyalaError, RecipeError
from ..data.folds import spread
from ..folder import run as runs
from ..language import config
from ..progress import Progress
from . import trainer

SUMMARY = "folds.json"


@dataclass(frozen=True)
class Summary:
    """The scores of all folds.

    Attributes:
        folder: where the runs lie.
        folds: the test scores of each.
        mean, deviation: of each score; the deviation is the sample's (divided by n - 1).
    """

    folder: str
    folds: Sequence[Mapping[str, float]]
    mean: Mapping[str, float]
    deviation: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        names = list(self.mean)
        wide = [max(17, len(n)) for n in names]
        lines = ["fold  " + "  ".join(f"{n:>{w}}" for n, w in zip(names, wide, strict=True))]
        for i, scores in enumerate(self.folds):
            lines.append(f"{i:<4}  " + "  ".join(f"{scores[n]:>{w}.4f}" for n, w in zip(names, wide, strict=True)))
        both = (f"{self.mean[n]:.4f} ± {self.deviation[n]:.4f}" for n in names)
        return "\n".join([*lines, "mean  " + "  ".join(f"{text:>{w}}" for text, w in zip(both, wide, strict=True))])


def create(source: str | Path, overrides: Sequence[str] = (), folder: str | Path | None = None) -> Path:
    """Makes the folder of a cross-validation, with a run folder for each fold.

    Args:
        source: the recipe, by name or path.
        overrides: ``key=value``.
        folder: by default ``<run.folder>/<recipe>-folds-<n>``. A folder of the same cross-validation is taken up again.

    Raises:
        RecipeError: the recipe says no ``data.folds``, or the folder holds something else.
    """
    first = config.load(source, overrides)
    if first.recipe.data.folds is None:
        raise RecipeError("data.folds is not set", why="it says how many folds there are", fix="add data.folds=5")
    if folder is None:
        name = first.recipe.run.name or first.name.rpartition("/")[2]
        group = runs.next_free(Path(first.recipe.run.folder).expanduser(), f"{name}-folds")
    else:
        group = Path(folder).expanduser().resolve()
    if (group / runs.RECIPE).exists():
        raise RecipeError(
            f"{group} holds a single run", why="a cross-validation has a run for each fold", fix="give another folder"
        )
    for i in range(first.recipe.data.folds):
        runs.create(config.load(source, [*overrides, f"data.fold={i}"]), group / f"fold-{i}")
    return group


def is_group(folder: str | Path) -> bool:
    """Whether a folder is that of a cross-validation."""
    path = Path(folder).expanduser()
    return not (path / runs.RECIPE).exists() and (path / "fold-0" / runs.RECIPE).is_file()


def folders(group: str | Path) -> list[Path]:
    """The run folders of a cross-validation, by fold."""
    path = Path(group).expanduser()
    count = runs.open_run(path / "fold-0").recipe.data.folds or 0
    return [path / f"fold-{i}" for i in range(count)]


def carry_out(group: Path, progress: Progress | None = None) -> Summary:
    """Carries out the folds that are not finished yet, and sums up all.

    Raises:
        NyalaError: what a fold's run raises; the folder is removed where none had begun.
    """
    progress = progress or Progress()
    found: list[dict[str, float]] = []
    each = folders(group)
    for i, folder in enumerate(each):
        progress.note(f"fold {i} of {len(each)} (0 to {len(each) - 1})")
        try:
            scores = trainer.train(runs.open_run(folder), progress)
        except NyalaError:
            discard_unbegun(group)
            raise
        found.append({k: float(v) for k, v in scores.items() if k != "weights_step" and isinstance(v, int | float)})
    total = {name: spread([scores[name] for scores in found]) for name in found[0]}
    summary = Summary(str(group), found, {n: m for n, (m, _) in total.items()}, {n: d for n, (_, d) in total.items()})
    atomic_write(group / SUMMARY, json.dumps(summary.as_json() | {"folder": group.name}, indent=1) + "\n")
    return summary


def discard_unbegun(group: Path) -> None:
    """Removes the folder of a cross-validation of which no fold has begun."""
    folders = sorted(group.glob("fold-*"))
    if not any((folder / runs.MANIFEST).exists() for folder in folders):
        for folder in folders:
            runs.discard_unbegun(runs.open_run(folder))
        with storage_errors(group, "remove"):
            if not any(group.iterdir()):
                group.rmdir()
