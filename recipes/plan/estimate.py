"""From a few measurements to a plan: lines through them, and what to change where it does not fit."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..language.schema import Recipe

EVALUATING = "evaluating or saving"
# Freed memory is kept in pieces that fit ever less well: runs held up to 18 % more than the few updates of a measurement.
_PIECES = 1.07
_FILLED = 0.9  # of the memory there is, that a suggestion fills


@dataclass(frozen=True)
class Plan:
    """What a run needs. Sizes in bytes, times in seconds.

    Attributes:
        batch_size: samples that go through the model at once; ``accumulate`` of such batches make an update.
        longest: numbers of the longest sample.
        parameters, trainable: counts of single weights.
        weights, gradients, optimizer, average: bytes of each kind of state.
        activations: of a batch of the longest samples, gradients of activations included.
        rest: the interpreter, compiled kernels, data in memory, and what is in no other line.
        peak: the most that the process holds, ``start`` included.
        start: what it holds when nyala has been imported and nothing else happened.
        when: what the process does when it holds most.
        room: what it may hold; 0 where that is unknown.
        step, epoch, total: one update, one epoch with its evaluation and checkpoints, the whole run.
        worked: one update in seconds of all processors together, which a busy machine changes little.
        loading: until the first update.
        steps_per_epoch, total_steps: updates.
        disk: checkpoints and result.
        measured_up_to: the largest batch that was really tried; beyond it a line was drawn.
        largest_batch: the largest that fits; 0 where none does.
        checkpointed: the peak with gradient checkpointing; None where that was not measured.
        notes: cautions that the run will print.
    """

    batch_size: int
    accumulate: int
    longest: int
    parameters: int
    trainable: int
    weights: int
    gradients: int
    optimizer: int
    average: int
    activations: int
    rest: int
    peak: int
    start: int
    when: str
    room: int
    step: float
    epoch: float
    total: float
    worked: float
    loading: float
    steps_per_epoch: int
    total_steps: int
    disk: int
    measured_up_to: int
    largest_batch: int
    checkpointed: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the peak is within the memory there is, as far as that is known."""
        return not self.room or self.peak <= self.room

    def as_json(self) -> dict[str, Any]:
        """Everything, with ``fits`` and ``suggestions``."""
        return {**asdict(self), "fits": self.fits, "suggestions": self.suggestions()}

    def suggestions(self) -> list[str]:
        """What to change, best first; nothing where the run fits."""
        if self.fits:
            return []
        found = []
        size = self.largest_batch
        if size:
            times = math.ceil(self.batch_size / size)
            even = math.ceil(self.batch_size / times)
            whole = f"data.batch_size={even} train.accumulate={times * self.accumulate}"
            found.append(f"{whole}: as many samples an update, in less memory at once")
        if self.checkpointed is not None and self.checkpointed < self.peak:
            enough = "which fits" if self.checkpointed <= self.room else "which is still too much alone"
            found.append(f"train.checkpointing=true: about {in_words(self.checkpointed)}, {enough}, and a third more time")
        state = self.gradients + self.optimizer
        if state > 0.2 * self.peak:
            found.append(
                f"model.adapter.type=lora, or model.freeze: gradients and optimizer take {in_words(state)}, nearly all saved"
            )
        if self.when == EVALUATING:
            found.append("a smaller data.eval_batch_size: training takes less than evaluating and saving")
        elif not size:
            found.append("a smaller model: even one sample at a time does not fit")
        return found


def line(at: float, points: Mapping[int, float]) -> float:
    """The value at ``at`` of the straight line through the largest measured points, which never falls.

    Example:
        >>> line(8, {1: 12.0, 2: 12.0, 4: 14.0})
        18.0
    """
    if at in points:
        return float(points[int(at)])
    slope, constant = fitted(points)
    return constant + slope * at


def fitted(points: Mapping[int, float]) -> tuple[float, float]:
    """Slope and constant through the two largest points; one point goes through the origin's height of nothing."""
    sizes = sorted(points)[-2:]
    if len(sizes) == 1:
        return points[sizes[0]] / sizes[0], 0.0
    low, high = sizes
    slope = max(0.0, (points[high] - points[low]) / (high - low))
    return slope, points[high] - slope * high


