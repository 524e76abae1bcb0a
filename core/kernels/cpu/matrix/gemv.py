"""Products of a few rows with a weight (out, in), as generating text asks for: what counts is how fast the weight is read.

Nothing is packed and nothing kept: ``stream`` reads the weight where it lies. Sums run in the order that ``gemm`` and
``matmul`` keep, in blocks of DEPTH and parts of PART terms, so a row has the same bits here and among many rows.
"""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

import functools
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..lanes.pointers import floats, hold
from ..running.compiled import EXACT, any_layout, compiled_callback, njit
from ..running.parallel import parallel_for
from . import stream
from .gemm import DEPTH, finish
from .stream import OUTPUTS

FEW = 8
"""Rows up to which reading the weight takes longer than multiplying."""
PART = 2048
"""Terms of a part of a sum, as ``matmul`` cuts it."""
_SPAN = 4 * OUTPUTS  # results of a row that a task computes

_READER = types.void(*[types.int64] * 9)


def _float32(rows: Any, weight: Any, step: Any, last: Any, scales: Any, x: Any, x_step: Any, depth: Any, sums: Any) -> None:
    stream.stream_float32(rows, weight, step, last, scales, x, x_step, depth, sums)


def _bfloat16(rows: Any, weight: Any, step: Any, last: Any, scales: Any, x: Any, x_step: Any, depth: Any, sums: Any) -> None:
    stream.stream_bfloat16(rows, weight, step, last, scales, x, x_step, depth, sums)


def _int8(rows: Any, weight: Any, step: Any, last: Any, scales: Any, x: Any, x_step: Any, depth: Any, sums: Any) -> None:
    stream.stream_int8(rows, weight, step, last, scales, x, x_step, depth, sums)


@functools.cache
def _compiled_reader(kind: int) -> Any:
    return compiled_callback(_READER, (_float32, _bfloat16, _int8)[kind])


def reader(kind: int) -> int:
    """The address of the innermost loop for a kind of weights, compiled for those who need it."""
    return _compiled_reader(kind).address


@intrinsic
def _read(typing_context, function, rows, weight, step, last, scales, x, x_step, depth, sums):
    """Call a reader by its address."""
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * 9)

    def generate(context, builder, signature, given):
        builder.call(builder.inttoptr(given[0], kind.as_pointer()), given[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 10), generate


@njit(**EXACT)
def add(into: Any, more: Any, fresh: Any) -> None:
    """into = more, or where not ``fresh`` += more."""
    for i in range(into.size):
        into[i] = more[i] if fresh else into[i] + more[i]


@njit(**EXACT)
def _block(
    read: Any, weight: Any, step: Any, last: Any, scaling: Any, x: Any, x_step: Any, rows: Any, first: Any, depth: Any,
    sums: Any, factors: Any,
) -> None:  # fmt: skip
    """sums (rows, OUTPUTS) += x @ weight.T over ``depth`` terms; addresses are those of the terms from ``first`` on.

    ``scaling``: (address of the scales of these outputs, step of outputs, step of groups, terms of a group, bytes of a weight).
    """
    scales, across, along, group, size = scaling
    k = 0
    while k < depth:
        many = depth - k
        if scales:
            many = min(many, group - (first + k) % group)
            values = floats(factors, OUTPUTS)
            for i in range(OUTPUTS):
                values[i] = floats(scales + min(i, last) * across + (first + k) // group * along, 1)[0]
        r = 0
        while r < rows:
            now = 4 if rows - r >= 4 else 2 if rows - r >= 2 else 1
            _read(
                read, now, weight + k * size, step, last, factors, x + r * x_step + 4 * k, x_step, many,
                sums + 4 * OUTPUTS * r,
            )  # fmt: skip
            r += now
        k += many


@njit(**EXACT)
def _task(
    t: Any, read: Any, x: Any, x_step: Any, rows: Any, weight: Any, step: Any, scaling: Any, c: Any, size: Any, after: Any
) -> None:
    depth, columns = size
    scales, across, along, group, width = scaling
    memory = np.empty(3 * OUTPUTS * rows + OUTPUTS, np.float32)
    block, part = memory[: OUTPUTS * rows], memory[OUTPUTS * rows : 2 * OUTPUTS * rows]
    total, factors = memory[2 * OUTPUTS * rows : 3 * OUTPUTS * rows], memory.ctypes.data + 12 * OUTPUTS * rows
    first = t * _SPAN
    stop = min(columns, first + _SPAN)
    for j in range(first, stop, OUTPUTS):
        last = min(OUTPUTS, stop - j) - 1
        here = (scales + j * across if scales else 0, across, along, group, width)
        for k in range(0, depth, DEPTH):
            many = min(DEPTH, depth - k)
            block[:] = np.float32(0.0)
            _block(
                read, weight + j * step + k * width, step, last, here, x + 4 * k, x_step, rows, k, many, block.ctypes.data,
                factors,
            )  # fmt: skip
            add(part, block, k % PART == 0)
            if (k + many) % PART == 0 or k + many == depth:
                add(total, part, k < PART)
        for r in range(rows):
            out = floats(c + 4 * (r * columns + j), last + 1)
            for i in range(out.size):
                out[i] = total[r * OUTPUTS + i]
    finish(c + 4 * first, 4 * columns, rows, stop - first, first, after, 4 * columns)
    hold(memory)


def _few_rows(
    read: Any, x: Any, x_step: Any, rows: Any, weight: Any, step: Any, scales: Any, across: Any, along: Any, group: Any,
    width: Any, c: Any, depth: Any, columns: Any, bias: Any, scale: Any, shift: Any, residual: Any, activation: Any,
) -> None:  # fmt: skip
    after, scaling = (bias, scale, shift, residual, activation), (scales, across, along, group, width)
    tasks = (columns + _SPAN - 1) // _SPAN
    parallel_for(_task, tasks, (read, x, x_step, rows, weight, step, scaling, c, (depth, columns), after))


_FEW_ROWS = types.void(*[types.int64] * 19)
_compiled = compiled_callback(_FEW_ROWS, _few_rows)
llvm.add_symbol("nyala_few_rows", _compiled.address)
few_rows = types.ExternalFunction("nyala_few_rows", _FEW_ROWS)
"""``few_rows(reader, x, x_step, rows, weight, step, scales, across, along, group, width, c, depth, columns, bias, scale, shift,
residual, activation)``: c (rows, columns), C order, = x @ weight.T, then what comes after.

Addresses; steps in bytes. Numbers of a row of x, and of the weight, lie side by side; a weight takes ``width`` bytes.
``scales``: one for each result (``across`` bytes apart) and each group of ``group`` terms (``along`` bytes apart), or 0."""

_SIGNATURE = types.void(types.int64, any_layout(2), any_layout(2), any_layout(2, writable=True), types.UniTuple(types.int64, 5))


@njit(signatures=[_SIGNATURE], **EXACT)
def _linear(read: Any, x: Any, weight: Any, c: Any, after: Any) -> None:
    few_rows(
        read, x.ctypes.data, x.strides[0], x.shape[0], weight.ctypes.data, weight.strides[0], 0, 0, 0, 1, 4, c.ctypes.data,
        x.shape[1], weight.shape[0], after[0], after[1], after[2], after[3], after[4],
    )  # fmt: skip


def linear_few(x: Any, weight: Any, c: Any, after: tuple[int, int, int, int, int]) -> None:
    """c (rows, out) = x (rows, in) @ weight (out, in) transposed, then ``after``; float32, the last axes without gaps."""
    _linear(reader(stream.FLOAT32), x, weight, c, after)
