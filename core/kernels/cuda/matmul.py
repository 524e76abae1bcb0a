"""Products of matrices: ``matmul.cu``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...devices import cupy
from ..reference import linalg as reference
from ..reference.after import After, apply
from . import cublaslt
from .after import PLAIN, End, end_of
from .products import Product, described, fits
from .running.launching import blocks_for, contiguous, launch, suffix
from .running.parts import wide

FEW = 8  # rows up to which the weight is read once, by ``few.cuh``
_FEW = (1, 2, 4, 8)  # for how many rows there are kernels
_SMALL, _LARGE = 64, 128  # sums along each side of a tile
_EACH = 8  # numbers a thread finishes
_BUSY = 132  # tiles that give every processor of a large GPU something to do
_DEEP = 256  # terms that are worth a block of their own where there are fewer tiles
_STEP = 64  # what a slice of the terms is a multiple of: every tile's depth divides it


def matmul(a: Any, b: Any) -> Any:
    dtype = suffix(a, b)
    if dtype is None or not fits(a, b):
        return reference.matmul(a, b)  # whole and complex numbers, several dtypes, nothing to sum, or an error to raise
    return computed(described(a, b), dtype, PLAIN)


def linear(x: Any, weight: Any, bias: Any = None, after: After | None = None, packs: dict[str, Any] | None = None) -> Any:
    dtype = suffix(x, weight)
    if dtype is None or weight.ndim != 2 or not x.ndim or not fits(x.reshape(-1, x.shape[-1]), weight.T):
        return reference.linear(x, weight, bias, after, packs)
    shape = (*x.shape[:-1], len(weight))
    end = end_of(bias, after, x.dtype, shape)
    if end is None:
        y = linear(x, weight)
        return apply(y if bias is None else y + bias, after, -1)
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) <= FEW and weight.strides[1] == weight.itemsize:
        return few(rows, dtype, "matmul", (weight, np.int64(weight.strides[0] // weight.itemsize)), len(weight), end).reshape(
            shape
        )
    return computed(described(rows, weight.T), dtype, end).reshape(shape)


def few(rows: Any, dtype: str, source: str, weight: tuple[Any, ...], n: int, end: End, name: str = "few") -> Any:
    """A few rows (m, k) by the ``n`` rows of a weight, by kernel ``NAME_ROWS_DTYPE`` of ``source``; ``weight`` are arguments."""
    m, k = rows.shape
    out = cupy().empty((m, n), rows.dtype)
    held = next(count for count in _FEW if count >= m)
    each = 2 if held <= 2 else 4
    launch(source, f"{name}_{held}_{dtype}", blocks_for(n, each), 128, contiguous(rows), *weight, out, m, n, k, *end)
    return out


def computed(given: Product, dtype: str, end: End) -> Any:
    """The product and what follows: by cuBLASLt where it is installed, by the tiles of ``product.cuh`` elsewhere."""
    out = cupy().empty(given.shape, given.a.dtype)
    if cublaslt.follows(end):
        if not cublaslt.multiplied(given, out, end):
            _tiled(given, out, dtype, end)
    elif cublaslt.multiplied(given, out, PLAIN._replace(bias=end.bias)):
        rest = end._replace(bias=None)
        sizes = np.int64(out.size), given.n, np.int64(1)
        launch("matmul", f"after_{dtype}", blocks_for(out.size, 256 * _EACH), 256, out, *sizes, *rest)
    else:
        _tiled(given, out, dtype, end)
    return out


def _tiled(given: Product, out: Any, dtype: str, end: End) -> None:
    """By tiles, each of them in slices of the terms where there are too few of them: how many, the shapes alone say."""
    tiles = given.outer * given.inner * blocks_for(given.m, _SMALL) * blocks_for(given.n, _SMALL)
    wanted = min(blocks_for(2 * _BUSY, tiles), given.k // _DEEP) if tiles < _BUSY else 1
    if wanted < 2:
        multiply("matmul", "product", dtype, given, out, end)
        return
    length = blocks_for(given.k, wanted * _STEP) * _STEP
    slices, count = blocks_for(given.k, length), np.int64(out.size)
    parts = cupy().empty((slices, out.size), wide(out))
    sizes = given.m, given.n, given.k, given.inner, length, count
    threads = _threads("small", out.itemsize)
    launch("matmul", f"slices_{dtype}", (tiles, slices), threads, *_operands(given), parts, *sizes)
    launch("matmul", f"join_{dtype}", blocks_for(out.size, 256), 256, parts, out, count, slices, given.n, *end)


def multiply(source: str, name: str, dtype: str, given: Product, out: Any, end: End) -> None:
    """Compute ``out`` by the tiles of kernel ``NAME_SIZE_DTYPE``: large ones where there are enough of them to go round."""
    batch = given.outer * given.inner
    size, side = "large", _LARGE
    if batch * blocks_for(given.m, _LARGE) * blocks_for(given.n, _LARGE) < _BUSY:
        size, side = "small", _SMALL
    threads = _threads(size, given.a.itemsize)
    grid = batch * blocks_for(given.m, side) * blocks_for(given.n, side)
    sizes = given.m, given.n, given.k, given.inner
    launch(source, f"{name}_{size}_{dtype}", grid, threads, *_operands(given), out, *sizes, *end)


def _threads(size: str, itemsize: int) -> int:
    """Of a block, as ``Tiles`` of ``product.cuh`` has them."""
    return 128 if size == "small" and itemsize == 2 else 256


def _operands(given: Product) -> tuple[Any, ...]:
    """Both, each with its strides: ``LAID`` of ``product.cuh``."""
    return given.a, *map(np.int64, given.a_strides), given.b, *map(np.int64, given.b_strides)
