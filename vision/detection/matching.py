"""Which answer is for which object: the assignment of least cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.errors import ArgumentError, ShapeError

Array = np.ndarray[Any, Any]
Pairs = tuple[Array, Array]


def linear_sum_assignment(cost: Array) -> Pairs:
    """The pairs of a row and a column each whose costs have the least sum; as many pairs as the shorter side has.

    Shortest augmenting paths (Jonker and Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment
    problems", Computing 38, 1987), in the form for any shape of Crouse ("On implementing 2D rectangular assignment algorithms",
    2016), as SciPy's function of this name has it.

    Args:
        cost: (R, C), finite.

    Returns:
        The rows, rising, and the column of each: int64 (min(R, C),).

    Raises:
        ShapeError: no table.
        ArgumentError: costs that are not finite.

    Example:
        >>> linear_sum_assignment(np.array([[4.0, 1.0, 3.0], [2.0, 0.0, 5.0], [3.0, 2.0, 2.0]]))
        (array([0, 1, 2]), array([1, 0, 2]))
    """
    if cost.ndim != 2:
        raise ShapeError(f"costs of shape {cost.shape}", why="a cost belongs to a row and a column", fix="pass (R, C)")
    if not np.isfinite(cost).all():
        raise ArgumentError(
            "costs that are not finite", why="no assignment has a least sum then", fix="give large numbers instead"
        )
    if cost.shape[0] > cost.shape[1]:
        columns, rows = linear_sum_assignment(cost.T)
        order = np.argsort(rows)
        return rows[order], columns[order]
    table = np.asarray(cost, np.float64)
    count, width = table.shape
    u, v = np.zeros(count), np.zeros(width)
    row_of = np.full(width, -1)
    for start in range(count):
        _augment(table, u, v, row_of, start)
    taken = np.flatnonzero(row_of >= 0)
    order = np.argsort(row_of[taken])
    return np.arange(count), taken[order]


def _augment(table: Array, u: Array, v: Array, row_of: Array, start: int) -> None:
    """Give row ``start`` a column, and others another one where that is cheaper: along the path of least reduced cost."""
    width = table.shape[1]
    distance, before = np.full(width, np.inf), np.full(width, -1)
    done = np.zeros(width, bool)
    rows, row, least = [start], start, 0.0
    while True:
        through = least + table[row] - u[row] - v
        nearer = ~done & (through < distance)
        distance[nearer], before[nearer] = through[nearer], row
        open_ = np.where(done, np.inf, distance)
        least = float(open_.min())
        ends = np.flatnonzero(open_ == least)
        free = ends[row_of[ends] < 0]  # of equally near columns one that ends the search
        column = int(free[0] if len(free) else ends[0])
        done[column] = True
        if row_of[column] < 0:
            break
        row = int(row_of[column])
        rows.append(row)
    held = np.flatnonzero(done)
    u[start] += least
    for column_, owner in ((c, int(row_of[c])) for c in held if row_of[c] >= 0):
        u[owner] += least - distance[column_]
    v[held] -= least - distance[held]
    while True:
        owner = int(before[column])
        row_of[column], column = owner, int(np.flatnonzero(row_of == owner)[0]) if owner != start else column
        if owner == start:
            return


@dataclass(frozen=True)
class HungarianMatcher:
    """Assigns each object the answer that fits it best, each answer to one object at most (DETR, arXiv:2005.12872, 3.1).

    Attributes:
        class_cost: what the probability of the object's class counts.
        bbox_cost: what the sum of the differences of the boxes' four numbers counts.
        giou_cost: what their generalised intersection over union counts.

    Example:
        >>> answers = np.array([[0.5, 0.5, 0.2, 0.2], [0.1, 0.1, 0.2, 0.2]])
        >>> HungarianMatcher()(np.zeros((2, 3)), answers, np.array([1]), np.array([[0.1, 0.1, 0.2, 0.2]]))
        (array([1]), array([0]))
    """

    class_cost: float = 1
    bbox_cost: float = 1
    giou_cost: float = 1

    def __post_init__(self) -> None:
        if not (self.class_cost or self.bbox_cost or self.giou_cost):
            raise ArgumentError("all costs of the matcher are 0", why="every assignment would be as good", fix="leave one at 1")

    def __call__(self, logits: Array, pred_boxes: Array, labels: Array, boxes: Array) -> Pairs:
        """The answers that were chosen, rising, and the object of each.

        Args:
            logits: (Q, K + 1) of one picture.
            pred_boxes: (Q, 4), cxcywh.
            labels: (M,) classes of its objects.
            boxes: (M, 4), cxcywh.
        """
        return linear_sum_assignment(self.costs(logits, pred_boxes, labels, boxes))

    def costs(self, logits: Array, pred_boxes: Array, labels: Array, boxes: Array) -> Array:
        """(Q, M). What is not finite costs more than all else, and is chosen last."""
        with np.errstate(all="ignore"):
            shifted = np.exp(logits - logits.max(-1, keepdims=True))
            likely = (shifted / shifted.sum(-1, keepdims=True))[:, labels]
            apart = np.abs(pred_boxes[:, None] - boxes[None]).sum(-1)
            overlap = _giou(_corners(pred_boxes), _corners(boxes))
            cost = self.bbox_cost * apart - self.class_cost * likely - self.giou_cost * overlap
        return np.nan_to_num(cost, nan=_WORST, posinf=_WORST, neginf=_WORST)

    def batch(self, logits: Array, pred_boxes: Array, objects: Sequence[tuple[Array, Array]]) -> list[Pairs]:
        """The pairs of each picture of a batch; ``objects`` holds labels and boxes of each."""
        pictures = zip(logits, pred_boxes, objects, strict=True)
        return [self(one, places, labels, boxes) for one, places, (labels, boxes) in pictures]


_WORST = 1e30  # more than any sum of costs, and small enough to be added to


def _corners(boxes: Array) -> Array:
    half = boxes[..., 2:] / 2
    return np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], -1)


def _giou(first: Array, second: Array) -> Array:
    """As :func:`~nyala.vision.ops.generalized_box_iou`, of arrays."""
    a, b = first[:, None], second[None]
    inside = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(0).prod(-1)
    around = (np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])).prod(-1)
    either = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inside
    return inside / either - (around - either) / around
