"""What attention's kernels are made of: panels of queries, places of heads, masks, dropout, and the softmax of a block.

Scores are kept with a row for each key and a lane for each query, so that a query's maximum and sum are chains in the order of
the keys, whatever lies in the lanes beside it. Queries of heads that share keys and values are numbered on: query n of a group
belongs to its head n // length and stands in row n % length.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from .compiled import EXACT, njit
from .gemm import floats
from .microkernel import COLUMNS, transpose
from .philox import _words as blocks_of_words
from .simd import add, fma, load_at, multiply, splat, store_at, subtract
from .simd_math import exp, maximum, where_less

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
_BLOCKS = KEYS // 4 + 1  # of four random words: those of a row of a block


@intrinsic
def _octet_pointer(typing_context: Any, address: Any) -> Any:  # noqa: ARG001 - the protocol of intrinsics
    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.CPointer(types.uint8)(types.int64), generate


@njit(**EXACT)
def _octets(address: Any, count: Any) -> Any:
    return carray(_octet_pointer(address), count)


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
def place(x: Any, batch: Any, head: Any, row: Any) -> Any:
    """Where a row of x begins; x is (address, and the strides of batch, head, row, column in bytes)."""
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
        _turn(place(x, batch, head + n // length, n % length), x[3], x[4], run, width, target + 4 * lane, 4 * COLUMNS)
        lane += run


@njit(**EXACT)
def _turn(source: Any, row: Any, column: Any, rows: Any, columns: Any, target: Any, step: Any) -> None:
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


# ---- masks


@njit(**EXACT)
def _masked_row(allowed: Any, mask: Any, allowed_step: Any, mask_step: Any, out: Any) -> None:
    """out = the mask (address, 0 for none) where allowed (address, 0 for none), -inf elsewhere."""
    if not mask:
        for j in range(out.size):
            out[j] = _f(0.0)
    elif mask_step == 4:
        values = floats(mask, out.size)
        for j in range(out.size):
            out[j] = values[j]
    else:
        for j in range(out.size):
            out[j] = floats(mask + j * mask_step, 1)[0]
    if allowed and allowed_step == 1:
        marks = _octets(allowed, out.size)
        for j in range(out.size):
            out[j] = out[j] if marks[j] else _NOWHERE
    elif allowed:
        for j in range(out.size):
            if not _octets(allowed + j * allowed_step, 1)[0]:
                out[j] = _NOWHERE


@njit(**EXACT)
def _at(x: Any, batch: Any, head: Any, row: Any, key: Any) -> Any:
    return place(x, batch, head, row) + key * x[4] if x[0] else 0


@njit(**EXACT)
def fill_mask(
    allowed: Any, mask: Any, start: Any, batch: Any, head: Any, length: Any, first: Any, many: Any, key: Any, keys: Any,
    rows: Any, target: Any,
) -> None:  # fmt: skip
    """target (keys, STEP): what is added to the scores of queries and keys; ``rows`` is working memory (16, KEYS)."""
    lanes = up(many, 16) * 16
    if (allowed[0] and (allowed[3] or allowed[2])) or (mask[0] and (mask[3] or mask[2])):
        for lane in range(0, lanes, 16):
            for i in range(16):
                n = first + min(lane + i, many - 1)
                here, row = head + n // length, n % length
                a, m = _at(allowed, batch, here, row, key), _at(mask, batch, here, row, key)
                _masked_row(a, m, allowed[4], mask[4], floats(rows + 4 * KEYS * i, keys))
            _turn(rows, 4 * KEYS, 4, 16, keys, target + 4 * lane, BYTES)
    else:
        a, m = _at(allowed, batch, head, 0, key), _at(mask, batch, head, 0, key)
        row = floats(rows, keys)
        _masked_row(a, m, allowed[4], mask[4], row)
        for j in range(keys):
            for lane in range(0, lanes, 16):
                store_at(target + j * BYTES + 4 * lane, splat(row[j]))
    if start >= 0:
        _hide_later(start, length, first, many, key, keys, rows, target)


@njit(**EXACT)
def _hide_later(start: Any, length: Any, first: Any, many: Any, key: Any, keys: Any, memory: Any, target: Any) -> None:
    """-inf where a key comes after what its query sees; ``memory``: STEP floats."""
    lanes = up(many, 16) * 16
    last = floats(memory, lanes)
    for i in range(lanes):
        last[i] = _f(max(-1, min(start + (first + i) % length - key, KEYS)))
    for j in range(keys):
        for lane in range(0, lanes, 16):
            here = target + j * BYTES + 4 * lane
            store_at(here, where_less(load_at(memory + 4 * lane), splat(_f(j)), splat(_NOWHERE), load_at(here)))


@njit(**EXACT)
def add_mask(scores: Any, keys: Any, lanes: Any, scale: Any, added: Any) -> None:
    """scores = scores * scale + added, and -inf where that is added, NaN or not."""
    factor, lowest = splat(scale), splat(_f(-3.4028234663852886e38))
    for j in range(keys):
        for lane in range(0, lanes, 16):
            here = j * BYTES + 4 * lane
            a = load_at(added + here)
            store_at(scores + here, where_less(a, lowest, a, fma(load_at(scores + here), factor, a)))


# ---- dropout


@njit(**EXACT)
def fill_dropout(
    drop: Any, place_of_head: Any, length: Any, size: Any, first: Any, many: Any, key: Any, keys: Any, rows: Any, target: Any
) -> None:  # fmt: skip
    """target (keys, STEP): 0 for weights that are dropped, else the factor of those that stay.

    ``drop``: (first word of the key, second word, threshold, factor). ``place_of_head``: how many heads come before.
    """
    words = np.empty((4, _BLOCKS), np.uint32)
    for lane in range(0, up(many, 16) * 16, 16):
        for i in range(16):
            n = first + min(lane + i, many - 1)
            element = (place_of_head * length + n) * size + key  # heads of a group follow each other, as its queries do
            _dropout_row(drop, element, words, floats(rows + 4 * KEYS * i, keys))
        _turn(rows, 4 * KEYS, 4, 16, keys, target + 4 * lane, BYTES)


@njit(**EXACT)
def _dropout_row(drop: Any, element: Any, words: Any, out: Any) -> None:
    k0, k1, threshold, factor = drop
    skipped = element % 4
    blocks_of_words(np.uint64(element // 4), k0, k1, words[:, : up(skipped + out.size, 4)])
    for j in range(out.size):
        at = skipped + j
        out[j] = factor if words[at % 4, at // 4] >= threshold else _f(0.0)


# ---- softmax


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
