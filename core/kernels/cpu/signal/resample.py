"""Linear maps along dimensions in float32: resizing, average pooling, padding by reflection. Other dtypes go to the reference.

An array is taken as (outer, H, W, inner), H and W being the mapped dimensions as they lie in memory. For each row of the result
the rows of the source are combined first, then the elements of that row: where ``inner`` is wide, in vectors along it, else in
vectors across 16 rows of the result, turned over before and after. Each element is the same two chains of multiply-adds in
either way, so its bits depend on the tables and its own sources alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...reference import spatial as reference
from ...reference.half import in_float32
from ...reference.spatial import Map
from ..lanes.moves import copy, load_few, store_few
from ..lanes.pointers import floats, hold, integers
from ..lanes.simd import LANES, fma, load_at, multiply, splat, store_at
from ..matrix.microkernel import transpose
from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for

_TILE = 1 << 15  # elements of a result in a tile
_LINE = 4 * LANES
_f = np.float32
_Table = tuple[Any, Any, Any]  # index (L, T) int64, weight (L, T) float32, and how many of the T count (L,) int64

_ALONE = (0, 0, 0, 0, 0)

# Compiled code knows a table by five numbers, three of them addresses: index, weight, count, L, T; L is 0 where a dimension is
# left alone. (Arrays would be counted as used, by atomic operations, wherever one is named.)


@njit(**EXACT)
def _many(table: Any, i: Any) -> Any:
    return integers(table[2] + 8 * i, 1)[0]


@njit(**EXACT)
def _tap(table: Any, i: Any, t: Any) -> Any:
    """Index and weight, the latter in all places of a vector."""
    place = i * table[4] + t
    return integers(table[0] + 8 * place, 1)[0], splat(floats(table[1] + 4 * place, 1)[0])


@njit(**EXACT)
def _sum(x: Any, step: Any, i: Any, table: Any, many: Any) -> Any:
    """16 floats: weight[i, t] times those at index[i, t] * step from x, summed over t below ``many``."""
    if many == 0:
        return splat(_f(0.0))
    place, weight = _tap(table, i, 0)
    value = multiply(weight, load_at(x + place * step))
    for t in range(1, many):
        place, weight = _tap(table, i, t)
        value = fma(weight, load_at(x + place * step), value)
    return value


@njit(**EXACT)
def _four(x: Any, step: Any, i: Any, table: Any, many: Any, target: Any) -> None:
    """64 floats, summed likewise."""
    place, weight = _tap(table, i, 0)
    place = x + place * step
    a, b = multiply(weight, load_at(place)), multiply(weight, load_at(place + _LINE))
    c, d = multiply(weight, load_at(place + 2 * _LINE)), multiply(weight, load_at(place + 3 * _LINE))
    for t in range(1, many):
        place, weight = _tap(table, i, t)
        place = x + place * step
        a, b = fma(weight, load_at(place), a), fma(weight, load_at(place + _LINE), b)
        c, d = fma(weight, load_at(place + 2 * _LINE), c), fma(weight, load_at(place + 3 * _LINE), d)
    store_at(target, a)
    store_at(target + _LINE, b)
    store_at(target + 2 * _LINE, c)
    store_at(target + 3 * _LINE, d)


@njit(**EXACT)
def _line(x: Any, step: Any, i: Any, table: Any, size: Any, target: Any) -> None:
    """``size`` floats, summed likewise; the last vector may overlap the one before."""
    many, c = _many(table, i), 0
    if size >= LANES:
        while many and c + 4 * LANES <= size:
            _four(x + 4 * c, step, i, table, many, target + 4 * c)
            c += 4 * LANES
        while c < size:
            at = 4 * min(c, size - LANES)
            store_at(target + at, _sum(x + at, step, i, table, many))
            c += LANES
        return
    value = splat(_f(0.0))
    for t in range(many):
        place, weight = _tap(table, i, t)
        source = load_few(x + place * step, size)
        value = fma(weight, source, value) if t else multiply(weight, source)
    store_few(target, value, size)


@njit(**EXACT)
def _row(r: Any, x: Any, size: Any, rows: Any, scratch: Any) -> Any:
    """Where row r of the result, before its elements are combined, lies: in x, or in ``scratch``."""
    step = 4 * size[2] * size[3]
    if rows[3] == 0:
        return x + r * step
    _line(x + r // rows[3] * size[1] * step, step, r % rows[3], rows, size[2] * size[3], scratch)
    return scratch


# ---- vectors along the inner dimension


@njit(**EXACT)
def _wide_tile(t: Any, x: Any, y: Any, size: Any, rows: Any, columns: Any, each: Any, total: Any) -> None:
    width, inner = size[2], size[3]
    scratch = np.empty(width * inner, np.float32)
    for r in range(t * each, min(total, (t + 1) * each)):
        if columns[3] == 0:
            _row(r, x, size, rows, y + 4 * r * width * inner)
            continue
        row = _row(r, x, size, rows, np.int64(scratch.ctypes.data))
        for j in range(columns[3]):
            _line(row, 4 * inner, j, columns, inner, y + 4 * (r * columns[3] + j) * inner)
    hold(scratch)


# ---- vectors across rows


@njit(**EXACT)
def _across(x: Any, y: Any, inner: Any, table: Any) -> None:
    """The elements of 16 rows combined; x and y hold an element of all rows side by side."""
    for j in range(table[3]):
        many = _many(table, j)
        for c in range(inner):
            store_at(y + (j * inner + c) * _LINE, _sum(x + c * _LINE, inner * _LINE, j, table, many))


@njit(**EXACT)
def _turned_tile(t: Any, x: Any, y: Any, size: Any, rows: Any, columns: Any, total: Any) -> None:
    """16 rows of the result."""
    source, target, first = size[2] * size[3], columns[3] * size[3], t * LANES
    many = min(LANES, total - first)
    wide, out_wide = -(-source // LANES) * LANES, -(-target // LANES) * LANES
    lines = np.empty(LANES * max(wide, out_wide), np.float32)
    turned, results = np.empty(LANES * wide, np.float32), np.empty(LANES * out_wide, np.float32)
    near, upright, done = np.int64(lines.ctypes.data), np.int64(turned.ctypes.data), np.int64(results.ctypes.data)
    for k in range(many):
        row = _row(first + k, x, size, rows, near + 4 * k * wide)
        if row != near + 4 * k * wide:
            copy(row, near + 4 * k * wide, source)
    for c in range(0, wide, LANES):
        transpose(near + 4 * c, 4 * wide, upright + c * _LINE, _LINE)
    _across(upright, done, size[3], columns)
    for c in range(0, out_wide, LANES):
        transpose(done + c * _LINE, _LINE, near + 4 * c, 4 * out_wide)
    for k in range(many):
        copy(near + 4 * k * out_wide, y + 4 * (first + k) * target, target)
    hold(lines)
    hold(turned)
    hold(results)


# ---- elements that only move


@njit(**EXACT)
def _moved_tile(t: Any, x: Any, y: Any, size: Any, rows: Any, columns: Any, each: Any, total: Any) -> None:
    _, height, width, inner = size
    step, long, last, at = 4 * width * inner, 4 * columns[3] * inner, -1, 0
    index = integers(columns[0], columns[3])
    for r in range(t * each, min(total, (t + 1) * each)):
        row, target = r // rows[3] * height + integers(rows[0], rows[3])[r % rows[3]], y + r * long
        if row == last:
            copy(at, target, columns[3] * inner)
            continue
        last, at = row, target
        if inner == 1:
            source, out = floats(x + row * step, width), floats(target, columns[3])
            for j in range(out.size):
                out[j] = source[index[j]]
        else:
            for j in range(index.size):
                copy(x + row * step + 4 * index[j] * inner, target + 4 * j * inner, inner)


@njit(**EXACT)
def _resample(x: Any, y: Any, size: Any, rows: Any, columns: Any, moves: Any) -> None:
    """y = x (outer, H, W, inner) with one table for H and one for W; addresses. ``moves``: both have one tap of weight 1."""
    outer, height, width, inner = size
    total = outer * (rows[3] or height)
    if moves and rows[3] and columns[3]:
        each = max(1, _TILE // (columns[3] * inner))
        parallel_for(_moved_tile, (total + each - 1) // each, (x, y, size, rows, columns, each, total))
        return
    if columns[3] and inner < LANES:
        parallel_for(_turned_tile, (total + LANES - 1) // LANES, (x, y, size, rows, columns, total))
        return
    each = max(1, _TILE // (max(width, columns[3]) * inner))
    parallel_for(_wide_tile, (total + each - 1) // each, (x, y, size, rows, columns, each, total))


# ---- for Python


def _table(map: Map) -> _Table:
    """The taps that have weight, first in each row. The table keeps it as long as it lives."""
    kept = map.packs.get("cpu")
    if kept is None:
        weight = np.ones(map.index.shape) if map.weight is None else map.weight
        used = weight != 0
        order = np.argsort(~used, axis=1, kind="stable")[:, : max(1, int(used.sum(1).max(initial=0)))]
        index, numbers = (np.take_along_axis(a, order, 1) for a in (map.index, weight))
        kept = map.packs["cpu"] = (
            np.ascontiguousarray(index, np.int64), np.ascontiguousarray(numbers, np.float32), used.sum(1).astype(np.int64),
        )  # fmt: skip
    return kept


def _in_memory_order(x: Any) -> tuple[Any, list[int]]:
    """x with its dimensions as they lie in memory, contiguous, and which they are."""
    order = sorted(range(x.ndim), key=lambda i: -abs(x.strides[i]))
    dense = x.transpose(order)
    return (dense, order) if dense.flags.c_contiguous and dense.flags.aligned else (np.array(dense, order="C"), order)


def _address(x: Any) -> int:
    return x.__array_interface__["data"][0]


def _numbers(table: _Table) -> tuple[int, ...]:
    return (*map(_address, table), *table[0].shape)


def _mapped(x: Any, places: dict[int, _Table], moves: bool) -> Any:
    """x, contiguous, mapped along one dimension or along two neighbours; ``moves`` where all weights are 1."""
    first, last = min(places), max(places)
    outer, inner = math.prod(x.shape[:first]), math.prod(x.shape[last + 1 :])
    rows, columns = _numbers(places[first]), _numbers(places[last])
    if first < last:
        size = (outer, x.shape[first], x.shape[last], inner)
    elif inner >= LANES:
        columns, size = _ALONE, (outer, x.shape[first], 1, inner)
    else:
        rows, size = _ALONE, (outer, 1, x.shape[first], inner)
    out = np.empty([len(places[i][0]) if i in places else n for i, n in enumerate(x.shape)], np.float32)
    _resample(_address(x), _address(out), size, rows, columns, moves)
    return out


@in_float32
def resample(x: Any, maps: Sequence[Map]) -> Any:
    """As the reference."""
    if x.dtype != np.float32 or not x.size or not all(len(m.index) for m in maps):
        return reference.resample(x, maps)
    x, order = _in_memory_order(x)
    todo, moves = {order.index(m.axis): _table(m) for m in maps}, all(m.weight is None for m in maps)
    while todo:
        first = next(iter(todo))
        beside = [i for i in (first + 1, first - 1) if i in todo]
        x = _mapped(x, {i: todo.pop(i) for i in (first, *beside[:1])}, moves)
    return x.transpose([order.index(i) for i in range(x.ndim)])
