"""Rotary positions: ``positions.cu``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...devices import cupy
from ..reference import positions as reference
from .running.launching import blocks_for, contiguous, launch, suffix

_LANES, _ROWS = 16, 16  # threads of a row, rows of a block


def rotate(x: Any, cos: Any, sin: Any, interleaved: bool) -> Any:
    dtype = suffix(x, cos, sin)
    if dtype is None or not x.size or x.ndim != 4 or cos.shape != sin.shape or len(cos) != x.shape[2]:
        return reference.rotate(x, cos, sin, interleaved)
    texts, heads, steps, width = x.shape
    y = cupy().empty((texts, steps, heads, width), x.dtype)
    rows = texts * heads * steps
    given = (
        *_lies(x),
        contiguous(cos),
        contiguous(sin),
        y,
        np.int64(rows),
        heads,
        steps,
        cos.shape[1],
        width,
        bool(interleaved),
    )
    launch("positions", f"rotate_{dtype}", blocks_for(rows, _ROWS), (_LANES, _ROWS), *given)
    return y.transpose(0, 2, 1, 3)


def rotate_append(q: Any, k: Any, v: Any, cos: Any, sin: Any, interleaved: bool, keys: Any, values: Any, place: Any) -> Any:
    dtype = suffix(q, k, v, cos, sin, keys, values)
    fits = cos.shape == sin.shape and keys.flags.c_contiguous and values.flags.c_contiguous
    fits = fits and (len(cos) == q.shape[2] or not isinstance(place, int))
    if dtype is None or not fits or not (q.size and k.size and v.size):
        return reference.rotate_append(q, k, v, cos, sin, interleaved, keys, values, place)
    texts, heads, steps, width = q.shape
    y = cupy().empty((texts, steps, heads, width), q.dtype)
    rows, angles = texts * steps * (heads + 2 * k.shape[1]), (contiguous(cos), contiguous(sin))
    room = _room(keys, values, place)
    sizes = np.int64(rows), heads, k.shape[1], steps, cos.shape[1], width, v.shape[3], bool(interleaved)
    given = (*_lies(q), *_lies(k), *_lies(v), *angles, y, *room, *sizes)
    launch("positions", f"rotate_append_{dtype}", blocks_for(rows, _ROWS), (_LANES, _ROWS), *given)
    return y.transpose(0, 2, 1, 3)


def append(k: Any, v: Any, keys: Any, values: Any, place: Any) -> None:
    dtype = suffix(k, v, keys, values)
    if dtype is None or not (k.size and v.size and keys.flags.c_contiguous and values.flags.c_contiguous):
        reference.append(k, v, keys, values, place)
        return
    texts, shared, steps, width = k.shape
    rows = texts * steps * 2 * shared
    given = (*_lies(k), *_lies(v), *_room(keys, values, place), np.int64(rows), shared, steps, width, v.shape[3])
    launch("positions", f"append_{dtype}", blocks_for(rows, _ROWS), (_LANES, _ROWS), *given)


def _room(keys: Any, values: Any, place: Any) -> tuple[Any, ...]:
    """Where new steps are written; last what kernels call ``at``: None where the arrays begin there."""
    if isinstance(place, int):
        return *_lies(keys[:, :, place:]), *_lies(values[:, :, place:]), None
    return *_lies(keys), *_lies(values), place


def _lies(x: Any) -> tuple[Any, ...]:
    """(N, heads, T, D) and its strides in elements, whose last must be 1."""
    if x.strides[3] != x.itemsize and x.shape[3] != 1:
        x = cupy().ascontiguousarray(x)
    return x, *(np.int64(s // x.itemsize) for s in x.strides[:3])
