"""Matrix products in tiles of fixed size, so that the bits do not depend on the number of threads.

A threaded BLAS splits a product by the number of its threads, and the split shows in the last bits. Here BLAS runs
on one thread and a large product is cut into row tiles of a size that depends on its shape alone; the tiles go to a pool.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..reference.linalg import matmul as reference
from .threads import run_tiles, single_threaded_blas

_TILE_ROWS = 256
_WORTH_IT = 1 << 21  # multiply-adds below which one thread is quicker than two


def matmul(a: Any, b: Any) -> Any:
    """As the reference; float32 and float64 products of some size run on all cores."""
    single_threaded_blas()
    if a.dtype.kind != "f" or a.dtype.itemsize < 4 or a.ndim < 2 or b.ndim < 2:
        return reference(a, b)
    if a.ndim == 2 and b.ndim == 2 and a.size * b.shape[1] < _WORTH_IT:
        return np.matmul(a, b)  # the small ones, where every microsecond of looking shows
    rows, inner, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    if b.ndim == 2 and a.ndim > 2:
        return matmul(a.reshape(-1, inner), b).reshape(*a.shape[:-1], columns)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    work = rows * inner * columns * int(np.prod(batch, dtype=np.int64))
    if work < _WORTH_IT:
        return np.matmul(a, b)
    out = np.empty((*batch, rows, columns), np.result_type(a, b))
    if not batch:
        tile = _TILE_ROWS if rows >= columns or rows > 2 * _TILE_ROWS else rows
        if tile < rows:
            run_tiles(lambda lo, hi: np.matmul(a[lo:hi], b, out=out[lo:hi]), rows, tile)
        else:
            run_tiles(lambda lo, hi: np.matmul(a, b[:, lo:hi], out=out[:, lo:hi]), columns, _TILE_ROWS)
        return out
    return _batched(a, b, batch, out)


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """As the reference; the bias is added while the product is still in the cache."""
    out = matmul(x, weight.T)
    if bias is None:
        return out
    if out.size < _WORTH_IT >> 4 or not out.flags.c_contiguous:
        return np.add(out, bias, out=out) if out.dtype == bias.dtype else out + bias
    rows = out.reshape(-1, out.shape[-1])
    run_tiles(lambda lo, hi: np.add(rows[lo:hi], bias, out=rows[lo:hi]), len(rows), _TILE_ROWS)
    return out


def _batched(a: Any, b: Any, batch: tuple[int, ...], out: Any) -> Any:
    a = np.broadcast_to(a, (*batch, *a.shape[-2:])).reshape(-1, *a.shape[-2:])
    b = np.broadcast_to(b, (*batch, *b.shape[-2:])).reshape(-1, *b.shape[-2:])
    flat = out.reshape(-1, *out.shape[-2:])
    run_tiles(lambda lo, hi: np.matmul(a[lo:hi], b[lo:hi], out=flat[lo:hi]), len(flat), max(1, min(8, len(flat) // 4)))
    return out
