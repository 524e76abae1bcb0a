"""One update of the weights: forward and backward over the accumulated batches, then clip, then step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...core import random
from ...core.amp import GradScaler
from ...core.nn import Module
from ...core.optim import Optimizer, clip_grads_with_norm_, get_total_norm
from ..data import mixing
from ..data.batches import Batch
from ..language.schema import Train
from . import diagnosis, fitting, freezing, precision
from .diagnosis import Attempt
from .objectives import Objective
from .watchdog import Watch


@dataclass(frozen=True)
class Outcome:
    """What one update found: mean loss over its samples (or words), how many, how many right, the gradient's norm unclipped (not
    finite where the step was left out)."""

    loss: float
    samples: int
    correct: int
    grad_norm: float


def update(
    model: Module,
    optimizers: Sequence[Optimizer],
    parts: Sequence[Batch],
    recipe: Train,
    objective: Objective,
    key: tuple[int, int],
    watch: Watch | None = None,
    scaler: GradScaler | None = None,
) -> Outcome:
    """Makes one update from ``parts``, normalised over all their samples: how they are cut does not change it.

    Only what looks at a whole batch still does: batch norms in training mode; and dropout draws by the place in the batch.

    Args:
        model: in training mode.
        optimizers: step together.
        parts: the batches to accumulate.
        recipe: the ``[train]`` table.
        objective: the loss.
        key: (seed, step): what dropout and mixing draw by.
        watch: looks at the loss and the gradient's norm before the step is made.
        scaler: scales the loss; a step whose gradients overflow at its scale is left out, and the next has a lower one.

    Raises:
        DivergenceError: (a NumericError) a loss or gradient that is not finite or explodes, with the step, the module and the
            samples; no weight was changed by it.
        GradError: a trainable parameter that got no gradient.
        OutOfMemoryError: with the largest batch that fits.
    """
    attempt = Attempt(model, parts, mixing.mixed(parts, recipe, objective.classes, key), objective, key)
    for optimizer in optimizers:
        optimizer.zero_grad()
    failed: MemoryError | None = None
    try:
        with precision.overflowing(scaler):
            loss, correct = gradients(attempt, scaler)
            precision.unscale(scaler, optimizers)
    except MemoryError as error:
        failed = error.with_traceback(None)  # lets go of what the step had made
    if failed is not None:
        raise fitting.too_large(attempt, recipe, failed) from failed
    freezing.check_gradients(model)
    norm = get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    size = float(norm.item())
    answers = sum(objective.answers(part.labels) for part in parts)
    if scaler is not None and not math.isfinite(size) and scaler.get_scale() > 1:
        scaler.update()
        return Outcome(loss, answers, correct, size)
    if not math.isfinite(size):
        raise diagnosis.bad_norm(attempt, size)
    alarm = watch.look(loss, size) if watch is not None else ""
    if alarm:
        raise diagnosis.exploded(attempt, alarm)
    if recipe.clip_norm is not None:
        clip_grads_with_norm_(model.parameters(), recipe.clip_norm, norm)
    for optimizer in optimizers:
        optimizer.step()  # all gradients are finite: the scaler would do no more
    if scaler is not None:
        scaler.update()
    if watch is not None:
        watch.add(loss, size)
    return Outcome(loss, answers, correct, size)


def gradients(attempt: Attempt, scaler: GradScaler | None = None) -> tuple[float, int]:
    """Adds the gradient of the update's mean loss, scaled where there is a scaler, to the parameters; returns that loss and the
    number of right answers."""
    # Where no sample counts (all weights 0) the loss is 0, and so is the gradient.
    total = sum(attempt.objective.count(targets) for _, targets in attempt.pairs) or 1.0
    loss, correct = 0.0, 0
    with random.step_scope(*attempt.key):
        for number, (part, (inputs, targets)) in enumerate(zip(attempt.parts, attempt.pairs, strict=True)):
            outputs = attempt.objective.outputs(attempt.model, inputs)
            part_loss = attempt.objective.loss(outputs, targets) / total
            value = part_loss.item()
            if not math.isfinite(value):
                raise diagnosis.bad_loss(attempt, number, value)
            (part_loss if scaler is None else scaler.scale(part_loss)).backward()
            loss += value
            correct += attempt.objective.correct(outputs, part.labels)
    return loss, correct
