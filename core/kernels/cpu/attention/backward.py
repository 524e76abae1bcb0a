"""Gradients of attention in float32, again without the matrix of scores: its blocks are computed anew.

A task owns the gradients of one head of keys and values and of the queries that share it, and adds to them in one order.

Source: Dao et al., arXiv:2205.14135.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from ...reference import attention as reference
from ...reference.half import is_half, widened
from ..lanes.pointers import floats, hold
from ..lanes.simd import add, fma, load_at, multiply, splat, store_at, subtract
from ..lanes.simd_math import exp, where_less
from ..matrix.gemm import block, pack_part
from ..matrix.matmul import matmul
from ..matrix.microkernel import COLUMNS
from ..running.compiled import EXACT, any_layout, njit
from ..running.parallel import parallel_for
from .attention import DROP, FOUR, MARKS, WRITTEN, drop_of, masks, shape_of, stretched, suits
from .masks import ROW, add_mask, fill_dropout, fill_mask
from .parts import (
    BYTES,
    KEYS,
    STEP,
    UNFUSED,
    aligned,
    keys_seen,
    pack_queries,
    pack_rows,
    place,
    places,
    up,
)

_f = np.float32


@njit(**EXACT)
def _task(t: Any, shape: Any, arrays: Any, scale: Any, start: Any, drop: Any, statistics: Any) -> None:
    _, shared, group, length, size, width, deep = shape
    q, k, v, out, allowed, mask, grad, gq, gk, gv = arrays
    b, h = t // shared, t % shared
    across, along = up(width, COLUMNS) * COLUMNS, up(deep, COLUMNS) * COLUMNS
    block_size = KEYS * STEP
    memory = np.empty(
        16 + up(size, KEYS) * KEYS * across + 2 * COLUMNS * (across + along) + COLUMNS * (width + deep) + 4 * block_size
        + 16 * ROW + 3 * STEP, _f,
    )  # fmt: skip
    turned_keys = aligned(memory.ctypes.data)
    weights = turned_keys + 4 * up(size, KEYS) * KEYS * across
    slopes = weights + 4 * block_size
    added = slopes + 4 * block_size
    kept = added + 4 * block_size
    numbers = kept + 4 * block_size
    rows = numbers + 4 * 3 * STEP
    q_turned = rows + 4 * 16 * ROW
    grad_turned = q_turned + 4 * COLUMNS * across
    q_rows = grad_turned + 4 * COLUMNS * along
    grad_rows = q_rows + 4 * COLUMNS * across
    out_turned = grad_rows + 4 * COLUMNS * along
    mixed = out_turned + 4 * COLUMNS * deep
    _clear(gk, b, h, size, width)
    _clear(gv, b, h, size, deep)
    for key in range(0, size, KEYS):
        for c in range(0, width, COLUMNS):
            target = turned_keys + 4 * (key * across + c * KEYS)
            pack_part(place(k, b, h, key) + c * k[4], k[3], k[4], min(KEYS, size - key), min(COLUMNS, width - c), target, 0)
    for n in range(0, group * length, COLUMNS):
        here = min(COLUMNS, group * length - n)
        lanes = up(here, 16) * 16
        pack_queries(q, b, h * group, length, n, here, width, q_turned)
        pack_queries(grad, b, h * group, length, n, here, deep, grad_turned)
        pack_queries(out, b, h * group, length, n, here, deep, out_turned)
        pack_rows(q, b, h * group, length, n, here, width, q_rows)
        pack_rows(grad, b, h * group, length, n, here, deep, grad_rows)
        at = statistics + 4 * (t * group * length + n)
        _numbers(at, 4 * shape[0] * shared * group * length, here, lanes, grad_turned, out_turned, deep, numbers)
        all_see, some_see = keys_seen(n, here, length, size, start)
        for key in range(0, some_see, KEYS):
            use = min(KEYS, some_see - key)
            masked = allowed[0] != 0 or mask[0] != 0 or all_see < key + use
            _scores(k, b, h, key, use, q_turned, width, lanes, weights)
            _scores(v, b, h, key, use, grad_turned, deep, lanes, slopes)
            factor = scale
            if masked:
                fill_mask(*allowed, *mask, start, b, h * group, length, n, here, key, use, rows, added)
                add_mask(weights, use, lanes, scale, added)
                factor = _f(1.0)
            if drop[2]:
                fill_dropout(*drop, t * group, length, size, n, here, key, use, rows, kept)
            _slopes(weights, slopes, kept if drop[2] else 0, use, lanes, factor, scale, numbers)
            _add_products(weights, BYTES, 4, grad_rows, here, place(gv, b, h, key), gv[3], use, here, deep, 1)
            _add_products(slopes, BYTES, 4, q_rows, here, place(gk, b, h, key), gk[3], use, here, width, 1)
            keys_here = turned_keys + 4 * key * across
            _add_products(slopes, 4, BYTES, keys_here, KEYS, mixed, 4 * width, here, use, width, 1 if key else 0)
        for i in range(here):
            x, y = (
                floats(mixed + 4 * i * width, width),
                floats(place(gq, b, h * group + (n + i) // length, (n + i) % length), width),
            )
            for c in range(width):
                y[c] = x[c]
    hold(memory)


@njit(**EXACT)
def _clear(x: Any, batch: Any, head: Any, rows: Any, columns: Any) -> None:
    for i in range(rows):
        row = floats(place(x, batch, head, i), columns)
        for c in range(columns):
            row[c] = _f(0.0)


@njit(**EXACT)
def _numbers(statistics: Any, apart: Any, many: Any, lanes: Any, grad: Any, out: Any, deep: Any, numbers: Any) -> None:
    """For each lane: minus the largest score, 1 / sum, and minus the sum of grad * out."""
    tops, sums = floats(statistics, many), floats(statistics + apart, many)
    top, share = floats(numbers, lanes), floats(numbers + BYTES, lanes)
    for i in range(lanes):
        top[i] = -tops[i] if i < many else _f(0.0)
        share[i] = _f(0.0) if i >= many or sums[i] == _f(0.0) else _f(1.0) / sums[i]
    for lane in range(0, 4 * min(lanes, COLUMNS), 64):
        total = splat(_f(0.0))
        for c in range(deep):
            total = fma(load_at(grad + 4 * COLUMNS * c + lane), load_at(out + 4 * COLUMNS * c + lane), total)
        store_at(numbers + 2 * BYTES + lane, subtract(splat(_f(0.0)), total))


@njit(**EXACT)
def _scores(x: Any, batch: Any, head: Any, key: Any, keys: Any, panel: Any, depth: Any, lanes: Any, target: Any) -> None:
    block(
        place(x, batch, head, key), x[3], x[4], panel, target, BYTES, keys, depth, min(lanes, COLUMNS), 0, 1, 0, 0, 0, 0, 0, 0, 0
    )  # fmt: skip


@njit(**UNFUSED)
def _slopes(weights: Any, slopes: Any, kept: Any, keys: Any, lanes: Any, factor: Any, scale: Any, numbers: Any) -> None:
    """weights: from scores to softmax, dropped; slopes: from the weights' gradient to the gradient of q k^T."""
    by, end, zero = splat(factor), splat(scale), splat(_f(0.0))
    for lane in range(0, 4 * lanes, 64):
        minus, share, along = load_at(numbers + lane), load_at(numbers + BYTES + lane), load_at(numbers + 2 * BYTES + lane)
        for j in range(keys):
            here = j * BYTES + lane
            w = multiply(exp(add(multiply(load_at(weights + here), by), minus)), share)
            s = load_at(slopes + here)
            if kept:
                keep = load_at(kept + here)
                s = multiply(s, keep)
                store_at(weights + here, multiply(w, keep))
            else:
                store_at(weights + here, w)
            slope = multiply(multiply(w, add(s, along)), end)
            store_at(slopes + here, where_less(zero, w, slope, w))  # 0 for what is not seen, whatever it holds


