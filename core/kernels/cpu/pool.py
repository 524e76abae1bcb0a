"""Maximum pooling of float32 images in channels-last memory; anything else goes to the reference.

The two compiled loops write pixels (or images) of their own, so the bits do not depend on the number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..reference import pool as reference
from .layout import channels_first, channels_last
from .threads import run_tiles

_ROWS = 16  # output rows in a tile


def _is_image(x: Any) -> bool:
    return x.dtype == np.float32 and x.ndim == 4 and x.size > 0


def max_pool(x: Any, tables: tuple[Any, ...]) -> tuple[Any, Any]:
    """As the reference."""
    if not _is_image(x):
        return reference.max_pool(x, tables)
    from .pool_loops import maxima

    source = channels_last(x)
    rows, columns = (np.ascontiguousarray(t) for t in tables)
    shape = (len(x), len(rows), len(columns), x.shape[1])
    best, index = np.empty(shape, np.float32), np.empty(shape, np.int64)
    run_tiles(lambda lo, hi: maxima(source, rows, columns, best, index, lo, hi), shape[0] * shape[1], _ROWS)
    return channels_first(best), channels_first(index)


def scatter_planes(g: Any, indices: Any, spatial: tuple[int, ...]) -> Any:
    """As the reference."""
    if not _is_image(g):
        return reference.scatter_planes(g, indices, spatial)
    from .pool_loops import scatter

    n, c = g.shape[:2]
    source, places = channels_last(g).reshape(n, -1, c), channels_last(indices).reshape(n, -1, c)
    out = np.zeros((n, math.prod(spatial), c), np.float32)
    run_tiles(lambda lo, hi: scatter(source, places, out, lo, hi), n, 1)
    return channels_first(out.reshape(n, *spatial, c))
