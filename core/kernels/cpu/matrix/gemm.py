"""Blocks of float32 products for compiled code: columns packed once, rows read where they lie, an epilogue while it is hot.

``pack`` lays B (k, n) out as panels of COLUMNS columns; ``block`` multiplies rows of A, any strides, with panels and finishes
the result: bias, residual, activation. The sum over k runs in order, in blocks of DEPTH whose sums are added in order. So an
element's bits are a function of its row of A, its column of B and its epilogue, and of nothing else: not of the batch, the
threads, or the processor's vectors.

``block``, ``pack_part`` and ``finish`` are compiled once and reached by symbols, as a BLAS would be: kernels that call them
stay small.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numba import types

from ..lanes.pointers import floats
from ..lanes.vector_math import fgelu, fgelu_tanh, fsigmoid
from ..running.compiled import EXACT, compiled_callback, njit
from ..running.parallel import parallel_for
from .microkernel import COLUMNS, LANES, ROWS, micro, transpose

DEPTH = 256
"""Terms of a sum that are added up in registers."""
BLOCK_ROWS = 96
"""Rows of a task: with them a block of A stays in a core's cache."""
BLOCK_PANELS = 4
"""Panels of a task."""
NONE, RELU, RELU6, GELU, GELU_TANH, SILU = range(6)
"""Activations that ``block`` can end with, in the order of ``reference.after.ACTIVATIONS``."""

_f = np.float32
_FINISH, _BLOCK, _PACK = (types.void(*[types.int64] * n) for n in (11, 18, 7))
_finish_at = types.ExternalFunction("nyala_finish", _FINISH)
_compiled: dict[str, Any] = {}  # the symbols' code


@njit(**EXACT)
def _activate(x: Any, activation: Any) -> None:
    if activation == RELU:
        for j in range(x.size):
            x[j] = _f(0.0) if x[j] < _f(0.0) else x[j]
    elif activation == RELU6:
        for j in range(x.size):
            v = _f(0.0) if x[j] < _f(0.0) else x[j]
            x[j] = _f(6.0) if v > _f(6.0) else v
    elif activation == GELU:
        for j in range(x.size):
            x[j] = fgelu(x[j])
    elif activation == GELU_TANH:
        for j in range(x.size):
            x[j] = fgelu_tanh(x[j])
    elif activation == SILU:
        for j in range(x.size):
            x[j] = x[j] * fsigmoid(x[j])


@njit(**EXACT)  # a callback's own arithmetic is not contracted
def _scale(x: Any, m: Any, t: Any) -> None:
    for j in range(x.size):
        x[j] = x[j] * m[j] + t[j]


def _finish(
    c: Any, c_step: Any, rows: Any, columns: Any, first: Any,
    bias: Any, scale: Any, shift: Any, residual: Any, activation: Any, residual_step: Any,
) -> None:  # fmt: skip
    for r in range(rows):
        x = floats(c + r * c_step, columns)
        if bias:
            b = floats(bias + 4 * first, columns)
            for j in range(columns):
                x[j] += b[j]
        if scale:
            _scale(x, floats(scale + 4 * first, columns), floats(shift + 4 * first, columns))
        if residual:
            y = floats(residual + r * residual_step + 4 * first, columns)
            for j in range(columns):
                x[j] += y[j]
        _activate(x, activation)


@njit(**EXACT)
def finish(c: Any, c_step: Any, rows: Any, columns: Any, first: Any, ends: Any, residual_step: Any) -> None:
    """c (rows, columns), whose columns count from ``first``: what ``ends`` say. Steps in bytes; c is at its own first column.

    ``ends``: the addresses of a bias, a scale and a shift (all columns), and of a residual as c is (row 0, column 0 of all
    columns), each 0 for none, and the number of an activation.
    """
    bias, scale, shift, residual, activation = ends
    _finish_at(c, c_step, rows, columns, first, bias, scale, shift, residual, activation, residual_step)


def _block(
    a: Any, row_step: Any, k_step: Any, packed: Any, c: Any, c_step: Any, rows: Any, depth: Any, columns: Any,
    first: Any, last: Any, add: Any, bias: Any, scale: Any, shift: Any, residual: Any, activation: Any, residual_step: Any,
) -> None:  # fmt: skip
    panels = (columns + COLUMNS - 1) // COLUMNS
    ends = bias or scale or residual or activation
    k = 0
    while k < depth:
        part = min(DEPTH, depth - k)
        for p in range(first, last):
            width = min(COLUMNS, columns - p * COLUMNS)
            vectors = (width + LANES - 1) // LANES
            b = packed + 4 * COLUMNS * (k * panels + p * part)
            for r in range(0, rows, ROWS):
                many = min(ROWS, rows - r)
                target = c + r * c_step + 4 * COLUMNS * p
                start = a + r * row_step + k * k_step
                micro(
                    many, vectors, start, row_step, k_step, b, part, target, c_step, 1 if k or add else 0,
                    width - LANES * (vectors - 1),
                )  # fmt: skip
                if ends and k + part == depth:
                    beside = residual + r * residual_step if residual else 0
                    _finish_at(
                        target, c_step, many, width, p * COLUMNS, bias, scale, shift, beside, activation, residual_step
                    )  # fmt: skip
        k += part