@njit(**EXACT)
def _add_products(
    a: Any, row_step: Any, k_step: Any, panels: Any, panel_rows: Any, c: Any, c_step: Any, rows: Any, depth: Any, columns: Any,
    more: Any,
) -> None:  # fmt: skip
    """c (rows, columns) = or, where ``more``, += a @ panels of ``panel_rows`` rows."""
    for j in range(0, columns, COLUMNS):
        block(
            a, row_step, k_step, panels + 4 * j * panel_rows, c + 4 * j, c_step, rows, depth, min(COLUMNS, columns - j), 0, 1,
            more, 0, 0, 0, 0, 0, 0,
        )  # fmt: skip


@njit(
    signatures=[
        types.void(
            *[FOUR] * 5, WRITTEN, WRITTEN, WRITTEN, MARKS, FOUR, types.float32, types.int64, DROP, any_layout(4, order="C")
        )
    ],
    **EXACT,
)
def _backward(
    grad: Any, q: Any, k: Any, v: Any, out: Any, gq: Any, gk: Any, gv: Any, allowed: Any, mask: Any, scale: Any, start: Any,
    drop: Any, statistics: Any,
) -> None:  # fmt: skip
    """The arrays of ``attention_backward`` and the gradients; empty masks for none, and ``start`` -1."""
    shape = shape_of(q, k, v)
    arrays = (
        places(q), places(k), places(v), places(out), stretched(allowed), stretched(mask), places(grad),
        places(gq), places(gk), places(gv),
    )  # fmt: skip
    parallel_for(_task, shape[0] * shape[1], (shape, arrays, scale, start, drop, statistics.ctypes.data))


def attention_backward(
    grad: Any, q: Any, k: Any, v: Any, out: Any, statistics: Any, scale: float, allowed: Any = None, mask: Any = None,
    start: int | None = None, dropout: tuple[float, tuple[int, int]] | None = None,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """As the reference."""
    if is_half(q):
        added = None if mask is None else widened(mask)
        wide = (widened(x) for x in (grad, q, k, v, out))
        gq, gk, gv = attention_backward(*wide, statistics, scale, allowed, added, start, dropout)  # type: ignore[call-arg]
        return gq.astype(q.dtype), gk.astype(q.dtype), gv.astype(q.dtype)
    if not suits(q, k, v, mask, grad, out, statistics):
        return reference.attention_backward_by(matmul, grad, q, k, v, scale, allowed, mask, start, dropout)
    gq, gk, gv = (np.empty((n, rows, h, c), _f).transpose(0, 2, 1, 3) for n, h, rows, c in (q.shape, k.shape, v.shape))
    found = np.ascontiguousarray(statistics)
    _backward(
        grad, q, k, v, out, gq, gk, gv, *masks(allowed, mask), _f(scale), -1 if start is None else start, drop_of(dropout), found
    )
    return gq, gk, gv
