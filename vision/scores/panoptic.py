"""Panoptic quality (Kirillov et al., arXiv:1801.00868): segments found, and how well they fit; counted as panopticapi counts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...core.errors import ArgumentError, IndexRangeError, ShapeError
from ...core.scores.intervals import Estimate, of_record

Array = np.ndarray[Any, Any]
_GROUPS = {"": "all", "_things": "things", "_stuffs": "stuff"}


@dataclass(frozen=True)
class PanopticScores:
    """Panoptic quality and its factors; NaN where there is nothing of a kind. Prints as a table.

    Attributes:
        pq, sq, rq: means over the classes that occur: panoptic quality, how well matched segments fit (segmentation quality), and
            how many are matched (recognition quality).
        pq_things, sq_things, rq_things: over things; pq_stuffs, sq_stuffs, rq_stuffs: over stuff.
        pq_per_class: class -> its panoptic quality.
        intervals: name of a score -> its 95 % interval; empty where none were asked for.
    """

    pq: float
    sq: float
    rq: float
    pq_things: float
    sq_things: float
    rq_things: float
    pq_stuffs: float
    sq_stuffs: float
    rq_stuffs: float
    pq_per_class: Mapping[int, float] = field(default_factory=dict)
    intervals: Mapping[str, Estimate] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values; None where there is none."""
        named = {f"{q}{group}": getattr(self, f"{q}{group}") for group in _GROUPS for q in ("pq", "sq", "rq")}
        told: dict[str, Any] = {name: None if value != value else value for name, value in named.items()}
        told["pq_per_class"] = {str(label): value for label, value in self.pq_per_class.items()}
        return {**told, "intervals": {name: found.as_json() for name, found in self.intervals.items()}}

    def __str__(self) -> str:
        lines = [f"{'':<8} {'PQ':>8} {'SQ':>8} {'RQ':>8}"]
        for group, title in _GROUPS.items():
            values = [getattr(self, f"{q}{group}") for q in ("pq", "sq", "rq")]
            lines.append(f"{title:<8} " + " ".join(f"{v:8.4f}" if v == v else f"{'-':>8}" for v in values))
        return "\n".join([*lines, *(f"{name.upper()}: {found}" for name, found in self.intervals.items())])