def _pack_part(b: Any, k_step: Any, column_step: Any, depth: Any, columns: Any, packed: Any, panel: Any) -> None:
    panels = (columns + COLUMNS - 1) // COLUMNS
    width = min(COLUMNS, columns - panel * COLUMNS)
    start = b + panel * COLUMNS * column_step
    for k in range(0, depth, DEPTH):
        part = min(DEPTH, depth - k)
        target = packed + 4 * COLUMNS * (k * panels + panel * part)
        source = start + k * k_step
        if column_step == 4:
            _pack_rows(source, k_step, part, width, target)
        elif k_step == 4:
            _pack_columns(source, column_step, part, width, target)
        else:
            _pack_any(source, k_step, column_step, 0, part, 0, width, target)
        for j in range(width, (width + LANES - 1) // LANES * LANES):  # vectors beyond are not read
            out = floats(target, part * COLUMNS)
            for i in range(part):
                out[i * COLUMNS + j] = _f(0.0)


@njit(**EXACT)
def _pack_rows(source: Any, step: Any, depth: Any, width: Any, target: Any) -> None:
    for i in range(depth):
        x, out = floats(source + i * step, width), floats(target + 4 * COLUMNS * i, width)
        for j in range(width):
            out[j] = x[j]


@njit(**EXACT)
def _pack_columns(source: Any, step: Any, depth: Any, width: Any, target: Any) -> None:
    across, along = width // 16 * 16, depth // 16 * 16
    for j in range(0, across, 16):
        for i in range(0, along, 16):
            transpose(source + j * step + 4 * i, step, target + 4 * (COLUMNS * i + j), 4 * COLUMNS)
    _pack_any(source, 4, step, along, depth, 0, width, target)
    _pack_any(source, 4, step, 0, along, across, width, target)


@njit(**EXACT)
def _pack_any(source: Any, k_step: Any, step: Any, top: Any, bottom: Any, left: Any, right: Any, target: Any) -> None:
    out = floats(target, bottom * COLUMNS)
    for j in range(left, right):
        for i in range(top, bottom):
            out[i * COLUMNS + j] = floats(source + j * step + i * k_step, 1)[0]


for _name, _kind, _code in (
    ("nyala_finish", _FINISH, _finish),
    ("nyala_block", _BLOCK, _block),
    ("nyala_pack_part", _PACK, _pack_part),
):
    _compiled[_name] = compiled_callback(_kind, _code)
    llvm.add_symbol(_name, _compiled[_name].address)

block = types.ExternalFunction("nyala_block", _BLOCK)
"""``block(a, row_step, k_step, packed, c, c_step, rows, depth, columns, first, last, add, bias, scale, shift, residual,
activation, residual_step)``: c[:rows, panels first to last] = or (where ``add``) += a @ b, then ``finish``.

Addresses; steps in bytes. ``packed`` is all of B, as ``pack_part`` left it; the others start at row 0 and column 0.
depth >= 1."""
pack_part = types.ExternalFunction("nyala_pack_part", _PACK)
"""``pack_part(b, k_step, column_step, depth, columns, packed, panel)``: one panel of B (depth, columns), any strides."""


@njit(**EXACT)
def packed_size(depth: Any, columns: Any) -> Any:
    """Floats that a packed matrix takes."""
    return depth * ((columns + COLUMNS - 1) // COLUMNS) * COLUMNS


@njit(**EXACT)
def _pack_task(panel: Any, b: Any, k_step: Any, column_step: Any, depth: Any, columns: Any, packed: Any) -> None:
    pack_part(b, k_step, column_step, depth, columns, packed, panel)


@njit(**EXACT)
def pack(b: Any, k_step: Any, column_step: Any, depth: Any, columns: Any) -> Any:
    """B (depth, columns) at an address, strides in bytes, as panels."""
    packed = np.empty(packed_size(depth, columns), np.float32)
    panels = (columns + COLUMNS - 1) // COLUMNS
    parallel_for(_pack_task, panels, (b, k_step, column_step, depth, columns, packed.ctypes.data))
    return packed
