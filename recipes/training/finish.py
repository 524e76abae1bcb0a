"""The end of a run: final weights, the one look at the test part, predictions, the model folder, manifest and report.

Everything here can be done again: a run killed in the middle of it goes on from its last checkpoint and comes to the same files.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.atomic import atomic_write
from .. import report
from ..data import batches, kinds
from ..folder import csv, metrics
from ..folder import run as runs
from ..judging.assessment import Collector
from ..judging.measurement import Measurement
from ..language.schema import Best
from ..proof import manifest
from ..report.samples import Sample, pick
from . import adapters, export, scores
from .evaluate import Evaluation
from .objectives import Result

if TYPE_CHECKING:
    from .trainer import Training


def finish(training: Training) -> dict[str, Any]:
    """Ends a run; returns its final scores on the test part."""
    setup, run = training.setup, training.run
    step = load_final(training, run.recipe.train.best)
    found = batches.for_evaluation(setup.source.test, setup.task, run.recipe)
    training.progress.phase(f"testing {len(setup.source.test)} samples")
    result = setup.objective.evaluate(setup.model, found)
    final = {"kind": "final", "step": training.at.step, "weights_step": step, "samples": result.samples, **result.record()}
    training.log.write(final)
    training.log.sync()
    write_predictions(training, result)
    training.progress.phase("writing the results")
    write_model(training)
    made = manifest.outputs(run.folder)
    done = {**run.manifest(), "outputs": made, "proof": training.log.seal(made)}
    write_report(training, result, done)
    manifest.write(run.folder, done)  # a run with outputs in its manifest is finished
    training.store.keep_newest()
    return scores.of_record(final)


def write_model(training: Training) -> None:
    """The ``model`` folder, and where the run has an adapter the ``adapter`` folder beside it."""
    setup, run = training.setup, training.run
    table, adapter, folder = run.recipe.model, setup.adapter, run.folder
    if adapter is None or table.adapter is None:
        export.save(setup.pipeline, setup.model, setup.labels, folder / runs.MODEL)
        return
    alone = partial(adapters.save, adapter, setup.pipeline, table, kinds.of(setup.source.kind).task_name)
    export.save(setup.pipeline, setup.model, setup.labels, folder / runs.ADAPTER, alone)
    if not table.adapter.merge:
        export.save(setup.pipeline, setup.model, setup.labels, folder / runs.MODEL, alone)
        return
    export.save(setup.pipeline, adapter.merge().detach(), setup.labels, folder / runs.MODEL)


def load_final(training: Training, best: Best) -> int:
    """Puts the weights to publish into the model; returns the step they are from."""
    at, setup = training.at, training.setup
    if best.use == "best" and at.best_step is not None:
        arrays = training.store.best(at.best_step).arrays
        step = at.best_step
    else:
        arrays, step = setup.final_arrays(), at.step
    setup.model.load_state_dict(arrays)
    return step


def write_predictions(training: Training, result: Evaluation | Result) -> None:
    """``predictions.jsonl``: a line for each test sample."""
    atomic_write(training.run.folder / runs.PREDICTIONS, b"".join(map(metrics.encode, result.predictions())))


def write_report(training: Training, result: Evaluation | Result, done: dict[str, Any]) -> None:
    """``report.html``, ``scores.json`` and ``metrics.csv``: what people and programs look at; all of it can be made again."""
    folder, setup, seed = training.run.folder, training.setup, training.run.recipe.seed
    inputs = setup.source.test.inputs
    if isinstance(result, Evaluation):
        collected = Collector(setup.labels)
        collected.add(result.log_probabilities, result.labels)
        assessment = collected.finish(seed)
        report.write_scores(folder, assessment)
        samples = pick(assessment, inputs, setup.task.show)
    else:
        measured = Measurement.of(result, inputs, seed)
        report.write_scores(folder, measured)
        samples = [Sample(**(setup.task.show(inputs[one["index"]]) | one)) for one in measured.shown]
    csv.write(folder)
    view = report.read(folder, manifest=done, samples=samples)
    atomic_write(folder / runs.REPORT, report.run_page(view))
