"""Matrix products in float32 by ``gemm``, other dtypes by BLAS kept to one thread.

Every element's bits depend on its row and its column alone, so a row gives the same result alone and in a batch, on one
thread and on many. A threaded BLAS splits sums by its threads, and the split shows in the last bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..reference import linalg as reference
from ..reference.after import After
from .after import PLAIN, ends, suits
from .compiled import EXACT, njit
from .gemm import BLOCK_PANELS, BLOCK_ROWS, block, hold, pack, pack_part, packed_size
from .microkernel import COLUMNS
from .parallel import parallel_for
from .threads import single_threaded_blas

_LARGE = 1 << 22  # multiply-adds from which one product of a batch is cut into tasks of its own
_CACHED_ROWS = 256  # rows up to which packing the weight takes a noticeable share of the time


@njit(**EXACT)
def _task(t: Any, wide: Any, a: Any, row_step: Any, k_step: Any, packed: Any, c: Any, size: Any, after: Any) -> None:
    rows, depth, columns = size
    bias, scale, shift, residual, activation = after
    top, first = t // wide * BLOCK_ROWS, t % wide * BLOCK_PANELS
    last = min(first + BLOCK_PANELS, (columns + COLUMNS - 1) // COLUMNS)
    step = 4 * columns
    beside = residual + top * step if residual else 0
    block(
        a + top * row_step, row_step, k_step, packed, c + top * step, step, min(BLOCK_ROWS, rows - top), depth, columns,
        first, last, 0, bias, scale, shift, beside, activation, step,
    )  # fmt: skip


@njit(**EXACT)
def _product(a: Any, row_step: Any, k_step: Any, packed: Any, c: Any, size: Any, after: Any) -> None:
    """c (rows, columns) = a (rows, depth) @ packed, then what comes after. Addresses; steps in bytes."""
    wide = (size[2] + COLUMNS * BLOCK_PANELS - 1) // (COLUMNS * BLOCK_PANELS)
    parallel_for(_task, wide * ((size[0] + BLOCK_ROWS - 1) // BLOCK_ROWS), (wide, a, row_step, k_step, packed, c, size, after))


@njit(**EXACT)
def packed_columns(b: Any, k_step: Any, column_step: Any, depth: Any, columns: Any) -> Any:
    """``gemm.pack``, for Python."""
    return pack(b, k_step, column_step, depth, columns)


@njit(**EXACT)
def _multiply(a: Any, row_step: Any, k_step: Any, b: Any, b_k_step: Any, column_step: Any, c: Any, size: Any, after: Any) -> None:
    packed = pack(b, b_k_step, column_step, size[1], size[2])
    _product(a, row_step, k_step, packed.ctypes.data, c, size, after)
    hold(packed)


@njit(**EXACT)
def _whole(i: Any, a: Any, a_row: Any, a_k: Any, b: Any, b_k: Any, b_column: Any, starts: Any, c: Any, size: Any) -> None:
    rows, depth, columns = size
    packed = np.empty(packed_size(depth, columns), np.float32)
    panels, step = (columns + COLUMNS - 1) // COLUMNS, 4 * columns
    for p in range(panels):
        pack_part(b + starts[1, i], b_k, b_column, depth, columns, packed.ctypes.data, p)
    block(
        a + starts[0, i], a_row, a_k, packed.ctypes.data, c + i * rows * step, step, rows, depth, columns,
        0, panels, 0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip
    hold(packed)


@njit(**EXACT)
def _batch(a: Any, a_row: Any, a_k: Any, b: Any, b_k: Any, b_column: Any, starts: Any, c: Any, size: Any) -> None:
    """One task for each product of a batch; ``starts`` (2, products) are the places of the matrices, in bytes."""
    parallel_for(_whole, starts.shape[1], (a, a_row, a_k, b, b_k, b_column, starts, c, size))


def matmul(a: Any, b: Any) -> Any:
    """As the reference."""
    if not (_ours(a) and _ours(b)) or a.shape[-1] != b.shape[-2]:
        single_threaded_blas()
        return reference.matmul(a, b)
    rows, depth, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    if b.ndim == 2:
        out = np.empty((*a.shape[:-1], columns), np.float32)
        flat = a if a.ndim == 2 else a.reshape(-1, depth)
        size = len(flat), depth, columns
        _multiply(flat.ctypes.data, *flat.strides, b.ctypes.data, *b.strides, out.ctypes.data, size, PLAIN)
        return out
    return _batched(a, b, (rows, depth, columns))


def _ours(x: Any) -> bool:
    return x.dtype == np.float32 and x.ndim > 1 and x.size > 0 and x.flags.aligned


def _batched(a: Any, b: Any, size: tuple[int, int, int]) -> Any:
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = np.empty((*batch, size[0], size[2]), np.float32)
    a, b = (np.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, b))
    steps = *a.strides[-2:], *b.strides[-2:]
    if size[0] * size[1] * size[2] >= _LARGE:
        for i in np.ndindex(batch):
            _multiply(a[i].ctypes.data, *steps[:2], b[i].ctypes.data, *steps[2:], out[i].ctypes.data, size, PLAIN)
        return out
    starts = np.stack([_starts(batch, x.strides[:-2]) for x in (a, b)])
    _batch(a.ctypes.data, *steps[:2], b.ctypes.data, *steps[2:], starts, out.ctypes.data, size)
    return out


def _starts(batch: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """Where each matrix of a batch begins, in bytes from the first."""
    places = np.zeros((), np.int64)
    for n, stride in zip(batch, strides, strict=True):
        places = places[..., None] + np.arange(n) * stride
    return places.reshape(-1)


def linear(x: Any, weight: Any, bias: Any = None, after: After | None = None, packs: dict[str, Any] | None = None) -> Any:
    """As the reference; what follows the product is done while it is in the cache."""
    if not (_ours(weight) and x.dtype == weight.dtype and x.size and x.flags.aligned and suits(bias, after)):
        single_threaded_blas()
        return reference.linear(x, weight, bias, after, packs)
    columns, depth = weight.shape
    out = np.empty((*x.shape[:-1], columns), np.float32)
    rows = x if x.ndim == 2 else x.reshape(-1, depth)
    if after is not None and after.residual is not None:
        after = after._replace(residual=np.ascontiguousarray(np.broadcast_to(after.residual, out.shape)))
    codes, held = ends(bias, after)
    size = len(rows), depth, columns
    if packs is None or len(rows) > _CACHED_ROWS:
        _multiply(rows.ctypes.data, *rows.strides, weight.ctypes.data, *weight.strides[::-1], out.ctypes.data, size, codes)
    else:
        packed = packs.get("linear")
        if packed is None:
            packed = packs["linear"] = packed_columns(weight.ctypes.data, *weight.strides[::-1], depth, columns)
        _product(rows.ctypes.data, *rows.strides, packed.ctypes.data, out.ctypes.data, size, codes)
    del held  # the addresses in ``codes`` were good until here
    return out
