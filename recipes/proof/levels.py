"""The levels at which a run can come out again, which one can be expected, and whether the final score is the same by chance.

bitwise      every bit of losses, weights and predictions: machines of one class, the same code.
bounded      every loss and the last weights within a bound that is measured (``bounds.py``): another processor or device.
statistical  the final score within its confidence interval: another seed, or another version of nyala.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...core.scores import intervals
from ...core.scores.intervals import Estimate
from ..folder import metrics
from ..folder import run as runs
from ..report.view import SCORES
from ..training import scores
from . import manifest

Level = Literal["bitwise", "bounded", "statistical", "none"]
LEVELS: tuple[Level, ...] = ("none", "statistical", "bounded", "bitwise")  # from the weakest


def reaches(found: Level, wanted: Level) -> bool:
    """Whether one level says at least as much as another.

    Example:
        >>> reaches("bitwise", "bounded"), reaches("statistical", "bounded")
        (True, False)
    """
    return LEVELS.index(found) >= LEVELS.index(wanted)


def expected(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Level, tuple[str, ...]]:
    """The level that two manifests let expect, and the lines that say why it is no higher.

    Args:
        old, new: manifests of the recorded and of the repeated run.
    """
    seeds = [m["seeds"]["seed"] for m in (old, new)]
    why = manifest.compare(old, new)
    why += [f"another seed, {seeds[0]} -> {seeds[1]}"] if seeds[0] != seeds[1] else []
    why += [f"the run went on at step {r['step']} with {'; '.join(r['differences'])}" for r in old.get("resumed", [])]
    if seeds[0] != seeds[1] or old["code"] != new["code"]:
        return "statistical", tuple(why)
    return ("bounded" if why else "bitwise"), tuple(why)


@dataclass(frozen=True)
class Score:
    """The final score of two runs.

    Attributes:
        holds: the repeated one lies in the interval of the recorded one.
        metric: which score.
        recorded: with its 95 % interval.
        repeated: of the other run.
    """

    holds: bool
    metric: str
    recorded: Estimate
    repeated: float

    def __str__(self) -> str:
        word = "within" if self.holds else "outside"
        text = f"final {self.metric} {self.recorded.value:.4f} -> {self.repeated:.4f}, {word} its 95 % interval"
        return f"{text} ({self.recorded.low:.4f} to {self.recorded.high:.4f})"


def score(old: Path, new: Path, metric: str) -> Score | None:
    """Holds the final score of one run against the interval of another's, or gives None where one of them has no such score.

    Args:
        old, new: run folders; the interval is that of ``old``.
        metric: of a classifier ``accuracy`` (Wilson's interval), ``loss`` (normal, over the samples) or ``macro_f1`` (bootstrap);
            of other tasks any score that ``scores.json`` has an interval for.
    """
    a, b = (_final(folder).get(metric) for folder in (old, new))
    if a is None or b is None:
        return None
    recorded = _interval(old, metric, float(a))
    return Score(recorded.low <= float(b) <= recorded.high, metric, recorded, float(b)) if recorded.exists else None


def _final(folder: Path) -> dict[str, Any]:
    found = [r for r in metrics.history(folder / runs.METRICS) if r["kind"] == "final"]
    return found[-1] if found else {}


def _interval(folder: Path, metric: str, value: float) -> Estimate:
    """The interval of a recorded score, from the predictions of the run."""
    path = folder / runs.PREDICTIONS
    lines = [json.loads(line) for line in path.read_bytes().splitlines()] if path.is_file() else []
    if not lines or not {"label", "predicted", "of_label"} <= lines[0].keys():
        return _written_interval(folder, metric, value)
    labels, predicted = (np.array([line[name] for line in lines], np.int64) for name in ("label", "predicted"))
    if metric == "accuracy":
        return intervals.wilson(int((labels == predicted).sum()), len(labels))
    if metric == "loss":
        lost = -np.log(np.maximum([line["of_label"] for line in lines], np.finfo(np.float64).tiny))
        reach = intervals.Z * float(lost.std(ddof=1)) / math.sqrt(len(lost)) if len(lost) > 1 else math.inf
        return Estimate(value, value - reach, value + reach)
    if metric == "macro_f1":
        classes = int(max(labels.max(), predicted.max())) + 1
        drawn = (scores.macro_f1(scores.confusion(labels[i], predicted[i], classes)) for i in intervals.resamples(len(labels)))
        return intervals.percentiles(value, np.array(list(drawn)))
    return intervals.NOTHING


def _written_interval(folder: Path, metric: str, value: float) -> Estimate:
    """The interval that ``scores.json`` has for a score of tags, pairs or texts, whose predictions are no classes."""
    path = folder / SCORES
    if not path.is_file():
        return intervals.NOTHING
    try:
        found = json.loads(path.read_bytes())["scores"][metric]
        return Estimate(value, float(found["low"]), float(found["high"]))
    except (ValueError, KeyError, TypeError):  # damaged, or of a kind of result that has no such score
        return intervals.NOTHING
