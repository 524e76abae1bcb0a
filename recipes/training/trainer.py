"""The one training loop: epochs, updates, evaluations, checkpoints, and an end that any interruption leads to.

Nothing here draws from a running random stream and nothing depends on time, threads or on how often the process was killed: the
state of a run is its weights, the optimizer's numbers, and a few counters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ...core import devices
from ...core.atomic import remove_leftovers
from ...core.data import prefetched
from ..data import batches
from ..data.batches import Batch
from ..folder import lock, metrics, tensorboard
from ..folder import run as runs
from ..folder.run import Run
from ..folder.state import Saved, Store
from ..language.schema import Plateau
from ..progress import Progress
from ..proof import hashing, manifest
from . import diagnosis, divergence, finish, freezing, scores, steps, unfreezing
from .schedules import factor
from .setup import Setup, prepare
from .watchdog import Watch


@dataclass
class Counters:
    """Where a run stands. All of it goes into each checkpoint.

    Attributes:
        step: updates made.
        epoch, position: the epoch, and how many batches of it are behind us.
        best, best_step: the best evaluation so far.
        watched, waited: early stopping: the best value it saw, and evaluations since.
        plateau, plateau_best, plateau_waited: the rate's factor, and what led to it.
        stopped: early stopping has ended the run.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    best: float | None = None
    best_step: int | None = None
    watched: float | None = None
    waited: int = 0
    plateau: float = 1.0
    plateau_best: float | None = None
    plateau_waited: int = 0
    stopped: bool = False


@dataclass
class Training:
    """What the loop works on."""

    run: Run
    setup: Setup
    store: Store
    log: metrics.Chained
    timings: metrics.Log
    progress: Progress
    watch: Watch
    at: Counters = field(default_factory=Counters)
    before_update: Callable[[Training], None] | None = None


def train(
    run: Run,
    progress: Progress | None = None,
    *,
    stop_after: int | None = None,
    before_update: Callable[[Training], None] | None = None,
) -> dict[str, Any]:
    """Carries a run to its end, from the start or from its newest whole checkpoint.

    Args:
        run: from ``create`` or ``open_run``.
        progress: shows what happens; nothing by default.
        stop_after: end the loop after this many steps, without finishing the run (for verification).
        before_update: called before each update, with everything the loop works on.

    Returns:
        The final scores on the test part: ``accuracy``, ``macro_f1``, ``loss``, and ``weights_step``.

    Raises:
        StorageError: another process holds the folder, or the disk is full.
        DivergenceError: (a NumericError) a loss that is not finite, or explodes.
    """
    progress = progress or Progress()
    with lock.hold(run.folder):
        remove_leftovers(run.folder)
        if run.finished:
            progress.note(f"{run.folder} is finished already")
            return final_metrics(run)
        runs.check_places(run)
        progress.phase("loading data and weights")
        setup = prepare(run.recipe)
        parts = (setup.source.train, setup.source.validation, setup.source.test)
        files = [path for part in parts for path in part.files()]
        differences = manifest.begin(run, setup.source.hashes, setup.weights, files)
        for note in differences:
            progress.note(note)
        store = Store(run.folder, run.recipe.train.checkpoint.keep)
        saved, notes = store.latest(partial(manifest.metrics_fault, run))
        for note in notes:
            progress.note(note)
        offset, first = saved.record["metrics_bytes"] if saved else 0, run.manifest().get("genesis", "")
        manifest.went_on(run, saved.record["step"] if saved else 0, differences)
        with (
            metrics.Chained(run.folder / runs.METRICS, offset, first) as log,
            metrics.Log(run.folder / runs.TIMINGS) as timings,
            tensorboard.follow(run.folder) as events,
        ):
            log.listeners.append(events.write)
            training = Training(
                run, setup, store, log, timings, progress, Watch(run.recipe.train.watchdog), before_update=before_update
            )
            if saved:
                restore(training, saved)
            else:
                for note in setup.notes:
                    progress.note(note)
            divergence.forget(run.folder)
            with divergence.told(run.folder, setup.source.train):
                loop(training, stop_after)
            if stop_after is not None:
                return {}
            return finish.finish(training)


