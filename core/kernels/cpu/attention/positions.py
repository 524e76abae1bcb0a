"""Rotary positions in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from ...reference import positions as reference
from ..lanes.moves import copy
from ..lanes.simd import LANES, load_at, multiply, splat, store_at
from ..lanes.simd import fma as vector_fma
from ..lanes.vector_math import fma
from ..running.compiled import EXACT, any_layout, njit
from ..running.parallel import parallel_for

_f = np.float32
_GRAIN = 1 << 13  # numbers that are worth a task


@njit(**EXACT)
def turn(x: Any, cos: Any, sin: Any, interleaved: Any, out: Any) -> None:
    pairs = cos.size
    if interleaved:
        for i in range(pairs):
            a, b = x[2 * i], x[2 * i + 1]
            out[2 * i] = fma(a, cos[i], -(b * sin[i]))
            out[2 * i + 1] = fma(b, cos[i], a * sin[i])
    else:
        first, second, low, high = x[:pairs], x[pairs : 2 * pairs], out[:pairs], out[pairs : 2 * pairs]
        for i in range(pairs):
            low[i] = fma(first[i], cos[i], -(second[i] * sin[i]))
            high[i] = fma(second[i], cos[i], first[i] * sin[i])
    for i in range(2 * pairs, x.size):
        out[i] = x[i]


@njit(**EXACT)
def _turn_vectors(x: Any, cos: Any, sin: Any, pairs: Any, out: Any) -> None:
    """``turn`` of addresses, for pairs that lie apart and fill vectors."""
    minus = splat(_f(-1.0))
    for j in range(0, 4 * pairs, 4 * LANES):
        first, second, c, s = load_at(x + j), load_at(x + 4 * pairs + j), load_at(cos + j), load_at(sin + j)
        store_at(out + j, vector_fma(first, c, multiply(multiply(second, minus), s)))
        store_at(out + 4 * pairs + j, vector_fma(second, c, multiply(first, s)))


@njit(**EXACT)
def _task(t: Any, x: Any, cos: Any, sin: Any, interleaved: Any, out: Any, span: Any) -> None:
    batch, steps, heads, width = out.shape
    pairs = cos.shape[1]
    vectors = x.strides[3] == 4 and pairs % LANES == 0 and not interleaved
    for place in range(t * span, min(batch * steps, (t + 1) * span)):
        n, i = place // steps, place % steps
        for h in range(heads):
            if vectors:
                source = x.ctypes.data + n * x.strides[0] + h * x.strides[1] + i * x.strides[2]
                target = out.ctypes.data + 4 * width * (place * heads + h)
                _turn_vectors(source, cos.ctypes.data + 4 * pairs * i, sin.ctypes.data + 4 * pairs * i, pairs, target)
                copy(source + 8 * pairs, target + 8 * pairs, width - 2 * pairs)
            else:
                turn(x[n, h, i], cos[i], sin[i], interleaved, out[n, i, h])


_TABLE = any_layout(2, order="C")


@njit(signatures=[types.void(any_layout(4), _TABLE, _TABLE, types.boolean, any_layout(4, order="C", writable=True))], **EXACT)
def _rotate(x: Any, cos: Any, sin: Any, interleaved: Any, out: Any) -> None:
    """out (N, T, heads, D) = x (N, heads, T, D) turned."""
    batch, steps, heads, width = out.shape
    span = max(1, _GRAIN // max(1, heads * width))
    parallel_for(_task, (batch * steps + span - 1) // span, (x, cos, sin, interleaved, out, span))


def rotate(x: Any, cos: Any, sin: Any, interleaved: bool) -> Any:
    """As the reference; the result lies in memory as (N, T, heads, D), as projections leave it."""
    if not x.dtype == cos.dtype == sin.dtype == _f:
        return reference.rotate(x, cos, sin, interleaved)
    batch, heads, steps, width = x.shape
    out = np.empty((batch, steps, heads, width), _f)
    _rotate(x, np.ascontiguousarray(cos), np.ascontiguousarray(sin), interleaved, out)
    return out.transpose(0, 2, 1, 3)
