"""Losses of pictures with a class for every pixel, and how far what was found covers what is there."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ....core.autograd import no_grad
from ....core.create import from_numpy
from ....core.nn import Module
from ....core.nn import functional as F
from ....core.tensor import Tensor
from ....vision.datasets.masks import VOID
from ...data.batches import Batch
from ..evaluate import eval_mode
from .base import Objective

Array = np.ndarray[Any, Any]
_MATCHED = 0.5  # share of the pixels of two segments together above which they are the same one


@dataclass(frozen=True)
class Pixels(Objective):
    """Each pixel has one class, and every pixel counts alike; those that are void do not.

    Cross-entropy, or where ``focal`` is on focal loss, plus ``dice`` times the dice loss of each picture. Further classifiers of
    the model learn as well, as much as its ``auxiliary_weight`` says.

    Attributes:
        labels: the classes.
        smoothing: share of each target that is spread over all classes.
        weights: float32 (K,), or None where every class counts alike.
        dice: weight of the dice loss.
        focal: gamma of the focal loss; 0 for cross-entropy.
        auxiliary: weight of the loss of each further classifier.
    """

    metrics: ClassVar[tuple[str, ...]] = ("mean_iou", "accuracy", "mean_dice", "panoptic_quality")
    labels: tuple[str, ...]
    smoothing: float = 0.0
    weights: Array | None = None
    dice: float = 0.0
    focal: float = 0.0
    auxiliary: float = 0.0

    @property
    def classes(self) -> int:  # type: ignore[override]
        """How many classes there are."""
        return len(self.labels)

    def outputs(self, model: Any, inputs: Any) -> Tensor:
        """Logits (N, K, H, W), those of further classifiers behind them, as large as the prepared picture."""
        found = model.forward_training(inputs) if model.training else model(inputs)
        return _as_large(found, inputs.shape[2:])

    def loss(self, outputs: Tensor, targets: Tensor, reduction: str = "sum") -> Tensor:
        """As the base.

        Args:
            outputs: logits (N, K, H, W), or (N, K * classifiers, H, W).
            targets: int64 (N, H, W), ``VOID`` where a pixel does not count.
            reduction: "sum" or "none".
        """
        total = self._one(outputs[:, : self.classes], targets)
        for start in range(self.classes, outputs.shape[1], self.classes):
            total = total + self.auxiliary * self._one(outputs[:, start : start + self.classes], targets)
        return total.sum() if reduction == "sum" else total

    def _one(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(N,): the loss of each picture, summed over its pixels."""
        targets = targets.to(logits.device)
        weights = None if self.weights is None else from_numpy(self.weights).to(logits.device)
        if self.focal:
            found = F.focal_loss(logits, targets, self.focal, weights, VOID, "none")
        else:
            found = F.cross_entropy(logits, targets, weights, ignore_index=VOID, reduction="none", label_smoothing=self.smoothing)
        found = found.sum((1, 2))
        if self.dice:
            shape = F.dice_loss(logits, targets, ignore_index=VOID, reduction="none").mean(1)
            found = found + shape * (targets != VOID).sum((1, 2)).to(shape.dtype) * self.dice
        return found

    def count(self, targets: Tensor) -> float:
        """The pixels, or the weights of their classes."""
        labels = targets.numpy()
        told = labels[labels != VOID]
        return float(len(told)) if self.weights is None else float(self.weights[told].sum(dtype=np.float64))

    def answers(self, labels: Array) -> int:
        return int((labels != VOID).sum())

    def correct(self, outputs: Tensor, labels: Array) -> int:
        return int((outputs.detach().numpy()[:, : self.classes].argmax(1) == labels).sum())

    def evaluate(self, model: Module, batches: Iterable[Batch]) -> PixelResult:
        found = PixelResult(self.labels, [], [])
        with eval_mode(model), no_grad():
            for batch in batches:
                logits = self.outputs(model, batch.inputs)
                targets = from_numpy(batch.labels)
                losses = F.cross_entropy(logits, targets, ignore_index=VOID, reduction="none").sum((1, 2)).numpy()
                for truth, guess, loss in zip(batch.labels, logits.numpy().argmax(1), losses, strict=True):
                    found.add(truth, guess, float(loss))
        return found


def _as_large(logits: Tensor, size: Sequence[int]) -> Tensor:
    same = tuple(logits.shape[2:]) == tuple(size)
    return logits if same else F.interpolate(logits, tuple(size), mode="bilinear", align_corners=False)


