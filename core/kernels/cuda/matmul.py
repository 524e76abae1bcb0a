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

FEW = 8  # rows up to which the weight is read once, by ``few.cuh``
_FEW = (1, 2, 4, 8)  # for how many rows there are kernels
_SMALL, _LARGE = 64, 128  # sums along each side of a tile
_EACH = 8  # numbers a thread finishes
_BUSY = 132  # tiles that give every processor of a large GPU something to do


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
            multiply("matmul", "product", dtype, given, out, end)
    elif cublaslt.multiplied(given, out, PLAIN._replace(bias=end.bias)):
        rest = end._replace(bias=None)
        sizes = np.int64(out.size), given.n, np.int64(1)
        launch("matmul", f"after_{dtype}", blocks_for(out.size, 256 * _EACH), 256, out, *sizes, *rest)
    else:
        multiply("matmul", "product", dtype, given, out, end)
    return out


def multiply(source: str, name: str, dtype: str, given: Product, out: Any, end: End) -> None:
    """Compute ``out`` by the tiles of kernel ``NAME_SIZE_DTYPE``: large ones where there are enough of them to go round."""
    batch = given.outer * given.inner
    size, side = "large", _LARGE
    if batch * blocks_for(given.m, _LARGE) * blocks_for(given.n, _LARGE) < _BUSY:
        size, side = "small", _SMALL
    threads = 128 if size == "small" and given.a.itemsize == 2 else 256
    grid = batch * blocks_for(given.m, side) * blocks_for(given.n, side)
    lies = [tuple(map(np.int64, strides)) for strides in (given.a_strides, given.b_strides)]
    sizes = given.m, given.n, given.k, given.inner
    launch(source, f"{name}_{size}_{dtype}", grid, threads, given.a, *lies[0], given.b, *lies[1], out, *sizes, *end)
