"""What a run folder holds, read for showing; nothing in it is changed, and a run need not be finished."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core.atomic import atomic_write, storage_errors
from ...core.errors import DataError, IntegrityError, NyalaError
from .. import config, datasets, metrics
from .. import run as runs
from ..assessment import Assessment, labels_of
from ..calibration import Temperature
from .samples import Sample, pick, show_picture, show_text

SCORES = "scores.json"
_SHOW: Mapping[str, Callable[[Any], dict[str, Any]]] = {"image": show_picture, "text": show_text}


@dataclass(frozen=True)
class View:
    """A run as its report shows it.

    Attributes:
        folder: the run folder; title: the recipe's name; description: the recipe's.
        records: the lines of ``metrics.jsonl``; seconds: time spent in steps, over all sittings.
        recipe: ``recipe.resolved.toml``; settings: its values by key path.
        manifest: ``manifest.json``, empty where there is none yet.
        assessment: of the test part; None for an unfinished run, or a task that is no classification.
        samples: mistakes and unsure right answers; without_samples: why there are none.
    """

    folder: Path
    title: str
    description: str
    records: list[dict[str, Any]]
    seconds: float
    recipe: str
    settings: dict[str, Any]
    manifest: dict[str, Any]
    assessment: Assessment | None = None
    samples: list[Sample] | None = None
    without_samples: str = ""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def final(self) -> dict[str, Any]:
        """The last record, with the scores on the test part; empty while the run goes on."""
        return next((r for r in reversed(self.records) if r["kind"] == "final"), {})

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The records of the updates."""
        return [r for r in self.records if r["kind"] == "step"]


def read(folder: str | Path, *, samples: bool | list[Sample] = True, manifest: dict[str, Any] | None = None) -> View:
    """Reads a run folder.

    Args:
        folder: the run folder.
        samples: the samples to show, or whether to read the test part again for them.
        manifest: in place of the folder's own, where the run is just about to end.

    Raises:
        RecipeError: not a run folder.
        IntegrityError: a file in it is damaged.
    """
    run = runs.open_run(folder)
    path = run.folder
    text = (path / runs.RECIPE).read_text(encoding="utf-8")
    view = View(
        folder=path,
        title=run.loaded.name,
        description=run.recipe.description,
        records=list(metrics.read(path / runs.METRICS)) if (path / runs.METRICS).is_file() else [],
        seconds=_seconds(path / runs.TIMINGS),
        recipe=text,
        settings=dict(config.leaves(tomllib.loads(text))),
        manifest=manifest or run.manifest(),
        assessment=_assessment(path, run.recipe.seed) if manifest or run.finished else None,
        samples=samples if isinstance(samples, list) else None,
    )
    return _with_samples(view, run) if samples is True and view.assessment is not None else view


def _seconds(path: Path) -> float:
    return sum(float(r.get("seconds", 0.0)) for r in metrics.read(path)) if path.is_file() else 0.0


def _assessment(folder: Path, seed: int) -> Assessment | None:
    labels = labels_of(folder / runs.MODEL)
    path = folder / runs.PREDICTIONS
    if not labels or not path.is_file() or not _of_classes(path):
        return None
    top5, temperature = _scores(folder / SCORES)
    return replace(Assessment.from_predictions(path, labels, top5, temperature), seed=seed)


def write_scores(folder: Path, assessment: Assessment) -> None:
    """Writes ``scores.json``: everything the assessment says, for programs."""
    atomic_write(folder / SCORES, json.dumps(assessment.as_json(), indent=1, ensure_ascii=False) + "\n")


def _of_classes(path: Path) -> bool:
    """Whether the predictions are classes of whole samples: other tasks write other lines."""
    first = next(metrics.read(path), {})
    return {"label", "predicted", "probability", "of_label"} <= first.keys() and isinstance(first["label"], int)


def _scores(path: Path) -> tuple[int | None, Temperature | None]:
    """Top-5 hits and temperature, which the predictions do not tell, where the run wrote them down."""
    if not path.is_file():
        return None, None
    with storage_errors(path, "read"):
        content = path.read_bytes()
    try:
        tree = json.loads(content)
        top5, found = tree.get("top5"), tree["calibration"]["temperature"]
        return round(top5["value"] * tree["samples"]) if top5 else None, Temperature(**found) if found else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{path} is damaged", why=repr(error), fix="remove it: the report does without") from error


def _with_samples(view: View, run: runs.Run) -> View:
    assert view.assessment is not None
    try:
        source = datasets.load(run.recipe.data, run.recipe.seed)
        if source.hashes != {k: v for k, v in view.manifest.get("data", {}).items() if k != "name"}:
            raise DataError(f"{run.recipe.data.name} is not what the run saw", fix="bring the old data back")
        show = _SHOW.get(source.kind)
        found = pick(view.assessment, source.test.inputs, show) if show else None
        return replace(view, samples=found)
    except NyalaError as error:
        return replace(view, without_samples=f"The samples cannot be shown: {error.what}.")
