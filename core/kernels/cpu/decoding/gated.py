"""One token a text through a layer of Llama's shape in one call: between its parts no time is lost, and no thread falls asleep.

Products, norms, rotations and attention are those that the layer's parts use one by one, in their order, so the bits are theirs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from ....dtypes import bfloat16
from ...reference import decoding as reference
from ...reference.decoding import GatedLayer, Product
from ..attention.attention import DROP, FOUR, MARKS, WRITTEN, attend, drop_of, masks
from ..attention.positions import turn
from ..matrix.after import CODES
from ..matrix.columns import PAIRS, by_columns, columns_at, span_of
from ..matrix.gemv import FEW, few_rows, reader
from ..matrix.packing import round_floats
from ..matrix.short import few_span, int8_at
from ..matrix.stream import FLOAT32
from ..norm.layer_norm import rms_rows
from ..running.compiled import EXACT, any_layout, njit

_f = np.float32
_SILU = CODES["silu"]
_NUMBERS = 13  # that describe a product
_NONE, _KEPT = masks(None, None), drop_of(None)
_NO_STATISTICS = np.empty((0, 0, 0, 0), _f)


@njit(**EXACT)
def _product(table: Any, number: Any, x: Any, rows: Any, c: Any, residual: Any, activation: Any) -> None:
    """c (rows, out) = x (rows, in) by product ``number``, plus what lies at ``residual``, then the activation; addresses.

    Where the product rounds to bfloat16, x is rounded in place.
    """
    one = table[_NUMBERS * number : _NUMBERS * (number + 1)]
    depth, columns, bias = one[9], one[8], one[7]
    if one[0]:
        few_rows(
            one[0], x, 4 * depth, rows, one[1], one[2], 0, 0, 0, 1, 4, c, depth, columns, bias, 0, 0, residual, activation
        )  # fmt: skip
    elif one[12] and one[11] == 1:
        factors, plan = (one[3], one[4], one[5], one[6]), (rows, one[10])
        int8_at(x, 4 * depth, rows, one[1], one[2], factors, c, depth, columns, plan, (bias, 0, 0, residual, activation))
    else:
        if one[12]:
            round_floats(x, rows * depth)
        scaling, size = (one[3], one[4], one[5], one[6], one[11]), (depth, columns, one[10])
        columns_at(x, 4 * depth, rows, one[1], one[2], scaling, c, size, (bias, 0, 0, residual, activation))


@njit(**EXACT)
def _turned(x: Any, cos: Any, sin: Any, interleaved: Any, out: Any) -> None:
    """out (N, heads, E) = x (N, heads, E) turned by the angles of one step."""
    for n in range(x.shape[0]):
        for h in range(x.shape[1]):
            turn(x[n, h], cos[0], sin[0], interleaved, out[n, h])


@njit(**EXACT)
def _multiply(x: Any, y: Any) -> None:
    for i in range(x.size):
        x[i] *= y[i]


_ROWS, _TABLE = any_layout(2, order="C"), any_layout(1, dtype=types.int64, order="C")
_SIGNATURE = types.void(
    _TABLE, types.UniTuple(types.int64, 5), types.UniTuple(types.float32, 3), _ROWS, _ROWS, _ROWS, WRITTEN, WRITTEN,
    types.int64, MARKS, FOUR, DROP, WRITTEN, any_layout(2, order="C", writable=True),
)  # fmt: skip


@njit(signatures=[_SIGNATURE], **EXACT)
def _step(
    table: Any, sizes: Any, numbers: Any, x: Any, cos: Any, sin: Any, keys: Any, values: Any, length: Any, allowed: Any,
    mask: Any, drop: Any, statistics: Any, y: Any,
) -> None:  # fmt: skip
    """The arrays of ``gated_step``; what ``attend`` takes for nothing; the result."""
    heads, interleaved, norm1, norm2, hidden = sizes
    eps1, eps2, scale = numbers
    rows, dim = x.shape
    shared, width = keys.shape[1], keys.shape[3]
    inner, stream, inverse = np.empty((rows, dim), _f), np.empty((rows, dim), _f), np.empty(rows, _f)
    q, turned = np.empty((rows, heads, width), _f), np.empty((rows, heads, 1, width), _f)
    k, v = np.empty((rows, shared, width), _f), np.empty((rows, shared, width), _f)
    mixed = np.empty((rows, 1, heads, width), _f)
    gate, up = np.empty(rows * hidden, _f), np.empty(rows * hidden, _f)

    rms_rows(x.ctypes.data, rows, dim, norm1, eps1, inner.ctypes.data, inverse.ctypes.data)
    _product(table, 0, inner.ctypes.data, rows, q.ctypes.data, 0, 0)
    _product(table, 1, inner.ctypes.data, rows, k.ctypes.data, 0, 0)
    _product(table, 2, inner.ctypes.data, rows, v.ctypes.data, 0, 0)
    _turned(q, cos, sin, interleaved != 0, turned[:, :, 0])
    _turned(k, cos, sin, interleaved != 0, keys[:, :, length])
    values[:, :, length] = v
    seen = length + 1
    attend(
        turned, keys[:, :, :seen], values[:, :, :seen], mixed.transpose(0, 2, 1, 3), allowed, mask, scale, length, drop,
        statistics,
    )  # fmt: skip
    _product(table, 3, mixed.ctypes.data, rows, stream.ctypes.data, x.ctypes.data, 0)
    rms_rows(stream.ctypes.data, rows, dim, norm2, eps2, inner.ctypes.data, inverse.ctypes.data)
    _product(table, 4, inner.ctypes.data, rows, gate.ctypes.data, 0, _SILU)
    _product(table, 5, inner.ctypes.data, rows, up.ctypes.data, 0, 0)
    _multiply(gate, up)
    _product(table, 6, gate.ctypes.data, rows, y.ctypes.data, stream.ctypes.data, 0)


def gated_step(
    x: Any, layer: GatedLayer, cos: Any, sin: Any, keys: Any, values: Any, length: int, packs: dict[str, Any] | None = None
) -> Any:
    """As the reference."""
    packs = {} if packs is None else packs
    given = packs.get("gated_step")
    if given is None:
        given = packs["gated_step"] = _described(layer)
    if given[0] is None or len(x) > FEW or not x.dtype == cos.dtype == sin.dtype == keys.dtype == values.dtype == _f:
        return reference.gated_step(x, layer, cos, sin, keys, values, length)
    y = np.empty(x.shape, _f)
    rows, *angles = (np.ascontiguousarray(a) for a in (x[:, 0], cos, sin))
    _step(*given, rows, *angles, keys, values, length, *_NONE, _KEPT, _NO_STATISTICS, y.reshape(rows.shape))
    return y


def _plain(x: Any) -> bool:
    return bool(x.dtype == _f and x.flags.c_contiguous and x.flags.aligned)


def _described(layer: GatedLayer) -> tuple[Any, ...]:
    """What ``_step`` is told of a layer, whose arrays live as long as this does; (None,) where it cannot be taken."""
    products = [_numbers(p) for p in layer.products]
    if None in products or not _plain(layer.norm1) or not _plain(layer.norm2):
        return (None,)
    table = np.array(products, np.int64).reshape(-1)
    hidden = len(layer.products[5].weight)
    sizes = layer.heads, int(layer.interleaved), layer.norm1.ctypes.data, layer.norm2.ctypes.data, hidden
    return table, sizes, (_f(layer.eps1), _f(layer.eps2), _f(layer.scale))


def _numbers(by: Product) -> tuple[int, ...] | None:
    """A row of the table; None for a weight that lies otherwise, or another dtype."""
    weight, scales, bias = by.weight, by.scales, by.bias
    if bias is not None and not _plain(bias):
        return None
    beside = 0 if bias is None else bias.ctypes.data
    columns, depth = weight.shape
    if weight.dtype == _f:
        fits = weight.strides[1] == 4 and weight.flags.aligned
        row = (reader(FLOAT32), weight.ctypes.data, weight.strides[0], 0, 0, 0, 1, beside, columns, depth, 0, 4, 0)
        return row if fits else None
    pairs = weight.dtype == np.uint8
    if pairs and (scales.dtype != bfloat16 or scales.strides[0] != 2 or by.group % 2):
        return None
    if not by_columns(weight) or not (pairs or scales is None or scales.dtype == _f):
        return None
    factors = (0, 0, 0) if scales is None else (scales.ctypes.data, *scales.strides)
    place = weight.ctypes.data, weight.strides[1]
    span = few_span(columns) if by.rounds and scales is not None else span_of(columns)
    depth, width = (2 * depth, PAIRS) if pairs else (depth, weight.itemsize)
    return (0, *place, *factors, by.group, beside, columns, depth, span, width, int(by.rounds))
