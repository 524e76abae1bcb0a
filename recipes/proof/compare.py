"""Two metrics files side by side: the first record that differs, and how far the losses of each step are apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core import checkpoint
from ..folder import metrics
from ..folder import run as runs
from ..folder.state import ARRAYS


@dataclass(frozen=True)
class Difference:
    """The first difference of two runs.

    Attributes:
        step: where it is.
        kind: of the record: ``step``, ``hash``, ``eval`` or ``final``.
        said: which values differ, or what is missing.
    """

    step: int
    kind: str
    said: str

    def __str__(self) -> str:
        return f"step {self.step} ({self.kind}) {self.said}"


def first(old: Path, new: Path, steps: int | None = None, *, lenient: bool = False) -> Difference | None:
    """The first record that differs, or None.

    Args:
        old: the recorded file.
        new: the repeated one.
        steps: compare only up to this step.
        lenient: values that only one of the two has are no difference: another version of nyala records more.
    """
    before, after = (_records(path, steps) for path in (old, new))
    for a, b in zip(before, after, strict=False):
        if lenient and a.get("kind") == b.get("kind"):
            a, b = ({k: v for k, v in x.items() if k in y} for x, y in ((a, b), (b, a)))
            for x in (a, b):
                x.pop("chain", None)  # it is over all values, and so over those that only one has
        if a != b:
            keys = [k for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k)]
            said = ", ".join(f"{k} {a.get(k)} -> {b.get(k)}" for k in keys)
            return Difference(min(a["step"], b["step"]), a["kind"], f"differs first: {said}")
    if len(before) != len(after):
        where = (before if len(before) > len(after) else after)[min(len(before), len(after))]
        return Difference(where["step"], where["kind"], "is in one of the two runs only")
    return None


def _records(path: Path, steps: int | None) -> list[dict[str, Any]]:
    return [r for r in metrics.history(path) if steps is None or (r["step"] <= steps and r["kind"] in ("step", "hash"))]


def losses(folder: Path, steps: int | None = None) -> np.ndarray:
    """The loss of each step of a run, float64 (T,)."""
    return np.array([float(r["loss"]) for r in _records(folder / runs.METRICS, steps) if r["kind"] == "step"])


def last_weights(folder: Path) -> tuple[int, Mapping[str, np.ndarray]] | None:
    """The step of a run's newest checkpoint and the weights in it, or None where there is no checkpoint."""
    found = sorted((folder / "checkpoints").glob("step-*"))
    if not found or not (found[-1] / ARRAYS).is_file():
        return None
    saved = checkpoint.load_file(found[-1] / ARRAYS)
    weights = {name.removeprefix("model."): a for name, a in saved.items() if name.startswith("model.")}
    return int(found[-1].name.removeprefix("step-")), weights


def distance(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> float:
    """The Euclidean distance of two sets of weights, in float64; what is no floating point number is left out.

    Example:
        >>> distance({"w": np.zeros(2)}, {"w": np.array([3.0, 4.0])})
        5.0
    """
    total = 0.0
    for name in sorted(a.keys() & b.keys()):
        if a[name].dtype.kind in "fV" and a[name].shape == b[name].shape:
            apart = a[name].astype(np.float64) - b[name].astype(np.float64)
            total += float(np.square(apart).sum())
    return float(np.sqrt(total))
