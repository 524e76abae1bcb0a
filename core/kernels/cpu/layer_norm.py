"""layer_norm in float32: one pass over a row for each sum, tiles of rows on the pool."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..reference import norm as reference
from .compiled import njit
from .threads import run_tiles
from .vector_math import SUMS, TILE, ready, suits

_f = np.float32


@njit(**SUMS)
def _forward(x: Any, weight: Any, bias: Any, eps: Any, y: Any, means: Any, inverses: Any) -> None:
    rows, width = x.shape
    share = _f(1.0) / _f(width)
    for r in range(rows):
        total = _f(0.0)
        for c in range(width):
            total += x[r, c]
        mean = total * share
        squares = _f(0.0)
        for c in range(width):
            d = x[r, c] - mean
            squares += d * d
        inverse = _f(1.0) / np.sqrt(squares * share + eps)
        for c in range(width):
            y[r, c] = (x[r, c] - mean) * inverse * weight[c] + bias[c]
        means[r] = mean
        inverses[r] = inverse


@njit(**SUMS)
def _backward(grad: Any, x: Any, weight: Any, means: Any, inverses: Any, out: Any, gw: Any, gb: Any) -> None:
    rows, width = x.shape
    share = _f(1.0) / _f(width)
    for c in range(width):
        gw[c] = _f(0.0)
        gb[c] = _f(0.0)
    for r in range(rows):
        mean, inverse = means[r], inverses[r]
        plain, along = _f(0.0), _f(0.0)
        for c in range(width):
            g = grad[r, c] * weight[c]
            plain += g
            along += g * ((x[r, c] - mean) * inverse)
        plain *= share
        along *= share
        for c in range(width):
            xhat = (x[r, c] - mean) * inverse
            g = grad[r, c]
            out[r, c] = (g * weight[c] - plain - xhat * along) * inverse
            gw[c] += g * xhat
            gb[c] += g


def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """As the reference."""
    if not suits(x, weight, bias) or not x.size:
        return reference.layer_norm(x, weight, bias, eps)
    rows, width = x.shape
    x = ready(x)
    w = np.ones(width, _f) if weight is None else ready(weight)
    b = np.zeros(width, _f) if bias is None else ready(bias)
    y, means, inverses = np.empty_like(x), np.empty(rows, _f), np.empty(rows, _f)

    def work(lo: int, hi: int) -> None:
        _forward(x[lo:hi], w, b, _f(eps), y[lo:hi], means[lo:hi], inverses[lo:hi])

    run_tiles(work, rows, max(1, TILE // width))
    return y, means, inverses


def layer_norm_backward(grad: Any, x: Any, weight: Any, mean: Any, inverse: Any) -> tuple[Any, Any, Any]:
    """As the reference."""
    if not suits(grad, x, weight) or not x.size:
        return reference.layer_norm_backward(grad, x, weight, mean, inverse)
    rows, width = x.shape
    grad, x = ready(grad), ready(x)
    w = np.ones(width, _f) if weight is None else ready(weight)
    tile = max(1, TILE // width)
    out, parts = np.empty_like(x), np.empty((2, -(-rows // tile), width), _f)

    def work(lo: int, hi: int) -> None:
        i = lo // tile
        _backward(grad[lo:hi], x[lo:hi], w, mean[lo:hi], inverse[lo:hi], out[lo:hi], parts[0, i], parts[1, i])

    run_tiles(work, rows, tile)
    gw, gb = parts.sum(axis=1, dtype=np.float64).astype(_f)
    return out, gw, gb
