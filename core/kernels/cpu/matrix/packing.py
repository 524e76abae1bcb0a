"""Words of short numbers, as ``dots`` multiplies them: what comes in is rounded row by row, weights are woven panel by panel.

A weight lies by columns, (out, in) in Fortran's order, as ``columns`` reads it.
"""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..lanes.pointers import floats, halves, octets, words
from ..lanes.vector_math import bits_float, float_bits
from ..running.compiled import EXACT, njit
from .microkernel import COLUMNS, LANES

MOST = 1 << 16
"""Terms of a sum of int8 products that are added in int32: 127 * 255 of each stay below 2**31."""
_PLAIN: dict[str, Any] = EXACT | {"fastmath": False}  # each operation is rounded by itself

_f, _i, _u = np.float32, np.int32, np.uint32
_ROUNDER = _f(12582912.0)  # 1.5 * 2**23: added to a number below 2**22 it leaves the nearest whole one in the low bits
_BITS = ir.IntType(32)


def _woven(builder: Any, left: Any, right: Any) -> Any:
    """The numbers of two vectors in turns."""
    count = left.type.count
    order = [i // 2 + count * (i % 2) for i in range(2 * count)]
    return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(_BITS, 2 * count), order))


def _read(builder: Any, address: Any, bits: int) -> Any:
    kind = ir.VectorType(ir.IntType(bits), COLUMNS)
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=bits // 8)


def _write(builder: Any, value: Any, address: Any) -> None:
    value = builder.bitcast(value, ir.VectorType(_BITS, COLUMNS))
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=4)


@intrinsic
def _weave_four(typing_context, first, step, target):
    """Four rows of int8, a panel wide, as words of unsigned numbers: 128 more than they were."""

    def generate(context, builder, signature, arguments):
        place, step, target = arguments
        rows = []
        for _ in range(4):
            rows.append(_read(builder, place, 8))
            place = builder.add(place, step)
        sides = ir.VectorType(ir.IntType(16), COLUMNS)
        low, high = (builder.bitcast(_woven(builder, rows[i], rows[i + 1]), sides) for i in (0, 2))
        whole = builder.bitcast(_woven(builder, low, high), ir.VectorType(ir.IntType(8), 4 * COLUMNS))
        _write(builder, builder.xor(whole, ir.Constant(whole.type, [0x80] * whole.type.count)), target)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), generate


@intrinsic
def _weave_two(typing_context, first, step, target, lowest):
    """Two rows of bfloat16, a panel wide, as words with the first in the upper half; ``lowest``: of ``low`` of each column."""

    def generate(context, builder, signature, arguments):
        place, step, target, lowest = arguments
        rows = [_read(builder, place, 16), _read(builder, builder.add(place, step), 16)]
        _write(builder, _woven(builder, rows[1], rows[0]), target)
        kind = rows[0].type
        smaller = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind, kind]), f"llvm.umin.v{COLUMNS}i16")
        found = _read(builder, lowest, 16)
        for row in rows:
            size = builder.and_(row, ir.Constant(kind, [0x7FFF] * COLUMNS))
            found = builder.call(smaller, [found, builder.sub(size, ir.Constant(kind, [1] * COLUMNS))])
        builder.store(found, builder.inttoptr(lowest, kind.as_pointer()), align=2)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


@njit(**EXACT)
def width_of_vectors(width: Any) -> Any:
    """(vectors, numbers of the last of them) that ``width`` columns of a panel take."""
    vectors = (width + LANES - 1) // LANES
    return vectors, width - LANES * (vectors - 1)


# ---- int8


