"""Maximum pooling of float32 sequences and images in channels-last memory; anything else goes to the reference."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...reference import pool as reference
from ..conv.layout import channels_first, channels_last

_MOST = 2**31  # elements of a plane: indices are int32


def _suits(x: Any, spatial: tuple[int, ...]) -> bool:
    return x.dtype == np.float32 and len(spatial) in (1, 2) and x.size > 0 and math.prod(spatial) < _MOST


def _address(x: Any) -> int:
    return x.__array_interface__["data"][0]


def _rows_and_columns(tables: tuple[Any, ...]) -> tuple[Any, Any]:
    """A sequence is an image of one row."""
    columns = np.ascontiguousarray(tables[-1])
    return np.ascontiguousarray(tables[0]) if len(tables) == 2 else np.zeros((1, 1), columns.dtype), columns


def max_pool(x: Any, tables: tuple[Any, ...], indices: bool = True) -> tuple[Any, Any]:
    """As the reference."""
    if not _suits(x, x.shape[2:]) or not all(t.size for t in tables):
        return reference.max_pool(x, tables, indices)
    from .pool_loops import maxima

    source = channels_last(x)
    rows, columns = _rows_and_columns(tables)
    shape = (len(x), *(len(t) for t in tables), x.shape[1])
    best, index = np.empty(shape, np.float32), np.empty(shape, np.int32) if indices else None
    height, width = (1, *x.shape[2:])[-2:]
    places = _address(source), _address(best), 0 if index is None else _address(index)
    maxima(*places, len(x), height, width, x.shape[1], rows, columns)
    return channels_first(best), None if index is None else channels_first(index)


def scatter_planes(g: Any, indices: Any, spatial: tuple[int, ...], tables: tuple[Any, ...] | None = None) -> Any:
    """As the reference."""
    if not _suits(g, spatial):
        return reference.scatter_planes(g, indices, spatial)
    from .pool_loops import scatter, spread

    n, c = g.shape[:2]
    source, places = channels_last(g), channels_last(indices)
    out = np.empty((n, *spatial, c), np.float32)
    if tables is not None and indices.dtype == np.int32:
        size = (1, *spatial)[-2:]
        spread(_address(source), _address(places), _address(out), n, *size, c, *_rows_and_columns(tables))
    else:
        flat = places.reshape(n, -1, c).astype(np.int64, copy=False)
        scatter(np.ascontiguousarray(source.reshape(n, -1, c)), flat, out.reshape(n, -1, c))
    return channels_first(out)
