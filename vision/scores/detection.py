"""Mean average precision of detections, equal to pycocotools' to the last bit under the same NumPy, with bootstrap intervals.

Source: the COCO detection evaluation (Lin et al., arXiv:1405.0312); names and arguments are torchmetrics'.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ...core.errors import ArgumentError, IndexRangeError, NumericError, ShapeError, did_you_mean
from ...core.scores.intervals import Estimate, percentiles, resamples
from .matching import Array, Matches, box_overlaps, mask_overlaps, match

RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
_TINY = np.spacing(1)
_WORK = 1_000_000_000  # decisions that the bootstrap looks at in all: of many detections it draws fewer samples
_TITLES = {
    "map": "AP at overlaps 0.50 to 0.95",
    "map_50": "AP at overlap 0.50",
    "map_75": "AP at overlap 0.75",
    "map_small": "AP, small objects",
    "map_medium": "AP, medium objects",
    "map_large": "AP, large objects",
    "mar_1": "recall, 1 detection a picture",
    "mar_10": "recall, 10 detections a picture",
    "mar_100": "recall, 100 detections a picture",
    "mar_small": "recall, small objects",
    "mar_medium": "recall, medium objects",
    "mar_large": "recall, large objects",
}


@dataclass(frozen=True)
class DetectionScores:
    """COCO's twelve numbers; -1 where there is no object to be found, as in pycocotools. Prints as a table.

    Attributes:
        map, map_50, map_75: average precision, mean over the classes: over the overlaps 0.50, 0.55 ... 0.95, at 0.5 and at 0.75.
        map_small, map_medium, map_large: of objects below 32^2, to 96^2, and above 96^2 square pixels.
        mar_1, mar_10, mar_100: recall with so many detections a picture at most, mean over classes and overlaps.
        mar_small, mar_medium, mar_large: recall by size, with the most detections.
        map_per_class: label -> its average precision.
        intervals: name of a score -> its 95 % interval; empty where none were asked for.
    """

    map: float
    map_50: float
    map_75: float
    map_small: float
    map_medium: float
    map_large: float
    mar_1: float
    mar_10: float
    mar_100: float
    mar_small: float
    mar_medium: float
    mar_large: float
    map_per_class: Mapping[int, float] = field(default_factory=dict)
    intervals: Mapping[str, Estimate] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        told = {name: getattr(self, name) for name in _TITLES}
        each = {str(label): value for label, value in self.map_per_class.items()}
        return {**told, "map_per_class": each, "intervals": {k: v.as_json() for k, v in self.intervals.items()}}

    def __str__(self) -> str:
        shown = {name: f"{value:.4f}" if (value := getattr(self, name)) >= 0 else "-" for name in _TITLES}
        shown |= {name: str(interval) for name, interval in self.intervals.items()}
        return "\n".join(f"{title:<32} {shown[name]}" for name, title in _TITLES.items())


class MeanAveragePrecision:
    """Collects detections and objects picture by picture, then scores them.

    Args:
        box_format: "xyxy" (corners), "xywh" (corner and size, as in COCO's files) or "cxcywh" (centre and size), in pixels.
        iou_type: "bbox" compares boxes, "segm" masks.
        iou_thresholds: overlaps from which on an object counts as found; 0.50, 0.55 ... 0.95 if left out.
        max_detection_thresholds: three numbers of detections a picture and class, of which the surest count.

    A prediction is a mapping with ``boxes`` (D, 4) or ``masks`` (D, H, W) bool, ``scores`` (D,) and ``labels`` (D,); a target one
    with ``boxes`` or ``masks``, ``labels``, and where they are known ``iscrowd`` and ``area`` (G,): COCO sorts objects by the
    area of their outline, which its files state, also where boxes are compared.

    Example:
        >>> metric = MeanAveragePrecision()
        >>> truth = {"boxes": [[0, 0, 10, 10], [20, 20, 40, 40]], "labels": [1, 1]}
        >>> found = {"boxes": [[0, 0, 10, 9], [50, 50, 60, 60]], "scores": [0.9, 0.5], "labels": [1, 1]}
        >>> metric.update([found], [truth])
        >>> scores = metric.compute()
        >>> round(scores.map_50, 4), round(scores.map, 4), scores.map_large
        (0.505, 0.4545, -1.0)
    """

    def __init__(
        self,
        box_format: Literal["xyxy", "xywh", "cxcywh"] = "xyxy",
        iou_type: Literal["bbox", "segm"] = "bbox",
        iou_thresholds: Sequence[float] | None = None,
        max_detection_thresholds: Sequence[int] = (1, 10, 100),
    ) -> None:
        for name, value, known in (
            ("box_format", box_format, ("xyxy", "xywh", "cxcywh")),
            ("iou_type", iou_type, ("bbox", "segm")),
        ):
            if value not in known:
                raise ArgumentError(f"{name}={value!r}", fix=did_you_mean(str(value), known) or f"use one of {', '.join(known)}")
        if len(max_detection_thresholds) != 3 or min(max_detection_thresholds) < 1:
            raise ArgumentError(f"max_detection_thresholds={max_detection_thresholds!r}", fix="give three numbers above 0")
        given = np.linspace(0.5, 0.95, 10) if iou_thresholds is None else np.asarray(iou_thresholds, np.float64)
        if given.ndim != 1 or not len(given) or not ((given > 0) & (given <= 1)).all():
            raise ArgumentError(f"iou_thresholds={iou_thresholds!r}", fix="give numbers above 0, up to 1")
        self.box_format, self.iou_type, self.iou_thresholds = box_format, iou_type, given
        self.max_detection_thresholds = tuple(sorted(int(n) for n in max_detection_thresholds))
        self.pictures = 0
        self._matches: dict[int, list[tuple[int, Matches]]] = defaultdict(list)
        self._ranks: dict[tuple[int, int | None], list[_Ranked]] = {}

    def update(self, preds: Sequence[Mapping[str, Any]], target: Sequence[Mapping[str, Any]]) -> None:
        """Takes pictures in: one prediction and one target each.

        Raises:
            ArgumentError: unequal numbers, or a part that is missing.
            ShapeError: lengths or shapes that do not go together; it names picture and part.
            NumericError: a box or a score that is not finite.
        """
        if len(preds) != len(target):
            raise ArgumentError(f"{len(preds)} predictions and {len(target)} targets", fix="give one of each for a picture")
        self._ranks.clear()
        for pred, truth in zip(preds, target, strict=True):
            self._add(
                _Instances(pred, self, f"the prediction of picture {self.pictures}", scored=True),
                _Instances(truth, self, f"the target of picture {self.pictures}"),
            )
            self.pictures += 1

    def _add(self, found: _Instances, truth: _Instances) -> None:
        ranges = np.array(list(AREAS.values()))
        for label in np.union1d(found.labels, truth.labels):
            mine, theirs = np.flatnonzero(found.labels == label), np.flatnonzero(truth.labels == label)
            mine = mine[np.argsort(-found.scores[mine], kind="stable")][: self.max_detection_thresholds[-1]]
            overlaps = self._overlaps(found, mine, truth, theirs)
            matches = match(
                overlaps,
                found.scores[mine],
                found.areas[mine],
                truth.areas[theirs],
                truth.crowd[theirs],
                self.iou_thresholds,
                ranges,
            )
            self._matches[int(label)].append((self.pictures, matches))

    def _overlaps(self, found: _Instances, mine: Array, truth: _Instances, theirs: Array) -> Array:
        if not len(mine) or not len(theirs):
            return np.zeros((len(mine), len(theirs)))
        if self.iou_type == "bbox":
            return box_overlaps(found.boxes[mine], truth.boxes[theirs], truth.crowd[theirs])
        if found.masks.shape[1:] != truth.masks.shape[1:]:
            raise ShapeError(
                f"{found.where} has masks of {found.masks.shape[1:]}, {truth.where} of {truth.masks.shape[1:]}",
                fix="bring the masks to the size of the picture",
            )
        return mask_overlaps(found.masks[mine], truth.masks[theirs], truth.crowd[theirs])

    def compute(self, intervals: bool = False, seed: int = 0) -> DetectionScores:
        """The scores of everything taken in so far.

        Args:
            intervals: 95 % intervals of ``map``, ``map_50``, ``map_75`` and the recall with most detections, by drawing pictures
                with replacement.
            seed: what the bootstrap is drawn by.
        """
        once = np.ones(self.pictures, np.int64)
        curves = {name: self._curves(once, i) for i, name in enumerate(AREAS)}
        recalls = [*(self._curves(once, 0, cut)[1] for cut in self.max_detection_thresholds[:2]), curves["all"][1]]
        scores = self._main(*curves["all"])
        for name in ("small", "medium", "large"):
            scores[f"map_{name}"], scores[f"mar_{name}"] = _mean(curves[name][0]), _mean(curves[name][1])
        scores |= {f"mar_{name}": _mean(found) for name, found in zip((1, 10, 100), recalls, strict=True)}
        classes = {label: _mean(curves["all"][0][:, :, k]) for k, label in enumerate(sorted(self._matches))}
        known = {label: value for label, value in classes.items() if value >= 0}
        return DetectionScores(**scores, map_per_class=known, intervals=self._intervals(scores, seed) if intervals else {})

    def weighted(self, times: Array) -> dict[str, float]:
        """``map``, ``map_50``, ``map_75`` and ``mar_100`` as if picture i had been there ``times[i]`` times.

        Raises:
            ShapeError: another number of weights than of pictures.
        """
        if times.shape != (self.pictures,):
            raise ShapeError(f"weights of shape {times.shape} for {self.pictures} pictures", fix="give one number a picture")
        return self._main(*self._curves(np.asarray(times, np.int64), 0))

    def _intervals(self, scores: Mapping[str, float], seed: int) -> dict[str, Estimate]:
        size = sum(one.right.size for one in self._ranked(0))
        draws = itertools.islice(resamples(self.pictures, seed), max(100, min(1000, _WORK // max(1, size))))
        drawn = [self.weighted(np.bincount(draw, minlength=self.pictures)) for draw in draws]
        return {
            name: percentiles(scores[name], np.array([one[name] if one[name] >= 0 else np.nan for one in drawn]))
            for name in ("map", "map_50", "map_75", "mar_100")
            if scores[name] >= 0
        }

    def _main(self, precision: Array, recall: Array) -> dict[str, float]:
        at = {name: np.flatnonzero(np.isclose(self.iou_thresholds, t)) for name, t in (("map_50", 0.5), ("map_75", 0.75))}
        return {
            "map": _mean(precision),
            **{name: _mean(precision[which]) for name, which in at.items()},
            "mar_100": _mean(recall),
        }

    def _curves(self, weights: Array, area: int, cut: int | None = None) -> tuple[Array, Array]:
        """Precision at the 101 recalls, (T, 101, K), and the last recall, (T, K); -1 for a class without an object.

        Args:
            weights: how often each picture counts.
            area: which range of areas.
            cut: detections a picture; the most if left out.
        """
        ranked = self._ranked(area, cut)
        precision = np.full((len(self.iou_thresholds), len(RECALLS), len(ranked)), -1.0)
        recall = np.full((len(self.iou_thresholds), len(ranked)), -1.0)
        for k, one in enumerate(ranked):
            objects = int(weights[one.holders] @ one.objects)
            if objects:
                precision[:, :, k], recall[:, k] = _curve(one, weights, objects)
        return precision, recall

    def _ranked(self, area: int, cut: int | None = None) -> list[_Ranked]:
        """The detections of each class by falling score: the bootstrap asks for them again and again."""
        if (area, cut) not in self._ranks:
            self._ranks[area, cut] = [_Ranked.of(self._matches[label], area, cut) for label in sorted(self._matches)]
        return self._ranks[area, cut]


@dataclass(frozen=True)
class _Ranked:
    """The N detections of one class by falling score, and its objects.

    Attributes:
        pictures: (N,) which picture each is in.
        right, wrong: (T, N) bool; what is ignored is neither.
        holders, objects: pictures with the class, and how many objects are to be found in each.
    """

    pictures: Array
    right: Array
    wrong: Array
    holders: Array
    objects: Array

    @staticmethod
    def of(entries: list[tuple[int, Matches]], area: int, cut: int | None) -> _Ranked:
        order = np.argsort(-np.concatenate([m.scores[:cut] for _, m in entries]), kind="stable")
        pictures = np.concatenate([np.full(len(m.scores[:cut]), picture) for picture, m in entries])[order]
        matched = np.concatenate([m.matched[area, :, :cut] for _, m in entries], axis=1)[:, order]
        counted = ~np.concatenate([m.ignored[area, :, :cut] for _, m in entries], axis=1)[:, order]
        holders, objects = (np.array(values) for values in zip(*((p, m.objects[area]) for p, m in entries), strict=True))
        return _Ranked(pictures, matched & counted, ~matched & counted, holders, objects)


def _curve(one: _Ranked, weights: Array, objects: int) -> tuple[Array, Array]:
    """Precision at each of the recalls, (T, 101), and the last recall, (T,), of one class with so many objects."""
    times = weights[one.pictures]
    right = np.cumsum(one.right * times, axis=1).astype(np.float64)
    wrong = np.cumsum(one.wrong * times, axis=1).astype(np.float64)
    found = right / objects
    share = right / (wrong + right + _TINY)
    share = np.maximum.accumulate(share[:, ::-1], axis=1)[:, ::-1]  # the best precision at this recall or a higher one
    precision = np.zeros((len(share), len(RECALLS)))
    for t, (row, reached) in enumerate(zip(share, found, strict=True)):
        at = np.searchsorted(reached, RECALLS, side="left")
        inside = at < len(row)
        precision[t, inside] = row[at[inside]]
    return precision, found[:, -1] if len(times) else np.zeros(len(share))


def _mean(values: Array) -> float:
    known = values[values > -1]
    return float(np.mean(known)) if known.size else -1.0


class _Instances:
    """One picture's detections or objects, checked: boxes as x, y, width and height."""

    def __init__(self, given: Mapping[str, Any], metric: MeanAveragePrecision, where: str, scored: bool = False) -> None:
        self.where = where
        shape = "masks" if metric.iou_type == "segm" else "boxes"
        for name in (shape, "labels", *(("scores",) if scored else ())):
            if name not in given:
                raise ArgumentError(f"{where} has no {name!r}: it has {', '.join(map(repr, given)) or 'nothing'}", fix="add it")
        self.labels = self._labels(given["labels"])
        self.boxes, self.masks = np.zeros((len(self.labels), 4)), np.zeros((len(self.labels), 0, 0), bool)
        if shape == "boxes":
            self.boxes = _as_xywh(self._numbers("boxes", given["boxes"], (len(self.labels), 4)), metric.box_format)
            areas = self.boxes[:, 2] * self.boxes[:, 3]
        else:
            self.masks = self._masks(given["masks"])
            areas = self.masks.sum((1, 2), dtype=np.int64).astype(np.float64)
        size = (len(self.labels),)
        self.scores = self._numbers("scores", given["scores"], size) if scored else np.zeros(size)
        self.areas = areas if scored or given.get("area") is None else self._numbers("area", given["area"], size)
        crowd = None if scored else given.get("iscrowd")
        self.crowd = np.zeros(size, bool) if crowd is None else self._numbers("iscrowd", crowd, size).astype(bool)

    def _labels(self, values: Any) -> Array:
        labels = np.asarray(values)
        if labels.ndim != 1:
            raise ShapeError(f"the labels of {self.where} have shape {labels.shape}", fix="give one whole number an object")
        if labels.size and labels.dtype.kind not in "iu":
            raise IndexRangeError(f"the labels of {self.where} are {labels.dtype}", fix="give whole numbers")
        return labels.astype(np.int64)

    def _numbers(self, name: str, values: Any, shape: tuple[int, ...]) -> Array:
        array = np.asarray(values, np.float64)
        if not array.size and not shape[0]:
            array = array.reshape(shape)
        if array.shape != shape:
            raise ShapeError(
                f"{name} of {self.where} has shape {array.shape}, its {shape[0]} labels ask for {shape}",
                fix="give as many as there are labels",
            )
        if not np.isfinite(array).all():
            raise NumericError(f"{name} of {self.where} holds NaN or infinity", fix="look at the model that gave it")
        return array

    def _masks(self, values: Any) -> Array:
        masks = np.asarray(values)
        if masks.size == 0 and not len(self.labels):
            return np.zeros((0, *(masks.shape[1:] if masks.ndim == 3 else (0, 0))), bool)
        if masks.ndim != 3 or len(masks) != len(self.labels):
            raise ShapeError(
                f"masks of {self.where} have shape {masks.shape}", fix=f"give ({len(self.labels)}, H, W), one a label"
            )
        if masks.dtype != bool and not np.isin(masks, (0, 1)).all():
            raise ArgumentError(f"masks of {self.where} hold other values than 0 and 1", fix="threshold them: masks > 0.5")
        return masks.astype(bool)


def _as_xywh(boxes: Array, form: str) -> Array:
    if form == "xywh":
        return boxes
    first, second = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([first, second - first] if form == "xyxy" else [first - second / 2, second], axis=1)