def final_metrics(run: Run) -> dict[str, Any]:
    """The final scores of a finished run, from its metrics."""
    last = [r for r in metrics.read(run.folder / runs.METRICS) if r["kind"] == "final"][-1]
    return scores.of_record(last)


def loop(training: Training, stop_after: int | None = None) -> None:
    """Updates until the recipe's length is reached, early stopping ends the run, or ``stop_after`` steps are made."""
    at, setup = training.at, training.setup
    training.progress.start(setup.total_steps, at.step)
    end = min(setup.total_steps, stop_after or setup.total_steps)
    while at.step < end and not at.stopped:
        for parts in updates(training):
            one_update(training, parts)
            if at.step >= end or at.stopped:
                break
        else:
            at.epoch, at.position = at.epoch + 1, 0


def updates(training: Training) -> Iterator[list[Batch]]:
    """The rest of the current epoch, as groups of batches that make one update each."""
    at, setup, recipe = training.at, training.setup, training.run.recipe
    group: list[Batch] = []
    loader = batches.for_training(setup.source.train, setup.task, recipe, at.epoch, at.position)
    for batch in prefetched(loader, recipe.train.device):
        group.append(batch)
        if len(group) == recipe.train.accumulate:
            yield group
            group = []
    if group:
        yield group


def one_update(training: Training, parts: list[Batch]) -> None:
    """One update and all that falls due after it: records, hash, evaluation, checkpoint."""
    at, setup, recipe = training.at, training.setup, training.run.recipe
    if training.before_update is not None:
        training.before_update(training)
    started = time.perf_counter()
    rate = set_rate(training)
    begins = unfreezing.apply(setup.model, setup.starts, at.step)
    if begins:
        training.log.write({"kind": "unfreeze", "step": at.step, "parameters": begins})
    freezing.train_mode(setup.model)
    key = (recipe.seed, at.step)
    outcome = steps.update(setup.model, setup.optimizers, parts, recipe.train, setup.objective, key, training.watch, setup.scaler)
    if setup.ema is not None:
        setup.ema.update()
    at.step += 1
    at.position += len(parts)
    record = {
        "kind": "step",
        "step": at.step,
        "epoch": at.epoch,
        "loss": outcome.loss,
        "lr": rate,
        "grad_norm": outcome.grad_norm,
    }
    record |= {"samples": outcome.samples, "correct": outcome.correct}
    training.log.write(record)
    training.timings.write({"step": at.step, "seconds": time.perf_counter() - started, "clock": time.time()})
    training.progress.step({**record, "samples": sum(map(len, parts))})
    after_update(training)


def set_rate(training: Training) -> float:
    """Sets each group's learning rate for the coming step; returns the recipe's own rate times the schedule."""
    at, setup, recipe = training.at, training.setup, training.run.recipe
    now = factor(recipe.schedule, at.step, setup.total_steps, setup.steps_per_epoch) * at.plateau
    for optimizer, base in zip(setup.optimizers, setup.base_rates, strict=True):
        for group, rate in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = rate * now
    return recipe.optim.lr * now


def after_update(training: Training) -> None:
    """What falls due at this step."""
    at, setup, recipe = training.at, training.setup, training.run.recipe
    last = at.step == setup.total_steps
    evaluates = at.step % (recipe.train.eval_every or setup.steps_per_epoch) == 0 or last
    saves = at.step % (recipe.train.checkpoint.every or min(setup.steps_per_epoch, 200)) == 0 or last
    if evaluates or saves:
        check_weights(training)
    if at.step % recipe.train.hash_every == 0 or last:
        training.log.link({"kind": "hash", "step": at.step, "parameters": hashing.of_arrays(arrays(setup.model.state_dict()))})
    if evaluates:
        validate(training)
    if at.stopped or (saves and (last or not training.watch.wild)):
        save(training)


