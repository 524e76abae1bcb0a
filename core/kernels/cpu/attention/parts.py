"""What attention's kernels are made of: panels of queries, places of heads, and the softmax of a block.

Scores are kept with a row for each key and a lane for each query, so that a query's maximum and sum are chains in the order of
the keys, whatever lies in the lanes beside it. Queries of heads that share keys and values are numbered on: query n of a group
belongs to its head n // length and stands in row n % length.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..lanes.pointers import floats
from ..lanes.simd import add, load_at, multiply, splat, store_at, subtract
from ..lanes.simd_math import exp, maximum, where_less
from ..matrix.microkernel import COLUMNS, transpose
from ..running.compiled import EXACT, njit

KEYS = 128
"""Keys of a block."""
QUERIES = 128
"""Queries of a task."""
STEP = max(COLUMNS, 16)
"""Lanes of a panel of queries, in whole vectors."""
BYTES = 4 * STEP
"""From one key's scores to the next one's."""

UNFUSED = {**EXACT, "fastmath": False}
"""For differences of products: that of the largest score and itself must be 0, however large it is."""

_f = np.float32
_NOWHERE = _f(-np.inf)


@njit(**EXACT)
def up(a: Any, b: Any) -> Any:
    """a / b rounded up."""
    return (a + b - 1) // b


@njit(**EXACT)
def aligned(address: Any) -> Any:
    """The next whole cache line."""
    return (address + 63) // 64 * 64


@njit(**EXACT)
def keys_seen(first: Any, many: Any, length: Any, keys: Any, start: Any) -> Any:
    """(keys that each of these queries sees, keys that some of them sees); ``start`` is -1 where all see all."""
    if start < 0:
        return keys, keys
    last = first + many - 1
    if first // length != last // length:  # the end of one head and the beginning of the next
        return min(keys, start + 1), min(keys, start + length)
    return min(keys, start + first % length + 1), min(keys, start + last % length + 1)


@njit(**EXACT)
def places(x: Any) -> Any:
    """(address, and the strides of batch, head, row and column in bytes) of an array (batch, head, row, column)."""
    return np.int64(x.ctypes.data), x.strides[0], x.strides[1], x.strides[2], x.strides[3]


@njit(**EXACT)
def place(x: Any, batch: Any, head: Any, row: Any) -> Any:
    """Where a row of x, given by its ``places``, begins."""
    return x[0] + batch * x[1] + head * x[2] + row * x[3]


@njit(**EXACT)
def pack_queries(x: Any, batch: Any, head: Any, length: Any, first: Any, many: Any, width: Any, target: Any) -> None:
    """Queries first, first + 1, ... of the heads from ``head`` on as the columns of a panel (width, COLUMNS)."""
    lanes = min(up(many, 16) * 16, COLUMNS)
    if many < lanes:
        for i in range(width):
            row = floats(target + 4 * (COLUMNS * i + many), lanes - many)
            for j in range(row.size):
                row[j] = _f(0.0)
    lane = 0
    while lane < many:
        n = first + lane
        run = min(many - lane, length - n % length)
        turn(place(x, batch, head + n // length, n % length), x[3], x[4], run, width, target + 4 * lane, 4 * COLUMNS)
        lane += run


@njit(**EXACT)
def turn(source: Any, row: Any, column: Any, rows: Any, columns: Any, target: Any, step: Any) -> None:
    """target (columns, rows) = source (rows, columns) over the diagonal."""
    down = rows // 16 * 16 if column == 4 else 0
    along = columns // 16 * 16 if down else 0
    for r in range(0, down, 16):
        for c in range(0, along, 16):
            transpose(source + r * row + 4 * c, row, target + c * step + 4 * r, step)
    for r in range(rows):
        for c in range(along if r < down else 0, columns):
            floats(target + c * step + 4 * r, 1)[0] = floats(source + r * row + c * column, 1)[0]


@njit(**EXACT)
def pack_rows(x: Any, batch: Any, head: Any, length: Any, first: Any, many: Any, width: Any, target: Any) -> None:
    """The same queries as rows of panels, one panel of ``many`` rows after the other."""
    for i in range(many):
        n = first + i
        source = place(x, batch, head + n // length, n % length)
        for c in range(0, width, COLUMNS):
            out = floats(target + 4 * (c * many + i * COLUMNS), COLUMNS)
            here = min(COLUMNS, width - c)
            if x[4] == 4:
                values = floats(source + 4 * c, here)
                for j in range(here):
                    out[j] = values[j]
            else:
                for j in range(here):
                    out[j] = floats(source + (c + j) * x[4], 1)[0]
            for j in range(here, COLUMNS):
                out[j] = _f(0.0)


@njit(**UNFUSED)
def soften(scores: Any, keys: Any, lanes: Any, scale: Any, tops: Any, sums: Any, shrinks: Any) -> None:
    """scores = exp(scores * scale - top), with what that makes of the running maxima and sums.

    tops, sums, shrinks (lanes): the largest score so far, the sum of exp(score - top), and by what earlier results shrink.
    """
    factor, zero, nowhere = splat(scale), splat(_f(0.0)), splat(_NOWHERE)
    for lane in range(0, 4 * lanes, 64):
        old = load_at(tops + lane)
        top = old
        for j in range(keys):
            top = maximum(top, multiply(load_at(scores + j * BYTES + lane), factor))
        base = where_less(nowhere, top, top, zero)
        shrink = exp(subtract(old, base))
        total = multiply(load_at(sums + lane), shrink)
        for j in range(keys):
            here = scores + j * BYTES + lane
            e = exp(subtract(multiply(load_at(here), factor), base))
            store_at(here, e)
            total = add(total, e)
        store_at(tops + lane, top)
        store_at(sums + lane, total)
        store_at(shrinks + lane, shrink)


@njit(**EXACT)
def multiply_block(x: Any, y: Any, keys: Any, lanes: Any) -> None:
    """x *= y, blocks of scores."""
    for j in range(keys):
        for lane in range(0, lanes, 16):
            here = j * BYTES + 4 * lane
            store_at(x + here, multiply(load_at(x + here), load_at(y + here)))
