"""Where the operands of a product of matrices lie: a batch of at most two dimensions, read through strides and never copied
unless neither dimension of a matrix is contiguous."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from ...devices import cupy

Strides = tuple[int, int, int, int]


class Product(NamedTuple):
    """C (outer, inner, m, n), contiguous, = A (outer, inner, m, k) B (outer, inner, k, n).

    Strides count elements: of the batch's two dimensions (0 where all products share a matrix), of the row of A or the column
    of B, and of k. One of the last two is 1.
    """

    a: Any
    b: Any
    m: int
    n: int
    k: int
    outer: int
    inner: int
    a_strides: Strides
    b_strides: Strides
    shape: tuple[int, ...]


def described(a: Any, b: Any) -> Product:
    """The product of a (..., M, K) and b (..., K, N), whose shapes fit and whose elements are of one dtype."""
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    a, a_matrix = _side(a, -2, -1)
    b, b_matrix = _side(b, -1, -2)
    if a.ndim == 2 and b.ndim == 2:
        return Product(a, b, m, n, k, 1, 1, (0, 0, *a_matrix), (0, 0, *b_matrix), (m, n))
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    steps = [(size, *pair) for size, pair in zip(batch, zip(_steps(a, batch), _steps(b, batch), strict=True), strict=True)]
    kept = _merged([step for step in steps if step[0] != 1])
    shape = (*batch, m, n)
    if len(kept) == 1 and kept[0][2] == 0 and kept[0][1] == m * a_matrix[0]:  # all rows of A meet one matrix
        return Product(a, b, kept[0][0] * m, n, k, 1, 1, (0, 0, *a_matrix), (0, 0, *b_matrix), shape)
    if len(kept) > 2:
        whole = cupy().ascontiguousarray
        return described(*(whole(cupy().broadcast_to(x, (*batch, *x.shape[-2:]))) for x in (a, b)))
    (outer, a_outer, b_outer), (inner, a_inner, b_inner) = [(1, 0, 0)] * (2 - len(kept)) + kept
    lies = (a_outer, a_inner, *a_matrix), (b_outer, b_inner, *b_matrix)
    return Product(a, b, m, n, k, outer, inner, *lies, shape)


def _side(x: Any, along: int, k: int) -> tuple[Any, tuple[int, int]]:
    """The array, copied where neither of its matrices' dimensions is contiguous, and their strides."""
    size = x.itemsize
    by_x, by_k = x.strides[along] // size, x.strides[k] // size
    if by_x != 1 and by_k != 1:
        if x.shape[k] == 1:
            by_k = 1
        elif x.shape[along] == 1:
            by_x = 1
        else:
            x = cupy().ascontiguousarray(x)
            by_x, by_k = x.strides[along] // size, x.strides[k] // size
    return x, (by_x, by_k)


def _steps(x: Any, batch: tuple[int, ...]) -> list[int]:
    """The stride of x along each dimension of the batch, in elements; 0 where it is repeated."""
    sizes = (1,) * (len(batch) + 2 - x.ndim) + x.shape[:-2]
    strides = (0,) * (len(batch) + 2 - x.ndim) + x.strides[:-2]
    return [0 if size == 1 else stride // x.itemsize for size, stride in zip(sizes, strides, strict=True)]


def _merged(steps: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """The same places in fewer dimensions: neighbours that both operands go through in equal steps become one."""
    out = steps[:1]
    for step in steps[1:]:
        before = out[-1]
        if all(before[i] == step[0] * step[i] for i in (1, 2)):
            out[-1] = (before[0] * step[0], *step[1:])
        else:
            out.append(step)
    return out


def fits(a: Any, b: Any) -> bool:
    """Whether a (..., M, K) and b (..., K, N) have a product with something in it."""
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2] or not a.size or not b.size:
        return False
    pairs = itertools.zip_longest(a.shape[-3::-1], b.shape[-3::-1], fillvalue=1)
    return all(n == m or 1 in (n, m) for n, m in pairs)
