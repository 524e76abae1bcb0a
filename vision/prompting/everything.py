"""Masks of everything in a picture: a point in each cell of a grid is asked, and what is good, steady and new stays.

Source: the automatic mask generation of SAM (Kirillov et al., arXiv:2304.02643, appendix B), without crops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import ArgumentError
from ...core.progress import tell
from ...core.tensor import Tensor
from ..ops.boxes import nms
from .masks import Masks, box_around
from .prompts import Array, Prompts

if TYPE_CHECKING:
    from .pipeline import Embedded, PromptedMasks


def everything(
    pipe: PromptedMasks, picture: Embedded, *, points_per_side: int = 32, score: float = 0.88, stability: float = 0.95,
    stability_offset: float = 1.0, overlap: float = 0.7,
) -> Masks:  # fmt: skip
    """All that is found in a picture, the best first; three masks are looked at for each of ``points_per_side`` ** 2 points.

    Args:
        pipe: the pipeline of a SAM.
        picture: what ``pipe.embed`` gave.
        points_per_side: cells of the grid, across and down.
        score: masks whose score is not above this go.
        stability: masks go whose area, when the threshold moves, changes so much that smaller over larger is not above this.
        stability_offset: how far it moves, up and down.
        overlap: of two masks whose boxes overlap by more than this, intersection over union, the better one stays.

    Raises:
        ArgumentError: a grid without points.
    """
    if points_per_side < 1:
        raise ArgumentError(f"points_per_side={points_per_side}", fix="use 1 or more")
    masks, scores, boxes = _candidates(pipe, picture, points_per_side, score, (stability, stability_offset))
    if not masks:
        return Masks(np.zeros((0, 1, *picture.size), bool), np.zeros((0, 1), np.float32), picture.source)
    inner = np.array(boxes, np.float32) - np.array((0, 0, 1, 1), np.float32)  # from pixel to pixel, as SAM counts
    kept = nms(Tensor(inner.clip(0)), Tensor(np.array(scores, np.float32)), overlap).tolist()
    offers = np.stack([found > 0 for k in kept for found in pipe.full_size(picture, masks[k])])
    return Masks(offers, np.array([[scores[k]] for k in kept], np.float32), picture.source)


def grid(side: int, height: int, width: int) -> Array:
    """(side * side, 1, 2): the middles of the cells, x and y in pixels, row by row.

    Example:
        >>> grid(2, 40, 80)[:, 0].tolist()
        [[20.0, 10.0], [60.0, 10.0], [20.0, 30.0], [60.0, 30.0]]
    """
    shares = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(shares * width, shares * height)
    return np.stack([x, y], -1).reshape(-1, 1, 2)


def _candidates(
    pipe: PromptedMasks, picture: Embedded, side: int, score: float, stability: tuple[float, float]
) -> tuple[list[Tensor], list[float], list[list[int]]]:
    """Masks that are good and steady, (1, 1, h, w) of the model's size, with their scores and boxes in the picture."""
    points = grid(side, *picture.size)
    labels = np.ones(points.shape[:2], np.int64)
    masks: list[Tensor] = []
    scores: list[float] = []
    boxes, best = [], -np.inf
    tell(f"no points and no boxes: looking for everything, with {len(points)} points")
    for i in range(0, len(points), pipe.batch_size):
        part = Prompts(points[i : i + pipe.batch_size], labels[i : i + pipe.batch_size], None)
        found, said = pipe.answer(picture, part, True)
        best = max(best, float(said.max()))
        for k, m in np.argwhere(said > score).tolist():
            mask = found[k : k + 1, m : m + 1]
            (logits,) = next(pipe.full_size(picture, mask))
            if _steady(logits, *stability):
                masks.append(mask.clone())
                scores.append(float(said[k, m]))
                boxes.append(box_around(logits > 0))
    if not masks:
        tell(f"no mask is good and steady enough: the best score is {best:.2f}, and more than {score:g} is asked for")
    return masks, scores, boxes


def _steady(logits: Array, stability: float, offset: float) -> bool:
    """Whether a mask hardly changes with the threshold."""
    return bool((logits > offset).sum() > stability * (logits > -offset).sum())
