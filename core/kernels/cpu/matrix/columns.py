"""Products of a few rows with a weight in 4, 8 or 16 bits that lies by columns: (out, in) in Fortran's order.

Sixteen neighbouring numbers are one term of sixteen results: a load and a conversion, where ``stream`` has to turn a weight that
lies by rows. The sums are those of ``gemv``, term by term, so the bits are too. What counts is how fast the weight is read.

Of int4, a byte has two terms of a result. The four bits of one become the highest of a float's fraction, 1 + n / 16 for n from 0
to 15, so that one fused multiply-add gives (n - 8) * scale: exactly, as a scale has 8 significant bits.
"""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..lanes.moves import fetch
from ..lanes.pointers import floats, hold
from ..lanes.simd import LANES, fma, load_at, multiply, splat, store_at, vector
from ..running.compiled import EXACT, any_layout, njit
from ..running.parallel import parallel_for
from ..running.threads import thread_count
from .gemm import DEPTH, finish
from .gemv import PART, add

_LEAST, _MOST = 128, 2048  # results of a row that a task computes: their numbers lie side by side
_TERMS = 8  # of a sum that are added at a time: results stay in registers meanwhile

PAIRS = 0
"""Bytes of a weight, where a byte has two."""
_AHEAD = _TERMS // 2  # lines of pairs that are fetched before they are read
_LINE = 64  # bytes that memory is read in
_I8, _I16, _I32 = ir.IntType(8), ir.IntType(16), ir.IntType(32)
_WORDS = ir.VectorType(_I32, LANES)
_FLOATS = ir.VectorType(ir.FloatType(), LANES)


@intrinsic
def _int8_at(typing_context, address):
    """The 16 int8 from an address on, as floats."""

    def generate(context, builder, signature, arguments):
        kind = ir.VectorType(_I8, LANES)
        found = builder.load(builder.inttoptr(arguments[0], kind.as_pointer()), align=1)
        return builder.sitofp(builder.sext(found, _WORDS), _FLOATS)

    return vector(types.int64), generate


@intrinsic
def _bf16_at(typing_context, address):
    """The 16 bfloat16 from an address on, as floats."""

    def generate(context, builder, signature, arguments):
        kind = ir.VectorType(_I16, LANES)
        found = builder.load(builder.inttoptr(arguments[0], kind.as_pointer()), align=2)
        return builder.bitcast(builder.shl(builder.zext(found, _WORDS), ir.Constant(_WORDS, [16] * LANES)), _FLOATS)

    return vector(types.int64), generate


def _half_at(shift: int) -> Any:
    """What reads 16 bytes, shifts four bits of each to where a fraction begins, and gives 1 + n / 16 of them as floats."""

    @intrinsic
    def half_at(typing_context, address):
        def generate(context, builder, signature, arguments):
            kind = ir.VectorType(_I8, LANES)
            found = builder.zext(builder.load(builder.inttoptr(arguments[0], kind.as_pointer()), align=1), _WORDS)
            found = builder.shl(found, ir.Constant(_WORDS, [shift] * LANES))
            found = builder.and_(found, ir.Constant(_WORDS, [0xF << 19] * LANES))
            return builder.bitcast(builder.or_(found, ir.Constant(_WORDS, [0x3F800000] * LANES)), _FLOATS)

        return vector(types.int64), generate

    return half_at


_earlier_at, _later_at = _half_at(19), _half_at(15)


@njit(**EXACT)
def _two(w: Any, scale: Any, shift: Any) -> Any:
    """Both terms of 16 bytes. ``scale`` is 16 times that of the weight, ``shift`` -24 times."""
    return fma(_earlier_at(w), scale, shift), fma(_later_at(w), scale, shift)


@njit(**EXACT)
def _number(x: Any, k: Any) -> Any:
    return splat(floats(x + 4 * k, 1)[0])


