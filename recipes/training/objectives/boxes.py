"""Objects in pictures: the loss of matched boxes, measured by mean average precision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ....core.autograd import no_grad
from ....core.create import from_numpy
from ....core.nn import Module
from ....core.ops.shape import stack
from ....core.tensor import Tensor
from ....vision.detection import SetCriterion
from ....vision.detection.criterion import picture
from ....vision.models.detecting import DetectionOutput, read_classes
from ....vision.ops import box_convert, box_iou
from ....vision.scores import MeanAveragePrecision
from ...data.batches import Batch
from ...data.boxes import NOTHING
from ..evaluate import apply, eval_mode
from .base import Objective

_SURE = 0.5  # probability from which on a report tells of an object


@dataclass(frozen=True)
class Boxes(Objective):
    """Each object is to be found by one answer of its own, and the others are to say that nothing is there.

    The loss of a batch is that of the detector's paper, divided by the objects of the batch. An update over several batches is
    their mean, each counted by its objects.

    Attributes:
        criterion: matching and loss.
        labels: names of the classes.
    """

    metrics: ClassVar[tuple[str, ...]] = ("map", "map_50")
    criterion: SetCriterion
    labels: tuple[str, ...]

    @property
    def classes(self) -> int:  # type: ignore[override]
        """K."""
        return len(self.labels)

    def outputs(self, model: Module, inputs: Any) -> Any:
        """A :class:`~nyala.vision.models.detecting.DetectionOutput`."""
        return apply(model, inputs)

    def loss(self, outputs: Any, targets: Tensor, reduction: str = "sum") -> Tensor:
        """As the base.

        Args:
            outputs: of the model.
            targets: float32 (N, M, 5), see :class:`~nyala.recipes.data.boxes.Boxes`.
            reduction: "sum" or "none".
        """
        objects = [_objects(row) for row in targets.numpy()]
        if reduction == "sum":
            return self.criterion(outputs, objects).loss * self.count(targets)
        return stack([self.criterion(picture(outputs, i), [known]).loss for i, known in enumerate(objects)])

    def count(self, targets: Tensor) -> float:
        """Its objects, and 1 for a batch without any."""
        return float(max(1, self.answers(targets.numpy())))

    def answers(self, labels: np.ndarray) -> int:
        return int((labels[..., 0] != NOTHING).sum())

    def correct(self, outputs: Any, labels: np.ndarray) -> int:
        """Objects that some answer names rightly and covers by half."""
        pictures = zip(_read(outputs), labels, strict=True)
        return sum(int(_found(classes, boxes, *_objects(row)).sum()) for (classes, _, boxes), row in pictures)

    def evaluate(self, model: Module, batches: Iterable[Batch]) -> BoxesResult:
        losses, answers, objects = [], [], []
        with eval_mode(model), no_grad():
            for batch in batches:
                outputs = self.outputs(model, batch.inputs)
                known = [_objects(row) for row in batch.labels]
                parts = [self.criterion(picture(outputs, i), [one]).loss.item() for i, one in enumerate(known)]
                losses += parts
                answers += _read(outputs)
                objects += known
        return BoxesResult(self.labels, np.array(losses, np.float64), answers, objects)


@dataclass(frozen=True)
class BoxesResult:
    """What an evaluation of pictures found.

    Attributes:
        labels: names of the classes.
        losses: of each picture alone, float64 (N,).
        answers: for each picture classes (Q,), probabilities (Q,) and boxes (Q, 4), cxcywh in shares of the picture.
        objects: for each picture classes (M,) and boxes (M, 4) of what is there.
    """

    labels: tuple[str, ...]
    losses: np.ndarray
    answers: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    objects: list[tuple[np.ndarray, np.ndarray]]

    @property
    def samples(self) -> int:
        return len(self.losses)

    @cached_property
    def _metric(self) -> MeanAveragePrecision:
        metric = MeanAveragePrecision("cxcywh")
        metric.update(
            [{"labels": k, "scores": s, "boxes": b} for k, s, b in self.answers],
            [{"labels": k, "boxes": b} for k, b in self.objects],
        )
        return metric

    def record(self) -> dict[str, float]:
        """Mean loss of a picture, and COCO's average precision: over the overlaps 0.5 to 0.95, and at 0.5."""
        return self.resampled(np.ones(self.samples))

    def resampled(self, times: np.ndarray) -> dict[str, float]:
        """As ``record``, of the pictures weighted by ``times``."""
        found = self._metric.weighted(times)
        return {"loss": float(times @ self.losses / times.sum()), "map": found["map"], "map_50": found["map_50"]}

    def shown(self, inputs: Sequence[Any], count: int) -> list[dict[str, Any]]:  # noqa: ARG002 - the pictures are shown beside
        """The pictures of largest loss in which something is missed or invented, then some in which all is right."""
        told = [self._told(i) for i in range(self.samples)]
        order = np.argsort(-self.losses, kind="stable")
        bad = [int(i) for i in order if told[i]["label"] != told[i]["predicted"]][:count]
        good = [int(i) for i in order if told[i]["label"] == told[i]["predicted"]][:count]
        return [told[i] for i in (*bad, *good)]

    def _told(self, i: int) -> dict[str, Any]:
        classes, scores, boxes = self.answers[i]
        sure = scores > _SURE
        there, named = self._words(self.objects[i][0]), self._words(classes[sure])
        found = _found(classes[sure], boxes[sure], *self.objects[i])
        if there == named and not found.all():
            named += ", in other places"
        return {"index": i, "label": there, "predicted": named, "probability": float(scores[sure].mean()) if sure.any() else 0.0}

    def _words(self, classes: np.ndarray) -> str:
        """Objects in words.

        Example:
            >>> none = BoxesResult(("cat", "dog"), np.zeros(0), [], [])
            >>> none._words(np.array([1, 0, 1])), none._words(np.array([], int))
            ('cat, 2 dog', 'nothing')
        """
        counts = np.bincount(classes, minlength=len(self.labels))
        told = [name if n == 1 else f"{n} {name}" for name, n in zip(self.labels, counts, strict=True) if n]
        return ", ".join(told) or "nothing"

    def predictions(self) -> Iterator[dict[str, Any]]:
        """For each picture the answers that are surer than 0.05, and what is there: boxes in shares of the picture."""
        for i, ((classes, scores, boxes), (there, places)) in enumerate(zip(self.answers, self.objects, strict=True)):
            kept = np.flatnonzero(scores > 0.05)
            kept = kept[np.argsort(-scores[kept], kind="stable")]
            yield {
                "index": i,
                "labels": there.tolist(),
                "boxes": [_shares(box) for box in places],
                "predicted_labels": classes[kept].tolist(),
                "scores": [float(s) for s in scores[kept]],
                "predicted_boxes": [_shares(box) for box in boxes[kept]],
            }


def _shares(box: np.ndarray) -> list[float]:
    return [float(v) for v in box]


def _objects(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes and boxes of the objects of one picture."""
    kept = row[row[:, 0] != NOTHING]
    return kept[:, 0].astype(np.int64), kept[:, 1:]


def _read(outputs: DetectionOutput) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Classes, probabilities and boxes of the answers of each picture."""
    classes, scores = (t.detach().cpu().numpy() for t in read_classes(outputs.logits))
    return list(zip(classes, scores, outputs.pred_boxes.detach().cpu().numpy(), strict=True))


def _found(classes: np.ndarray, boxes: np.ndarray, there: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Which objects some answer names rightly and covers by half: bool (M,)."""
    if not len(there) or not len(classes):
        return np.zeros(len(there), bool)
    corners = [box_convert(from_numpy(np.ascontiguousarray(b)), "cxcywh", "xyxy") for b in (boxes, places)]
    overlap = box_iou(*corners).numpy()
    hits: np.ndarray = ((overlap >= 0.5) & (classes[:, None] == there)).any(0)
    return hits
