"""Reading and adding at computed places. Sums over repeated places are made in a fixed order."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...devices import module_of

__all__ = ["add_at", "add_rows", "scatter_add"]


def add_at(shape: tuple[int, ...], dtype: Any, index: Any, values: Any) -> Any:
    """Zeros of ``shape`` with ``values`` added at ``index`` (anything NumPy can index with), repeats added up."""
    xp = module_of(values)
    out = xp.zeros(shape, dtype)
    if xp is np:
        np.add.at(out, index, values)
    else:
        places = xp.arange(out.size).reshape(shape)[index].reshape(-1)
        values = xp.broadcast_to(values, xp.empty(shape, bool)[index].shape).reshape(-1, 1)
        out = add_rows(out.size, places, values).reshape(shape)
    return out


def add_rows(count: int, rows: Any, values: Any) -> Any:
    """(N, D) values added into (count, D) zeros at row ``rows[n]``: sorted by row, then summed row by row in order."""
    xp = module_of(values)
    out = xp.zeros((count, *values.shape[1:]), values.dtype)
    if not rows.size:
        return out
    order = xp.argsort(rows, kind="stable")
    sorted_rows = rows[order]
    starts = xp.concatenate([xp.zeros(1, np.int64), xp.nonzero(sorted_rows[1:] != sorted_rows[:-1])[0] + 1])
    if xp is np:
        out[sorted_rows[starts]] = np.add.reduceat(values[order], starts, axis=0)
        return out
    return _add_rows_by_rank(xp, out, sorted_rows, values[order], starts)


def _add_rows_by_rank(xp: Any, out: Any, rows: Any, values: Any, starts: Any) -> Any:
    """Without reduceat: first the first value of every row, then the second of every row that has one, and so on."""
    ends = xp.concatenate([starts[1:], xp.asarray([rows.size])])
    lengths = ends - starts
    for rank in range(int(lengths.max())):
        here = starts[lengths > rank] + rank
        out[rows[here]] += values[here]
    return out


def scatter_add(x: Any, axis: int, index: Any, values: Any) -> Any:
    """A copy of ``x`` with ``values`` added at ``index`` along ``axis``, as torch's scatter_add."""
    xp = module_of(x)
    grid = list(xp.meshgrid(*[xp.arange(n) for n in index.shape], indexing="ij", sparse=True))
    grid[axis] = index
    clipped = values[tuple(slice(0, n) for n in index.shape)]
    return x + add_at(x.shape, x.dtype, tuple(grid), clipped)
