"""Which detection is which object: overlaps, and COCO's way of matching, decision by decision as pycocotools takes it.

Source: Lin et al., "Microsoft COCO", arXiv:1405.0312, and ``cocoeval.py`` of pycocotools.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_NEARLY_ONE = 1 - 1e-10  # an overlap of 1 that rounding made a little smaller still counts as 1


def box_overlaps(found: Array, truth: Array, crowd: Array) -> Array:
    """Intersection over union of boxes; of a crowd, over the detection's own area.

    Args:
        found: (D, 4) float64, as x, y, width, height.
        truth: (G, 4) of the same kind.
        crowd: (G,) bool.

    Returns:
        (D, G) float64, in the order of operations of pycocotools: equal to the last bit.

    Example:
        >>> box_overlaps(np.array([[0, 0, 2.0, 2]]), np.array([[1, 0, 2.0, 2], [5, 5, 1, 1]]), np.zeros(2, bool)).round(4)
        array([[0.3333, 0.    ]])
    """
    (x, y, w, h), (gx, gy, gw, gh) = found.T[:, :, None], truth.T[:, None, :]
    wide = np.minimum(w + x, gw + gx) - np.maximum(x, gx)
    high = np.minimum(h + y, gh + gy) - np.maximum(y, gy)
    both = wide * high
    return _ratio(np.where((wide > 0) & (high > 0), both, 0.0), w * h, gw * gh, crowd)


def mask_overlaps(found: Array, truth: Array, crowd: Array) -> Array:
    """Intersection over union of masks; of a crowd, over the detection's own area.

    Args:
        found: (D, H, W) bool.
        truth: (G, H, W) bool.
        crowd: (G,) bool.

    Returns:
        (D, G) float64.

    Example:
        >>> mask_overlaps(np.array([[[1, 1, 0]]], bool), np.array([[[0, 1, 1]]], bool), np.zeros(1, bool)).round(4)
        array([[0.3333]])
    """
    a, b = (np.packbits(m.reshape(len(m), -1), axis=1) for m in (found, truth))
    both = np.array([[np.bitwise_count(one & other).sum(dtype=np.int64) for other in b] for one in a], np.float64)
    sizes = [np.bitwise_count(m).sum(1, dtype=np.int64).astype(np.float64) for m in (a, b)]
    return _ratio(both.reshape(len(a), len(b)), sizes[0][:, None], sizes[1][None, :], crowd)


def _ratio(both: Array, of_found: Array, of_truth: Array, crowd: Array) -> Array:
    whole = np.where(crowd[None, :], of_found, of_found + of_truth - both)
    return np.divide(both, whole, out=np.zeros_like(both), where=both > 0)


@dataclass(frozen=True)
class Matches:
    """What the detections of one class in one picture are, for each range of areas (A) and each threshold of overlap (T).

    Attributes:
        scores: (D,) falling.
        matched: (A, T, D) bool: an object was found.
        ignored: (A, T, D) bool: counts neither as right nor as wrong.
        objects: (A,) int64, objects that should have been found.
    """

    scores: Array
    matched: Array
    ignored: Array
    objects: Array


def match(
    overlaps: Array, scores: Array, areas: Array, object_areas: Array, crowd: Array, thresholds: Array, ranges: Array
) -> Matches:
    """Give each detection, the surest first, the free object that it overlaps most.

    Objects outside a range of areas, and crowds, are ignored there: a detection takes one only where no other object is left for
    it, and then counts for nothing. A crowd may be taken again and again. Of equal overlaps the last object's wins, as in
    pycocotools.

    Args:
        overlaps: (D, G), detections by falling score.
        scores, areas: (D,) of the detections.
        object_areas, crowd: (G,) of the objects.
        thresholds: (T,) overlaps from which on an object counts as found.
        ranges: (A, 2) smallest and largest area.
    """
    low, high = ranges[:, :1], ranges[:, 1:]
    aside = crowd | (object_areas < low) | (object_areas > high)  # (A, G)
    least = np.minimum(thresholds, _NEARLY_ONE)
    shape = (len(ranges), len(thresholds), len(scores))
    matched, ignored = np.zeros(shape, bool), np.zeros(shape, bool)
    free = np.ones((*shape[:2], len(crowd)), bool)
    near = overlaps >= least.min(initial=1.0)
    for d in np.flatnonzero(near.any(1)):
        at = np.flatnonzero(near[d])
        hit, taken = _take(overlaps[d, at], free[:, :, at], aside[:, at], least)
        a, t = np.nonzero(hit)
        object_ = at[taken[a, t]]
        matched[a, t, d], ignored[a, t, d] = True, aside[a, object_]
        free[a, t, object_] = crowd[object_]
    outside = (areas < low) | (areas > high)  # (A, D)
    ignored |= ~matched & outside[:, None, :]
    return Matches(scores, matched, ignored, (~aside).sum(1))


def _take(overlap: Array, free: Array, aside: Array, least: Array) -> tuple[Array, Array]:
    """Whether one detection gets an object, (A, T) bool, and which, (A, T)."""
    open_ = free & (overlap >= least[:, None])  # (A, T, G)
    own = open_ & ~aside[:, None, :]
    usable = np.where(own.any(-1, keepdims=True), own, open_)
    value = np.where(usable, overlap, -1.0)
    return np.asarray(usable.any(-1)), len(overlap) - 1 - value[..., ::-1].argmax(-1)