@njit(**EXACT)
def part_end(k: Any, group: Any, depth: Any) -> Any:
    """Where the sum that begins at term ``k`` ends: terms of one scale, and no more than ``MOST``."""
    return min(depth, min((k // group + 1) * group, k + MOST))


@njit(**EXACT)
def parts_of(depth: Any, group: Any) -> Any:
    """(parts that a sum is cut into, bytes that a row takes: each part begins with a word)."""
    parts, size, k = 0, 0, 0
    while k < depth:
        end = part_end(k, group, depth)
        parts, size = parts + 1, size + (end - k + 3) // 4 * 4
        k = end
    return parts, size


@njit(**EXACT)
def quantize_row(x: Any, depth: Any, group: Any, target: Any, sums: Any, scales: Any) -> None:
    """A row of floats as int8 in words, and for each part the sum and the scale.

    The largest number of a part becomes 127, others go to the nearest, ties to even. A part that is not finite becomes 0, its
    scale NaN.
    """
    k, part, place = 0, 0, target
    while k < depth:
        end = part_end(k, group, depth)
        floats(scales + 4 * part, 1)[0] = _quantize(x + 4 * k, place, end - k, sums + 4 * part)
        place += (end - k + 3) // 4 * 4
        k, part = end, part + 1


@njit(**_PLAIN)
def _quantize(x: Any, target: Any, many: Any, total: Any) -> Any:
    source, out, added, largest = floats(x, many), octets(target, many), _i(0), _i(0)
    for j in range(many):
        size = _i(float_bits(source[j]) & _i(0x7FFFFFFF))
        largest = max(largest, size)
    finite = largest < _i(0x7F800000)
    scale = bits_float(largest) / _f(127.0)
    by = scale if scale > _f(0.0) and finite else _f(np.inf)
    for j in range(many):
        share = source[j] / by
        share = _f(0.0) if share != share else share  # of what is not finite
        share = min(max(share, _f(-127.0)), _f(127.0))
        whole = _i(float_bits(share + _ROUNDER) - _i(0x4B400000))
        out[j] = np.int8(whole)
        added = _i(added + whole)
    words(total, 1)[0] = added
    for j in range(many, (many + 3) // 4 * 4):
        octets(target + j, 1)[0] = np.int8(0)
    if not finite:
        return _f(np.nan)
    return scale if scale > _f(0.0) else _f(1.0)


@njit(**EXACT)
def weave_int8(weight: Any, step: Any, many: Any, first: Any, width: Any, target: Any) -> None:
    """``many`` terms of a panel of ``width`` columns from ``first`` on, as words; ``weight`` is at the first term."""
    place = weight + first
    for i in range(many // 4 if width == COLUMNS else 0):
        _weave_four(place + 4 * i * step, step, target + 4 * COLUMNS * i)
    begun = many // 4 * 4 if width == COLUMNS else 0
    for k in range(begun, many):
        here = target + 4 * COLUMNS * (k // 4)
        if k % 4 == 0:
            words(here, COLUMNS)[:] = _i(0)
        out, row = octets(here, 4 * COLUMNS), octets(place + k * step, width)
        for j in range(width):
            out[4 * j + k % 4] = row[j] ^ np.int8(-128)


# ---- bfloat16


@njit(**EXACT)
def round_row(x: Any, depth: Any, target: Any) -> Any:
    """A row of floats as pairs of the nearest bfloat16, ties to even; gives ``low`` of the row."""
    source, out, lowest = floats(x, depth), words(target, (depth + 1) // 2), np.uint16(0xFFFF)
    for j in range(depth // 2):
        upper, lower = _nearest(source[2 * j]), _nearest(source[2 * j + 1])
        out[j] = _i(upper << _u(16)) | _i(lower)
        lowest = min(lowest, min(_low(upper), _low(lower)))
    if depth % 2:
        upper = _nearest(source[depth - 1])
        out[depth // 2] = _i(upper << _u(16))
        lowest = min(lowest, _low(upper))
    return lowest


@njit(**EXACT)
def round_floats(x: Any, count: Any) -> None:
    """Floats, in place, to the nearest bfloat16."""
    numbers = floats(x, count)
    for j in range(count):
        numbers[j] = bits_float(_i(_nearest(numbers[j]) << _u(16)))


@njit(**EXACT)
def _nearest(x: Any) -> Any:
    """The bits of the bfloat16 nearest to a float32."""
    bits = _u(float_bits(x))
    near = _u(bits + _u(0x7FFF) + _u(_u(bits >> _u(16)) & _u(1)))
    nan = _u(bits & _u(0x80000000)) | _u(0x7FC00000)
    return _u((near if x == x else nan) >> _u(16))


@njit(**EXACT)
def _low(bits: Any) -> Any:
    """The bits of a bfloat16's size, less one: of 0 they are the largest."""
    return np.uint16(_u(_u(bits & _u(0x7FFF)) - _u(1)))


@njit(**EXACT)
def weave_bfloat16(weight: Any, step: Any, many: Any, first: Any, width: Any, target: Any) -> Any:
    """``many`` terms of a panel of ``width`` columns from ``first`` on, as words; gives the least ``low`` of them."""
    memory = np.full(COLUMNS, np.uint16(0xFFFF), np.uint16)
    place, lowest = weight + 2 * first, memory.ctypes.data
    for i in range(many // 2 if width == COLUMNS else 0):
        _weave_two(place + 2 * i * step, step, target + 4 * COLUMNS * i, lowest)
    begun = many // 2 * 2 if width == COLUMNS else 0
    for k in range(begun, many):
        here = target + 4 * COLUMNS * (k // 2)
        if k % 2 == 0:
            words(here, COLUMNS)[:] = _i(0)
        out, row = halves(here, 2 * COLUMNS), halves(place + k * step, width)
        for j in range(width):
            out[2 * j + 1 - k % 2] = row[j]
            memory[j] = min(memory[j], _low(_u(row[j])))
    return memory.min()


@njit(**EXACT)
def no_underflow(left: Any, right: Any) -> Any:
    """Whether no number and no sum of products can be below the smallest normal float32, but for 0, given ``low`` of both sides.

    A bfloat16 of exponent e is a multiple of 2**(e - 134); so a sum is one of 2**(e + e' - 268), and that is 2**-126 at least.
    """
    e, other = (np.int64(left) + 1) >> 7, (np.int64(right) + 1) >> 7
    return e >= 1 and other >= 1 and e + other >= 142
