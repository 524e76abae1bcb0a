"""The end of a run: final weights, the one look at the test part, predictions, the model folder, manifest and report.

Everything here can be done again: a run killed in the middle of it goes on from its last checkpoint and comes to the same files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.atomic import atomic_write
from . import batches, export, manifest, metrics
from . import run as runs
from .evaluate import Evaluation, evaluate
from .report import Sample, render
from .schema import Best

if TYPE_CHECKING:
    from .trainer import Training

SHOWN = 18  # samples of each kind in the report


def finish(training: Training) -> dict[str, Any]:
    """Ends a run; returns its final scores on the test part."""
    setup, run = training.setup, training.run
    step = load_final(training, run.recipe.train.best)
    found = batches.for_evaluation(setup.source.test, setup.task, run.recipe)
    training.progress.phase(f"testing {len(setup.source.test)} samples")
    result = evaluate(setup.model, found, setup.classes)
    final = {"kind": "final", "step": training.at.step, "weights_step": step, "samples": len(result.labels), **result.record()}
    training.log.write(final)
    training.log.sync()
    write_predictions(training, result)
    training.progress.phase("writing the results")
    export.save(setup.pipeline, setup.model, setup.labels, run.folder / runs.MODEL)
    made = manifest.outputs(run.folder)
    done = {**run.manifest(), "outputs": made, "proof": training.log.seal(made)}
    write_report(training, result, done)
    manifest.write(run.folder, done)  # a run with outputs in its manifest is finished
    training.store.keep_newest()
    return {k: final[k] for k in ("accuracy", "macro_f1", "loss", "weights_step")}


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


def write_predictions(training: Training, result: Evaluation) -> None:
    """``predictions.jsonl``: for each test sample its label, the prediction, and the probability of both."""
    lines = []
    for i, (label, row) in enumerate(zip(result.labels, result.probabilities, strict=True)):
        k = int(row.argmax())
        lines.append(
            {"index": i, "label": int(label), "predicted": k, "probability": float(row[k]), "of_label": float(row[label])}
        )
    atomic_write(training.run.folder / runs.PREDICTIONS, b"".join(metrics.encode(line) for line in lines))


def write_report(training: Training, result: Evaluation, done: dict[str, Any]) -> None:
    """``report.html``."""
    run = training.run
    page = render(
        title=run.loaded.name,
        description=run.recipe.description,
        records=metrics.read(run.folder / runs.METRICS),
        confusion=result.matrix,
        labels=training.setup.labels,
        samples=pick_samples(training, result),
        recipe_toml=(run.folder / runs.RECIPE).read_text(encoding="utf-8"),
        manifest=done,
    )
    atomic_write(run.folder / runs.REPORT, page)


def pick_samples(training: Training, result: Evaluation) -> list[Sample]:
    """The surest mistakes, then the right answers the model was least sure of."""
    setup = training.setup
    predicted = result.probabilities.argmax(1)
    sure = result.probabilities.max(1)
    wrong, right = np.flatnonzero(predicted != result.labels), np.flatnonzero(predicted == result.labels)
    chosen = [*wrong[np.argsort(-sure[wrong], kind="stable")][:SHOWN], *right[np.argsort(sure[right], kind="stable")][:SHOWN]]
    return [
        Sample(
            index=int(i),
            label=setup.labels[int(result.labels[i])],
            predicted=setup.labels[int(predicted[i])],
            probability=float(sure[i]),
            **setup.task.show(setup.source.test.inputs[int(i)]),
        )
        for i in chosen
    ]
