"""Products with int4, int8 and bfloat16 weights. Few rows read the weight as it lies; many rows get it widened, slab by slab.

A weight may lie by rows or, which is quicker for few rows, by columns: ``QuantizedLinear`` keeps it so (int4 is read by columns
alone). Either way the bits are those of ``linear`` with the widened weight. Where what comes in is rounded too, ``short`` has the
products of many rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from ....dtypes import bfloat16
from ...reference import quantized as reference
from ...reference.after import After
from ..lanes.simd import LANES
from ..lanes.vector_math import bits_float
from ..running.compiled import EXACT, any_layout, njit
from ..running.parallel import parallel_for
from .after import Ends, ends, suits
from .columns import by_columns, columns_few, columns_int4
from .gemv import FEW, few_rows, reader
from .matmul import linear
from .short import bfloat16_rows, int8_rows
from .stream import BFLOAT16, INT8

_f = np.float32
_SLAB = 1 << 20  # numbers of a weight that are widened at a time: they stay in the cache
_GRAIN = 1 << 15  # numbers that are worth a task

_MATRIX, _RESULT, _FIVE = any_layout(2), any_layout(2, writable=True), types.UniTuple(types.int64, 5)
_BYTES, _HALVES = any_layout(2, dtype=types.int8), any_layout(2, dtype=types.uint16)
_PAIRS = any_layout(2, dtype=types.uint8)
_NO_SCALES = np.empty((0, 0), _f)


@njit(**EXACT)
def _run(read: Any, x: Any, weight: Any, scales: Any, group: Any, width: Any, c: Any, after: Any) -> None:
    factors = np.int64(scales.ctypes.data) if scales.size else np.int64(0)
    few_rows(
        read, x.ctypes.data, x.strides[0], x.shape[0], weight.ctypes.data, weight.strides[0],
        factors, scales.strides[0], scales.strides[1], group, width, c.ctypes.data,
        x.shape[1], weight.shape[0], after[0], after[1], after[2], after[3], after[4],
    )  # fmt: skip


@njit(signatures=[types.void(types.int64, _MATRIX, _BYTES, _MATRIX, types.int64, _RESULT, _FIVE)], **EXACT)
def _few_int8(read: Any, x: Any, weight: Any, scales: Any, group: Any, c: Any, after: Any) -> None:
    _run(read, x, weight, scales, group, 1, c, after)


@njit(signatures=[types.void(types.int64, _MATRIX, _HALVES, _MATRIX, types.int64, _RESULT, _FIVE)], **EXACT)
def _few_bf16(read: Any, x: Any, weight: Any, scales: Any, group: Any, c: Any, after: Any) -> None:
    _run(read, x, weight, scales, group, 2, c, after)


@njit(**EXACT)
def _widen_int8(t: Any, span: Any, weight: Any, scales: Any, group: Any, out: Any) -> None:
    for r in range(t * span, min(weight.shape[0], (t + 1) * span)):
        for g in range(scales.shape[1]):
            source, target, scale = weight[r, g * group : (g + 1) * group], out[r, g * group : (g + 1) * group], scales[r, g]
            for i in range(source.size):
                target[i] = _f(source[i]) * scale


@njit(signatures=[types.void(_BYTES, _MATRIX, types.int64, any_layout(2, order="C", writable=True))], **EXACT)
def _dequantize(weight: Any, scales: Any, group: Any, out: Any) -> None:
    span = max(1, _GRAIN // weight.shape[1])
    parallel_for(_widen_int8, (weight.shape[0] + span - 1) // span, (span, weight, scales, group, out))


@njit(**EXACT)
def _widen_columns(t: Any, span: Any, weight: Any, scales: Any, group: Any, out: Any) -> None:
    for k in range(t * span, min(weight.shape[0], (t + 1) * span)):
        source, target, g = weight[k], out[k], k // group
        for i in range(source.size):
            target[i] = _f(source[i]) * scales[i, g]


@njit(signatures=[types.void(_BYTES, _MATRIX, types.int64, any_layout(2, order="C", writable=True))], **EXACT)
def _dequantize_columns(weight: Any, scales: Any, group: Any, out: Any) -> None:
    """As above for a weight (in, out), whose numbers lie side by side along the outputs, and ``out`` alike."""
    span = max(1, _GRAIN // weight.shape[1])
    parallel_for(_widen_columns, (weight.shape[0] + span - 1) // span, (span, weight, scales, group, out))


@njit(**EXACT)
def _widen_pairs(t: Any, span: Any, weight: Any, scales: Any, group: Any, out: Any) -> None:
    for k in range(t * span, min(out.shape[0], (t + 1) * span)):
        source, target, scale, later = weight[k // 2], out[k], scales[k // group], k % 2 != 0
        for i in range(source.size):
            code = source[i] >> 4 if later else source[i] & 15
            target[i] = _f(np.int32(code) - np.int32(8)) * bits_float(np.int32(np.uint32(scale[i]) << np.uint32(16))) + _f(0.0)


@njit(signatures=[types.void(_PAIRS, _HALVES, types.int64, any_layout(2, order="C", writable=True))], **EXACT)
def _unpack(weight: Any, scales: Any, group: Any, out: Any) -> None:
    """The int4 weight (in / 2, out) with scales (groups, out) of bfloat16, as float32 (in, out)."""
    span = max(1, _GRAIN // out.shape[1])
    parallel_for(_widen_pairs, (out.shape[0] + span - 1) // span, (span, weight, scales, group, out))


def linear_int4(x: Any, weight: Any, scales: Any, group: int, bias: Any = None, after: After | None = None) -> Any:
    """As the reference."""
    if not _ready(x, weight, bias, after, 2) or scales.dtype != bfloat16 or group % 2:
        return reference.linear_int4(x, weight, scales, group, bias, after)
    weight, factors = np.asfortranarray(weight), np.asfortranarray(scales).view(np.uint16)
    if x.size // x.shape[-1] <= FEW and len(weight) >= LANES:
        return _computed(lambda rows, c, codes: columns_int4(rows, weight, factors, group, c, codes), x, weight, bias, after)

    def widened(rows: slice) -> Any:
        out = np.empty((x.shape[-1], len(weight[rows])), _f)
        _unpack(weight[rows].T, factors[rows].T, group, out)
        return out.T

    return _in_slabs(x, weight, widened, bias, after)


def linear_int8(x: Any, weight: Any, scales: Any, group: int, bias: Any = None, after: After | None = None) -> Any:
    """As the reference."""
    if not _ready(x, weight, bias, after) or scales.dtype != _f:
        return reference.linear_int8(x, weight, scales, group, bias, after)
    weight = _in_line(weight)
    if x.size // x.shape[-1] > FEW:

        def widened(rows: slice) -> Any:
            part = weight[rows]
            if by_columns(weight):
                out = np.empty(part.shape[::-1], _f)
                _dequantize_columns(part.T, scales[rows], group, out)
                return out.T
            out = np.empty(part.shape, _f)
            _dequantize(part, scales[rows], group, out)
            return out

        return _in_slabs(x, weight, widened, bias, after)
    return _few(_few_int8, INT8, x, weight, scales, group, bias, after)


def linear_bf16(x: Any, weight: Any, bias: Any = None, after: After | None = None) -> Any:
    """As the reference."""
    if not _ready(x, weight, bias, after):
        return reference.linear_bf16(x, weight, bias, after)
    weight = _in_line(weight)
    if x.size // x.shape[-1] > FEW:
        return _in_slabs(x, weight, lambda rows: weight[rows].astype(_f), bias, after)
    return _few(_few_bf16, BFLOAT16, x, weight.view(np.uint16), _NO_SCALES, 1, bias, after)


def _ready(x: Any, weight: Any, bias: Any, after: After | None, together: int = 1) -> bool:
    """Whether the kernels can take these; else the reference computes them, or names what is wrong.

    ``together``: numbers of an element of the weight.
    """
    if x.dtype != _f or not suits(bias, after) or not x.size or not weight.size:
        return False
    return bool(-(-x.shape[-1] // together) == weight.shape[1])


def _in_line(weight: Any) -> Any:
    """The weight as a kernel reads it: by columns, or by rows."""
    lies = weight.strides[1] == weight.itemsize or by_columns(weight)
    return weight if lies else np.ascontiguousarray(weight)


def linear_int8_both(x: Any, weight: Any, scales: Any, group: int, bias: Any = None, after: After | None = None) -> Any:
    """As the reference."""
    if not _ready(x, weight, bias, after) or scales.dtype != _f:
        return reference.linear_int8_both(x, weight, scales, group, bias, after)
    weight = _by_columns(weight)
    return _computed(lambda rows, c, codes: int8_rows(rows, weight, scales, group, c, codes), x, weight, bias, after)


def linear_bf16_both(x: Any, weight: Any, bias: Any = None, after: After | None = None) -> Any:
    """As the reference."""
    if not _ready(x, weight, bias, after) or x.size // x.shape[-1] <= FEW:
        return linear_bf16(reference.rounded(x), weight, bias, after)
    weight = _by_columns(weight).view(np.uint16)
    return _computed(lambda rows, c, codes: bfloat16_rows(rows, weight, c, codes), x, weight, bias, after)


def _by_columns(weight: Any) -> Any:
    return weight if weight.strides[0] == weight.itemsize else np.asfortranarray(weight)


def _few(kernel: Any, kind: int, x: Any, weight: Any, scales: Any, group: int, bias: Any, after: After | None) -> Any:
    def run(rows: Any, c: Any, codes: Ends) -> None:
        if by_columns(weight):
            columns_few(rows, weight, scales, group, c, codes)
        else:
            kernel(reader(kind), rows, weight, scales, group, c, codes)

    return _computed(run, x, weight, bias, after)


def _computed(run: Callable[[Any, Any, Ends], None], x: Any, weight: Any, bias: Any, after: After | None) -> Any:
    """What ``run(rows of x, rows of the result, what comes after)`` writes."""
    out = np.empty((*x.shape[:-1], len(weight)), _f)
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    if after is not None and after.residual is not None and after.residual.shape != out.shape:
        after = after._replace(residual=np.broadcast_to(after.residual, out.shape))
    codes, held = ends(bias, after)
    run(rows, out.reshape(-1, len(weight)), codes)
    del held  # the addresses in ``codes`` were good until here
    return out


def _in_slabs(x: Any, weight: Any, widened: Any, bias: Any, after: After | None) -> Any:
    """Some outputs after the others, each with their part of the weight in float32."""
    out = np.empty((*x.shape[:-1], len(weight)), _f)
    step = max(1, _SLAB // x.shape[-1])
    if after is not None and after.residual is not None:
        after = after._replace(residual=np.broadcast_to(after.residual, out.shape))
    for first in range(0, len(weight), step):
        rows = slice(first, first + step)
        here = after
        if after is not None:
            scale, shift, residual = (None if a is None else a[..., rows] for a in after[:3])
            here = After(scale, shift, residual, after.activation)
        out[..., rows] = linear(x, widened(rows), None if bias is None else bias[rows], here)
    return out
