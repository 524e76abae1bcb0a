"""Points and boxes as people give them, checked against the picture they are for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.errors import ArgumentError

UNUSED = -10  # the label of a point that only fills up a row

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Prompts:
    """What shows K things in one picture.

    Attributes:
        points: (K, P, 2) float64, x and y in pixels; None without points.
        labels: (K, P) int64, 1 on the thing, 0 beside it, -10 for no point at all.
        boxes: (K, 4) float64, left, top, right, bottom in pixels; None without boxes.

    Example:
        >>> Prompts.read([(4, 5), (6, 7)], [1, 0], None, 20, 30).points.shape
        (1, 2, 2)
        >>> len(Prompts.read([[(4, 5)], [(6, 7)]], None, None, 20, 30))
        2
    """

    points: Array | None
    labels: Array | None
    boxes: Array | None

    def __len__(self) -> int:
        given = self.boxes if self.points is None else self.points
        return 0 if given is None else len(given)

    @staticmethod
    def read(points: Any, labels: Any, boxes: Any, height: int, width: int) -> Prompts:
        """Prompts for a picture of ``height`` x ``width`` pixels.

        Args:
            points: (x, y) of one or more points that show one thing, or a list of such lists, one a thing; None for none.
            labels: in the same order, 1 for a point on the thing and 0 for one beside it; None where all are on it.
            boxes: left, top, right, bottom around a thing, or a list of these; None for none.

        Raises:
            ArgumentError: numbers that are no points or boxes, that lie outside the picture, or that do not fit each other.
        """
        rows = _rows(points, height, width)
        marks = _marks(labels, rows)
        around = _boxes(boxes, height, width)
        if rows is None:
            return Prompts(None, None, around)
        if around is not None and len(around) != len(rows):
            raise ArgumentError(
                f"points for {len(rows)} thing(s), and {len(around)} box(es)",
                why="a thing may have both, but then each has",
                fix="give points and boxes in two calls, or as many lists of points as boxes",
            )
        longest = max(len(row) for row in rows)
        filled = [np.pad(row, ((0, longest - len(row)), (0, 0))) for row in rows]
        said = [np.pad(m, (0, longest - len(m)), constant_values=UNUSED) for m in marks]
        return Prompts(np.stack(filled), np.stack(said), around)

    def lone_points(self) -> bool:
        """Whether each thing is shown by one point alone, which says little of what is meant."""
        return self.boxes is None and self.points is not None and self.points.shape[1] == 1


def _numbers(given: Any, what: str) -> Array:
    try:
        found = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise ArgumentError(
            f"{what} {given!r}", why="that is no list of numbers", fix="points=[(x, y)], boxes=[(l, t, r, b)]"
        ) from None
    if not np.isfinite(found).all():
        raise ArgumentError(f"{what} {given!r}", why="not all are finite numbers", fix="correct them")
    return found


def _rows(points: Any, height: int, width: int) -> list[Array] | None:
    """A (P, 2) array a thing."""
    if points is None:
        return None
    given = points.tolist() if hasattr(points, "tolist") else list(points) if isinstance(points, Sequence) else points
    if not isinstance(given, list) or not given:
        raise ArgumentError(f"points={points!r}", fix="give (x, y) of each point: points=[(120, 80)]")
    nested = isinstance(given[0], Sequence) and len(given[0]) > 0 and isinstance(given[0][0], Sequence)
    rows = [_numbers(row, "points") for row in (given if nested else [given])]
    for row in rows:
        if row.ndim != 2 or row.shape[1] != 2 or not len(row):
            raise ArgumentError(f"points of shape {row.shape}", why="a point is (x, y)", fix="points=[(120, 80)]")
        outside = row[((row < 0) | (row > (width, height))).any(1)]
        if len(outside):
            raise ArgumentError(
                f"the point {outside[0, 0]:g}, {outside[0, 1]:g}",
                why=f"the picture has {width} x {height} pixels, counted from the upper left",
                fix="give x first, then y",
            )
    return rows


def _marks(labels: Any, rows: list[Array] | None) -> list[Array]:
    """A (P,) array of labels a thing."""
    if rows is None:
        if labels is not None:
            raise ArgumentError("labels without points", fix="say which points they are for")
        return []
    if labels is None:
        return [np.ones(len(row), np.int64) for row in rows]
    given = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    nested = bool(given) and isinstance(given[0], Sequence)
    marks = [_numbers(mark, "labels") for mark in (given if nested else [given])]
    if [m.shape for m in marks] != [(len(row),) for row in rows] or not all(np.isin(m, (0, 1)).all() for m in marks):
        raise ArgumentError(
            f"labels={labels!r} for {', '.join(str(len(row)) for row in rows)} point(s)",
            why="each point has one: 1 on the thing, 0 beside it",
            fix="correct them",
        )
    return [mark.astype(np.int64) for mark in marks]


def _boxes(boxes: Any, height: int, width: int) -> Array | None:
    if boxes is None:
        return None
    found = _numbers(boxes, "boxes")
    found = found[None] if found.ndim == 1 else found
    if found.ndim != 2 or found.shape[1] != 4 or not len(found):
        raise ArgumentError(
            f"boxes of shape {found.shape}", why="a box is left, top, right, bottom", fix="boxes=[(10, 20, 90, 80)]"
        )
    inside = np.clip(found, 0, (width, height, width, height))  # a detector's boxes reach over the edge
    empty = found[(inside[:, 0] >= inside[:, 2]) | (inside[:, 1] >= inside[:, 3])]
    if len(empty):
        raise ArgumentError(
            f"the box {', '.join(f'{v:g}' for v in empty[0])}",
            why=f"nothing of the picture of {width} x {height} pixels is in it",
            fix="give left, top, right, bottom",
        )
    return inside