@njit(**EXACT)
def _eight_int8(w: Any, step: Any, scale: Any, x: Any, x_step: Any, rows: Any, sums: Any, sums_step: Any) -> None:
    """sums (rows, 16) += eight terms."""
    a, b = multiply(_int8_at(w), scale), multiply(_int8_at(w + step), scale)
    c, d = multiply(_int8_at(w + 2 * step), scale), multiply(_int8_at(w + 3 * step), scale)
    e, f = multiply(_int8_at(w + 4 * step), scale), multiply(_int8_at(w + 5 * step), scale)
    g, h = multiply(_int8_at(w + 6 * step), scale), multiply(_int8_at(w + 7 * step), scale)
    for r in range(rows):
        _add_eight((a, b, c, d, e, f, g, h), x + r * x_step, sums + r * sums_step)


@njit(**EXACT)
def _eight_bf16(w: Any, step: Any, x: Any, x_step: Any, rows: Any, sums: Any, sums_step: Any) -> None:
    """As above."""
    a, b, c, d = _bf16_at(w), _bf16_at(w + step), _bf16_at(w + 2 * step), _bf16_at(w + 3 * step)
    e, f, g, h = _bf16_at(w + 4 * step), _bf16_at(w + 5 * step), _bf16_at(w + 6 * step), _bf16_at(w + 7 * step)
    for r in range(rows):
        _add_eight((a, b, c, d, e, f, g, h), x + r * x_step, sums + r * sums_step)


@njit(**EXACT)
def _eight_int4(w: Any, step: Any, scale: Any, x: Any, x_step: Any, rows: Any, sums: Any, sums_step: Any) -> None:
    """As above, of four lines of bytes."""
    shift = multiply(scale, splat(np.float32(-1.5)))
    a, b = _two(w, scale, shift)
    c, d = _two(w + step, scale, shift)
    e, f = _two(w + 2 * step, scale, shift)
    g, h = _two(w + 3 * step, scale, shift)
    for r in range(rows):
        _add_eight((a, b, c, d, e, f, g, h), x + r * x_step, sums + r * sums_step)


@njit(**EXACT)
def _add_eight(terms: Any, x: Any, sums: Any) -> None:
    a, b, c, d, e, f, g, h = terms
    total = fma(_number(x, 0), a, load_at(sums))
    total = fma(_number(x, 1), b, total)
    total = fma(_number(x, 2), c, total)
    total = fma(_number(x, 3), d, total)
    total = fma(_number(x, 4), e, total)
    total = fma(_number(x, 5), f, total)
    total = fma(_number(x, 6), g, total)
    store_at(sums, fma(_number(x, 7), h, total))


@njit(**EXACT)
def _one(term: Any, x: Any, x_step: Any, rows: Any, sums: Any, sums_step: Any) -> None:
    for r in range(rows):
        place = sums + r * sums_step
        store_at(place, fma(_number(x + r * x_step, 0), term, load_at(place)))


@njit(**EXACT)
def _add_terms(weight: Any, step: Any, kind: Any, columns: Any, x: Any, x_step: Any, rows: Any, many: Any, sums: Any) -> None:
    """sums (rows, wide) += ``many`` terms; weight and x are at the first. ``kind``: (factors, bytes of a number)."""
    factors, width = kind
    first, count, wide = columns
    k = 0
    while k < many:
        together = _TERMS if many - k >= _TERMS else 1
        for j in range(0, wide, LANES):
            w = weight + k * step + min(first + j, count - LANES) * width  # the last 16 end with the last result
            left, here = x + 4 * k, sums + 4 * j
            if j * width % _LINE == 0:
                for i in range(_TERMS):
                    fetch(w + (_TERMS + i) * step)
            if width == 2 and together == _TERMS:
                _eight_bf16(w, step, left, x_step, rows, here, 4 * wide)
            elif width == 2:
                _one(_bf16_at(w), left, x_step, rows, here, 4 * wide)
            elif together == _TERMS:
                _eight_int8(w, step, load_at(factors + 4 * j), left, x_step, rows, here, 4 * wide)
            else:
                _one(multiply(_int8_at(w), load_at(factors + 4 * j)), left, x_step, rows, here, 4 * wide)
        k += together