class PanopticQuality:
    """Collects maps of segments picture by picture, then scores them.

    Args:
        things: classes whose objects are told apart.
        stuffs: classes that are not counted, such as sky.

    A picture is a mapping with ``segmentation``, whole numbers (H, W), and ``segments_info``, which says for each number (``id``)
    its class (``category_id``, or ``label_id`` as transformers calls it) and in targets ``iscrowd``. Pixels with a number that is
    not listed belong to nothing.

    Example:
        >>> metric = PanopticQuality(things=[1], stuffs=[2])
        >>> segments = [{"id": 7, "category_id": 1}, {"id": 8, "category_id": 2}]
        >>> listed = [{"id": 7, "category_id": 1}, {"id": 8, "category_id": 2}]
        >>> truth = {"segmentation": [[7, 7, 7, 8]], "segments_info": listed}
        >>> found = {"segmentation": [[7, 7, 0, 8]], "segments_info": listed}
        >>> metric.update([found], [truth])
        >>> scores = metric.compute()
        >>> round(scores.pq, 4), round(scores.sq, 4), scores.rq, scores.pq_stuffs
        (0.8333, 0.8333, 1.0, 1.0)
    """

    def __init__(self, things: Collection[int], stuffs: Collection[int] = ()) -> None:
        both = sorted(set(things) & set(stuffs))
        if both or not (things or stuffs):
            raise ArgumentError(f"class {both[0]} is thing and stuff" if both else "no classes", fix="name each class once")
        self.classes = tuple(sorted({*things, *stuffs}))
        self._number = {label: i for i, label in enumerate(self.classes)}
        self._things = np.array([label in set(things) for label in self.classes])
        self._counts: list[Array] = []  # of each picture (4, K): sum of overlaps, matched, too many, missed

    def update(self, preds: Sequence[Mapping[str, Any]], target: Sequence[Mapping[str, Any]]) -> None:
        """Takes pictures in: one prediction and one target each.

        Raises:
            ArgumentError: unequal numbers, or a part that is missing.
            ShapeError: maps of different sizes; it names the picture.
            IndexRangeError: a class that there is not.
        """
        if len(preds) != len(target):
            raise ArgumentError(f"{len(preds)} predictions and {len(target)} targets", fix="give one of each for a picture")
        for pred, truth in zip(preds, target, strict=True):
            at = len(self._counts)
            found, found_classes, _ = self._segments(pred, f"the prediction of picture {at}")
            true, classes, crowd = self._segments(truth, f"the target of picture {at}")
            if found.shape != true.shape:
                raise ShapeError(f"picture {at}: a map of {found.shape}, its target of {true.shape}", fix="resize the map")
            pixels = np.bincount((true * (len(found_classes) + 1) + found).ravel(), minlength=_cells(classes, found_classes))
            self._counts.append(self._count(pixels.reshape(len(classes) + 1, -1), classes, found_classes, crowd))

    def _segments(self, given: Mapping[str, Any], where: str) -> tuple[Array, Array, Array]:
        """The map with the segments numbered from 1 as they are listed, 0 for nothing; their classes; which are crowds."""
        for name in ("segmentation", "segments_info"):
            if name not in given:
                raise ArgumentError(f"{where} has no {name!r}", fix="give 'segmentation' and 'segments_info'")
        numbers, listed = np.asarray(given["segmentation"]), list(given["segments_info"])
        if numbers.ndim != 2 or numbers.dtype.kind not in "iu":
            raise ShapeError(f"the map of {where} is {numbers.dtype} of {numbers.shape}", fix="give whole numbers (H, W)")
        classes = []
        for one in listed:
            label = one.get("category_id", one.get("label_id"))
            if label not in self._number:
                raise IndexRangeError(
                    f"segment {one.get('id')} of {where} has class {label!r}", fix="name it in things or stuffs"
                )
            classes.append(self._number[label])
        ids = np.array([one["id"] for one in listed], np.int64)
        if len(set(ids.tolist())) != len(ids):
            raise ArgumentError(f"{where} lists a segment twice", fix="give each a number of its own")
        order = np.argsort(ids)
        at = np.searchsorted(ids[order], numbers).clip(max=max(0, len(ids) - 1))
        placed = np.where(ids[order][at] == numbers, order[at] + 1, 0) if len(ids) else np.zeros(numbers.shape, np.int64)
        return placed, np.array(classes, np.int64), np.array([bool(one.get("iscrowd", 0)) for one in listed], bool)

    def _count(self, pixels: Array, classes: Array, found_classes: Array, crowd: Array) -> Array:
        """(4, K) of one picture, from the pixels that each true and each predicted segment share."""
        both, void = pixels[1:, 1:], pixels[0, 1:]
        own, areas = pixels[1:].sum(1), pixels[:, 1:].sum(0)
        union = areas[None, :] + own[:, None] - both - void[None, :]
        overlap = np.divide(both, union, out=np.zeros(both.shape), where=union > 0)
        matched = (overlap > 0.5) & ~crowd[:, None] & (classes[:, None] == found_classes[None, :])  # at most one each
        k = len(self.classes)
        sums = np.bincount(classes, (overlap * matched).sum(1), minlength=k)
        hits = np.bincount(classes, matched.any(1), minlength=k)
        missed = np.bincount(classes, ~matched.any(1) & ~crowd, minlength=k)
        excused = void.astype(np.float64)
        crowds = {int(classes[i]): int(i) for i in np.flatnonzero(crowd)}  # of several of one class the last, as in panopticapi
        for label, i in crowds.items():
            excused += np.where(found_classes == label, both[i], 0)
        there = areas > 0
        much = np.divide(excused, areas, out=np.zeros(len(areas)), where=there) > 0.5
        extra = np.bincount(found_classes, ~matched.any(0) & ~much & there, minlength=k)
        return np.stack([sums, hits, extra, missed])

    def compute(self, intervals: bool = False, seed: int = 0) -> PanopticScores:
        """The scores of everything taken in so far.

        Args:
            intervals: 95 % intervals of ``pq``, ``sq`` and ``rq``, by drawing pictures with replacement.
            seed: what the bootstrap is drawn by.
        """
        counts = np.array(self._counts).reshape(-1, 4, len(self.classes))
        total = counts.sum(0)
        record = self._record(total)
        drawn: dict[str, Estimate] = {}
        if intervals:
            main = {name: record[name] for name in ("pq", "sq", "rq")}
            drawn = of_record(main, lambda times: self._record(np.tensordot(times, counts, 1)), len(counts), seed)
        quality = self._qualities(total)[0]
        each = {label: float(v) for label, v in zip(self.classes, quality, strict=True) if v == v}
        return PanopticScores(**record, pq_per_class=each, intervals=drawn)

    def _qualities(self, total: Array) -> Array:
        """(3, K): panoptic, segmentation and recognition quality of each class; NaN where nothing of it occurs."""
        sums, hits, extra, missed = total
        weight = hits + 0.5 * extra + 0.5 * missed
        fit = np.divide(sums, hits, out=np.zeros(len(sums)), where=hits > 0)
        pq, rq = (np.divide(part, weight, out=np.full(len(sums), np.nan), where=weight > 0) for part in (sums, hits))
        return np.stack([pq, np.where(weight > 0, fit, np.nan), rq])

    def _record(self, total: Array) -> dict[str, float]:
        found, record = self._qualities(total), {}
        for group, chosen in (("", np.ones(len(self.classes), bool)), ("_things", self._things), ("_stuffs", ~self._things)):
            for name, values in zip(("pq", "sq", "rq"), found[:, chosen], strict=True):
                known = values[~np.isnan(values)]
                record[f"{name}{group}"] = float(known.mean()) if known.size else float("nan")
        return record


def _cells(classes: Array, found_classes: Array) -> int:
    return (len(classes) + 1) * (len(found_classes) + 1)
