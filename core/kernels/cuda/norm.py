"""Layer, RMS and group norm with their gradients: ``norm.cu``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...devices import cupy
from ..reference import norm as reference
from .running.launching import blocks_for, contiguous, launch, suffix
from .running.parts import PARTS, sums_of, wide
from .running.teams import of_held_rows, of_rows


def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    dtype = suffix(x, weight, bias)
    if dtype is None or not x.size:
        return reference.layer_norm(x, weight, bias, eps)
    x, weight, bias = map(contiguous, (x, weight, bias))
    y, (mean, inverse) = cupy().empty(x.shape, x.dtype), statistics(x, 2)
    rows, n = rows_of(x)
    team, grid, block = of_held_rows(rows, n, x.dtype.itemsize)
    launch("norm", f"layer_norm_{team}_{dtype}", grid, block, x, weight, bias, y, mean, inverse, rows, n, float(eps))
    return y, mean, inverse


def rms_norm(x: Any, weight: Any, eps: float) -> tuple[Any, Any]:
    dtype = suffix(x, weight)
    if dtype is None or not x.size:
        return reference.rms_norm(x, weight, eps)
    x, weight = map(contiguous, (x, weight))
    y, (inverse,) = cupy().empty(x.shape, x.dtype), statistics(x, 1)
    rows, n = rows_of(x)
    team, grid, block = of_held_rows(rows, n, x.dtype.itemsize)
    launch("norm", f"rms_norm_{team}_{dtype}", grid, block, x, weight, y, inverse, rows, n, float(eps))
    return y, inverse


def layer_norm_backward(grad: Any, x: Any, weight: Any, mean: Any, inverse: Any, affine: bool = True) -> tuple[Any, Any, Any]:
    dtype = suffix(grad, x, weight)
    if dtype is None or not x.size or {mean.dtype, inverse.dtype} != {wide(x)}:
        return reference.layer_norm_backward(grad, x, weight, mean, inverse, affine)
    gx, sums = _backward("layer_norm_backward", dtype, grad, x, weight, mean, inverse, affine)
    return (gx, sums[0], sums[1]) if affine else (gx, None, None)


def rms_norm_backward(grad: Any, x: Any, weight: Any, inverse: Any, affine: bool = True) -> tuple[Any, Any]:
    dtype = suffix(grad, x, weight)
    if dtype is None or not x.size or inverse.dtype != wide(x):
        return reference.rms_norm_backward(grad, x, weight, inverse, affine)
    affine = affine and weight is not None
    gx, sums = _backward("rms_norm_backward", dtype, grad, x, weight, None, inverse, affine)
    return gx, sums[0] if affine else None


def group_norm(x: Any, groups: int, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    dtype = suffix(x, weight, bias)
    if dtype is None or not x.size:
        return reference.group_norm(x, groups, weight, bias, eps)
    x, weight, bias = map(contiguous, (x, weight, bias))
    rows, n, inner = _groups(x, groups)
    y, mean, inverse = cupy().empty(x.shape, x.dtype), cupy().empty(int(rows), wide(x)), cupy().empty(int(rows), wide(x))
    team, grid, block = of_held_rows(rows, n, x.dtype.itemsize)
    given = (x, weight, bias, y, mean, inverse, rows, n, groups, inner, float(eps))
    launch("norm", f"group_norm_{team}_{dtype}", grid, block, *given)
    return y, mean, inverse


def group_norm_backward(grad: Any, x: Any, groups: int, weight: Any, mean: Any, inverse: Any) -> tuple[Any, Any, Any]:
    dtype = suffix(grad, x, weight)
    if dtype is None or not x.size or {mean.dtype, inverse.dtype} != {wide(x)}:
        return reference.group_norm_backward(grad, x, groups, weight, mean, inverse)
    grad, x, weight, mean, inverse = map(contiguous, (grad, x, weight, mean, inverse))
    rows, n, inner = _groups(x, groups)
    channels, gx = x.shape[1], cupy().empty(x.shape, x.dtype)
    planes = x.shape[0] * channels
    sums = cupy().empty((2, x.shape[0], channels), wide(x))
    team, grid, block = of_rows(planes, inner)
    of_planes = (grad, x, mean, inverse, sums, np.int64(planes), channels // groups, inner)
    launch("norm", f"group_sums_{team}_{dtype}", grid, block, *of_planes)
    team, grid, block = of_rows(int(rows), n)
    given = (grad, x, weight, mean, inverse, sums, gx, rows, n, groups, inner)
    launch("norm", f"group_backward_{team}_{dtype}", grid, block, *given)
    return gx, *sums_of("norm", dtype, sums)


def rows_of(x: Any) -> tuple[Any, int]:
    """How many rows there are, and how long they are."""
    n = x.shape[-1]
    return np.int64(x.size // n), n


def _groups(x: Any, groups: int) -> tuple[Any, int, int]:
    """How many rows there are, how long they are, and how much of that is one channel."""
    rows = x.shape[0] * groups
    return np.int64(rows), x.size // rows, x.size // (x.shape[0] * x.shape[1])


def statistics(x: Any, count: int) -> list[Any]:
    """Room for a number of each row, ``count`` times."""
    return [cupy().empty(x.shape[:-1], wide(x)) for _ in range(count)]


def _backward(name: str, dtype: str, grad: Any, x: Any, weight: Any, mean: Any, inverse: Any, affine: bool) -> tuple[Any, Any]:
    """The gradient of the rows, and the sums of weight and bias, (1 or 2, n), where ``affine``."""
    grad, x, weight, mean, inverse = map(contiguous, (grad, x, weight, mean, inverse))
    gx, of_rows = cupy().empty(x.shape, x.dtype), (inverse,) if mean is None else (mean, inverse)
    rows, n = rows_of(x)
    (team, grid, block), parts, shared = held_parts(x, len(of_rows), affine)
    launch("norm", f"{name}_{team}_{dtype}", grid, block, grad, x, weight, *of_rows, gx, parts, rows, n, shared=shared)
    if affine and parts is None:
        parts = column_sums(grad, x, mean, inverse)
    return gx, sums_of("norm", dtype, parts) if affine else None


def held_parts(x: Any, sums: int, affine: bool) -> tuple[tuple[str, int, int], Any, int]:
    """The team of a backward, room for what its blocks add up (None where they do not), and bytes of shared memory."""
    rows, n = rows_of(x)
    team, grid, block = of_held_rows(rows, n, x.dtype.itemsize, PARTS)
    parts = cupy().empty((sums, grid, n), wide(x)) if affine and team != "long" else None
    return (team, grid, block), parts, n * wide(x).itemsize if team == "warp" and affine else 0


def column_sums(grad: Any, x: Any, mean: Any, inverse: Any) -> Any:
    """What stretches of rows too long to be held add to the gradients of weight and bias, (2, stretches, n)."""
    rows, n = rows_of(x)
    chunks = min(int(rows), PARTS)
    parts = cupy().empty((2, chunks, n), wide(x))
    given = (grad, x, mean, inverse, parts, rows, n)
    launch("norm", f"columns_of_rows_{suffix(x)}", (blocks_for(n, 256), chunks), 256, *given)
    return parts
