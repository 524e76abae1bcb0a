"""The loss of detectors that answer with a fixed number of boxes: each object is matched with one answer, and judged with it.

Source: DETR (Carion et al., arXiv:2005.12872), in the numbers of transformers' ``ForObjectDetectionLoss``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.create import from_numpy
from ...core.errors import DataError
from ...core.nn import functional as F
from ...core.tensor import Tensor
from ..models.detecting import DetectionConfig, DetectionOutput
from ..ops import box_convert, generalized_box_iou_loss
from .matching import HungarianMatcher, Pairs

Array = np.ndarray[Any, Any]
_USUAL = HungarianMatcher(1, 5, 2)


@dataclass(frozen=True)
class DetectionLoss:
    """The parts of the loss, each a number, and their weighted sum.

    Attributes:
        loss: the sum, earlier layers included where they answered.
        loss_ce: cross-entropy of the classes.
        loss_bbox: sum of the differences of the boxes' four numbers, an object.
        loss_giou: 1 - generalised intersection over union, an object.
        matched: for each picture the answers that were chosen and the object of each.
    """

    loss: Tensor
    loss_ce: Tensor
    loss_bbox: Tensor
    loss_giou: Tensor
    matched: tuple[Pairs, ...]


def picture(output: DetectionOutput, index: int) -> DetectionOutput:
    """The answers for one picture of a batch, as a batch of one."""
    part = slice(index, index + 1)
    earlier = tuple(picture(one, index) for one in output.auxiliary_outputs)
    return DetectionOutput(output.logits[part], output.pred_boxes[part], auxiliary_outputs=earlier)


@dataclass(frozen=True)
class SetCriterion:
    """The loss of a batch.

    Attributes:
        num_labels: K, the classes without "nothing here".
        matcher: assigns answers to objects.
        bbox_weight, giou_weight: what the parts count, where the classes count 1.
        eos_coefficient: what "nothing here" counts among the classes.

    Example:
        >>> import nyala
        >>> answers = DetectionOutput(nyala.zeros(1, 3, 3), nyala.full((1, 3, 4), 0.5))
        >>> found = SetCriterion(2)(answers, [(np.array([1]), np.array([[0.5, 0.5, 0.5, 0.5]]))])
        >>> round(found.loss.item(), 4), found.loss_bbox.item(), found.matched[0][1].tolist()
        (1.0986, 0.0, [0])
    """

    num_labels: int
    matcher: HungarianMatcher = _USUAL
    bbox_weight: float = 5
    giou_weight: float = 2
    eos_coefficient: float = 0.1

    @staticmethod
    def of(config: DetectionConfig) -> SetCriterion:
        """The loss that a model's configuration asks for."""
        matcher = HungarianMatcher(config.class_cost, config.bbox_cost, config.giou_cost)
        weights = (config.bbox_loss_coefficient, config.giou_loss_coefficient, config.eos_coefficient)
        return SetCriterion(config.num_labels, matcher, *weights)

    def __call__(self, output: DetectionOutput, objects: Sequence[tuple[Array, Array]]) -> DetectionLoss:
        """The loss of answers (N, Q) against the objects of N pictures.

        Args:
            output: of the model, with those of its earlier layers where it was asked for them.
            objects: for each picture the classes of its objects, int (M,), and their boxes, (M, 4): middle, width and height in
                shares of the picture.

        Raises:
            DataError: a class that there is not, boxes that are none, or more objects than answers.
        """
        self._check(output, objects)
        count = max(1.0, float(sum(len(labels) for labels, _ in objects)))
        last = self._layer(output, objects, count)
        total = last.loss
        for earlier in output.auxiliary_outputs:
            total = total + self._layer(earlier, objects, count).loss
        return DetectionLoss(total, last.loss_ce, last.loss_bbox, last.loss_giou, last.matched)

    def _check(self, output: DetectionOutput, objects: Sequence[tuple[Array, Array]]) -> None:
        pictures, answers = output.logits.shape[:2]
        if len(objects) != pictures:
            raise DataError(f"{pictures} pictures with the objects of {len(objects)}", fix="give those of each, in order")
        for i, (labels, boxes) in enumerate(objects):
            if len(labels) > answers:
                raise DataError(
                    f"picture {i} of the batch has {len(labels)} objects and the model {answers} answers",
                    why="each object needs an answer of its own",
                    fix="give the model more queries, or leave the smallest objects out",
                )
            if boxes.shape != (len(labels), 4) or not np.isfinite(boxes).all() or (boxes[:, 2:] < 0).any():
                raise DataError(
                    f"picture {i} of the batch has boxes of shape {boxes.shape} for {len(labels)} objects",
                    why="each is four finite numbers: middle, width and height in shares of the picture",
                    fix="correct the boxes",
                )
            if len(labels) and not 0 <= min(labels) <= max(labels) < self.num_labels:
                raise DataError(
                    f"picture {i} of the batch has an object of class {max(labels) if min(labels) >= 0 else min(labels)}",
                    why=f"there are {self.num_labels} classes, from 0",
                    fix="correct the labels, or num_labels",
                )

    def _layer(self, output: DetectionOutput, objects: Sequence[tuple[Array, Array]], count: float) -> DetectionLoss:
        """What the answers of one layer lose."""
        logits, boxes = output.logits, output.pred_boxes
        pairs = self.matcher.batch(logits.detach().cpu().numpy(), boxes.detach().cpu().numpy(), objects)
        targets = np.full(logits.shape[:2], self.num_labels, np.int64)
        for i, (answers, known) in enumerate(pairs):
            targets[i, answers] = objects[i][0][known]
        weights = np.ones(self.num_labels + 1, logits.dtype)
        weights[-1] = self.eos_coefficient
        flat = logits.reshape(-1, logits.shape[-1])
        to = {"device": logits.device}
        ce = F.cross_entropy(flat, from_numpy(targets.reshape(-1)).to(**to), from_numpy(weights).to(**to))
        rows = np.concatenate([np.full(len(answers), i) for i, (answers, _) in enumerate(pairs)]).astype(np.int64)
        columns = np.concatenate([answers for answers, _ in pairs]).astype(np.int64)
        wanted = np.concatenate([objects[i][1][known] for i, (_, known) in enumerate(pairs)])
        chosen = boxes[from_numpy(rows).to(**to), from_numpy(columns).to(**to)]
        true = from_numpy(wanted.astype(boxes.dtype)).to(**to)
        apart = (chosen - true).abs().sum() / count
        corners, wanted_corners = (box_convert(b, "cxcywh", "xyxy") for b in (chosen, true))
        giou = generalized_box_iou_loss(corners, wanted_corners, "sum") / count
        return DetectionLoss(ce + self.bbox_weight * apart + self.giou_weight * giou, ce, apart, giou, tuple(pairs))
