"""Attention in float32 without the matrix of scores: block after block of keys, the softmax kept up as they come.

A task has up to QUERIES queries of the heads that share one head of keys and values. Blocks of keys have one size and one
order, and every number of a query's result is a chain over its keys: its bits depend neither on the queries beside it nor on
the batch, so a token decoded alone gets what it gets in a whole text. Keys that no query of a panel sees cost nothing.

Source: Milakov and Gimelshein, arXiv:1805.02867; Dao et al., arXiv:2205.14135.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..reference import attention as reference
from ..reference.dropout import threshold
from ..reference.half import is_half, widened
from .attention_parts import (
    BYTES,
    KEYS,
    QUERIES,
    STEP,
    add_mask,
    aligned,
    fill_dropout,
    fill_mask,
    keys_seen,
    multiply_block,
    pack_queries,
    place,
    soften,
    up,
)
from .compiled import EXACT, njit
from .gemm import block, floats, pack_part, packed_size
from .microkernel import COLUMNS
from .parallel import parallel_for
from .threads import single_threaded_blas

_f = np.float32
Places = tuple[int, ...]
"""An address and the strides of batch, head, row and column in bytes; all 0 for no array."""
NOTHING: Places = (0, 0, 0, 0, 0)
Drop = tuple[Any, Any, Any, Any]


@njit(**EXACT)
def _forward(shape: Any, arrays: Any, scale: Any, start: Any, drop: Any, statistics: Any) -> None:
    """``shape``: (batch, heads of keys, heads of a group, L, S, E, V); ``arrays``: places of q, k, v, out, allowed, mask."""
    batch, shared, group, length = shape[:4]
    parallel_for(_task, batch * shared * up(group * length, QUERIES), (shape, arrays, scale, start, drop, statistics))


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
    memory = np.empty(
        16 + panels * COLUMNS * width + KEYS * (2 * STEP + 16) + packed_size(KEYS, deep) + QUERIES * deep + 3 * numbers, _f
    )
    queries = aligned(memory.ctypes.data)
    scores = queries + 4 * panels * COLUMNS * width
    added = scores + KEYS * BYTES
    rows = added + KEYS * BYTES
    values = rows + 4 * KEYS * 16
    sums = values + 4 * packed_size(KEYS, deep)
    mixed = sums + 4 * 3 * numbers
    _begin(floats(sums, 3 * numbers), numbers)
    for p in range(panels):
        here = min(COLUMNS, many - p * COLUMNS)
        target = queries + 4 * p * COLUMNS * width
        pack_queries(q, b, h * group, length, first + p * COLUMNS, here, width, target)
    _, seen = keys_seen(first, many, length, size, start)
    for key in range(0, seen, KEYS):
        keys = min(KEYS, size - key)
        for c in range(up(deep, COLUMNS)):
            pack_part(place(v, b, h, key), v[3], v[4], keys, deep, values, c)
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
            factor = scale
            if allowed[0] or mask[0] or all_see < key + use:
                fill_mask(allowed, mask, start, b, h * group, length, n, here, key, use, rows, added)
                add_mask(scores, use, lanes, scale, added)
                factor = _f(1.0)
            at = sums + 4 * p * STEP
            soften(scores, use, lanes, factor, at + 4 * numbers, at, at + 8 * numbers)
            if drop[2]:
                fill_dropout(drop, (b * shared + h) * group, length, size, n, here, key, use, rows, added)
                multiply_block(scores, added, use, lanes)
            target = mixed + 4 * p * COLUMNS * deep
            if key:
                _shrink(target, here, deep, at + 8 * numbers)
            for c in range(0, deep, COLUMNS):
                block(
                    scores, 4, BYTES, values + 4 * c * keys, target + 4 * c, 4 * deep, here, use, min(COLUMNS, deep - c), 0, 1,
                    1 if key else 0, 0, 0, 0, 0, 0, 0,
                )  # fmt: skip
    for p in range(panels):
        at = sums + 4 * p * STEP
        n, here = first + p * COLUMNS, min(COLUMNS, many - p * COLUMNS)
        _finish(mixed + 4 * p * COLUMNS * deep, out, b, h * group, length, n, here, deep, at)
        if statistics:
            place_of = statistics + 4 * ((b * shared + h) * group * length + n)
            _keep(at + 4 * numbers, at, here, place_of, 4 * shape[0] * shared * group * length)


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
        single_threaded_blas()
        return reference.attention(q, k, v, scale, allowed, mask, start, dropout, statistics)
    batch, heads, length, width = q.shape
    shared, size, deep = k.shape[1], k.shape[2], v.shape[3]
    out = np.empty((batch, length, heads, deep), _f)
    found = np.empty((2, batch, heads, length), _f) if statistics else None
    b, l, h, c = out.strides
    over = batch, heads, length, size
    arrays = places(q), places(k), places(v), (out.ctypes.data, b, h, l, c), stretched(allowed, over), stretched(mask, over)
    _forward(
        (batch, shared, heads // shared, length, size, width, deep), arrays, _f(scale), -1 if start is None else start,
        drop_of(dropout), 0 if found is None else found.ctypes.data,
    )  # fmt: skip
    return out.transpose(0, 2, 1, 3), found


def suits(q: Any, k: Any, v: Any, mask: Any, *more: Any) -> bool:
    """Whether the kernels can take these arrays."""
    for x in (q, k, v, *more):
        if x.dtype != _f or not x.size or not x.flags.aligned:
            return False
    return mask is None or (mask.dtype == _f and mask.flags.aligned)


def places(x: Any) -> Places:
    """See ``Places``."""
    return x.ctypes.data, *x.strides


def stretched(x: Any, shape: tuple[int, ...]) -> Places:
    """Of an array that broadcasts to ``shape``."""
    return NOTHING if x is None else places(np.broadcast_to(x, shape))


def drop_of(dropout: tuple[float, tuple[int, int]] | None) -> Drop:
    """Dropout as kernels take it: two words of a key, what words must reach (0: nothing is dropped), the factor of the rest."""
    if dropout is None:
        return np.uint64(0), np.uint64(0), np.uint32(0), _f(1.0)
    p, key = dropout
    return np.uint64(key[0]), np.uint64(key[1]), np.uint32(threshold(p)), _f(1.0 / (1.0 - p))
