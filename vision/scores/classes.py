"""How often a classifier is right among its likeliest classes, and whether it is as sure as it is right; with intervals.

Sources: Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599; Brier 1950.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...core.errors import ArgumentError, IndexRangeError, NumericError, ShapeError
from ...core.scores.calibration import Fit, Reliability, Temperature
from ...core.scores.intervals import Estimate, of_record, wilson

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ClassificationScores:
    """Scores of class probabilities. Prints as a table.

    Attributes:
        top: k -> the share of samples whose class is among the k likeliest, with Wilson's interval.
        ece: expected calibration error over 15 bins of equal width; mce: the largest error of a bin.
        log_loss: mean cross-entropy in nats; brier: mean squared distance of the probabilities from the truth.
        reliability: (mean confidence, accuracy, samples) of each bin.
        temperature: what the logits should be divided by.
        intervals: ``ece``, ``log_loss`` and ``brier`` -> their 95 % intervals; empty where none were asked for.
    """

    top: Mapping[int, Estimate]
    ece: float
    mce: float
    log_loss: float
    brier: float
    reliability: Sequence[tuple[float, float, int]]
    temperature: Temperature
    intervals: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def accuracy(self) -> Estimate:
        """Share of right predictions.

        Raises:
            KeyError: the metric was not asked for the likeliest class.
        """
        return self.top[1]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        told: dict[str, Any] = {f"top{k}": found.as_json() for k, found in self.top.items()}
        told |= {name: getattr(self, name) for name in ("ece", "mce", "log_loss", "brier")}
        intervals = {name: found.as_json() for name, found in self.intervals.items()}
        return {**told, "temperature": self.temperature.as_json(), "intervals": intervals}

    def __str__(self) -> str:
        lines = [f"{f'top-{k} accuracy':<26} {found}" for k, found in self.top.items()]
        titles = {"ece": "calibration error (ECE)", "mce": "worst bin's error", "log_loss": "log loss", "brier": "Brier score"}
        lines += [f"{title:<26} {self.intervals.get(name, f'{getattr(self, name):.4f}')}" for name, title in titles.items()]
        return "\n".join([*lines, f"{'best temperature':<26} {self.temperature.value:.2f}"])


class Classification:
    """Collects logits and labels batch by batch, then scores them.

    Args:
        top_k: the numbers of likeliest classes to look among; those above the number of classes always hold the right one.

    Example:
        >>> metric = Classification(top_k=(1, 2))
        >>> metric.update([[2.0, 1.0, 0.0], [0.0, 2.0, 1.0]], [0, 2])
        >>> scores = metric.compute()
        >>> scores.top[1].value, scores.top[2].value
        (0.5, 1.0)
    """

    def __init__(self, top_k: Sequence[int] = (1, 5)) -> None:
        if not top_k or min(top_k) < 1:
            raise ArgumentError(f"top_k={top_k!r}", fix="give numbers above 0")
        self.top_k = tuple(sorted(set(top_k)))
        self._fit = Fit()
        self._rows: list[Array] = []  # of each batch (4, N): rank of the true class, confidence, log loss, Brier

    def update(self, logits: Any, labels: Any) -> None:
        """Takes a batch in.

        Args:
            logits: (N, K), before the softmax.
            labels: (N,) whole numbers.

        Raises:
            ShapeError, IndexRangeError, NumericError: what does not go together; the sample is named.
        """
        logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
        if logits.ndim != 2 or labels.shape != logits.shape[:1]:
            raise ShapeError(f"logits of {logits.shape} and labels of {labels.shape}", fix="give (N, K) and (N,)")
        if labels.size and labels.dtype.kind not in "iu":
            raise IndexRangeError(f"labels of {labels.dtype}", fix="give whole numbers")
        done = sum(rows.shape[1] for rows in self._rows)
        for bad, said, kind in (
            ((labels < 0) | (labels >= logits.shape[1]), "has a label outside the classes", IndexRangeError),
            (~np.isfinite(logits).all(1), "has logits that are not finite", NumericError),
        ):
            if bad.any():
                raise kind(
                    f"sample {done + int(bad.argmax())} {said}", why=f"there are {logits.shape[1]} classes", fix="look at it"
                )
        if not len(labels):
            return
        self._fit.add(logits, labels)
        self._rows.append(_row(logits, labels.astype(np.int64)))

    def compute(self, intervals: bool = False, seed: int = 0) -> ClassificationScores:
        """The scores of everything taken in so far.

        Args:
            intervals: 95 % intervals of the calibration error, the log loss and the Brier score, by drawing samples with
                replacement.
            seed: what the bootstrap is drawn by.
        """
        rank, confidence, loss, brier = np.concatenate([*self._rows, np.zeros((4, 0))], axis=1)
        right, count = rank == 0, len(rank)
        bins = Reliability()
        bins.add(confidence, right)
        found = bins.bins()
        means = {"log_loss": float(loss.mean()), "brier": float(brier.mean())} if count else {"log_loss": np.nan, "brier": np.nan}
        record = {"ece": bins.ece if count else float("nan"), **means}

        def resampled(times: Array) -> dict[str, float]:
            return {"ece": _ece(confidence, right, times), "log_loss": times @ loss / count, "brier": times @ brier / count}

        return ClassificationScores(
            top={k: wilson(int((rank < k).sum()), count) for k in self.top_k},
            **record,
            mce=max((abs(sure - hits) for sure, hits, _ in found), default=float("nan")),
            reliability=found,
            temperature=self._fit.best() if count else Temperature(1.0, float("nan"), float("nan")),
            intervals=of_record(record, resampled, count, seed) if intervals and count else {},
        )


def _row(logits: Array, labels: Array) -> Array:
    """(4, N): see ``Classification``. Of equal logits the first class is the likelier one."""
    n, k = logits.shape
    own = logits[np.arange(n), labels][:, None]
    first = np.arange(k)[None, :] < labels[:, None]
    rank = ((logits > own) | ((logits == own) & first)).sum(1)
    shifted = logits - logits.max(1, keepdims=True)
    total = np.exp(shifted).sum(1)
    chance = np.exp(shifted) / total[:, None]
    loss = np.log(total) - shifted[np.arange(n), labels]
    truth = np.arange(k)[None, :] == labels[:, None]
    return np.stack([rank, chance.max(1), loss, ((chance - truth) ** 2).sum(1)])


def _ece(confidence: Array, right: Array, times: Array) -> float:
    """The calibration error where sample i is there ``times[i]`` times."""
    bins = Reliability()
    bins.add(np.repeat(confidence, times), np.repeat(right, times))
    return bins.ece
