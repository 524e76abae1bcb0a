"""Products of numbers that are short on both sides: int8 by int8 in whole numbers, bfloat16 by bfloat16 in float32.

What comes in is rounded first: to int8 with a scale for each row and group of terms, or to the nearest bfloat16. Then a result
is a function of its row and its column alone. Sums of int8 are exact; those of bfloat16 have the bits that ``linear`` has on the
same numbers in float32, summed in its blocks and parts.
"""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..lanes.moves import fetch, load_few, store_few
from ..lanes.pointers import floats, halves, hold, words
from ..lanes.simd import LANES, add, load_at, multiply, splat, store_at, vector
from ..running.compiled import EXACT, any_layout, njit
from ..running.parallel import parallel_for
from ..running.threads import thread_count
from .columns import span_at
from .dots import micro_bfloat16, micro_chain, micro_int8
from .gemm import DEPTH, finish
from .gemv import FEW, PART
from .microkernel import COLUMNS, ROWS
from .packing import (
    no_underflow,
    part_end,
    parts_of,
    quantize_row,
    round_row,
    weave_bfloat16,
    weave_int8,
    width_of_vectors,
)

_ENOUGH = 16  # tasks that keep the cores of a large machine busy
_CHUNK = 64 * ROWS  # rows of a task at most
_FEWEST = 16 * ROWS  # below which weaving the weight costs too much
_ROOM = 1 << 14  # bytes of woven weights: a core's nearest cache holds them
_WIDE = 512  # results of a few rows that a task computes at most: some terms of all of them are woven at a time
_AHEAD = 48  # terms that weights are fetched before they are woven
_GRAIN = 1 << 14  # numbers that are worth a task
_THREADS = thread_count()

_MATRIX, _RESULT, _FIVE = any_layout(2), any_layout(2, writable=True), types.UniTuple(types.int64, 5)
_BYTES, _HALVES = any_layout(2, dtype=types.int8), any_layout(2, dtype=types.uint16)


@njit(**EXACT)
def _up(n: Any, step: Any) -> Any:
    return (n + step - 1) // step


@njit(signatures=[types.int64(types.int64, types.int64)], **EXACT)
def _few_span(columns: Any, threads: Any) -> Any:
    tasks = _up(columns, span_at(columns, threads))
    return _up(_up(columns, _up(_up(columns, _WIDE), tasks) * tasks), COLUMNS) * COLUMNS


def few_span(columns: int) -> int:
    """How many of ``columns`` results of a few rows a task of ``int8_at`` computes."""
    return int(_few_span(columns, _THREADS))


