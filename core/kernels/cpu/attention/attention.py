"""Attention in float32 without the matrix of scores: block after block of keys, the softmax kept up as they come.

A task has up to QUERIES queries of the heads that share one head of keys and values. Blocks of keys have one size and one
order, and every number of a query's result is a chain over its keys: its bits depend neither on the queries beside it nor on
the batch, so a token decoded alone gets what it gets in a whole text. Keys that no query of a panel sees cost nothing.

Source: Milakov and Gimelshein, arXiv:1805.02867; Dao et al., arXiv:2205.14135.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from ...reference import attention as reference
from ...reference.dropout import threshold
from ...reference.half import is_half, widened
from ..lanes.pointers import floats, hold
from ..lanes.simd import fma, load_at, splat, store_at
from ..matrix.gemm import block, pack_part, packed_size
from ..matrix.matmul import matmul
from ..matrix.microkernel import COLUMNS
from ..running.compiled import EXACT, any_layout, njit
from ..running.parallel import parallel_for
from .masks import ROW, add_mask, fill_dropout, fill_mask
from .parts import (
    BYTES,
    KEYS,
    QUERIES,
    STEP,
    aligned,
    keys_seen,
    multiply_block,
    pack_queries,
    place,
    places,
    soften,
    up,
)

_f = np.float32
_FLOAT = np.dtype(_f)
_GRAIN = 1 << 18  # multiply-adds that are worth a thread
FOUR, WRITTEN, MARKS = any_layout(4), any_layout(4, writable=True), any_layout(4, dtype=types.boolean)
DROP = types.Tuple((types.uint64, types.uint64, types.uint32, types.float32))
_KEEP = np.uint64(0), np.uint64(0), np.uint32(0), _f(1.0)
_NOTHING, _NO_MARKS = np.empty((0, 0, 0, 0), _f), np.empty((0, 0, 0, 0), bool)


@njit(**EXACT)
def shape_of(q: Any, k: Any, v: Any) -> Any:
    """(batch, heads of keys, heads of queries that share one, L, S, E, V)."""
    return q.shape[0], k.shape[1], q.shape[1] // k.shape[1], q.shape[2], k.shape[2], q.shape[3], v.shape[3]


@njit(**EXACT)
def stretched(x: Any) -> Any:
    """``places`` of an array that is broadcast: its dimensions of 1 have no stride; all 0 where it is empty."""
    if not x.size:
        return 0, 0, 0, 0, 0
    a, b, c, d = x.shape
    at, batch, head, row, column = places(x)
    return at, batch if a > 1 else 0, head if b > 1 else 0, row if c > 1 else 0, column if d > 1 else 0


@njit(**EXACT)
def _tasks(i: Any, span: Any, tasks: Any, shape: Any, arrays: Any, scale: Any, start: Any, drop: Any, statistics: Any) -> None:
    for t in range(i * span, min(tasks, (i + 1) * span)):
        _task(t, shape, arrays, scale, start, drop, statistics)


@njit(**EXACT)
def _task(t: Any, shape: Any, arrays: Any, scale: Any, start: Any, drop: Any, statistics: Any) -> None:
    _, shared, group, length, size, width, deep = shape
    q, k, v, out, allowed, mask = arrays
    chunks = up(group * length, QUERIES)
    pair, first = t // chunks, t % chunks * QUERIES
    b, h = pair // shared, pair % shared
    many = min(QUERIES, group * length - first)
    panels = up(many, COLUMNS)
    numbers = panels * STEP  # so many lanes: maxima, sums, shrinkages
    packed = packed_size(KEYS, deep) + 16
    memory = np.empty(16 + panels * COLUMNS * width + 2 * KEYS * STEP + 16 * ROW + packed + QUERIES * deep + 3 * numbers, _f)
    queries = aligned(memory.ctypes.data)
    scores = queries + 4 * panels * COLUMNS * width
    added = scores + KEYS * BYTES
    rows = added + KEYS * BYTES
    values = rows + 4 * ROW * 16
    sums = values + 4 * packed
    mixed = sums + 4 * 3 * numbers
    _begin(floats(sums, 3 * numbers), numbers)
    for p in range(panels):
        here = min(COLUMNS, many - p * COLUMNS)
        target = queries + 4 * p * COLUMNS * width
        pack_queries(q, b, h * group, length, first + p * COLUMNS, here, width, target)
    hides = allowed[0] != 0 or mask[0] != 0 or start >= 0
    _, seen = keys_seen(first, many, length, size, start)
    for key in range(0, seen, KEYS):
        keys = min(KEYS, size - key)
        for c in range(up(deep, COLUMNS)):
            pack_part(place(v, b, h, key), v[3], v[4], keys, deep, values, c)
        clean = not hides or _all_finite(values, up(packed_size(keys, deep), 16) * 16, rows)
        for p in range(panels):
            n = first + p * COLUMNS
            here = min(COLUMNS, many - p * COLUMNS)
            lanes = up(here, 16) * 16
            all_see, some_see = keys_seen(n, here, length, size, start)
            use = min(keys, some_see - key)
            if use <= 0:
                continue
            block(
                place(k, b, h, key), k[3], k[4], queries + 4 * p * COLUMNS * width, scores, BYTES, use, width,
                min(lanes, COLUMNS), 0, 1, 0, 0, 0, 0, 0, 0, 0,
            )  # fmt: skip
            factor, masked = scale, allowed[0] != 0 or mask[0] != 0 or all_see < key + use
            if masked:
                fill_mask(*allowed, *mask, start, b, h * group, length, n, here, key, use, rows, added)
                add_mask(scores, use, lanes, scale, added)
                factor = _f(1.0)
            at = sums + 4 * p * STEP
            soften(scores, use, lanes, factor, at + 4 * numbers, at, at + 8 * numbers)
            if drop[2]:
                fill_dropout(*drop, (b * shared + h) * group, length, size, n, here, key, use, rows, added)
                multiply_block(scores, added, use, lanes)
            target = mixed + 4 * p * COLUMNS * deep
            if key:
                _shrink(target, here, deep, at + 8 * numbers)
            for c in range(0, deep, COLUMNS):
                panel, columns = values + 4 * c * keys, min(COLUMNS, deep - c)
                if masked and not clean:
                    _mix_what_is_seen(scores, panel, target + 4 * c, 4 * deep, here, use, columns, key)
                else:
                    block(
                        scores, 4, BYTES, panel, target + 4 * c, 4 * deep, here, use, columns, 0, 1, 1 if key else 0,
                        0, 0, 0, 0, 0, 0,
                    )  # fmt: skip
    for p in range(panels):
        at = sums + 4 * p * STEP
        n, here = first + p * COLUMNS, min(COLUMNS, many - p * COLUMNS)
        _finish(mixed + 4 * p * COLUMNS * deep, out, b, h * group, length, n, here, deep, at)
        if statistics:
            place_of = statistics + 4 * ((b * shared + h) * group * length + n)
            _keep(at + 4 * numbers, at, here, place_of, 4 * shape[0] * shared * group * length)
    hold(memory)


@njit(**EXACT)
def _all_finite(x: Any, count: Any, memory: Any) -> Any:
    """Whether ``count`` floats are; ``memory``: 16 of them."""
    zero = splat(_f(0.0))
    total = zero
    for i in range(0, count, 16):
        total = fma(load_at(x + 4 * i), zero, total)  # NaN from then on where one is not
    store_at(memory, total)
    left = _f(0.0)
    for v in floats(memory, 16):
        left += v
    return left == _f(0.0)


@njit(**EXACT)
def _mix_what_is_seen(weights: Any, panel: Any, target: Any, step: Any, rows: Any, keys: Any, columns: Any, more: Any) -> None:
    """What ``block`` computes, with its bits, but for weights of 0: what they belong to may be infinite or not a number."""
    for r in range(rows):
        out = floats(target + r * step, columns)
        for c in range(columns):
            total = _f(0.0)
            for j in range(keys):
                w = floats(weights + j * BYTES + 4 * r, 1)[0]
                if w != _f(0.0):
                    total += w * floats(panel + 4 * (j * COLUMNS + c), 1)[0]
            out[c] = out[c] + total if more else total


@njit(**EXACT)
def _begin(numbers: Any, lanes: Any) -> None:
    """Sums of 0, and maxima below everything."""
    for i in range(numbers.size):
        numbers[i] = _f(0.0) if i < lanes else _f(-np.inf)


@njit(**EXACT)
def _shrink(mixed: Any, rows: Any, deep: Any, factors: Any) -> None:
    factor = floats(factors, rows)
    for i in range(rows):
        x = floats(mixed + 4 * i * deep, deep)
        for c in range(deep):
            x[c] *= factor[i]


@njit(**EXACT)
def _finish(mixed: Any, out: Any, batch: Any, head: Any, length: Any, first: Any, rows: Any, deep: Any, sums: Any) -> None:
    total = floats(sums, rows)
    for i in range(rows):
        n = first + i
        share = _f(1.0) / (_f(1.0) if total[i] == _f(0.0) else total[i])
        x, y = floats(mixed + 4 * i * deep, deep), floats(place(out, batch, head + n // length, n % length), deep)
        for c in range(deep):
            y[c] = x[c] * share


@njit(**EXACT)
def _keep(tops: Any, sums: Any, rows: Any, statistics: Any, apart: Any) -> None:
    top, total = floats(tops, rows), floats(sums, rows)
    tops_out, sums_out = floats(statistics, rows), floats(statistics + apart, rows)
    for i in range(rows):
        tops_out[i] = _f(0.0) if top[i] == _f(-np.inf) else top[i]
        sums_out[i] = total[i]


@njit(signatures=[types.void(*[FOUR] * 3, WRITTEN, MARKS, FOUR, types.float32, types.int64, DROP, WRITTEN)], **EXACT)
def attend(q: Any, k: Any, v: Any, out: Any, allowed: Any, mask: Any, scale: Any, start: Any, drop: Any, statistics: Any) -> None:
    """The arrays of ``attention``; empty ones for none, and ``start`` -1."""
    shape = shape_of(q, k, v)
    arrays = places(q), places(k), places(v), places(out), stretched(allowed), stretched(mask)
    keep = np.int64(statistics.ctypes.data) if statistics.size else np.int64(0)
    tasks = shape[0] * shape[1] * up(shape[2] * shape[3], QUERIES)
    work = min(up(shape[2] * shape[3], 16) * 16, QUERIES) * shape[4] * (shape[5] + shape[6])
    span = max(1, _GRAIN // work)
    parallel_for(_tasks, up(tasks, span), (span, tasks, shape, arrays, scale, start, drop, keep))


def attention(
    q: Any, k: Any, v: Any, scale: float, allowed: Any = None, mask: Any = None, start: int | None = None,
    dropout: tuple[float, tuple[int, int]] | None = None, statistics: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """As the reference."""
    if is_half(q):
        wide = (widened(q), widened(k), widened(v), scale, allowed, None if mask is None else widened(mask))
        out, found = attention(*wide, start, dropout, statistics)
        return out.astype(q.dtype), found
    if not suits(q, k, v, mask):
        return reference.attention_by(matmul, q, k, v, scale, allowed, mask, start, dropout, statistics)
    batch, heads, length, _ = q.shape
    out = np.empty((batch, length, heads, v.shape[3]), _f).transpose(0, 2, 1, 3)
    found = np.empty((2, batch, heads, length), _f) if statistics else None
    attend(
        q, k, v, out, *masks(allowed, mask), _f(scale), -1 if start is None else start, drop_of(dropout),
        _NOTHING if found is None else found,
    )  # fmt: skip
    return out, found


def suits(q: Any, k: Any, v: Any, mask: Any, *more: Any) -> bool:
    """Whether the kernels can take these arrays."""
    for x in (q, k, v, *more):
        if x.dtype != _FLOAT or not x.size:
            return False
    return mask is None or mask.dtype == _FLOAT


def masks(allowed: Any, mask: Any) -> tuple[Any, Any]:
    """Both with four dimensions, empty where there is none."""
    return _NO_MARKS if allowed is None else _four(allowed), _NOTHING if mask is None else _four(mask)


def _four(x: Any) -> Any:
    return x if x.ndim == 4 else x[(None,) * (4 - x.ndim)]


def drop_of(dropout: tuple[float, tuple[int, int]] | None) -> tuple[Any, Any, Any, Any]:
    """Dropout as kernels take it: two words of a key, what words must reach (0: nothing is dropped), the factor of the rest."""
    if dropout is None:
        return _KEEP
    p, key = dropout
    return np.uint64(key[0]), np.uint64(key[1]), np.uint32(threshold(p)), _f(1.0 / (1.0 - p))