def panoptic_quality(counts: Array, times: Array) -> float:
    """Panoptic quality (Kirillov et al., arXiv:1801.00868); all pixels of a class in a picture are one segment, as stuff is.

    Args:
        counts: (N, 4, K), see :class:`PixelResult`.
        times: (N,), how often each picture counts.

    Example:
        >>> counts = np.array([[[3, 0], [4, 1], [3, 2], [3, 2]]])
        >>> panoptic_quality(counts, np.ones(1))
        0.375
    """
    both, truth, guess, everywhere = counts.transpose(1, 0, 2)
    union = truth + guess - both
    overlap = np.divide(both, union, out=np.zeros(both.shape), where=union > 0)
    matched = overlap > _MATCHED
    void = np.divide(everywhere - guess, everywhere, out=np.zeros(both.shape), where=everywhere > 0)
    missed, extra = (truth > 0) & ~matched, (everywhere > 0) & ~matched & (void <= _MATCHED)
    weight = times @ (matched + 0.5 * missed + 0.5 * extra)
    seen = weight > 0
    return float(((times @ (overlap * matched))[seen] / weight[seen]).mean()) if seen.any() else 0.0


def overlap_scores(both: Array, truth: Array, guess: Array) -> dict[str, float]:
    """Mean IoU and Dice over the classes that occur, and the share of pixels that are right.

    Args:
        both, truth, guess: for each class the pixels that are rightly found, that are there, and that are found, (K,).

    Example:
        >>> overlap_scores(np.array([3, 1]), np.array([4, 2]), np.array([4, 2]))["accuracy"]
        0.6666666666666666
    """
    union = truth + guess - both
    seen = union > 0
    return {
        "mean_iou": float((both[seen] / union[seen]).mean()) if seen.any() else 0.0,
        "accuracy": float(both.sum() / max(1, truth.sum())),
        "mean_dice": float((2 * both[seen] / (truth + guess)[seen]).mean()) if seen.any() else 0.0,
    }


@dataclass
class PixelResult:
    """What an evaluation of pixels found.

    Attributes:
        classes: names by number.
        counts: for each picture, (4, K) int64: pixels of each class rightly found, there, and found; and found with those that do
            not count.
        losses: for each picture, the summed cross-entropy of its pixels.
    """

    classes: tuple[str, ...]
    counts: list[Array]
    losses: list[float]

    def add(self, truth: Array, guess: Array, loss: float) -> None:
        """One picture's classes (H, W), true and found, and its loss."""
        told, k = truth != VOID, len(self.classes)
        everywhere = np.bincount(guess.ravel(), minlength=k)
        truth, guess = truth[told], guess[told]
        right = np.bincount(truth[truth == guess], minlength=k)
        self.counts.append(np.stack([right, np.bincount(truth, minlength=k), np.bincount(guess, minlength=k), everywhere]))
        self.losses.append(loss)

    @property
    def samples(self) -> int:
        """How many pictures were looked at."""
        return len(self.counts)

    def record(self) -> dict[str, float]:
        """Loss over pixels, and the scores of all pictures together, as they are published."""
        return self.resampled(np.ones(self.samples, np.int64))

    def resampled(self, times: Array) -> dict[str, float]:
        """As ``record``, of the pictures weighted by ``times``: pixels of one picture are not independent of each other."""
        counts = np.stack(self.counts)
        both, truth, guess, _ = np.tensordot(times, counts, 1)
        loss = float(times @ np.array(self.losses) / max(1, truth.sum()))
        return {"loss": loss, **overlap_scores(both, truth, guess), "panoptic_quality": panoptic_quality(counts, times)}

    def predictions(self) -> Iterator[dict[str, Any]]:
        """For each picture its scores, and the IoU of each class that is there or was found."""
        for i, counts in enumerate(self.counts):
            both, truth, guess, _ = counts
            union = truth + guess - both
            each = {self.classes[k]: float(both[k] / union[k]) for k in np.flatnonzero(union)}
            yield {"index": i, **overlap_scores(both, truth, guess), "iou": each}

    def shown(self, inputs: Sequence[Any], count: int) -> list[dict[str, Any]]:  # noqa: ARG002 - the report draws them itself
        """The pictures with the smallest mean IoU first, then those with the largest."""
        scores = [overlap_scores(*counts[:3])["mean_iou"] for counts in self.counts]
        bad = heapq.nsmallest(count, range(self.samples), key=lambda i: scores[i])
        good = heapq.nlargest(min(count, self.samples - len(bad)), range(self.samples), key=lambda i: scores[i])
        chosen = [*bad, *(i for i in good if i not in bad)]
        return [
            {"index": i, "label": self._named(self.counts[i][1]), "predicted": self._named(self.counts[i][2]),
             "probability": scores[i]}
            for i in chosen
        ]  # fmt: skip

    def _named(self, pixels: Array) -> str:
        """The classes of which there is more than a hundredth of the picture, the largest first."""
        order = [k for k in np.argsort(-pixels, kind="stable") if pixels[k] > 0.01 * pixels.sum()]
        return ", ".join(self.classes[k] for k in order)