@njit(**EXACT)
def _plan(rows: Any, columns: Any, threads: Any) -> Any:
    """(rows, columns) of a task. Many rows take a panel at a time; few rows read as much of the weight as lies together."""
    if rows <= FEW:
        return rows, _few_span(columns, threads)
    chunk = _up(_up(rows, _up(rows, _CHUNK)), ROWS) * ROWS
    while chunk > _FEWEST and _up(rows, chunk) * _up(columns, COLUMNS) < _ENOUGH:
        chunk = _up(chunk // 2, ROWS) * ROWS
    return chunk, COLUMNS


@njit(**EXACT)
def _finish(c: Any, many: Any, size: Any, top: Any, first: Any, width: Any, after: Any) -> None:
    """What comes after, on ``width`` columns from ``first`` on of ``many`` rows from ``top`` on, which lie at c."""
    bias, scale, shift, residual, activation = after
    if bias or scale or residual or activation:
        step = 4 * size[2]
        beside = residual + top * step if residual else 0
        finish(c, step, many, width, first, (bias, scale, shift, beside, activation), step)


# ---- int8


@njit(**EXACT)
def _quantize_rows(t: Any, span: Any, x: Any, x_step: Any, size: Any, group: Any, out: Any, sums: Any, scales: Any) -> None:
    rows, depth, parts, wide = size
    for r in range(t * span, min(rows, (t + 1) * span)):
        place = 4 * r * parts
        quantize_row(x + r * x_step, depth, group, out + r * wide, sums + place, scales + place)


@intrinsic
def _whole_at(typing_context, address, raised):
    """The 16 int32 from an address on, less a number, as floats."""

    def generate(context, builder, signature, arguments):
        kind = ir.VectorType(ir.IntType(32), LANES)
        found = builder.load(builder.inttoptr(arguments[0], kind.as_pointer()), align=4)
        undefined, first = ir.Constant(kind, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        less = builder.insert_element(undefined, arguments[1], first)
        less = builder.shuffle_vector(less, undefined, ir.Constant(kind, None))
        return builder.sitofp(builder.sub(found, less), ir.VectorType(ir.FloatType(), LANES))

    return vector(types.int64, types.int32), generate


@njit(**EXACT)
def _scaled(
    whole: Any, step: Any, rows: Any, left: Any, parts: Any, factors: Any, c: Any, c_step: Any, wide: Any, fresh: Any
) -> None:  # fmt: skip
    """c (rows, wide) = or += the sums of a part, each times its column's factor and then its row's.

    What the weights were raised by is taken off. ``factors`` and a row at ``whole`` have room for whole vectors. ``left``: (sums,
    factors) of the rows in this part, ``parts`` numbers from row to row.
    """
    sums, scales = left
    for r in range(rows):
        raised = np.int32(np.int32(128) * words(sums + 4 * r * parts, 1)[0])
        by = splat(floats(scales + 4 * r * parts, 1)[0])
        for j in range(0, wide, LANES):
            value = multiply(multiply(_whole_at(whole + r * step + 4 * j, raised), load_at(factors + 4 * j)), by)
            place, many = c + r * c_step + 4 * j, min(LANES, wide - j)
            if many == LANES:
                store_at(place, value if fresh else add(load_at(place), value))
            else:
                store_few(place, value if fresh else add(load_few(place, many), value), many)


@njit(**EXACT)
def _int8_task(t: Any, left: Any, weight: Any, step: Any, scaling: Any, c: Any, size: Any, plan: Any, after: Any) -> None:
    x, x_sums, x_scales, parts, x_step = left
    scales, across, along, group = scaling
    rows, depth, columns = size
    chunk, span = plan
    first, top = t % _up(columns, span) * span, t // _up(columns, span) * chunk
    many, width, c_step = min(chunk, rows - top), min(span, columns - first), 4 * columns
    block = min(128, max(4, _ROOM // (4 * span))) * 4  # terms
    woven, line = block // 4 * _up(width, COLUMNS) * COLUMNS, _up(width, LANES) * LANES
    memory = np.empty(woven + many * line + line, np.int32)  # in one piece: a few rows take little longer than asking for it
    room = memory.ctypes.data
    whole, factors = room + 4 * woven, room + 4 * (woven + many * line)
    x, x_sums, x_scales = x + top * x_step, x_sums + 4 * top * parts, x_scales + 4 * top * parts
    c = c + top * c_step + 4 * first
    start, part = 0, 0
    while start < depth:
        end = part_end(start, group, depth)
        for k in range(start, end, block):
            deep = min(block, end - k)
            for i in range(0, deep, 4):  # as the weight lies
                for j in range(0, width, COLUMNS):
                    source = weight + (k + i) * step
                    for ahead in range(_AHEAD, _AHEAD + 4):
                        fetch(source + ahead * step + first + j)
                    place = room + 4 * j * _up(deep, 4) + COLUMNS * i
                    weave_int8(source, step, min(4, deep - i), first + j, min(COLUMNS, width - j), place)
            for j in range(0, width, COLUMNS):
                vectors, last = width_of_vectors(min(COLUMNS, width - j))
                place = room + 4 * j * _up(deep, 4)
                for r in range(0, many, ROWS):
                    micro_int8(
                        min(ROWS, many - r), vectors, x + r * x_step, x_step, 4, place, _up(deep, 4),
                        whole + 4 * (r * line + j), 4 * line, 1 if k > start else 0, last,
                    )  # fmt: skip
            x += _up(deep, 4) * 4
        values = floats(factors, width)
        for j in range(width):
            values[j] = floats(scales + (first + j) * across + start // group * along, 1)[0]
        rows_left = x_sums + 4 * part, x_scales + 4 * part
        _scaled(whole, 4 * line, many, rows_left, parts, factors, c, c_step, width, part == 0)
        start, part = end, part + 1
    _finish(c, many, size, top, first, width, after)
    hold(memory)


@njit(**EXACT)
def int8_at(
    x: Any, x_step: Any, rows: Any, weight: Any, step: Any, scaling: Any, c: Any, depth: Any, columns: Any, plan: Any, after: Any
) -> None:
    """As ``int8_rows`` of addresses.

    ``scaling``: (address of scales, steps of outputs and groups, terms of a group). ``plan``: (rows, columns) of a task, where
    rows are a multiple of ROWS or all, columns one of COLUMNS.
    """
    parts, wide = parts_of(depth, scaling[3])
    memory = np.empty(rows * (wide // 4 + 2 * parts), np.int32)
    numbers = memory.ctypes.data
    sums, scales = numbers + rows * wide, numbers + rows * (wide + 4 * parts)
    span = max(1, _GRAIN // depth)
    size = rows, depth, parts, wide
    if rows <= span:
        _quantize_rows(0, span, x, x_step, size, scaling[3], numbers, sums, scales)
    else:
        parallel_for(_quantize_rows, _up(rows, span), (span, x, x_step, size, scaling[3], numbers, sums, scales))
    left = numbers, sums, scales, parts, wide
    tasks = _up(rows, plan[0]) * _up(columns, plan[1])
    parallel_for(_int8_task, tasks, (left, weight, step, scaling, c, (rows, depth, columns), plan, after))
    hold(memory)


@njit(signatures=[types.void(_MATRIX, _BYTES, _MATRIX, types.int64, types.int64, _RESULT, _FIVE)], **EXACT)
def _int8(x: Any, weight: Any, scales: Any, group: Any, threads: Any, c: Any, after: Any) -> None:
    scaling = scales.ctypes.data, scales.strides[0], scales.strides[1], group
    int8_at(
        x.ctypes.data, x.strides[0], x.shape[0], weight.ctypes.data, weight.strides[1], scaling, c.ctypes.data,
        x.shape[1], weight.shape[0], _plan(x.shape[0], weight.shape[0], threads), after,
    )  # fmt: skip


def int8_rows(x: Any, weight: Any, scales: Any, group: int, c: Any, after: tuple[int, int, int, int, int]) -> None:
    """c (rows, out) = x (rows, in) in int8 @ weight (out, in) transposed, then ``after``.

    Args:
        x: float32, the last axis without gaps.
        weight: int8, by columns.
        scales: (out, groups) float32.
        group: terms that share a scale.
        c: float32 in C order.
        after: as ``after.ends`` gives it.
    """
    _int8(x, weight, scales, group, _THREADS, c, after)


# ---- bfloat16


@njit(**EXACT)
def _round_rows(t: Any, span: Any, x: Any, x_step: Any, rows: Any, depth: Any, out: Any, lows: Any) -> None:
    for r in range(t * span, min(rows, (t + 1) * span)):
        halves(lows + 2 * r, 1)[0] = round_row(x + r * x_step, depth, out + 4 * r * _up(depth, 2))


@njit(**EXACT)
def _add_rows(c: Any, c_step: Any, more: Any, step: Any, rows: Any, columns: Any) -> None:
    for r in range(rows):
        x, y = floats(c + r * c_step, columns), floats(more + r * step, columns)
        for j in range(columns):
            x[j] += y[j]


@njit(**EXACT)
def _bfloat16_task(t: Any, x: Any, lows: Any, weight: Any, step: Any, c: Any, size: Any, chunk: Any, after: Any) -> None:
    rows, depth, columns = size
    panels, x_step, c_step = _up(columns, COLUMNS), 4 * _up(depth, 2), 4 * columns
    first, top = t % panels * COLUMNS, t // panels * chunk
    many, width = min(chunk, rows - top), min(COLUMNS, columns - first)
    vectors, last = width_of_vectors(width)
    room = np.empty(DEPTH // 2 * COLUMNS, np.int32)
    more = np.empty(many * width if depth > PART else 0, np.float32)
    x, c, lows = x + top * x_step, c + top * c_step + 4 * first, halves(lows + 2 * top, many)
    lowest = lows.min()
    for k in range(0, depth, DEPTH):
        deep = min(DEPTH, depth - k)
        low = weave_bfloat16(weight + k * step, step, deep, first, width, room.ctypes.data)
        safe = no_underflow(lowest, low)
        target, target_step = (c, c_step) if k < PART else (more.ctypes.data, 4 * width)
        for r in range(0, many, ROWS):
            now, begun = min(ROWS, many - r), 1 if k % PART else 0
            source, place = x + r * x_step + 2 * k, target + r * target_step
            if safe or no_underflow(lows[r : r + now].min(), low):
                micro_bfloat16(
                    now, vectors, source, x_step, 4, room.ctypes.data, _up(deep, 2), place, target_step, begun, last
                )  # fmt: skip
            else:
                micro_chain(now, vectors, source, x_step, 4, room.ctypes.data, _up(deep, 2), place, target_step, begun, last)
        if k >= PART and (k + deep == depth or (k + deep) % PART == 0):
            _add_rows(c, c_step, more.ctypes.data, 4 * width, many, width)
    _finish(c, many, size, top, first, width, after)
    hold(room)
    hold(more)


@njit(signatures=[types.void(_MATRIX, _HALVES, _RESULT, _FIVE)], **EXACT)
def _bfloat16(x: Any, weight: Any, c: Any, after: Any) -> None:
    rows, depth = x.shape
    columns = weight.shape[0]
    pairs, lows = np.empty(rows * _up(depth, 2), np.int32), np.empty(rows, np.uint16)
    span = max(1, _GRAIN // depth)
    where = pairs.ctypes.data, lows.ctypes.data
    parallel_for(_round_rows, _up(rows, span), (span, x.ctypes.data, x.strides[0], rows, depth, where[0], where[1]))
    chunk, _ = _plan(max(rows, FEW + 1), columns, 1)
    tasks = _up(rows, chunk) * _up(columns, COLUMNS)
    size = rows, depth, columns
    parallel_for(
        _bfloat16_task, tasks, (where[0], where[1], weight.ctypes.data, weight.strides[1], c.ctypes.data, size, chunk, after)
    )
    hold(pairs)
    hold(lows)


def bfloat16_rows(x: Any, weight: Any, c: Any, after: tuple[int, int, int, int, int]) -> None:
    """c (rows, out) = x (rows, in) in bfloat16 @ weight (out, in) transposed, then ``after``.

    Args:
        x: float32, the last axis without gaps.
        weight: bfloat16 as uint16, by columns.
        c: float32 in C order.
        after: as ``after.ends`` gives it.
    """
    _bfloat16(x, weight, c, after)
