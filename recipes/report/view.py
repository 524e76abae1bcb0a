"""What a run folder holds, read for showing; nothing in it is changed, and a run need not be finished."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from ...core.atomic import atomic_write, storage_errors
from ...core.errors import DataError, IntegrityError, NyalaError, RecipeError
from ...core.scores.calibration import Temperature
from ..data import datasets
from ..data.boxes import outlined
from ..data.tasks import opened
from ..folder import metrics
from ..folder import run as runs
from ..judging.assessment import Assessment, labels_of
from ..judging.measurement import Measurement
from ..language import config
from ..language.schema import Recipe
from ..proof import hashing
from .samples import Sample, pick, show_picture, show_sound, show_text

SCORES = "scores.json"
_SHOW: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "image": show_picture,
    "boxes": lambda raw: show_picture(outlined(raw)),
    "sound": lambda raw: show_sound(opened(raw)),
    "speech": lambda raw: show_sound(opened(raw.sound)),
    "text": show_text,
    "seq2seq": lambda raw: show_text(raw.source),
}


@dataclass(frozen=True)
class View:
    """A run as its report shows it.

    Attributes:
        folder: the run folder; title: the recipe's name; description: the recipe's.
        records: the lines of ``metrics.jsonl``; seconds: time spent in steps, over all sittings.
        recipe: ``recipe.resolved.toml``; settings: its values by key path.
        manifest: ``manifest.json``, empty where there is none yet.
        assessment: of the test part; None for an unfinished run, or where samples have no classes.
        measurement: in its place where samples have no classes.
        changed: files that are not what they were when the run ended.
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
    measurement: Measurement | None = None
    changed: tuple[str, ...] = ()
    samples: list[Sample] | None = None
    without_samples: str = ""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def judged(self) -> Assessment | Measurement | None:
        """The scores on the test part, of whatever kind."""
        return self.assessment or self.measurement

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
    path = Path(folder).expanduser().resolve()
    text, tree = _recipe(path, folder)
    done = manifest or runs.read_manifest(path)
    view = View(
        folder=path,
        title=done["recipe"]["name"] if done else path.name,
        description=str(tree.get("description", "")),
        records=list(metrics.read(path / runs.METRICS)) if (path / runs.METRICS).is_file() else [],
        seconds=_seconds(path / runs.TIMINGS),
        recipe=text,
        settings=_settings(tree),
        manifest=done,
        assessment=_assessment(path, int(tree.get("seed", 0))) if done.get("outputs") else None,
        changed=_changed(path, done.get("outputs", {})),
        samples=samples if isinstance(samples, list) else None,
    )
    if done.get("outputs") and view.assessment is None:
        return _with_measured(view, samples is True)
    return _with_samples(view) if samples is True and view.assessment is not None else view


def _with_measured(view: View, again: bool) -> View:
    """The view with the scores of samples without classes, and single samples as they were written or, for sounds, read again."""
    measured = _measurement(view.folder / SCORES)
    if measured is None or view.samples is not None:
        return replace(view, measurement=measured)
    view = replace(view, measurement=measured, samples=[Sample(**one) for one in measured.shown])
    return _with_samples(view) if again and any("text" not in one for one in measured.shown) else view


def _recipe(path: Path, given: str | Path) -> tuple[str, dict[str, Any]]:
    """The resolved recipe as text and as values, whether or not what it names is still there."""
    if not (path / runs.RECIPE).is_file():
        why = "it has no " + runs.RECIPE if path.is_dir() else "it is a file" if path.exists() else "there is no such folder"
        raise RecipeError(f"{given} is not a run folder", why=why, fix="give the folder that `nyala run` printed")
    with storage_errors(path / runs.RECIPE, "read"):
        text = (path / runs.RECIPE).read_text(encoding="utf-8")
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise IntegrityError(
            f"{path / runs.RECIPE} is damaged", why=str(error), fix="take it from a backup, or run again"
        ) from error


def _settings(tree: dict[str, Any]) -> dict[str, Any]:
    """Every value by key path, also those that did not exist yet when the run was made: they have their defaults."""
    with suppress(msgspec.ValidationError):  # of another version of nyala: what it says is shown all the same
        tree = msgspec.to_builtins(msgspec.convert(tree, Recipe))
    return {k: v for k, v in config.leaves(tree) if v is not None}


def _changed(path: Path, outputs: Mapping[str, str]) -> tuple[str, ...]:
    """Of what the page is made from: the files that have another hash than the manifest says."""
    names = [name for name in (runs.METRICS, runs.PREDICTIONS) if name in outputs]
    return tuple(n for n in names if not (path / n).is_file() or hashing.of_file(path / n) != outputs[n])


def _seconds(path: Path) -> float:
    return sum(float(r.get("seconds", 0.0)) for r in metrics.read(path)) if path.is_file() else 0.0


def _assessment(folder: Path, seed: int) -> Assessment | None:
    labels = labels_of(folder / runs.MODEL)
    path = folder / runs.PREDICTIONS
    if not labels or not path.is_file() or not _of_classes(path):
        return None
    top5, temperature = _scores(folder / SCORES)
    return replace(Assessment.from_predictions(path, labels, top5, temperature), seed=seed)


def write_scores(folder: Path, assessment: Assessment | Measurement) -> None:
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
    with _readable(path) as tree:
        top5, found = tree.get("top5"), tree["calibration"]["temperature"]
        return round(top5["value"] * tree["samples"]) if top5 else None, Temperature(**found) if found else None


def _measurement(path: Path) -> Measurement | None:
    if not path.is_file():
        return None
    with _readable(path) as tree:
        return Measurement.from_json(tree)


@contextmanager
def _readable(path: Path) -> Iterator[dict[str, Any]]:
    with storage_errors(path, "read"):
        content = path.read_bytes()
    try:
        yield json.loads(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{path} is damaged", why=repr(error), fix="remove it: the report does without") from error


def _with_samples(view: View) -> View:
    """The view with single samples, read again, where the data are still what the run saw."""
    try:
        recipe = runs.open_run(view.folder).recipe
        source = datasets.load(recipe.data, recipe.seed)
        if source.hashes != {k: v for k, v in view.manifest.get("data", {}).items() if k != "name"}:
            raise DataError(f"{recipe.data.name} is not what the run saw", fix="bring the old data back")
        show, inputs = _SHOW[source.kind], source.test.inputs
        if view.assessment is not None:
            return replace(view, samples=pick(view.assessment, inputs, show))
        shown = view.measurement.shown if view.measurement is not None else []
        return replace(view, samples=[Sample(**(show(inputs[one["index"]]) | one)) for one in shown])
    except NyalaError as error:
        reason = str(error).partition("\n")[2].strip().partition("\n")[0] or error.what
        return replace(view, without_samples=f"The samples cannot be shown: {reason}.")
