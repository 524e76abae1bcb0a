"""Philox4x32-10 in vector code, and the dropout made of it: the reference's bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..reference import dropout as reference_dropout
from ..reference import random as reference_random
from .compiled import njit
from .threads import run_tiles
from .vector_math import EXACT, ready

_u64, _u32 = np.uint64, np.uint32
_M0, _M1, _LOW, _HALF = _u64(0xD2511F53), _u64(0xCD9E8D57), _u64(0xFFFFFFFF), _u64(32)
_W0, _W1 = _u64(0x9E3779B9), _u64(0xBB67AE85)
_BLOCKS = 1 << 14  # blocks of four words that one thread makes at a time
_CHUNK = 256  # blocks between making words and using them: they stay in the first-level cache


@njit(**EXACT)
def random_blocks(first: Any, k0: Any, k1: Any, out: Any) -> None:
    """Blocks first, first + 1, ... into the columns of out (4, blocks): apart, so that the loop runs in vectors."""
    for i in range(out.shape[1]):
        index = first + _u64(i)
        c0, c1 = index & _LOW, index >> _HALF
        c2, c3 = _u64(0), _u64(0)
        a, b = k0, k1
        for _ in range(10):
            p0, p1 = c0 * _M0, c2 * _M1
            c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ a, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ b, p0 & _LOW
            a = (a + _W0) & _LOW
            b = (b + _W1) & _LOW
        out[0, i] = _u32(c0)
        out[1, i] = _u32(c1)
        out[2, i] = _u32(c2)
        out[3, i] = _u32(c3)


@njit(**EXACT)
def _blocks(first: Any, k0: Any, k1: Any, words: Any, out: Any) -> None:
    """Words of blocks first, first + 1, ... into out (blocks, 4); ``words`` is working memory (4, chunk)."""
    for start in range(0, out.shape[0], words.shape[1]):
        random_blocks(first + _u64(start), k0, k1, words)
        for i in range(min(words.shape[1], out.shape[0] - start)):
            for j in range(4):
                out[start + i, j] = words[j, i]


@njit(**EXACT)
def _drop(first: Any, k0: Any, k1: Any, threshold: Any, scale: Any, x: Any, words: Any, out: Any) -> None:
    """out = x * scale where its word reaches the threshold, else 0; ``words`` is working memory (4, chunk)."""
    whole = x.size // 4
    for start in range(0, whole, words.shape[1]):
        random_blocks(first + _u64(start), k0, k1, words)
        count = min(words.shape[1], whole - start)
        source = x[4 * start : 4 * (start + count)].reshape(count, 4)
        target = out[4 * start : 4 * (start + count)].reshape(count, 4)
        for i in range(count):
            for j in range(4):
                target[i, j] = source[i, j] * scale if words[j, i] >= threshold else np.float32(0.0)
    if 4 * whole < x.size:
        random_blocks(first + _u64(whole), k0, k1, words[:, :1])
        for j in range(x.size - 4 * whole):
            out[4 * whole + j] = x[4 * whole + j] * scale if words[j, 0] >= threshold else np.float32(0.0)


def _memory() -> Any:
    return np.empty((4, _CHUNK), _u32)


def philox(xp: Any, key: tuple[int, int], count: int) -> Any:
    """As the reference."""
    if xp is not np:
        return reference_random.philox(xp, key, count)
    out = np.empty(((count + 3) // 4, 4), _u32)
    k0, k1 = _u64(key[0]), _u64(key[1])
    run_tiles(lambda lo, hi: _blocks(_u64(lo), k0, k1, _memory(), out[lo:hi]), len(out), _BLOCKS)
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
        _drop(_u64(lo // 4), k0, k1, threshold, scale, flat[lo:hi], _memory(), out[lo:hi])

    run_tiles(work, flat.size, 4 * _BLOCKS)
    return out.reshape(x.shape)
