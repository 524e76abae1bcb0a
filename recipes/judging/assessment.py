"""What a classifier's answers on labelled samples are worth: every score with its interval, classes, calibration, mistakes.

Nothing here needs the logits of all samples: four numbers a sample are kept, and sums.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import IntegrityError
from ...core.scores.calibration import Fit, Reliability, Temperature
from ...core.scores.intervals import NOTHING, Estimate, percentiles, resamples, wilson
from ..folder import metrics
from ..training import scores


@dataclass(frozen=True)
class ClassScore:
    """One class: how often it was found, how often rightly so, and what it is most often taken for."""

    label: str
    samples: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    taken_for: str
    times: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        found = {k: getattr(self, k).as_json() for k in ("precision", "recall", "f1")}
        mistake = {"label": self.taken_for, "times": self.times} if self.times else None
        return {"label": self.label, "samples": self.samples, **found, "taken_for": mistake}


@dataclass(frozen=True)
class Assessment:
    """The answers to N samples, and what follows from them.

    Attributes:
        labels: the K classes' names.
        truth, predicted: class numbers, int64 (N,).
        confidence: the probability of the predicted class; of_label: that of the true one, float64 (N,).
        loss: cross-entropy of each sample in nats, float64 (N,).
        top5_hits: samples whose class is among the five likeliest; None where it was not recorded.
        temperature: what the logits should be divided by; None where they were not seen.
        seed: what the bootstrap is drawn by.

    Example:
        >>> a = Assessment(["cat", "dog"], np.array([0, 0, 1]), np.array([0, 1, 1]),
        ...                np.array([.9, .6, .8]), np.array([.9, .4, .8]), -np.log([.9, .4, .8]))
        >>> round(a.accuracy.value, 4), a.worst(1), a.classes()[0].taken_for
        (0.6667, [1], 'dog')
    """

    labels: Sequence[str]
    truth: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    of_label: np.ndarray
    loss: np.ndarray
    top5_hits: int | None = None
    temperature: Temperature | None = None
    seed: int = 0

    def __len__(self) -> int:
        return len(self.truth)

    @cached_property
    def matrix(self) -> np.ndarray:
        """Counts of (true, predicted), int64 (K, K)."""
        return scores.confusion(self.truth, self.predicted, len(self.labels))

    @property
    def right(self) -> np.ndarray:
        """Whether each prediction is, bool (N,)."""
        return self.truth == self.predicted

    @property
    def accuracy(self) -> Estimate:
        """Share of right predictions, with Wilson's interval."""
        return wilson(int(self.right.sum()), len(self))

    @property
    def top5(self) -> Estimate | None:
        """Share of samples whose class is among the five likeliest; None for five classes or fewer, or unknown."""
        if self.top5_hits is None or len(self.labels) <= 5:
            return None
        return wilson(self.top5_hits, len(self))

    @property
    def macro_f1(self) -> Estimate:
        """Mean F1 over the classes that occur, with a bootstrap interval."""
        return percentiles(scores.macro_f1(self.matrix), self._bootstrap[0])

    @property
    def log_loss(self) -> Estimate:
        """Mean cross-entropy in nats, with a bootstrap interval."""
        return percentiles(float(self.loss.mean()) if len(self) else math.nan, self._bootstrap[1])

    @cached_property
    def reliability(self) -> Reliability:
        """The bins of the reliability diagram, and the expected calibration error."""
        found = Reliability()
        found.add(self.confidence, self.right)
        return found

    @cached_property
    def _bootstrap(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Macro F1 (R,), mean loss (R,) and F1 of each class (R, K) of the bootstrap's R samples."""
        k, macro, loss, by_class = len(self.labels), [], [], []
        for draw in resamples(len(self), self.seed) if len(self) else ():
            truth, predicted = self.truth[draw], self.predicted[draw]
            both = np.bincount(truth, minlength=k) + np.bincount(predicted, minlength=k)
            hits = np.bincount(truth[truth == predicted], minlength=k)
            f1 = np.divide(2.0 * hits, both, out=np.full(k, np.nan), where=both > 0)
            macro.append(np.nanmean(f1))
            loss.append(self.loss[draw].mean())
            by_class.append(f1)
        return np.array(macro), np.array(loss), np.array(by_class).reshape(len(macro), k)

    def classes(self) -> list[ClassScore]:
        """Each class that occurs as truth or as prediction, in the order of the labels."""
        matrix, found = self.matrix, []
        for k in map(int, np.flatnonzero(matrix.sum(0) + matrix.sum(1))):
            hits, samples, taken = int(matrix[k, k]), int(matrix[k].sum()), int(matrix[:, k].sum())
            mistakes = matrix[k].copy()
            mistakes[k] = 0
            worst = int(mistakes.argmax())
            found.append(
                ClassScore(
                    label=self.labels[k],
                    samples=samples,
                    precision=wilson(hits, taken),
                    recall=wilson(hits, samples),
                    f1=percentiles(2 * hits / (samples + taken), self._bootstrap[2][:, k]) if samples + taken else NOTHING,
                    taken_for=self.labels[worst] if mistakes[worst] else "",
                    times=int(mistakes[worst]),
                )
            )
        return found

    def worst(self, count: int) -> list[int]:
        """The numbers of the surest mistakes, the surest first."""
        wrong = np.flatnonzero(~self.right)
        return [int(i) for i in wrong[np.argsort(-self.confidence[wrong], kind="stable")][:count]]

    def least_sure(self, count: int) -> list[int]:
        """The numbers of the right answers that the model was least sure of."""
        right = np.flatnonzero(self.right)
        return [int(i) for i in right[np.argsort(self.confidence[right], kind="stable")][:count]]

    def summary(self) -> Iterator[tuple[str, str, Estimate]]:
        """(key, name, estimate) of the headline scores that exist."""
        yield "accuracy", "accuracy", self.accuracy
        yield "macro_f1", "macro F1", self.macro_f1
        if self.top5 is not None:
            yield "top5", "top-5 accuracy", self.top5
        yield "log_loss", "log loss", self.log_loss

    def as_json(self) -> dict[str, Any]:
        """Everything as plain values; the samples themselves are left out."""
        return {
            "samples": len(self),
            **{key: estimate.as_json() for key, _, estimate in self.summary()},
            "calibration": {
                "ece": self.reliability.ece,
                "mean_confidence": self.reliability.mean_confidence,
                "bins": [{"confidence": c, "accuracy": a, "samples": n} for c, a, n in self.reliability.bins()],
                "temperature": self.temperature.as_json() if self.temperature else None,
            },
            "classes": [c.as_json() for c in self.classes()],
        }

    @staticmethod
    def from_predictions(
        path: Path, labels: Sequence[str], top5_hits: int | None = None, temperature: Temperature | None = None
    ) -> Assessment:
        """What a run's ``predictions.jsonl`` says; top-5 hits and temperature are not in it.

        Raises:
            IntegrityError: the file is damaged, or names a class that is not there.
        """
        rows = list(metrics.read(path))
        try:
            truth, predicted = (np.array([row[k] for row in rows], np.int64) for k in ("label", "predicted"))
            confidence, of_label = (np.array([float(row[k]) for row in rows]) for k in ("probability", "of_label"))
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{path} is damaged", why=repr(error), fix="take it from a backup, or run again") from error
        largest = int(max(truth.max(initial=0), predicted.max(initial=0)))
        if largest >= len(labels):
            why = f"there are {len(labels)} classes"
            raise IntegrityError(f"{path} names class {largest}", why=why, fix="take it from a backup, or run again")
        loss = -np.log(np.maximum(of_label, np.finfo(np.float64).tiny))
        return Assessment(labels, truth, predicted, confidence, of_label, loss, top5_hits, temperature)


@dataclass
class Collector:
    """Makes an assessment out of logits that pass by in batches.

    Args:
        labels: the K classes' names.

    Example:
        >>> c = Collector(["cat", "dog"])
        >>> c.add(np.array([[2.0, 0.0], [1.0, 3.0]]), np.array([0, 0]))
        >>> a = c.finish()
        >>> a.accuracy.value, a.top5_hits
        (0.5, 2)
    """

    labels: Sequence[str]
    _parts: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    _fit: Fit = field(default_factory=Fit)
    _top5: int = 0

    def add(self, logits: np.ndarray, truth: np.ndarray) -> None:
        """Takes a batch in: (N, K) logits and the true classes, (N,)."""
        logits, rows = np.asarray(logits, np.float64), np.arange(len(truth))
        shifted = logits - logits.max(1, keepdims=True)
        loss = np.log(np.exp(shifted).sum(1)) - shifted[rows, truth]
        predicted = logits.argmax(1)
        confidence = 1 / np.exp(shifted).sum(1)
        self._top5 += int(((logits > logits[rows, truth][:, None]).sum(1) < 5).sum())
        self._parts.append((truth, predicted, confidence, np.exp(-loss), loss))
        self._fit.add(logits, truth)

    def finish(self, seed: int = 0) -> Assessment:
        """The assessment of all batches."""
        truth, predicted, confidence, of_label, loss = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        return Assessment(list(self.labels), truth, predicted, confidence, of_label, loss, self._top5, self._fit.best(), seed)


def labels_of(folder: Path) -> list[str]:
    """The class names of a model folder, from its ``config.json``; an empty list where it has none.

    Raises:
        IntegrityError: the file is damaged.
    """
    path = folder / "config.json"
    if not path.is_file():
        return []
    try:
        config = json.loads(path.read_bytes())
        if isinstance(config.get("id2label"), dict):
            return [str(config["id2label"][str(i)]) for i in range(len(config["id2label"]))]
        return [str(name) for name in config.get("label_names") or ()]
    except (ValueError, KeyError, AttributeError) as error:
        raise IntegrityError(f"{path} is damaged", why=repr(error), fix="take it from a backup, or run again") from error
