"""How well classes of pixels (or voxels) are told: intersection over union, Dice, accuracy, with intervals over pictures.

Counts are summed over all pixels of all pictures, as in Pascal VOC's evaluation (Everingham et al. 2010) and mmsegmentation; the
mean of each picture's own Dice is what medical benchmarks and MONAI state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...core.errors import ArgumentError, IndexRangeError, ShapeError
from ...core.scores.intervals import Estimate, of_record

Array = np.ndarray[Any, Any]
_TITLES = {
    "miou": "mean IoU",
    "dice": "mean Dice",
    "picture_dice": "mean Dice of a picture",
    "accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy of a class",
}


@dataclass(frozen=True)
class SegmentationScores:
    """Scores of maps of classes; NaN where a class is in no map. Prints as a table.

    Attributes:
        miou, dice: means over the classes that occur of intersection / union and of 2 intersection / (predicted + true).
        picture_dice: the mean over pictures of the mean Dice of the classes that are truly in them.
        accuracy: share of right pixels; mean_accuracy: mean over classes of the share of their pixels that were found.
        iou_per_class, dice_per_class: one number a class.
        confusion: (K, K) pixels by true and predicted class.
        intervals: name of a score -> its 95 % interval; empty where none were asked for.
    """

    miou: float
    dice: float
    picture_dice: float
    accuracy: float
    mean_accuracy: float
    iou_per_class: tuple[float, ...]
    dice_per_class: tuple[float, ...]
    confusion: Array
    intervals: Mapping[str, Estimate] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values; None for a class that does not occur."""
        each = {name: [None if v != v else v for v in getattr(self, name)] for name in ("iou_per_class", "dice_per_class")}
        intervals = {name: found.as_json() for name, found in self.intervals.items()}
        return {**{name: _plain(getattr(self, name)) for name in _TITLES}, **each, "intervals": intervals}

    def __str__(self) -> str:
        shown = {name: f"{value:.4f}" if (value := getattr(self, name)) == value else "-" for name in _TITLES}
        shown |= {name: str(interval) for name, interval in self.intervals.items()}
        return "\n".join(f"{title:<26} {shown[name]}" for name, title in _TITLES.items())


class Segmentation:
    """Collects maps of classes picture by picture, then scores them.

    Args:
        num_classes: K.
        ignore_index: pixels of this true class do not count.
        include_background: whether class 0 counts in the means.

    Example:
        >>> metric = Segmentation(3)
        >>> metric.update([[[0, 0, 1, 1]]], [[[0, 1, 1, 255]]])
        >>> scores = metric.compute()
        >>> scores.miou, scores.iou_per_class, round(scores.dice, 4), round(scores.accuracy, 4)
        (0.5, (0.5, 0.5, nan), 0.6667, 0.6667)
    """

    def __init__(self, num_classes: int, ignore_index: int = 255, include_background: bool = True) -> None:
        if num_classes < 1:
            raise ArgumentError(f"num_classes={num_classes}", fix="give at least one")
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.first = 0 if include_background else 1
        self.confusion = np.zeros((num_classes, num_classes), np.int64)
        self._counts: list[Array] = []  # of each picture (3, K): hits, predicted, true

    def update(self, preds: Any, target: Any) -> None:
        """Takes a batch in.

        Args:
            preds: class numbers (N, ...), or scores (N, K, ...), of which the largest counts.
            target: class numbers (N, ...).

        Raises:
            ShapeError: shapes that do not go together.
            IndexRangeError: a class that there is not; the picture is named.
        """
        preds, target = np.asarray(preds), np.asarray(target)
        if preds.ndim == target.ndim + 1 and preds.shape[1] == self.num_classes:
            preds = preds.argmax(1)  # (N, K, ...) -> (N, ...)
        if preds.shape != target.shape or target.ndim < 2:
            raise ShapeError(
                f"predictions of {preds.shape} and targets of {target.shape}",
                fix=f"give class numbers (N, ...) for both, or scores (N, {self.num_classes}, ...)",
            )
        for pred, truth in zip(preds, target, strict=True):
            counted = truth != self.ignore_index
            found = self._confusion(truth[counted], pred[counted])
            self.confusion += found
            self._counts.append(np.stack([np.diag(found), found.sum(0), found.sum(1)]))

    def _confusion(self, truth: Array, pred: Array) -> Array:
        k = self.num_classes
        for name, values in (("target", truth), ("prediction", pred)):
            if values.dtype.kind not in "iub":
                raise ShapeError(
                    f"the {name} of picture {len(self._counts)} is {values.dtype}", fix="give class numbers, or scores"
                )
            if values.size and (values.min() < 0 or values.max() >= k):
                bad = int(values.min()) if values.min() < 0 else int(values.max())
                raise IndexRangeError(
                    f"the {name} of picture {len(self._counts)} holds class {bad}",
                    why=f"there are {k} classes, 0 to {k - 1}",
                    fix=f"correct it; pixels that do not count are {self.ignore_index} in the target",
                )
        return np.bincount(truth.astype(np.int64) * k + pred.astype(np.int64), minlength=k * k).reshape(k, k)

    def compute(self, intervals: bool = False, seed: int = 0) -> SegmentationScores:
        """The scores of everything taken in so far.

        Args:
            intervals: 95 % intervals, by drawing pictures with replacement.
            seed: what the bootstrap is drawn by.
        """
        counts = np.array(self._counts, np.int64).reshape(-1, 3, self.num_classes)
        each = self._each(counts)
        total = counts.sum(0)
        record = self._record(total, each, np.ones(len(counts)))
        drawn: dict[str, Estimate] = {}
        if intervals:
            drawn = of_record(record, lambda times: self._record(np.tensordot(times, counts, 1), each, times), len(counts), seed)
        iou, dice = _iou(total), _dice(total)
        return SegmentationScores(
            **record,
            iou_per_class=tuple(iou.tolist()),
            dice_per_class=tuple(dice.tolist()),
            confusion=self.confusion.copy(),
            intervals=drawn,
        )

    def _each(self, counts: Array) -> Array:
        """(N,) the Dice of each picture over the classes that are truly in it; NaN where there is none."""
        dice = np.where(counts[:, 2] > 0, _dice(counts.swapaxes(0, 1)), np.nan)[:, self.first :]
        there = ~np.isnan(dice)
        sums = np.where(there, dice, 0.0).sum(1)
        return np.divide(sums, there.sum(1), out=np.full(len(dice), np.nan), where=there.any(1))

    def _record(self, total: Array, each: Array, times: Array) -> dict[str, float]:
        hits, _, true = total
        known = ~np.isnan(each)
        pictures = times[known].sum()
        return {
            "miou": _mean(_iou(total)[self.first :]),
            "dice": _mean(_dice(total)[self.first :]),
            "picture_dice": float((times[known] * each[known]).sum() / pictures) if pictures else float("nan"),
            "accuracy": float(hits.sum() / true.sum()) if true.sum() else float("nan"),
            "mean_accuracy": _mean(_share(hits, true)[self.first :]),
        }


def _iou(total: Sequence[Array] | Array) -> Array:
    hits, predicted, true = total
    return _share(hits, predicted + true - hits)


def _dice(total: Sequence[Array] | Array) -> Array:
    hits, predicted, true = total
    return _share(2 * hits, predicted + true)


def _share(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _mean(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _plain(value: float) -> float | None:
    return None if value != value else value
