"""What attention does to blocks of scores and weights by place: masks, what comes later, dropout.

``fill_mask`` and ``fill_dropout`` are compiled once and reached by symbols: the kernels that call them stay small.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from ..elementwise.philox import random_words
from ..lanes.pointers import floats
from ..lanes.simd import fma, load_at, splat, store_at
from ..lanes.simd_math import where_less
from ..running.compiled import EXACT, compiled_callback, njit
from .parts import BYTES, KEYS, place, turn, up

_f = np.float32
_NOWHERE = _f(-np.inf)
_WORDS = KEYS + 32  # random ones, made 32 at a time: those of a row of a block, and what is made besides
ROW = KEYS + 16
"""Floats of a row of working memory; rows lie apart by no power of 2."""


@intrinsic
def _octet_pointer(typing_context: Any, address: Any) -> Any:  # noqa: ARG001 - the protocol of intrinsics
    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.CPointer(types.uint8)(types.int64), generate


@njit(**EXACT)
def _octets(address: Any, count: Any) -> Any:
    return carray(_octet_pointer(address), count)


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


def _fill_mask(
    a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, m0: Any, m1: Any, m2: Any, m3: Any, m4: Any, start: Any, batch: Any, head: Any,
    length: Any, first: Any, many: Any, key: Any, keys: Any, rows: Any, target: Any,
) -> None:  # fmt: skip
    allowed, mask = (a0, a1, a2, a3, a4), (m0, m1, m2, m3, m4)
    lanes = up(many, 16) * 16
    if (allowed[0] and (allowed[3] or allowed[2])) or (mask[0] and (mask[3] or mask[2])):
        for lane in range(0, lanes, 16):
            for i in range(16):
                n = first + min(lane + i, many - 1)
                here, row = head + n // length, n % length
                a, m = _at(allowed, batch, here, row, key), _at(mask, batch, here, row, key)
                _masked_row(a, m, allowed[4], mask[4], floats(rows + 4 * ROW * i, keys))
            turn(rows, 4 * ROW, 4, 16, keys, target + 4 * lane, BYTES)
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


def _fill_dropout(
    k0: Any, k1: Any, threshold: Any, factor: Any, heads: Any, length: Any, size: Any, first: Any, many: Any, key: Any, keys: Any,
    rows: Any, target: Any,
) -> None:  # fmt: skip
    words = np.empty(_WORDS, np.uint32)
    for lane in range(0, up(many, 16) * 16, 16):
        for i in range(16):
            n = first + min(lane + i, many - 1)
            element = (heads * length + n) * size + key  # heads of a group follow each other, as its queries do
            skipped = element % 4
            random_words(np.uint64(element // 4), k0, k1, words[: up(skipped + keys, 32) * 32])
            own, out = words[skipped : skipped + keys], floats(rows + 4 * ROW * i, keys)
            for j in range(keys):
                out[j] = factor if own[j] >= threshold else _f(0.0)
        turn(rows, 4 * ROW, 4, 16, keys, target + 4 * lane, BYTES)


_MASK = types.void(*[types.int64] * 20)
_DROPOUT = types.void(types.uint64, types.uint64, types.uint32, types.float32, *[types.int64] * 9)
_compiled = {
    "nyala_attention_mask": compiled_callback(_MASK, _fill_mask),
    "nyala_attention_dropout": compiled_callback(_DROPOUT, _fill_dropout),
}
for _name, _callback in _compiled.items():
    llvm.add_symbol(_name, _callback.address)

fill_mask = types.ExternalFunction("nyala_attention_mask", _MASK)
"""``fill_mask(*allowed, *mask, start, batch, head, length, first, many, key, keys, rows, target)``: target (keys, STEP) = what
is added to the scores of ``many`` queries from ``first`` on and of keys from ``key`` on.

``allowed`` and ``mask``: places, all 0 for none. ``rows``: working memory, 16 rows of ROW floats."""
fill_dropout = types.ExternalFunction("nyala_attention_dropout", _DROPOUT)
"""``fill_dropout(k0, k1, threshold, factor, heads, length, size, first, many, key, keys, rows, target)``: target (keys, STEP) =
0 for weights that are dropped, else ``factor``.

``k0``, ``k1``: the key; words below ``threshold`` drop. ``heads``: how many heads of queries come before the group."""


@njit(**EXACT)
def add_mask(scores: Any, keys: Any, lanes: Any, scale: Any, added: Any) -> None:
    """scores = scores * scale + added, and -inf where that is added, NaN or not."""
    factor, lowest = splat(scale), splat(_f(-3.4028234663852886e38))
    for j in range(keys):
        for lane in range(0, lanes, 16):
            here = j * BYTES + 4 * lane
            a = load_at(added + here)
            store_at(scores + here, where_less(a, lowest, a, fma(load_at(scores + here), factor, a)))
