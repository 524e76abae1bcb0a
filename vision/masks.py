"""Masks as COCO writes them: run lengths, their compressed strings, and polygons filled as pycocotools fills them.

Source: Lin et al., "Microsoft COCO", arXiv:1405.0312; ``maskApi.c`` of pycocotools.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.errors import DataError, ShapeError

Array = np.ndarray[Any, Any]

_FINER = 5.0  # outlines are walked on a grid so many times finer
_MOST_PIXELS = 1 << 28  # of one mask: a file that claims more is damaged or hostile
_MOST_STEPS = 1 << 26  # along one outline


def decode_rle(rle: Mapping[str, Any]) -> Array:
    """The mask of ``{"size": [H, W], "counts": ...}``, bool (H, W); counts are a list of run lengths or COCO's string of them.

    Raises:
        DataError: no such mapping, or runs that do not fill the picture.

    Example:
        >>> decode_rle({"size": [2, 3], "counts": [1, 2, 3]}).astype(int)
        array([[0, 1, 0],
               [1, 0, 0]])
    """
    try:
        (height, width), counts = (int(n) for n in rle["size"]), rle["counts"]
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{str(rle)[:80]} is no run-length mask", fix="give {'size': [H, W], 'counts': ...}") from None
    if height < 0 or width < 0 or height * width > _MOST_PIXELS:
        raise DataError(f"a mask of {height} x {width} pixels", fix="look at the file")
    runs = runs_of(counts) if isinstance(counts, (str, bytes)) else np.asarray(counts)
    if runs.ndim != 1 or runs.dtype.kind not in "iuf" or (runs < 0).any() or int(runs.sum()) != height * width:
        raise DataError(f"the runs of a mask of {height} x {width} pixels do not fill it", fix="look at the file")
    values = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs.astype(np.int64)).reshape(width, height).T)


def encode_rle(mask: Array) -> dict[str, Any]:
    """``{"size": [H, W], "counts": string}`` of a mask, bool (H, W), as pycocotools writes it.

    Raises:
        ShapeError: it has another number of dimensions.

    Example:
        >>> encode_rle(np.array([[0, 1, 0], [1, 0, 0]], bool))
        {'size': [2, 3], 'counts': '123'}
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ShapeError(f"a mask of shape {mask.shape}", fix="give (H, W)")
    flat = mask.astype(bool).T.ravel()
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flat])))
    runs = np.diff(np.concatenate([[0], changes, [flat.size]]))
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": text_of(runs)}


def text_of(runs: Array) -> str:
    """COCO's string of run lengths: six bits a letter; from the fourth on, the difference to the last but one.

    Example:
        >>> text_of(np.array([1, 2, 3, 40])), runs_of("1236100000000")[:3].tolist()
        ('123V1', [1, 2, 3])
    """
    letters = []
    for i, run in enumerate(runs.tolist()):
        value, more = run - (int(runs[i - 2]) if i > 2 else 0), True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            letters.append(chr((bits | 0x20 if more else bits) + 48))
    return "".join(letters)


def runs_of(text: str | bytes) -> Array:
    """The run lengths of such a string, int64.

    Raises:
        DataError: other letters, or it ends inside a number.
    """
    runs: list[int] = []
    value = shift = 0
    for code in text if isinstance(text, bytes) else text.encode("ascii", "replace"):
        bits = code - 48
        if not 0 <= bits < 64 or shift > 40:
            raise DataError(f"{text[:40]!r} is no string of run lengths", fix="look at the file")
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            value -= (1 << shift) if bits & 0x10 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise DataError(f"{text[-40:]!r} ends inside a run length", fix="look at the file")
    return np.array(runs, np.int64)


def fill_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> Array:
    """The pixels inside any of the polygons, bool (H, W).

    Args:
        polygons: each x0, y0, x1, y1, ... in pixels, at least three corners.
        height, width: of the picture.

    Raises:
        DataError: fewer corners, an odd number of values, or values that are not finite.

    Example:
        >>> fill_polygons([[0, 0, 3, 0, 3, 2, 0, 2]], 3, 4).astype(int)
        array([[1, 1, 1, 0],
               [1, 1, 1, 0],
               [0, 0, 0, 0]])
    """
    mask = np.zeros((height, width), bool)
    for polygon in polygons:
        corners = np.asarray(polygon, np.float64)
        if corners.ndim != 1 or len(corners) < 6 or len(corners) % 2 or not np.isfinite(corners).all():
            raise DataError(f"a polygon of {corners.size} values", fix="give x and y of three corners or more, all finite")
        mask |= _filled(corners.reshape(-1, 2), height, width)
    return mask


def _filled(corners: Array, height: int, width: int) -> Array:
    """One polygon: every crossing of a column's middle turns the pixels below it over."""
    u, v = _outline(np.trunc(_FINER * corners + 0.5).astype(np.int64))
    step = np.flatnonzero(u[1:] != u[:-1]) + 1
    x = (np.where(u[step] < u[step - 1], u[step], u[step] - 1) + 0.5) / _FINER - 0.5
    y = (np.minimum(v[step], v[step - 1]) + 0.5) / _FINER - 0.5
    inside = (np.floor(x) == x) & (x >= 0) & (x <= width - 1)
    at = x[inside].astype(np.int64) * height + np.ceil(np.clip(y[inside], 0, height)).astype(np.int64)
    turns = np.bincount(at, minlength=height * width + 1)[: height * width]
    return (np.cumsum(turns) % 2 == 1).reshape(width, height).T


def _outline(corners: Array) -> tuple[Array, Array]:
    """The points of the fine grid along the closed outline, as pycocotools rounds them."""
    steps = np.abs(np.diff(np.concatenate([corners, corners[:1]]), axis=0)).max(1)
    if int(steps.sum()) > _MOST_STEPS:
        raise DataError(f"a polygon with an outline of {int(steps.sum() / _FINER)} pixels", fix="look at the file")
    pieces = [_line(*corners[i], *corners[(i + 1) % len(corners)]) for i in range(len(corners))]
    return np.concatenate([p[0] for p in pieces]), np.concatenate([p[1] for p in pieces])


def _line(x0: int, y0: int, x1: int, y1: int) -> tuple[Array, Array]:
    wide, high = abs(x1 - x0), abs(y1 - y0)
    flip = x0 > x1 if wide >= high else y0 > y1  # lines are walked one way, so that two neighbours share every point
    if flip:
        x0, y0, x1, y1 = x1, y1, x0, y0
    along = np.arange(max(wide, high) + 1)
    along = along[::-1] if flip else along
    if wide >= high:
        slope = (y1 - y0) / wide if wide else 0.0
        return along + x0, np.trunc(y0 + slope * along + 0.5).astype(np.int64)
    return np.trunc(x0 + (x1 - x0) / high * along + 0.5).astype(np.int64), along + y0
