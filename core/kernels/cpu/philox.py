"""Philox4x32-10 in vector code, and the dropout made of it: the reference's bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..reference import dropout as reference_dropout
from ..reference import random as reference_random
from .threads import run_tiles
from .vector_math import EXACT, ready

_u64, _u32 = np.uint64, np.uint32
_M0, _M1, _LOW, _HALF = _u64(0xD2511F53), _u64(0xCD9E8D57), _u64(0xFFFFFFFF), _u64(32)
_W0, _W1 = _u64(0x9E3779B9), _u64(0xBB67AE85)
_BLOCKS = 1 << 14  # blocks of four words that one thread makes at a time
_CHUNK = 256  # blocks between making words and using them: they stay in the first-level cache
_FOUR = 4


@njit(**EXACT)
def _blocks(first: Any, k0: Any, k1: Any, out: Any) -> None:
    """Words of blocks first, first + 1, ... into out (blocks, 4)."""
    for i in range(out.shape[0]):
        index = first + _u64(i)
        c0, c1 = index & _LOW, index >> _HALF
        c2, c3 = _u64(0), _u64(0)
        a, b = k0, k1
        for _ in range(10):
            p0, p1 = c0 * _M0, c2 * _M1
            c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ a, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ b, p0 & _LOW
            a = (a + _W0) & _LOW
            b = (b + _W1) & _LOW
        out[i, 0] = _u32(c0)
        out[i, 1] = _u32(c1)
        out[i, 2] = _u32(c2)
        out[i, 3] = _u32(c3)


@njit(**EXACT)
def _drop(first: Any, k0: Any, k1: Any, threshold: Any, scale: Any, x: Any, words: Any, out: Any) -> None:
    """out = x * scale where its word reaches the threshold, else 0; ``words`` is working memory (chunk, 4)."""
    flat = words.reshape(-1)
    for start in range(0, x.size, flat.size):
        _blocks(first + _u64(start // _FOUR), k0, k1, words)
        stop = min(start + flat.size, x.size)
        for i in range(stop - start):
            out[start + i] = x[start + i] * scale if flat[i] >= threshold else np.float32(0.0)


def philox(xp: Any, key: tuple[int, int], count: int) -> Any:
    """As the reference."""
    if xp is not np:
        return reference_random.philox(xp, key, count)
    out = np.empty(((count + 3) // 4, 4), _u32)
    k0, k1 = _u64(key[0]), _u64(key[1])
    run_tiles(lambda lo, hi: _blocks(_u64(lo), k0, k1, out[lo:hi]), len(out), _BLOCKS)
    return out.reshape(-1)[:count]


def dropout(x: Any, p: float, key: tuple[int, int]) -> Any:
    """As the reference."""
    if x.dtype != np.float32:
        return reference_dropout.dropout(x, p, key)
    flat = ready(x).reshape(-1)
    out = np.empty_like(flat)
    k0, k1 = _u64(key[0]), _u64(key[1])
    threshold, scale = _u32(reference_dropout.threshold(p)), np.float32(1.0 / (1.0 - p))

    def work(lo: int, hi: int) -> None:
        words = np.empty((_CHUNK, 4), _u32)
        _drop(_u64(lo // _FOUR), k0, k1, threshold, scale, flat[lo:hi], words, out[lo:hi])

    run_tiles(work, flat.size, _BLOCKS * _FOUR)
    return out.reshape(x.shape)
