"""Maxima over windows, and moving values by the flat indices that they give.

A window is told by one table a dimension: row i of a table (L, K) lists the positions that window i covers along it.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ...devices import module_of
from .half import in_float32, where
from .index import add_at

__all__ = ["gather_planes", "max_pool", "scatter_planes"]


def max_pool(x: Any, tables: tuple[Any, ...], indices: bool = True) -> tuple[Any, Any]:
    """x (N, C, *S), one table (L, K) for each dimension of S -> maxima and their flat indices into S, both (N, C, *L).

    Of equal elements the first counts, of NaNs the last. A position may stand in a row twice in succession; otherwise rows
    ascend. Indices are whole numbers of any dtype, or None where they are not asked for.
    """
    xp = module_of(x)
    tables = tuple(xp.asarray(t) for t in tables)
    steps = [math.prod(x.shape[i + 1 :]) for i in range(2, x.ndim)]
    best = index = None
    for tap in itertools.product(*[range(t.shape[1]) for t in tables]):
        places = xp.ix_(*[t[:, k] for t, k in zip(tables, tap, strict=True)])
        value = x[(slice(None), slice(None), *places)]
        flat = sum(place * step for place, step in zip(places, steps, strict=True))
        if best is None:
            best, index = value, xp.broadcast_to(flat, value.shape).astype(np.int64)
        else:
            better = (value > best) | (value != value)
            best, index = where(better, value, best), xp.where(better, flat, index)
    return best, index if indices else None


@in_float32
def scatter_planes(g: Any, indices: Any, spatial: tuple[int, ...], tables: tuple[Any, ...] | None = None) -> Any:  # noqa: ARG001
    """g (N, C, *L) added at flat ``indices`` (N, C, *L) into zeros (N, C, *spatial); sums in a fixed order.

    ``tables``: those of the ``max_pool`` that gave the indices, for kernels that make use of them.
    """
    xp = module_of(g)
    n, c = g.shape[:2]
    length = math.prod(spatial)
    starts = (xp.arange(n * c) * length).reshape(n, c, *[1] * (g.ndim - 2))
    return add_at((n * c * length,), g.dtype, (indices + starts).reshape(-1), g.reshape(-1)).reshape(n, c, *spatial)


def gather_planes(x: Any, indices: Any) -> Any:
    """The elements of x (N, C, *S) at flat ``indices`` (N, C, *L)."""
    xp = module_of(x)
    n, c = x.shape[:2]
    flat = xp.take_along_axis(x.reshape(n, c, math.prod(x.shape[2:])), indices.reshape(n, c, math.prod(indices.shape[2:])), 2)
    return flat.reshape(indices.shape)
