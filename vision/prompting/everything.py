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
    masks, scores = _candidates(pipe, picture, points_per_side, score, (stability, stability_offset))
    if not len(masks):
        return Masks(np.zeros((0, 1, *picture.size), bool), np.zeros((0, 1), np.float32), picture.source)
    boxes = np.array([box_around(mask) for mask in masks], np.float32) - (0, 0, 1, 1)  # from pixel to pixel, as SAM counts
    kept = nms(Tensor(boxes.clip(0).astype(np.float32)), Tensor(scores), overlap).numpy()
    return Masks(masks[kept][:, None], scores[kept][:, None], picture.source)


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
) -> tuple[Array, Array]:
    """(K, H, W) bool and (K,) float32: masks that are good and steady."""
    points = grid(side, *picture.size)
    labels = np.ones(points.shape[:2], np.int64)
    masks, scores, best = [], [], -np.inf
    tell(f"no points and no boxes: looking for everything, with {len(points)} points")
    for i in range(0, len(points), pipe.batch_size):
        part = Prompts(points[i : i + pipe.batch_size], labels[i : i + pipe.batch_size], None)
        found, said = pipe.answer(picture, part, True)
        good, best = np.flatnonzero(said.reshape(-1) > score), max(best, float(said.max()))
        if len(good):
            chosen = found.flatten(0, 1)[Tensor(good).to(found.device)]
            steady = _steady(pipe.full_size(picture, chosen.unsqueeze(1))[:, 0], *stability)
            masks += steady[1]
            scores.append(said.reshape(-1)[good[steady[0]]])
    if masks:
        return np.stack(masks), np.concatenate(scores)
    tell(f"no mask is good and steady enough: the best score is {best:.2f}, and more than {score:g} is asked for")
    return np.zeros((0, *picture.size), bool), np.zeros(0, np.float32)


def _steady(logits: Array, stability: float, offset: float) -> tuple[Array, list[Array]]:
    """Which of (K, H, W) hardly change with the threshold: their numbers, and their masks."""
    inner, outer = ((logits > t).reshape(len(logits), -1).sum(1) for t in (offset, -offset))
    kept = np.flatnonzero(inner > stability * outer)
    return kept, [logits[k] > 0 for k in kept]
