"""layer_norm and rms_norm in float32: a row is summed and written while it is in the cache, tiles of rows on the pool.

A row's bits depend on the row alone. Gradients of weight and bias are summed tile by tile, the tiles in their order.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numba import types

from ...reference import norm as reference
from ..lanes.pointers import floats
from ..lanes.rows import NONE, TILE, add_up, all_float32, as_rows, spread_rows, vector
from ..running.compiled import EXACT, SUMS, compiled_callback, njit
from ..running.parallel import parallel_for

_f = np.float32
_ZERO, _ONE = _f(0.0), _f(1.0)


# ---- layer_norm


@njit(**SUMS)
def _mean(row: Any, share: Any) -> Any:
    total = _ZERO
    for c in range(row.size):
        total += row[c]
    return total * share


@njit(**SUMS)
def _inverse(row: Any, mean: Any, share: Any, eps: Any) -> Any:
    """1 / the standard deviation."""
    squares = _ZERO
    for c in range(row.size):
        d = row[c] - mean
        squares += d * d
    return _ONE / np.sqrt(squares * share + eps)


@njit(**EXACT)
def _forward_tile(t: Any, size: Any, x: Any, weight: Any, bias: Any, eps: Any, y: Any, means: Any, inverses: Any) -> None:
    rows, width, tile = size
    share = _ONE / _f(width)
    w, b = floats(weight, width), floats(bias, width)
    for r in range(t * tile, min(rows, (t + 1) * tile)):
        row, out = floats(x + 4 * width * r, width), floats(y + 4 * width * r, width)
        mean = _mean(row, share)
        inverse = _inverse(row, mean, share, eps)
        if weight:
            for c in range(row.size):
                out[c] = (row[c] - mean) * inverse * w[c] + b[c]
        else:
            for c in range(row.size):
                out[c] = (row[c] - mean) * inverse
        floats(means + 4 * r, 1)[0] = mean
        floats(inverses + 4 * r, 1)[0] = inverse


@njit(**EXACT)
def _forward(x: Any, weight: Any, bias: Any, eps: Any, y: Any, means: Any, inverses: Any) -> None:
    rows, width = x.shape
    tile = max(1, TILE // width)
    w, b = (weight.ctypes.data, bias.ctypes.data) if weight.size else (0, 0)
    given = ((rows, width, tile), x.ctypes.data, w, b, eps, y.ctypes.data, means.ctypes.data, inverses.ctypes.data)
    parallel_for(_forward_tile, (rows + tile - 1) // tile, given)


def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """As the reference."""
    if not all_float32(x, weight, bias) or not x.size:
        return reference.layer_norm(x, weight, bias, eps)
    width = x.shape[-1]
    y, mean, inverse = np.empty(x.shape, _f), np.empty(x.shape[:-1], _f), np.empty(x.shape[:-1], _f)
    w, b = vector(weight), vector(bias)
    if weight is None and bias is not None:
        w = np.ones(width, _f)
    elif bias is None and weight is not None:
        b = np.zeros(width, _f)
    _forward(as_rows(x), w, b, _f(eps), y.reshape(-1, width), mean.reshape(-1), inverse.reshape(-1))
    return y, mean, inverse


@njit(**SUMS)
def _slopes(g: Any, row: Any, weight: Any, mean: Any, inverse: Any) -> Any:
    """The sums of the weighted gradient, and of it times the normalised row."""
    w, plain, along = floats(weight, row.size), _ZERO, _ZERO
    if weight:
        for c in range(row.size):
            v = g[c] * w[c]
            plain += v
            along += v * ((row[c] - mean) * inverse)
    else:
        for c in range(row.size):
            plain += g[c]
            along += g[c] * ((row[c] - mean) * inverse)
    return plain, along


@njit(**EXACT)
def _backward_tile(
    t: Any, size: Any, grad: Any, step: Any, x: Any, weight: Any, means: Any, inverses: Any, out: Any, parts: Any
) -> None:
    """``parts`` (tiles, 2, D): sums over the tile's rows for the gradients of weight and bias; 0 where nobody wants them."""
    rows, width, tile = size
    share = _ONE / _f(width)
    w, gw, gb = floats(weight, width), floats(parts + 8 * width * t, width), floats(parts + 8 * width * t + 4 * width, width)
    if parts:
        for c in range(gw.size):
            gw[c] = _ZERO
            gb[c] = _ZERO
    for r in range(t * tile, min(rows, (t + 1) * tile)):
        g, row, gx = floats(grad + step * r, width), floats(x + 4 * width * r, width), floats(out + 4 * width * r, width)
        mean, inverse = floats(means + 4 * r, 1)[0], floats(inverses + 4 * r, 1)[0]
        plain, along = _slopes(g, row, weight, mean, inverse)
        plain *= share
        along *= share * inverse
        if parts:
            for c in range(row.size):
                gw[c] += g[c] * ((row[c] - mean) * inverse)
                gb[c] += g[c]
        if weight:
            for c in range(row.size):
                gx[c] = (g[c] * w[c] - plain - (row[c] - mean) * along) * inverse
        else:
            for c in range(row.size):
                gx[c] = (g[c] - plain - (row[c] - mean) * along) * inverse


