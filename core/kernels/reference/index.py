"""Reading and adding at computed places. Sums over repeated places are made in a fixed order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...devices import module_of

__all__ = ["add_at", "add_rows", "combine_at", "put", "scatter_add", "take_rows"]


def add_at(shape: tuple[int, ...], dtype: Any, index: Any, values: Any) -> Any:
    """Zeros of ``shape`` with ``values`` added at ``index`` (anything NumPy can index with), repeats added up."""
    xp = module_of(values)
    out = xp.zeros(shape, dtype)
    if xp is np:
        np.add.at(out, index, values)
        return out
    places, values = _flat(shape, index, values)
    return add_rows(out.size, places, values[:, None]).reshape(shape)


def add_rows(count: int, rows: Any, values: Any) -> Any:
    """(N, D) values added into (count, D) zeros at row ``rows[n]``: sorted by row, then summed row by row in order."""
    xp = module_of(values)
    out = xp.zeros((count, *values.shape[1:]), values.dtype)
    if not rows.size:
        return out
    if xp is not np:
        rows, values = _merged(xp, rows, values, xp.add)
        out[rows] = values
        return out
    order = np.argsort(rows, kind="stable")
    sorted_rows = rows[order]
    starts = np.concatenate([np.zeros(1, np.int64), np.nonzero(sorted_rows[1:] != sorted_rows[:-1])[0] + 1])
    out[sorted_rows[starts]] = np.add.reduceat(values[order], starts, axis=0)
    return out


def take_rows(table: Any, rows: Any) -> Any:
    """Rows of a table (V, D) by their numbers (...), all below V: (..., D)."""
    return table[rows]


def combine_at(x: Any, index: Any, values: Any, how: str) -> Any:
    """A copy of ``x``; at each place the ``"maximum"``, ``"minimum"`` or product (``"multiply"``) of all sent to it."""
    xp = module_of(x)
    out = x.copy()
    if xp is np:
        getattr(np, how).at(out, index, values)
        return out
    combine = getattr(xp, how)
    places, values = _flat(x.shape, index, values)
    if places.size:
        places, values = _merged(xp, places, values, combine)
        flat = out.reshape(-1)
        flat[places] = combine(flat[places], values)
    return out


def put(x: Any, index: Any, values: Any) -> None:
    """``values`` written into ``x`` at ``index``; of several sent to one place the last stays, on every backend."""
    xp = module_of(x)
    if xp is np or not _repeats(index):
        x[index] = values
        return
    places, values = _flat(x.shape, index, values)
    if places.size:
        places, values = _merged(xp, places, values, lambda _, later: later)
        x[xp.unravel_index(places, x.shape)] = values


def _repeats(index: Any) -> bool:
    """Whether the index may name a place twice: it holds an array of numbers (not of bools)."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(hasattr(p, "dtype") and p.dtype.kind != "b" and p.ndim > 0 for p in parts)


def _flat(shape: tuple[int, ...], index: Any, values: Any) -> tuple[Any, Any]:
    """The flat places that ``index`` names in an array of ``shape``, and the value for each."""
    xp = module_of(values)
    places = xp.arange(math.prod(shape)).reshape(shape)[index]
    while values.ndim > places.ndim and values.shape[0] == 1:
        values = values[0]
    return places.reshape(-1), xp.broadcast_to(values, places.shape).reshape(-1)


def _merged(xp: Any, rows: Any, values: Any, combine: Any) -> tuple[Any, Any]:
    """Each row once, with its values combined: neighbours in pairs, then pairs of pairs, always in the same order.

    CuPy has no ``reduceat``, and its ``at`` adds in the order in which threads come.
    """
    order = xp.argsort(rows, kind="stable")
    rows, values = rows[order], values[order]
    while True:
        place = xp.arange(rows.size)
        opens = xp.concatenate([xp.ones(1, bool), rows[1:] != rows[:-1]])
        first = place[opens][xp.cumsum(opens.astype(np.int64)) - 1]  # where the run of equal rows begins
        second = (place - first) % 2 == 1
        later = xp.nonzero(second)[0]
        if not later.size:
            return rows, values
        values[later - 1] = combine(values[later - 1], values[later])
        rows, values = rows[~second], values[~second]


def scatter_add(x: Any, axis: int, index: Any, values: Any) -> Any:
    """A copy of ``x`` with ``values`` added at ``index`` along ``axis``, as torch's scatter_add."""
    xp = module_of(x)
    grid = list(xp.meshgrid(*[xp.arange(n) for n in index.shape], indexing="ij", sparse=True))
    grid[axis] = index
    clipped = values[tuple(slice(0, n) for n in index.shape)]
    return x + add_at(x.shape, x.dtype, tuple(grid), clipped)
