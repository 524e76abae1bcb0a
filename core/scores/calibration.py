"""Whether a model is as sure as it is right: reliability, expected calibration error, and the temperature that mends it.

Everything is summed batch by batch, so that the logits of a whole dataset are never held at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 15
# Temperatures that are tried: from an eighth to eight, twelve to each doubling, 1 among them.
GRID = 2.0 ** (np.arange(-36, 37) / 12)


class Reliability:
    """Samples in ``BINS`` bins of equal width by confidence: how many, how sure, and how often right (Guo et al. 2017).

    Attributes:
        counts, confidence, hits: for each bin the number of samples, the sum of confidences, the number of right answers.

    Example:
        >>> r = Reliability()
        >>> r.add(np.array([0.9, 0.9, 0.9, 0.9]), np.array([True, True, True, False]))
        >>> round(r.ece, 4)
        0.15
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self.confidence = np.zeros(BINS)
        self.hits = np.zeros(BINS, np.int64)

    def add(self, confidence: np.ndarray, right: np.ndarray) -> None:
        """Takes samples in.

        Args:
            confidence: the probability of the predicted class, (N,) in 0..1.
            right: whether the prediction was, bool (N,).
        """
        place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
        self.counts += np.bincount(place, minlength=BINS)
        self.confidence += np.bincount(place, confidence, minlength=BINS)
        self.hits += np.bincount(place, right, minlength=BINS).astype(np.int64)

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean distance of confidence and accuracy over all samples, bin by bin."""
        return float(np.abs(self.confidence - self.hits).sum() / max(1, self.counts.sum()))

    @property
    def mean_confidence(self) -> float:
        """How sure the model is on average."""
        return float(self.confidence.sum() / max(1, self.counts.sum()))

    def bins(self) -> list[tuple[float, float, int]]:
        """(mean confidence, accuracy, samples) of each bin that has any, by rising confidence."""
        kept = np.flatnonzero(self.counts)
        return [
            (float(self.confidence[i] / self.counts[i]), float(self.hits[i] / self.counts[i]), int(self.counts[i])) for i in kept
        ]


@dataclass(frozen=True)
class Temperature:
    """What the logits should be divided by before the softmax (temperature scaling, Guo et al. 2017).

    Attributes:
        value: the best of ``GRID``; above 1 the model is too sure, below 1 not sure enough.
        log_loss, ece: what they are at this temperature, on the samples it was found with.
    """

    value: float
    log_loss: float
    ece: float

    def as_json(self) -> dict[str, float]:
        """Plain numbers."""
        return {"value": self.value, "log_loss": self.log_loss, "ece": self.ece}


class Fit:
    """Finds the temperature with the least log loss, from logits that pass by.

    Example:
        >>> fit = Fit()
        >>> logits = np.array([[4.0, 0.0]] * 10)
        >>> fit.add(logits, np.array([0] * 9 + [1]))  # sure to 98 %, right in 90 %
        >>> round(fit.best().value, 2)
        1.78
    """

    def __init__(self) -> None:
        self.samples = 0
        self.loss = np.zeros(len(GRID))
        self.reliability = [Reliability() for _ in GRID]

    def add(self, logits: np.ndarray, truth: np.ndarray) -> None:
        """Takes a batch in: (N, K) logits and the true classes, (N,)."""
        self.samples += len(truth)
        logits = np.asarray(logits, np.float64)
        shifted = logits - logits.max(1, keepdims=True)
        right = logits.argmax(1) == truth
        of_truth = shifted[np.arange(len(truth)), truth]
        for i, temperature in enumerate(GRID):
            total = np.exp(shifted / temperature).sum(1)
            self.loss[i] += float((np.log(total) - of_truth / temperature).sum())
            self.reliability[i].add(1 / total, right)  # the largest shifted logit is 0

    def best(self) -> Temperature:
        """The temperature with the least log loss."""
        i = int(self.loss.argmin())
        return Temperature(float(GRID[i]), float(self.loss[i] / max(1, self.samples)), self.reliability[i].ece)
