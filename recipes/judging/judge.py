"""``nyala.evaluate``: any classifier on any labelled data, with intervals, so that nobody deploys weights unexamined.

Samples go through in batches and only four numbers of each are kept: memory does not grow with the data beyond that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from ...core import data as loading
from ...core import random
from ...core.atomic import atomic_write
from ...core.autograd import no_grad
from ...core.errors import ArgumentError, DataError
from ...hub.client import resolve
from ...hub.load import load
from ...hub.pipeline import Pipeline
from ..data import datasets, kinds, tasks
from ..data.batches import Batch, Prepared
from ..data.datasets import Part, Source
from ..folder import run as runs
from ..language.schema import Data, Model, Recipe, Train
from ..progress import Progress
from ..training import models
from ..training.evaluate import Evaluation, apply, eval_mode, logits_of
from . import matching
from .assessment import Assessment, Collector
from .measurement import Measurement

_OWN = "its own test part"


@dataclass(frozen=True)
class Judgement:
    """A model's assessment on some data; prints as tables.

    Attributes:
        model: what was judged; data: on what, and which part of it.
        assessment: the scores; a ``Measurement`` where samples have no classes of their own.
        part: the samples, by the numbers that the assessment has for them.
        task: shows a sample.
        left_out: samples whose class is mapped to nothing.
        restricted: whether the model chose among the data's classes alone.
    """

    model: str
    data: str
    assessment: Assessment | Measurement
    part: Part
    task: tasks.Task
    left_out: int = 0
    restricted: bool = False

    def as_json(self, worst: int = 20) -> dict[str, Any]:
        """Everything as plain values, with the surest mistakes."""
        a = self.assessment
        head = {"model": self.model, "data": self.data, "left_out": self.left_out, "restricted": self.restricted}
        if isinstance(a, Measurement):
            return {**head, **a.as_json()}
        mistakes = [
            {
                "sample": i,
                "input": name_of(self.part.inputs[i]),
                "label": a.labels[a.truth[i]],
                "predicted": a.labels[a.predicted[i]],
                "confidence": float(a.confidence[i]),
            }
            for i in a.worst(worst)
        ]
        return {**head, **a.as_json(), "worst_mistakes": mistakes}

    def __str__(self) -> str:
        from .judge_text import as_text

        return as_text(self)

    def save(self, path: str | Path) -> None:
        """Writes a self-contained HTML page.

        Raises:
            ArgumentError: the name does not end in ``.html``.
            StorageError: it cannot be written.
        """
        from ..report import judgement_page

        atomic_write(html_path(path), judgement_page(self))


def html_path(path: str | Path) -> Path:
    """The path of a page that is to be written.

    Raises:
        ArgumentError: it does not end in ``.html``, or its folder is not there.
    """
    target = Path(path).expanduser()
    if target.suffix.lower() not in (".html", ".htm"):
        raise ArgumentError(f"{path} is no page", fix="end the name in .html")
    if not target.parent.is_dir():
        raise ArgumentError(f"{path}: there is no folder {target.parent}", fix="make it first, or correct the path")
    return target


def name_of(raw: Any) -> str | None:
    """What a raw input is called: its path or its text; None for an array."""
    return str(raw)[:200] if isinstance(raw, str | Path) else None


def evaluate(
    model: str | Path | Pipeline,
    data: str | Path | None = None,
    *,
    mapping: Mapping[str, str] | None = None,
    only_given: bool = False,
    target: str | None = None,
    text: Sequence[str] = (),
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 2,
    seed: int = 0,
    device: str | None = None,
    progress: Progress | None = None,
) -> Judgement:
    """Judge a classifier on labelled data.

    Args:
        model: a name, a hub id, a folder, the folder of a finished run, or a pipeline that ``nyala.load`` returned.
        data: a dataset's name, a folder with one subfolder a class, a CSV, TSV, JSON lines or Parquet file, or a hub dataset;
            its test part where it has one. A run may go without: it is then judged on its own test part, which is also what
            it gets where this is the data it was trained on.
        mapping: a class of the data -> the model's name for it, or ``"-"`` to leave it out; the others match by name.
        only_given: let the model choose among the classes of the data alone.
        target, text: the columns of a file that hold the class and the text, where their names do not say it; a run knows
            those of the file it was trained on.
        limit: at most this many samples, drawn by ``seed``.
        batch_size: samples that go through the model at once.
        workers: threads that read and prepare samples; results do not depend on it.
        seed: what ``limit`` and the bootstrap are drawn by.
        device: where the model computes, e.g. "cuda"; a pipeline's is where it is.
        progress: is told how far it is.

    Raises:
        DataError: classes that the model has not, a sample that cannot be read, or data of another kind.
        ArgumentError: a model that tells no classes apart, or no data.

    Example:
        >>> from nyala.recipes.judging.judge import evaluate
        >>> try:
        ...     evaluate("tf_efficientnet_lite0")
        ... except ArgumentError as error:
        ...     print(error.what)
        tf_efficientnet_lite0 needs data to be judged on
    """
    progress = progress or Progress()
    name = model.name if isinstance(model, Pipeline) else str(model)
    progress.phase("loading data")
    own = _own_recipe(model)
    where, source = _read(name, own, data, target, text)
    part = _limited(source.test, limit, seed)
    progress.phase(f"loading {name}")
    pipeline = model if isinstance(model, Pipeline) else load(model, device=device)
    _check_kind(pipeline, name, source.kind)
    if own is not None:  # texts are cut where the run cut them
        pipeline = models.prepared(replace(own.model, image_size=None, crop_pct=None), pipeline, kinds.of(source.kind))
    if not kinds.of(source.kind).by_class:
        recipe = own.model if own is not None else Model(name=name)
        source = _fitted(source, part, pipeline, name, where, recipe)
        measured = _measured(pipeline, name, where, source, mapping, (batch_size, workers, seed), progress)
        return Judgement(name, where, measured, source.test, kinds.of(source.kind).task(pipeline, source))
    labels = _labels(pipeline, name)
    numbers = matching.match(source.labels, labels, mapping, where.rpartition(", ")[0])[part.labels]
    kept = np.flatnonzero(numbers != matching.LEFT_OUT)
    if not len(kept):
        raise DataError(f"no sample of {where} is left", why="every class is left out", fix="map at least one class")
    judged = Part(part.take(kept).inputs if len(kept) < len(part) else part.inputs, numbers[kept])
    task = kinds.of(source.kind).task(pipeline, source)
    chosen = np.unique(judged.labels) if only_given else np.arange(len(labels))
    assessment = _run(pipeline, judged, task, labels, chosen, batch_size, workers, seed, progress)
    judged = Part(judged.inputs, np.searchsorted(chosen, judged.labels))
    return Judgement(name, where, assessment, judged, task, len(part) - len(kept), only_given)


def _own_recipe(model: str | Path | Pipeline) -> Recipe | None:
    """The recipe of a run; None for any other model."""
    if isinstance(model, Pipeline) or not (Path(model).expanduser() / runs.RECIPE).is_file():
        return None
    return runs.open_run(model).recipe


def _read(name: str, own: Recipe | None, data: str | Path | None, target: str | None, text: Sequence[str]) -> tuple[str, Source]:
    """What the data are called, and the data, whose test part is to be judged on."""
    if data is None and own is None:
        resolve(name)  # a name that nobody knows is the first mistake
        raise ArgumentError(
            f"{name} needs data to be judged on",
            why="only a run has a test part of its own",
            fix="give a folder with one subfolder a class, a .jsonl file, or a dataset's name (--data)",
        )
    if own is not None and (data is None or _same(str(data), own.data.name)):
        source = datasets.load(own.data, own.seed)
        return f"{own.data.name}, {_OWN}", source
    known = own.data if own is not None else Data(name="")
    columns = replace(known.columns, label=target or known.columns.label, text=list(text) or known.columns.text)
    raw = datasets.read(
        Data(name=str(data), columns=columns, encoding=known.encoding, masked=known.masked, corrupt=known.corrupt)
    )
    part, which = (raw.train, "all of it") if raw.test is None else (raw.test, "its test part")
    if kinds.of(raw.kind).by_class:
        datasets.check_labels(part, len(raw.labels), str(data))
    return f"{data}, {which}", Source(raw.kind, raw.labels, part, part.take(np.arange(0)), part, raw.hashes, known.masked)


def _same(a: str, b: str) -> bool:
    return a == b or Path(a).expanduser().resolve() == Path(b).expanduser().resolve()


def _limited(part: Part, limit: int | None, seed: int) -> Part:
    if limit is None or limit >= len(part):
        return part
    if limit < 1:
        raise ArgumentError(f"limit={limit}", fix="give at least one sample")
    return part.take(np.sort(random.key(seed, "limit-evaluation").permutation(len(part))[:limit]))


def _check_kind(pipeline: Pipeline, name: str, kind: str) -> None:
    """The model is for data of this kind.

    Raises:
        DataError: it is not.
    """
    of = kinds.of(kind)
    domain = type(pipeline).__module__.split(".")[1]
    if domain != of.domain:
        raise DataError(f"{name} is for {domain} and the data are {of.plural}", fix=f"give {domain} data, or another model")


def _labels(pipeline: Pipeline, name: str) -> list[str]:
    """The model's class names.

    Raises:
        ArgumentError: it tells no classes apart.
    """
    labels = list(getattr(pipeline, "labels", ()))
    if not labels:
        raise ArgumentError(
            f"{name} tells no classes apart",
            why=f"it is for {type(pipeline).__name__}",
            fix="fine-tune it on labelled data first, then evaluate the run",
        )
    return labels


def _fitted(source: Source, part: Part, pipeline: Pipeline, name: str, where: str, recipe: Model) -> Source:
    """The part to be judged on as the model takes it: a corpus in windows, say.

    Raises:
        DataError: the model's pipeline is for another task.
    """
    of = kinds.of(source.kind)
    if not of.accepts(pipeline):
        why = f"{where} holds {of.plural}, and {name} is for {type(pipeline).__name__}"
        raise DataError(f"{name} cannot be judged on {of.plural}", why=why, fix=f"take a model for {of.task_name}")
    none = part.take(np.arange(0))
    return of.fitted(Source(**{**vars(source), "train": none, "validation": none, "test": part}), pipeline, recipe)


def _measured(
    pipeline: Pipeline,
    name: str,
    where: str,
    source: Source,
    mapping: Mapping[str, str] | None,
    how: tuple[int, int, int],
    progress: Progress,
) -> Measurement:
    """The measure of data whose samples have no class of their own.

    Raises:
        DataError: the model's tags are not those of the data.
    """
    of = kinds.of(source.kind)
    if mapping:
        raise ArgumentError("a mapping is for samples with a class each", why=f"{where} holds {of.plural}", fix="leave it out")
    labels = source.labels
    if labels:
        labels = _labels(pipeline, name)
        matching.match(source.labels, labels, None, where.rpartition(", ")[0])
    source = Source(**{**vars(source), "labels": labels})
    objective = of.objective(pipeline, Train(), source, labels)
    batch_size, workers, seed = how
    result = objective.evaluate(
        pipeline.model, _batches(pipeline, source.test, of.task(pipeline, source), batch_size, workers, progress)
    )
    assert not isinstance(result, Evaluation)  # samples of these kinds have no class
    return Measurement.of(result, source.test.inputs, seed)


def _batches(
    pipeline: Pipeline, part: Part, task: tasks.Task, batch_size: int, workers: int, progress: Progress
) -> Iterator[Batch]:
    """The whole part in its own order, on the model's device; progress is told of each batch that is done with."""
    device = next(pipeline.model.parameters()).device
    prepared = Prepared(part, task)
    done = 0
    progress.count(0, len(part), "evaluating")
    loader = loading.DataLoader(prepared, batch_size, num_workers=workers, collate_fn=prepared.collate)
    for batch in loading.prefetched(loader, device):
        yield batch
        done += len(batch)
        progress.count(done, len(part), "evaluating")


def _run(
    pipeline: Pipeline,
    part: Part,
    task: tasks.Task,
    labels: list[str],
    chosen: np.ndarray,
    batch_size: int,
    workers: int,
    seed: int,
    progress: Progress,
) -> Assessment:
    collector = Collector([labels[i] for i in chosen])
    with eval_mode(pipeline.model), no_grad():
        for batch in _batches(pipeline, part, task, batch_size, workers, progress):
            logits = np.asarray(logits_of(apply(pipeline.model, batch.inputs)).numpy())
            collector.add(logits[:, chosen], np.searchsorted(chosen, batch.labels))
    return collector.finish(seed)