@njit(**EXACT)
def _backward(
    grad: Any, step: Any, x: Any, weight: Any, means: Any, inverses: Any, out: Any, parts: Any, gw: Any, gb: Any
) -> None:
    rows, width = x.shape
    tile = _rows_of_a_tile(width)
    tiles = (rows + tile - 1) // tile
    w, places = weight.ctypes.data if weight.size else 0, parts.ctypes.data if parts.size else 0
    given = (
        (rows, width, tile), grad.ctypes.data, step, x.ctypes.data, w, means.ctypes.data, inverses.ctypes.data, out.ctypes.data,
        places,
    )  # fmt: skip
    parallel_for(_backward_tile, tiles, given)
    if places:
        add_up(places, 8 * width, tiles, width, gw.ctypes.data)
        add_up(places + 4 * width, 8 * width, tiles, width, gb.ctypes.data)


@njit(**EXACT)
def _rows_of_a_tile(width: Any) -> Any:
    return max(1, 2 * TILE // width)


def _room(rows: int, width: int, sums: int) -> Any:
    """Room for ``sums`` sums over the rows of each tile."""
    return np.empty(sums * width * -(-rows // max(1, 2 * TILE // width)), _f)


def layer_norm_backward(grad: Any, x: Any, weight: Any, mean: Any, inverse: Any, affine: bool = True) -> tuple[Any, Any, Any]:
    """As the reference."""
    if not all_float32(grad, x, weight) or mean.dtype != _f or not x.size:
        return reference.layer_norm_backward(grad, x, weight, mean, inverse, affine)
    width, out = x.shape[-1], np.empty(x.shape, _f)
    g, step = spread_rows(grad)
    gw, gb, parts = (np.empty(width, _f), np.empty(width, _f), _room(mean.size, width, 2)) if affine else (NONE, NONE, NONE)
    flat = mean.reshape(-1), inverse.reshape(-1)
    _backward(g, step, as_rows(x), vector(weight), *flat, out.reshape(-1, width), parts, gw, gb)
    return (out, gw, gb) if affine else (out, None, None)


# ---- rms_norm


@njit(**SUMS)
def _rms_inverse(row: Any, share: Any, eps: Any) -> Any:
    squares = _ZERO
    for c in range(row.size):
        squares += row[c] * row[c]
    return _ONE / np.sqrt(squares * share + eps)


@njit(**EXACT)
def _rms_tile(t: Any, size: Any, x: Any, weight: Any, eps: Any, y: Any, inverses: Any) -> None:
    rows, width, tile = size
    share = _ONE / _f(width)
    w = floats(weight, width)
    for r in range(t * tile, min(rows, (t + 1) * tile)):
        row, out = floats(x + 4 * width * r, width), floats(y + 4 * width * r, width)
        inverse = _rms_inverse(row, share, eps)
        if weight:
            for c in range(row.size):
                out[c] = row[c] * inverse * w[c]
        else:
            for c in range(row.size):
                out[c] = row[c] * inverse
        floats(inverses + 4 * r, 1)[0] = inverse


def _rms_rows(x: Any, rows: Any, width: Any, weight: Any, eps: Any, y: Any, inverses: Any) -> None:
    tile = max(1, TILE // width)
    parallel_for(_rms_tile, (rows + tile - 1) // tile, ((rows, width, tile), x, weight, eps, y, inverses))


_RMS_ROWS = types.void(*[types.int64] * 4, types.float32, *[types.int64] * 2)
_compiled_rms = compiled_callback(_RMS_ROWS, _rms_rows)  # once for all kernels: a second copy might split its sums otherwise
llvm.add_symbol("nyala_rms_rows", _compiled_rms.address)
rms_rows = types.ExternalFunction("nyala_rms_rows", _RMS_ROWS)
"""``rms_rows(x, rows, width, weight, eps, y, inverses)``: addresses of numbers in C order; ``weight`` 0 for none."""


@njit(**EXACT)
def _rms(x: Any, weight: Any, eps: Any, y: Any, inverses: Any) -> None:
    rows, width = x.shape
    rms_rows(
        x.ctypes.data, rows, width, weight.ctypes.data if weight.size else 0, eps, y.ctypes.data, inverses.ctypes.data
    )  # fmt: skip


def rms_norm(x: Any, weight: Any, eps: float) -> tuple[Any, Any]:
    """As the reference."""
    if not all_float32(x, weight) or not x.size:
        return reference.rms_norm(x, weight, eps)
    y, inverse = np.empty(x.shape, _f), np.empty(x.shape[:-1], _f)
    _rms(as_rows(x), vector(weight), _f(eps), y.reshape(-1, x.shape[-1]), inverse.reshape(-1))
    return y, inverse


@njit(**SUMS)
def _rms_slope(g: Any, row: Any, weight: Any, inverse: Any) -> Any:
    """The sum of the weighted gradient times the normalised row."""
    w, along = floats(weight, row.size), _ZERO
    if weight:
        for c in range(row.size):
            along += g[c] * w[c] * (row[c] * inverse)
    else:
        for c in range(row.size):
            along += g[c] * (row[c] * inverse)
    return along


@njit(**EXACT)
def _rms_backward_tile(t: Any, size: Any, grad: Any, step: Any, x: Any, weight: Any, inverses: Any, out: Any, parts: Any) -> None:
    rows, width, tile = size
    share = _ONE / _f(width)
    w, gw = floats(weight, width), floats(parts + 4 * width * t, width)
    if parts:
        for c in range(gw.size):
            gw[c] = _ZERO
    for r in range(t * tile, min(rows, (t + 1) * tile)):
        g, row, gx = floats(grad + step * r, width), floats(x + 4 * width * r, width), floats(out + 4 * width * r, width)
        inverse = floats(inverses + 4 * r, 1)[0]
        along = _rms_slope(g, row, weight, inverse) * (share * inverse)
        if parts:
            for c in range(row.size):
                gw[c] += g[c] * (row[c] * inverse)
        if weight:
            for c in range(row.size):
                gx[c] = (g[c] * w[c] - row[c] * along) * inverse
        else:
            for c in range(row.size):
                gx[c] = (g[c] - row[c] * along) * inverse


@njit(**EXACT)
def _rms_backward(grad: Any, step: Any, x: Any, weight: Any, inverses: Any, out: Any, parts: Any, gw: Any) -> None:
    rows, width = x.shape
    tile = _rows_of_a_tile(width)
    tiles = (rows + tile - 1) // tile
    w, places = weight.ctypes.data if weight.size else 0, parts.ctypes.data if parts.size else 0
    given = ((rows, width, tile), grad.ctypes.data, step, x.ctypes.data, w, inverses.ctypes.data, out.ctypes.data, places)
    parallel_for(_rms_backward_tile, tiles, given)
    if places:
        add_up(places, 4 * width, tiles, width, gw.ctypes.data)


def rms_norm_backward(grad: Any, x: Any, weight: Any, inverse: Any, affine: bool = True) -> tuple[Any, Any]:
    """As the reference."""
    if not all_float32(grad, x, weight) or inverse.dtype != _f or not x.size:
        return reference.rms_norm_backward(grad, x, weight, inverse, affine)
    width, out = x.shape[-1], np.empty(x.shape, _f)
    g, step = spread_rows(grad)
    affine = affine and weight is not None
    gw, parts = (np.empty(width, _f), _room(inverse.size, width, 1)) if affine else (NONE, NONE)
    _rms_backward(g, step, as_rows(x), vector(weight), inverse.reshape(-1), out.reshape(-1, width), parts, gw)
    return out, gw if affine else None
