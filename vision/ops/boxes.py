"""Boxes: how they are written, how far they overlap, and which of many to keep. Names and formulas are torchvision's.

Boxes are rows of four numbers. Unless said otherwise they are ``xyxy``: left, top, right, bottom, in pixels or in shares of the
picture. Everything but the choices (``nms``, ``remove_small_boxes``) can be differentiated.
"""

from __future__ import annotations

import numpy as np

from ...core.create import from_numpy
from ...core.errors import ArgumentError, ShapeError
from ...core.ops.elementwise import maximum, minimum
from ...core.ops.shape import cat, stack
from ...core.tensor import Tensor

FORMATS = ("xyxy", "xywh", "cxcywh")


def _check(boxes: Tensor, what: str = "boxes") -> None:
    if boxes.ndim < 1 or boxes.shape[-1] != 4:
        raise ShapeError(f"{what} of shape {boxes.shape}", why="a box is four numbers", fix="pass (N, 4)")


def box_convert(boxes: Tensor, in_fmt: str, out_fmt: str) -> Tensor:
    """Boxes (..., 4) written in another way.

    Args:
        boxes: the boxes.
        in_fmt, out_fmt: "xyxy" (left, top, right, bottom), "xywh" (left, top, width, height) or "cxcywh" (middle, width, height).

    Raises:
        ArgumentError: another format.
        ShapeError: boxes that are not four numbers.

    Example:
        >>> import nyala
        >>> box_convert(nyala.tensor([[2.0, 2.0, 4.0, 2.0]]), "cxcywh", "xyxy").tolist()
        [[0.0, 1.0, 4.0, 3.0]]
    """
    _check(boxes)
    for name in (in_fmt, out_fmt):
        if name not in FORMATS:
            raise ArgumentError(f"boxes in the format {name!r}", fix=f"use one of {', '.join(FORMATS)}")
    if in_fmt == out_fmt:
        return boxes
    first, second = boxes[..., :2], boxes[..., 2:]
    if in_fmt == "xywh":
        second = first + second
    elif in_fmt == "cxcywh":
        first, second = first - 0.5 * second, first + 0.5 * second
    if out_fmt == "xywh":
        second = second - first
    elif out_fmt == "cxcywh":
        first, second = (first + second) / 2, second - first
    return cat([first, second], -1)