def check_weights(training: Training) -> None:
    """Nothing that is not finite is evaluated or written to a checkpoint.

    Raises:
        DivergenceError: the last update made weights that are not finite.
    """
    error = diagnosis.bad_weights(training.setup.model, training.at.step)
    if error is not None:
        raise error


def validate(training: Training) -> None:
    """Evaluates on the validation part (the test part where there is none, and nothing is then chosen by it)."""
    setup, recipe = training.setup, training.run.recipe
    name = "validation" if len(setup.source.validation) else "test"
    part = getattr(setup.source, name)
    found = batches.for_evaluation(part, setup.task, recipe)
    training.progress.phase(f"evaluating {len(part)} samples")
    with setup.averaged():
        result = setup.objective.evaluate(setup.model, found)
    record = {"kind": "eval", "step": training.at.step, "epoch": training.at.epoch, "part": name, **result.record()}
    training.log.write(record)
    training.progress.evaluated(record)
    judge(training, record)


def judge(training: Training, record: Mapping[str, Any]) -> None:
    """What follows from an evaluation: best weights, early stopping, a lower rate."""
    at, recipe = training.at, training.run.recipe
    best, early, schedule = recipe.train.best, recipe.train.early_stop, recipe.schedule
    if best.use == "best" and scores.better(best.metric, record[best.metric], at.best):
        at.best, at.best_step = record[best.metric], at.step
        training.store.save_best(at.step, training.setup.final_arrays())
    if early is not None:
        improved = scores.better(early.metric, record[early.metric], at.watched, early.min_delta)
        at.watched, at.waited = (record[early.metric], 0) if improved else (at.watched, at.waited + 1)
        at.stopped = at.waited >= early.patience
    if isinstance(schedule, Plateau):
        improved = scores.better(schedule.metric, record[schedule.metric], at.plateau_best)
        at.plateau_best, at.plateau_waited = (
            (record[schedule.metric], 0) if improved else (at.plateau_best, at.plateau_waited + 1)
        )
        if at.plateau_waited > schedule.patience:
            at.plateau, at.plateau_waited = at.plateau * schedule.factor, 0


# ---- checkpoints --------------------------------------------------------------------------------------------------


def arrays(tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A state dict's tensors as arrays on the CPU."""
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def save(training: Training) -> None:
    """Writes a checkpoint: everything that ``restore`` needs to go on with the same bits."""
    setup, at = training.setup, training.at
    tensors = {f"model.{k}": v for k, v in arrays(setup.model.state_dict()).items()}
    for number, optimizer in enumerate(setup.optimizers):
        tensors |= {f"optimizer.{number}.{k}": v for k, v in optimizer.named_state().items()}
    if setup.ema is not None:
        tensors |= {f"ema.{k}": devices.move(v, "cpu") for k, v in setup.ema.averages.items()}
    written: dict[str, Any] = {"metrics_bytes": training.log.sync(), "metrics_sha256": training.log.sha256}
    if setup.scaler is not None:
        written |= {"scaler": setup.scaler.state_dict()}
    training.store.save(at.step, tensors, {**vars(at), **written})


def restore(training: Training, saved: Saved) -> None:
    """Puts weights, optimizers, average and counters back to where the checkpoint was written."""
    setup = training.setup
    setup.model.load_state_dict(_below(saved.arrays, "model."))
    for number, optimizer in enumerate(setup.optimizers):
        optimizer.load_named_state(_below(saved.arrays, f"optimizer.{number}."))
    if setup.ema is not None:
        setup.ema.load_state_dict({"averages": _below(saved.arrays, "ema."), "updates": saved.record["step"]})
    if setup.scaler is not None:
        setup.scaler.load_state_dict(saved.record["scaler"])
    training.at = Counters(**{name: saved.record[name] for name in vars(Counters())})
    training.watch.recall(metrics.read(training.log.path))


def _below(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
