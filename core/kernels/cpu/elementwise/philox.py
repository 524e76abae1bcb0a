"""Philox4x32-10 in vector code, and the dropout made of it: the reference's bits."""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ...reference import dropout as reference_dropout
from ...reference import random as reference_random
from ..lanes.spans import FLOAT32, flat
from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for

_u64, _u32, _f = np.uint64, np.uint32, np.float32
_M0, _M1, _LOW = 0xD2511F53, 0xCD9E8D57, 0xFFFFFFFF
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_BLOCKS = 8  # blocks of four words made at once, one in each 64-bit lane
_STEP = 4 * _BLOCKS
_TILE = 1 << 15  # words that one thread makes at a time
_CHUNK = 1 << 10  # words between making and using them: they stay in the first-level cache
_LANES = ir.VectorType(ir.IntType(64), _BLOCKS)


def _splat(builder: Any, value: Any) -> Any:
    undefined, zero = ir.Constant(_LANES, ir.Undefined), ir.Constant(ir.IntType(32), 0)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), _BLOCKS), [0] * _BLOCKS)
    return builder.shuffle_vector(builder.insert_element(undefined, value, zero), undefined, zeros)


def _same(value: int) -> Any:
    return ir.Constant(_LANES, [value] * _BLOCKS)


def _rounds(builder: Any, c: list[Any], k0: Any, k1: Any) -> list[Any]:
    """Ten rounds over four words a lane; what lies above their 32 bits means nothing."""
    low, half = _same(_LOW), _same(32)
    for turn in range(10):
        a, b = (_splat(builder, builder.add(k, ir.Constant(k.type, turn * w))) for k, w in ((k0, _W0), (k1, _W1)))
        p0 = builder.mul(builder.and_(c[0], low), _same(_M0))
        p1 = builder.mul(builder.and_(c[2], low), _same(_M1))
        c = [
            builder.xor(builder.xor(builder.lshr(p1, half), c[1]), a), p1,
            builder.xor(builder.xor(builder.lshr(p0, half), c[3]), b), p0,
        ]  # fmt: skip
    return c


@intrinsic
def _make_words(typing_context, first, k0, k1, out, position):
    """The words of blocks ``first`` to ``first + 7`` into 32 places of a contiguous uint32 array."""

    def generate(context, builder, signature, arguments):
        start, k0, k1, out, position = arguments
        index = builder.add(_splat(builder, start), ir.Constant(_LANES, list(range(_BLOCKS))))
        c = _rounds(builder, [index, builder.lshr(index, _same(32)), _same(0), _same(0)], k0, k1)
        pairs = [builder.or_(builder.and_(c[i], _same(_LOW)), builder.shl(c[i + 1], _same(32))) for i in (0, 2)]
        order = [lane for i in range(_BLOCKS) for lane in (i, i + _BLOCKS)]
        mixed = builder.shuffle_vector(*pairs, ir.Constant(ir.VectorType(ir.IntType(32), 2 * _BLOCKS), order))
        data = context.make_array(signature.args[3])(context, builder, value=out).data
        words = builder.bitcast(mixed, ir.VectorType(ir.IntType(32), _STEP))
        builder.store(words, builder.bitcast(builder.gep(data, [position]), words.type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64, out, types.intp), generate


@njit(**EXACT)
def random_words(first: Any, k0: Any, k1: Any, out: Any) -> None:
    """Words of blocks first, first + 1, ... into ``out`` (words,), whose length is a multiple of 32."""
    for i in range(0, out.size, _STEP):
        _make_words(first + _u64(i // 4), k0, k1, out, i)


@njit(**EXACT)
def _some_words(t: Any, k0: Any, k1: Any, out: Any) -> None:
    here = out[t * _TILE : (t + 1) * _TILE]
    whole = here.size // _STEP * _STEP
    random_words(_u64(t * _TILE // 4), k0, k1, here[:whole])
    if whole < here.size:
        rest = np.empty(_STEP, _u32)
        random_words(_u64((t * _TILE + whole) // 4), k0, k1, rest)
        here[whole:] = rest[: here.size - whole]


@njit(**EXACT)
def _all_words(k0: Any, k1: Any, out: Any) -> None:
    parallel_for(_some_words, (out.size + _TILE - 1) // _TILE, (k0, k1, out))


@njit(**EXACT)
def _drop_some(t: Any, k0: Any, k1: Any, threshold: Any, scale: Any, x: Any, out: Any) -> None:
    words = np.empty(_CHUNK, _u32)
    for start in range(t * _TILE, min((t + 1) * _TILE, x.size), _CHUNK):
        random_words(_u64(start // 4), k0, k1, words)
        a, y = x[start : start + _CHUNK], out[start : start + _CHUNK]
        for i in range(y.size):
            y[i] = a[i] * scale if words[i] >= threshold else _f(0.0)


@njit(**EXACT)
def _drop(k0: Any, k1: Any, threshold: Any, scale: Any, x: Any, out: Any) -> None:
    """out = x * scale where its word reaches the threshold, else 0."""
    parallel_for(_drop_some, (x.size + _TILE - 1) // _TILE, (k0, k1, threshold, scale, x, out))


def philox(xp: Any, key: tuple[int, int], count: int) -> Any:
    """As the reference."""
    if xp is not np:
        return reference_random.philox(xp, key, count)
    out = np.empty(count, _u32)
    _all_words(_u64(key[0]), _u64(key[1]), out)
    return out


def dropout(x: Any, p: float, key: tuple[int, int]) -> Any:
    """As the reference."""
    if x.dtype != FLOAT32:
        return reference_dropout.dropout(x, p, key)
    out = np.empty(x.shape, FLOAT32)
    threshold, scale = _u32(reference_dropout.threshold(p)), _f(1.0 / (1.0 - p))
    _drop(_u64(key[0]), _u64(key[1]), threshold, scale, flat(x), out.ravel())
    return out