def box_area(boxes: Tensor) -> Tensor:
    """Areas (N,) of boxes (N, 4).

    Example:
        >>> import nyala
        >>> box_area(nyala.tensor([[0.0, 1.0, 4.0, 3.0]])).tolist()
        [8.0]
    """
    _check(boxes)
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _overlap(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    """Areas of what both have, and of what either has, of boxes that broadcast."""
    left_top = maximum(boxes1[..., :2], boxes2[..., :2])
    right_bottom = minimum(boxes1[..., 2:], boxes2[..., 2:])
    sides = (right_bottom - left_top).clamp(min=0)
    inside = sides[..., 0] * sides[..., 1]
    return inside, box_area(boxes1) + box_area(boxes2) - inside


def _around(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Areas of the smallest boxes around both, of boxes that broadcast."""
    sides = maximum(boxes1[..., 2:], boxes2[..., 2:]) - minimum(boxes1[..., :2], boxes2[..., :2])
    return sides[..., 0] * sides[..., 1]


def _pairs(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    for boxes in (boxes1, boxes2):
        _check(boxes)
        if boxes.ndim != 2:
            raise ShapeError(f"boxes of shape {boxes.shape}", why="all are compared with all", fix="pass (N, 4) and (M, 4)")
    return boxes1.unsqueeze(1), boxes2.unsqueeze(0)


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersection over union of all with all: (N, 4) and (M, 4) -> (N, M).

    Example:
        >>> import nyala
        >>> box_iou(nyala.tensor([[0.0, 0.0, 2.0, 2.0]]), nyala.tensor([[1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 6.0, 6.0]])).tolist()
        [[0.3333333432674408, 0.0]]
    """
    inside, either = _overlap(*_pairs(boxes1, boxes2))
    return inside / either


def generalized_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Generalised intersection over union (Rezatofighi et al., arXiv:1902.09630) of all with all: (N, 4), (M, 4) -> (N, M).

    It is in -1..1: what lies between boxes that do not touch counts against them.

    Example:
        >>> import nyala
        >>> generalized_box_iou(nyala.tensor([[0.0, 0.0, 1.0, 1.0]]), nyala.tensor([[2.0, 0.0, 3.0, 1.0]])).item()
        -0.3333333432674408
    """
    first, second = _pairs(boxes1, boxes2)
    inside, either = _overlap(first, second)
    around = _around(first, second)
    return inside / either - (around - either) / around


def generalized_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """1 - generalised IoU of each box with its partner: (N, 4) and (N, 4) -> (N,), or its "mean" or "sum".

    Args:
        boxes1, boxes2: as many of each.
        reduction: "none", "mean" or "sum".
        eps: keeps boxes without an area from dividing by 0.

    Raises:
        ArgumentError: another reduction.
        ShapeError: boxes that do not go in pairs.

    Example:
        >>> import nyala
        >>> box = nyala.tensor([[0.0, 0.0, 1.0, 1.0]])
        >>> round(generalized_box_iou_loss(box, box, "sum").item(), 6)
        0.0
    """
    if reduction not in ("none", "mean", "sum"):
        raise ArgumentError(f"reduction={reduction!r}", fix="use 'none', 'mean' or 'sum'")
    if boxes1.shape != boxes2.shape:
        raise ShapeError(f"boxes of shapes {boxes1.shape} and {boxes2.shape}", why="they go in pairs", fix="pass as many of each")
    inside, either = _overlap(boxes1, boxes2)
    around = _around(boxes1, boxes2)
    loss = 1 - (inside / (either + eps) - (around - either) / (around + eps))
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.mean()


def clip_boxes_to_image(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (..., 4) cut off at the edges of a picture of ``size`` (height, width).

    Example:
        >>> import nyala
        >>> clip_boxes_to_image(nyala.tensor([[-1.0, 2.0, 9.0, 9.0]]), (5, 6)).tolist()
        [[0.0, 2.0, 6.0, 5.0]]
    """
    _check(boxes)
    height, width = size
    across, down = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return stack([across[..., 0], down[..., 0], across[..., 1], down[..., 1]], -1)


def remove_small_boxes(boxes: Tensor, min_size: float) -> Tensor:
    """Numbers (K,) int64 of the boxes (N, 4) whose width and height are at least ``min_size``.

    Example:
        >>> import nyala
        >>> remove_small_boxes(nyala.tensor([[0.0, 0.0, 1.0, 9.0], [0.0, 0.0, 5.0, 5.0]]), 2).tolist()
        [1]
    """
    _check(boxes)
    corners = boxes.detach().cpu().numpy()
    large = ((corners[:, 2:] - corners[:, :2]) >= min_size).all(axis=1)
    return from_numpy(np.flatnonzero(large).astype(np.int64)).to(boxes.device)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Non-maximum suppression: a box goes where a better one overlaps it by more than ``iou_threshold``.

    Args:
        boxes: (N, 4).
        scores: (N,); of equal ones the earlier box is the better.
        iou_threshold: intersection over union that two boxes may have.

    Returns:
        The numbers of the boxes that stay, (K,) int64, the best first.

    Raises:
        ShapeError: another number of scores than of boxes.

    Example:
        >>> import nyala
        >>> boxes = nyala.tensor([[0.0, 0.0, 9.0, 9.0], [0.0, 1.0, 9.0, 9.0], [20.0, 20.0, 29.0, 29.0]])
        >>> nms(boxes, nyala.tensor([0.5, 0.9, 0.1]), 0.5).tolist()
        [1, 2]
    """
    _check(boxes)
    if boxes.ndim != 2 or scores.shape != boxes.shape[:1]:
        raise ShapeError(
            f"nms of boxes {boxes.shape} with scores {scores.shape}",
            why="each box has one score",
            fix="pass (N, 4) and (N,); batched_nms keeps classes apart",
        )
    kept = _greedy(boxes.detach().cpu().numpy(), scores.detach().cpu().numpy(), iou_threshold)
    return from_numpy(np.array(kept, np.int64)).to(boxes.device)


def _greedy(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left, kept = np.argsort(-scores, kind="stable"), []
    while len(left):
        best, rest = left[0], left[1:]
        kept.append(int(best))
        sides = np.minimum(boxes[best, 2:], boxes[rest, 2:]) - np.maximum(boxes[best, :2], boxes[rest, :2])
        inside = sides.clip(min=0).prod(axis=1)
        # without a division: two boxes without an area do not suppress each other
        left = rest[~(inside > threshold * (area[best] + area[rest] - inside))]
    return kept


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """:func:`nms` within each class (or picture) alone: ``idxs`` (N,) says which a box is of.

    Example:
        >>> import nyala
        >>> same = nyala.tensor([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 9.0, 9.0]])
        >>> batched_nms(same, nyala.tensor([0.5, 0.9]), nyala.tensor([0, 1]), 0.5).tolist()
        [1, 0]
    """
    if idxs.shape != scores.shape:
        raise ShapeError(f"batched_nms: scores {scores.shape} and idxs {idxs.shape}", fix="pass one number for each box")
    classes, values = idxs.cpu().numpy(), scores.detach().cpu().numpy()
    found: list[int] = []
    for one in np.unique(classes):
        members = np.flatnonzero(classes == one)
        kept = nms(boxes[from_numpy(members).to(boxes.device)], scores[from_numpy(members).to(scores.device)], iou_threshold)
        found += members[kept.cpu().numpy()].tolist()
    best = sorted(found, key=lambda i: (-values[i], i))
    return from_numpy(np.array(best, np.int64)).to(boxes.device)