def estimate(recipe: Recipe, found: Mapping[str, Any], room: int) -> Plan:
    """The plan of a recipe.

    Args:
        recipe: what was measured.
        found: what :func:`.probe.probe` returned, by way of JSON.
        room: bytes that the run may hold; 0 where unknown.
    """
    peaks = {int(size): float(peak) for size, peak in found["peaks"].items()}
    timed = {int(size): float(taken) for size, taken in found["timed"].items()}
    size = min(recipe.data.batch_size, found["train"])
    slope = fitted(peaks)[0] if len(peaks) > 1 else 0.0
    # what everything takes was seen at the largest batch that was tried; a larger one adds its activations to training
    training = found["training"] + slope * max(0, size - max(peaks))
    start = found["start"]
    phases = {
        "loading": float(found["loading"]),
        "training": start + (max(line(size, peaks), training) - start) * _PIECES,
        EVALUATING: start + (found["sequence"] - start) * _PIECES,
    }
    when = max(phases, key=lambda name: phases[name])
    known = found["weights"] + found["gradients"] + found["optimizer"] + found["average"]
    step = max(line(size, timed), 1e-9)
    epoch, total = _times(recipe, found, step)
    beside = max(phases["loading"], phases[EVALUATING])
    largest = _largest(phases["training"], slope * _PIECES, size, room * _FILLED) if not room or beside <= room else 0
    return Plan(
        batch_size=size,
        accumulate=recipe.train.accumulate,
        longest=found["longest"],
        parameters=found["parameters"],
        trainable=found["trainable"],
        weights=found["weights"],
        gradients=found["gradients"],
        optimizer=found["optimizer"],
        average=found["average"],
        activations=round(slope * size),
        rest=max(0, round(phases[when] - known - slope * size)),
        peak=round(phases[when]),
        start=found["start"],
        when=when,
        room=room,
        step=step,
        steps_per_epoch=found["steps_per_epoch"],
        total_steps=found["total_steps"],
        worked=line(size, {int(n): float(taken) for n, taken in found["worked"].items()}),
        loading=found["load_seconds"],
        measured_up_to=max(peaks),
        largest_batch=largest,
        disk=found["checkpoint"] * recipe.train.checkpoint.keep + 2 * found["weights"],
        notes=(*found["notes"], *busy(os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0, os.cpu_count() or 1)),
        epoch=epoch,
        total=total,
    )


def _largest(peak: float, slope: float, size: int, limit: float) -> int:
    """The largest batch, at most ``size``, that stays below ``limit`` bytes (0 for any); 0 where none does."""
    if not limit or peak <= limit:
        return size
    fewer = math.ceil((peak - limit) / slope) if slope else size
    return max(0, size - fewer)


def _times(recipe: Recipe, found: Mapping[str, Any], step: float) -> tuple[float, float]:
    """One epoch and the whole run: updates, evaluations, checkpoints, hashes, and the one look at the test part."""
    per_epoch, total = found["steps_per_epoch"], found["total_steps"]
    looked_at = found["validation"] or found["test"]
    evaluations = max(1, total // (recipe.train.eval_every or per_epoch))
    saves = max(1, total // (recipe.train.checkpoint.every or min(per_epoch, 200)))
    once = evaluations * looked_at * found["eval_seconds"] + saves * found["save_seconds"]
    run = total * step + once
    epoch = run * per_epoch / total
    return epoch, run + found["load_seconds"] + found["test"] * found["eval_seconds"]


def busy(load: float, processors: int) -> list[str]:
    """A caution where others kept the machine busy while it was measured.

    Example:
        >>> busy(1.9, 2), len(busy(9.0, 2))
        ([], 1)
    """
    if load < 1.5 * processors + 1:
        return []
    return [f"this machine is busy (load {load:.0f} on {processors} processors): on a free one the times will be shorter"]


def in_words(size: float) -> str:
    """A number of bytes for people.

    Example:
        >>> in_words(1_500_000), in_words(2_340_000_000), in_words(12)
        ('1.5 MB', '2.34 GB', '12 B')
    """
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_:
            return f"{size / bytes_:.3g} {unit}"
    return f"{np.format_float_positional(size, trim='-')} B"


def seconds_in_words(seconds: float) -> str:
    """A time for people.

    Example:
        >>> seconds_in_words(0.0312), seconds_in_words(75), seconds_in_words(7500)
        ('31 ms', '1 min 15 s', '2 h 5 min')
    """
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