@njit(**EXACT)
def _add_pairs(weight: Any, step: Any, factors: Any, columns: Any, x: Any, x_step: Any, rows: Any, many: Any, sums: Any) -> None:
    """As ``_add_terms`` of int4; ``factors`` are 16 times the scales. The first term is the earlier one of its byte."""
    first, count, wide = columns
    k = 0
    while k < many:
        together = _TERMS if many - k >= _TERMS else 1
        for j in range(0, wide, LANES):
            w = weight + k // 2 * step + min(first + j, count - LANES)
            left, here, scale = x + 4 * k, sums + 4 * j, load_at(factors + 4 * j)
            if together == _TERMS:
                if j % _LINE == 0:
                    for i in range(_TERMS // 2):
                        fetch(w + (_AHEAD + i) * step)
                _eight_int4(w, step, scale, left, x_step, rows, here, 4 * wide)
            else:
                earlier, later = _two(w, scale, multiply(scale, splat(np.float32(-1.5))))
                _one(later if k % 2 else earlier, left, x_step, rows, here, 4 * wide)
        k += together


@njit(**EXACT)
def _scales_of(scaling: Any, place: Any, columns: Any, factors: Any) -> None:
    """The scales of ``wide`` results, those of a group at ``place``, as they are multiplied with."""
    _, across, _, _, width = scaling
    first, count, wide = columns
    if width == PAIRS:
        for j in range(0, wide, LANES):
            at = place + 2 * min(first + j, count - LANES)
            store_at(factors.ctypes.data + 4 * j, multiply(_bf16_at(at), splat(np.float32(16.0))))
    else:
        for j in range(wide):
            column = min(first + j // LANES * LANES, count - LANES) + j % LANES
            factors[j] = floats(place + column * across, 1)[0]


@njit(**EXACT)
def _task(t: Any, x: Any, x_step: Any, rows: Any, weight: Any, step: Any, scaling: Any, c: Any, size: Any, after: Any) -> None:
    depth, count, span = size
    scales, _, along, group, width = scaling
    first = t * span
    stop = min(count, first + span)
    wide = (stop - first + LANES - 1) // LANES * LANES
    memory = np.empty((3 * rows + 1) * wide, np.float32)
    block, part = memory[: rows * wide], memory[rows * wide : 2 * rows * wide]
    total, factors = memory[2 * rows * wide : 3 * rows * wide], memory[3 * rows * wide :]
    columns, kind, held = (first, count, wide), (factors.ctypes.data, width), -1
    for start in range(0, depth, DEPTH):
        block[:] = np.float32(0.0)
        k, end = start, min(depth, start + DEPTH)
        while k < end:
            many = end - k
            if scales:
                here = k // group
                many = min(many, (here + 1) * group - k)
                if here != held:
                    _scales_of(scaling, scales + here * along, columns, factors)
                    held = here
            if width == PAIRS:
                place = weight + k // 2 * step
                _add_pairs(place, step, factors.ctypes.data, columns, x + 4 * k, x_step, rows, many, block.ctypes.data)
            else:
                _add_terms(weight + k * step, step, kind, columns, x + 4 * k, x_step, rows, many, block.ctypes.data)
            k += many
        add(part, block, start % PART == 0)
        if end % PART == 0 or end == depth:
            add(total, part, start < PART)
    for r in range(rows):
        out = floats(c + 4 * (r * count + first), stop - first)
        for j in range(wide):
            column = min(first + j // LANES * LANES, count - LANES) + j % LANES - first
            if column >= 0:
                out[column] = total[r * wide + j]
    finish(c + 4 * first, 4 * count, rows, stop - first, first, after, 4 * count)
    hold(memory)


_THREADS = thread_count()
_MATRIX, _RESULT, _FIVE = any_layout(2), any_layout(2, writable=True), types.UniTuple(types.int64, 5)
_SIGNATURES = [
    types.void(_MATRIX, any_layout(2, dtype=kind), _MATRIX, types.int64, types.int64, _RESULT, _FIVE)
    for kind in (types.int8, types.uint16)
]
_BYTES, _HALVES = any_layout(2, dtype=types.uint8), any_layout(2, dtype=types.uint16)


@njit(**EXACT)
def columns_at(
    x: Any, x_step: Any, rows: Any, weight: Any, step: Any, scaling: Any, c: Any, size: Any, after: Any
) -> None:  # fmt: skip
    """As ``columns_few`` of addresses.

    ``scaling``: (address of scales or 0, steps of outputs and groups, terms of a group, bytes of a weight or PAIRS). Of int4 a
    group has an even number of terms, and the scales, of bfloat16, lie side by side along the outputs.
    ``size``: (terms, results of a row, results of a row that a task computes).
    """
    _, count, span = size
    parallel_for(_task, (count + span - 1) // span, (x, x_step, rows, weight, step, scaling, c, size, after))


@njit(signatures=[types.int64(types.int64, types.int64)], **EXACT)
def span_at(count: Any, threads: Any) -> Any:
    """``span_of`` with so many threads."""
    return min(_MOST, max(_LEAST, ((count + threads - 1) // threads + LANES - 1) // LANES * LANES))


@njit(signatures=_SIGNATURES, **EXACT)
def _product(x: Any, weight: Any, scales: Any, group: Any, threads: Any, c: Any, after: Any) -> None:
    count, depth = weight.shape
    factors = np.int64(scales.ctypes.data) if scales.size else np.int64(0)
    scaling = (factors, scales.strides[0], scales.strides[1], group, weight.itemsize)
    size = depth, count, span_at(count, threads)
    columns_at(
        x.ctypes.data, x.strides[0], x.shape[0], weight.ctypes.data, weight.strides[1], scaling, c.ctypes.data, size, after
    )  # fmt: skip


@njit(signatures=[types.void(_MATRIX, _BYTES, _HALVES, types.int64, types.int64, _RESULT, _FIVE)], **EXACT)
def _product_int4(x: Any, weight: Any, scales: Any, group: Any, threads: Any, c: Any, after: Any) -> None:
    count = weight.shape[0]
    scaling = np.int64(scales.ctypes.data), 2, scales.strides[1], group, PAIRS
    size = x.shape[1], count, span_at(count, threads)
    columns_at(
        x.ctypes.data, x.strides[0], x.shape[0], weight.ctypes.data, weight.strides[1], scaling, c.ctypes.data, size, after
    )  # fmt: skip


def span_of(count: int) -> int:
    """How many of ``count`` results of a row a task computes."""
    return int(span_at(count, _THREADS))


def by_columns(weight: Any) -> bool:
    """Whether a weight (out, in) lies as ``columns_few`` reads it."""
    return bool(weight.strides[0] == weight.itemsize and weight.shape[0] >= LANES)


def columns_few(x: Any, weight: Any, scales: Any, group: int, c: Any, after: tuple[int, int, int, int, int]) -> None:
    """c (rows, out) = x (rows, in) @ weight (out, in) transposed, then ``after``.

    Args:
        x: float32, the last axis without gaps.
        weight: of int8, or bfloat16 as uint16, for which ``by_columns`` holds.
        scales: (out, groups) float32 of an int8 weight; empty for bfloat16.
        group: terms that share a scale.
        c: float32 in C order.
        after: as ``after.ends`` gives it.
    """
    _product(x, weight, scales, group, _THREADS, c, after)


def columns_int4(x: Any, weight: Any, scales: Any, group: int, c: Any, after: tuple[int, int, int, int, int]) -> None:
    """As ``columns_few`` with a weight (out, in / 2) of two numbers a byte, and scales (out, groups) of bfloat16 as uint16.

    Both lie by columns; ``group`` is even.
    """
    _product_int4(x, weight, scales, group, _THREADS, c, after)
