"""Matrix products: float32 by ``gemm``, float64 by ``gemm64``, half and complex numbers by these; whole numbers by NumPy.

Every element's bits depend on its row and its column alone, so a row gives the same result alone and in a batch, on one
thread and on many. A threaded BLAS splits sums by its threads, and the split shows in the last bits. A sum of more than
``PART`` terms is cut into parts, which are added in order: where a result is too small for many tasks the parts are tasks.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from ...reference import linalg as reference
from ...reference.after import After
from ...reference.half import narrowed
from ..lanes.pointers import floats, hold
from ..running.compiled import EXACT, any_layout, compiled_callback, njit
from ..running.parallel import parallel_for
from .after import PLAIN, ends, suits
from .gemm import DEPTH, block, finish, pack, pack_part
from .gemv import FEW, PART, linear_few
from .microkernel import COLUMNS, ROWS

_FLOAT = np.dtype(np.float32)
_ENOUGH = 16  # tasks that keep the cores of a large machine busy
_GRAIN = 1 << 17  # multiply-adds that are worth a task
_WIDE = 1 << 13  # elements of a weight from which reading it where it lies is quicker than packing it
_ROOM = 1 << 23  # floats that sums of parts may take
_CHUNK = 64 * ROWS  # rows of a task at most: with packed columns for all of them in a core's cache
_CACHED_ROWS = 48  # rows up to which packing the weight takes a share of the time that is worth a copy of it

_MATRIX, _RESULT, _FIVE = any_layout(2), any_layout(2, writable=True), types.UniTuple(types.int64, 5)
_PLACES = any_layout(2, dtype=types.int64)


@njit(**EXACT)
def _up(n: Any, step: Any) -> Any:
    return (n + step - 1) // step


@intrinsic
def _words(typing_context, address):  # noqa: ARG001 - Numba fixes what an intrinsic is given
    def generate(context, builder, signature, arguments):  # noqa: ARG001
        return builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())

    return types.CPointer(types.int64)(types.int64), generate


@njit(**EXACT)
def _plan(products: Any, rows: Any, depth: Any, columns: Any) -> Any:
    """(rows, panels) of a task: how results are tiled leaves the bits alone, so any choice by shape will do."""
    panels = _up(columns, COLUMNS)
    chunk = _up(_up(rows, _up(rows, _CHUNK)), ROWS) * ROWS
    group = min(4, panels)
    while group > 1 and products * _up(rows, chunk) * _up(panels, group) < _ENOUGH:
        group //= 2
    while chunk > 16 * ROWS and products * _up(rows, chunk) * _up(panels, group) < _ENOUGH:
        chunk = _up(chunk // 2, ROWS) * ROWS
    while group < panels and max(16, min(rows, chunk)) * depth * group * COLUMNS < _GRAIN:
        group *= 2
    return chunk, _up(panels, _up(panels, group))


@njit(**EXACT)
def _sum_part(a: Any, b: Any, whole: Any, c: Any, c_step: Any, many: Any, span: Any, panels: Any, after: Any, step: Any) -> None:
    """c (many, columns) = a @ b over the terms of ``span``, then what comes after.

    Where B is not packed as a ``whole``, its panels are packed block by block. ``panels``: (columns, first, last).
    """
    a_at, a_row, a_k = a
    b_at, b_k, b_column, packed = b
    columns, first, last = panels
    bias, scale, shift, residual, activation = after
    start, stop = span
    for k in range(start, stop, DEPTH):
        depth = min(DEPTH, stop - k)
        source = packed
        if whole:
            source += 4 * COLUMNS * k * _up(columns, COLUMNS)
        else:
            for p in range(first, last):
                pack_part(b_at + k * b_k, b_k, b_column, depth, columns, packed, p)
        left = a_at + k * a_k
        if k + depth < stop:
            block(left, a_row, a_k, source, c, c_step, many, depth, columns, first, last, k > start, 0, 0, 0, 0, 0, 0)
        else:
            block(
                left, a_row, a_k, source, c, c_step, many, depth, columns, first, last, k > start,
                bias, scale, shift, residual, activation, step,
            )  # fmt: skip


@njit(**EXACT)
def _start(starts: Any, i: Any) -> Any:
    return carray(_words(starts), i + 1)[i] if starts else 0


@njit(**EXACT)
def _tile(t: Any, plan: Any, a: Any, b: Any, c: Any, size: Any, after: Any, starts: Any, sums: Any) -> None:
    """One task: some rows, some columns, of one product; all the parts of the sum, or where there are ``sums`` one of them."""
    chunk, group, down, wide, parts, products = plan
    rows, depth, columns = size
    bias, scale, shift, residual, activation = after
    b_at, b_k, b_column, packed = b
    left, t = t % wide * group * COLUMNS, t // wide
    top, t = t % down * chunk, t // down
    only, product = t % parts, t // parts
    many, width, step = min(chunk, rows - top), min(group * COLUMNS, columns - left), 4 * columns
    left_side = a[0] + top * a[1] + _start(starts, product), a[1], a[2]
    target = c + (product * rows + top) * step + 4 * left
    whole, long = packed != 0, depth > PART
    room = np.empty(0 if whole else min(DEPTH, depth) * group * COLUMNS, np.float32)
    extra = np.empty(many * width if long and not sums else 0, np.float32)
    shown, first = left, 0  # columns and panels are counted from the tile's first one, or where all of B is packed from B's
    if whole:
        shown, first = 0, left // COLUMNS
        panels = columns, first, first + _up(width, COLUMNS)
    else:
        b_at += left * b_column + _start(starts, products + product)
        panels, packed = (width, 0, _up(width, COLUMNS)), room.ctypes.data
    ends = PLAIN
    if not long:
        ends = (
            bias + 4 * shown if bias else 0, scale + 4 * shown if scale else 0, shift + 4 * shown if shift else 0,
            residual + top * step + 4 * shown if residual else 0, activation,
        )  # fmt: skip
    for part in range(only, only + 1 if sums else _up(depth, PART)):
        place, place_step = target, step
        if part and sums:
            place = sums + ((part - 1) * rows + top) * step + 4 * left
        elif part:
            place, place_step = extra.ctypes.data, 4 * width
        span = part * PART, min(depth, (part + 1) * PART)
        right_side = b_at, b_k, b_column, packed
        _sum_part(left_side, right_side, whole, place - 4 * (left - shown), place_step, many, span, panels, ends, step)
        if part and not sums:
            _add(target, step, place, place_step, many, width)
    if long and not sums:
        beside = residual + top * step if residual else 0
        finish(target, step, many, width, left, (bias, scale, shift, beside, activation), step)
    hold(room)
    hold(extra)


@njit(**EXACT)
def _add(c: Any, c_step: Any, more: Any, step: Any, rows: Any, columns: Any) -> None:
    for r in range(rows):
        x, y = floats(c + r * c_step, columns), floats(more + r * step, columns)
        for j in range(columns):
            x[j] += y[j]


@njit(**EXACT)
def _join(t: Any, c: Any, sums: Any, parts: Any, size: Any, after: Any) -> None:
    """Add the parts of some rows in order."""
    rows, _, columns = size
    bias, scale, shift, residual, activation = after
    step = 4 * columns
    top = t * ROWS
    many = min(ROWS, rows - top)
    for part in range(1, parts):
        _add(c + top * step, step, sums + ((part - 1) * rows + top) * step, step, many, columns)
    beside = residual + top * step if residual else 0
    finish(c + top * step, step, many, columns, 0, (bias, scale, shift, beside, activation), step)


def _products(
    a: Any, a_row: Any, a_k: Any, b: Any, b_k: Any, b_column: Any, packed: Any, c: Any, rows: Any, depth: Any, columns: Any,
    bias: Any, scale: Any, shift: Any, residual: Any, activation: Any, starts: Any, products: Any,
) -> Any:  # fmt: skip
    left, right, size = (a, a_row, a_k), (b, b_k, b_column, packed), (rows, depth, columns)
    after = bias, scale, shift, residual, activation
    parts = _up(depth, PART)
    split = parts > 1 and products == 1 and _up(rows, _CHUNK) * _up(columns, 4 * COLUMNS) < _ENOUGH
    split = split and (parts - 1) * rows * columns <= _ROOM
    chunk, group = _plan(products * (parts if split else 1), rows, min(depth, PART) if split else depth, columns)
    down, wide = _up(rows, chunk), _up(_up(columns, COLUMNS), group)
    sums = np.empty((parts - 1) * rows * columns if split else 0, np.float32)
    places = sums.ctypes.data if split else 0
    plan = chunk, group, down, wide, parts if split else 1, products
    parallel_for(_tile, products * down * wide * plan[4], (plan, left, right, c, size, after, starts, places))
    if split:
        parallel_for(_join, _up(rows, ROWS), (c, places, parts, size, after))
    hold(sums)
    return 1


_PRODUCTS = types.int64(*[types.int64] * 18)
_compiled = compiled_callback(_PRODUCTS, _products)  # once, for the small kernels below
llvm.add_symbol("nyala_products", _compiled.address)
products = types.ExternalFunction("nyala_products", _PRODUCTS)
"""``products(a, a_row, a_k, b, b_k, b_column, packed, c, rows, depth, columns, bias, scale, shift, residual, activation, starts,
products)``: c = a @ b, then what comes after, for every product of a batch; c in C order.

Addresses; steps in bytes. ``packed``: all of B as ``gemm.pack`` left it, or 0. ``starts``: of 2 x ``products`` whole numbers,
where the matrices a and then the matrices b begin, in bytes from the first; 0 for one product. Gives 1, or 0 where no memory
was left."""


@njit(**EXACT)
def _check(done: Any) -> None:
    if done != 1:
        raise MemoryError("no memory was left for the sums of a matrix product")


@njit(signatures=[types.void(_MATRIX, _MATRIX, _RESULT, _FIVE)], **EXACT)
def _multiply(a: Any, b: Any, c: Any, after: Any) -> None:
    """c (rows, columns), C order, = a (rows, depth) @ b (depth, columns), then what comes after."""
    rows, depth = a.shape
    done = products(
        a.ctypes.data, a.strides[0], a.strides[1], b.ctypes.data, b.strides[0], b.strides[1], 0, c.ctypes.data,
        rows, depth, b.shape[1], after[0], after[1], after[2], after[3], after[4], 0, 1,
    )  # fmt: skip
    _check(done)


@njit(signatures=[types.void(_MATRIX, any_layout(1), _RESULT, _FIVE)], **EXACT)
def _multiply_packed(a: Any, packed: Any, c: Any, after: Any) -> None:
    """The same by columns packed before."""
    rows, depth = a.shape
    done = products(
        a.ctypes.data, a.strides[0], a.strides[1], 0, 0, 0, packed.ctypes.data, c.ctypes.data,
        rows, depth, c.shape[1], after[0], after[1], after[2], after[3], after[4], 0, 1,
    )  # fmt: skip
    _check(done)


@njit(signatures=[types.void(_MATRIX, _MATRIX, types.int64, _PLACES)], **EXACT)
def _multiply_batch(a: Any, b: Any, c: Any, starts: Any) -> None:
    """Products of matrices that lie as the first ones, a and b, do; results one after the other."""
    rows, depth = a.shape
    done = products(
        a.ctypes.data, a.strides[0], a.strides[1], b.ctypes.data, b.strides[0], b.strides[1], 0, c,
        rows, depth, b.shape[1], 0, 0, 0, 0, 0, starts.ctypes.data, starts.shape[1],
    )  # fmt: skip
    _check(done)


@njit(signatures=[any_layout(1, order="C", writable=True)(_MATRIX)], **EXACT)
def packed_columns(b: Any) -> Any:
    """B (depth, columns) as panels."""
    return pack(b.ctypes.data, b.strides[0], b.strides[1], b.shape[0], b.shape[1])


def matmul(a: Any, b: Any) -> Any:
    """As the reference."""
    if a.dtype != _FLOAT or b.dtype != _FLOAT:
        return _other(a, b)
    if a.ndim == 2 and b.ndim == 2 and a.shape[1] == b.shape[0] and a.size and b.size:
        out = np.empty((a.shape[0], b.shape[1]), np.float32)
        _multiply(_aligned(a), _aligned(b), out, PLAIN)
        return out
    if a.ndim < 2 or b.ndim < 2 or not a.size or not b.size or a.shape[-1] != b.shape[-2]:
        return reference.matmul(a, b)  # nothing to sum, or an error to raise
    if b.ndim == 2:
        return matmul(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[1])
    return _batched(_aligned(a), _aligned(b))


def _aligned(x: Any) -> Any:
    return x if x.flags.aligned else x.copy()


def _other(a: Any, b: Any) -> Any:
    """Products that are not of two float32 arrays: in the precision of their common type, half precision in float32."""
    dtype = np.result_type(a, b)
    if dtype.itemsize == 2 and dtype.kind in "fV":
        return narrowed(matmul(a.astype(np.float32), b.astype(np.float32)), dtype)
    if dtype == np.float32:
        return matmul(a.astype(dtype, copy=False), b.astype(dtype, copy=False))
    if dtype == np.float64:
        from .gemm64 import multiply64  # compiled for those who need it

        return multiply64(a, b)
    if dtype in (np.complex64, np.complex128):
        return _complex(a, b, dtype)
    return reference.matmul(a, b)  # whole numbers: NumPy's own loops


def _complex(a: Any, b: Any, dtype: Any) -> Any:
    """Of four real products."""
    x, y = matmul(a.real, b.real), matmul(a.real, b.imag)
    out = np.empty(x.shape, dtype)
    np.subtract(x, matmul(a.imag, b.imag), out=out.real)
    np.add(y, matmul(a.imag, b.real), out=out.imag)
    return out


def _batched(a: Any, b: Any) -> Any:
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = np.empty((*batch, a.shape[-2], b.shape[-1]), np.float32)
    if out.size:
        a, b = (np.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, b))
        starts = np.stack([_starts(batch, x.strides[:-2]) for x in (a, b)])
        first = (0,) * len(batch)
        _multiply_batch(a[first], b[first], out.ctypes.data, starts)
    return out


def _starts(batch: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """Where each matrix of a batch begins, in bytes from the first."""
    places = np.zeros((), np.int64)
    for n, stride in zip(batch, strides, strict=True):
        places = places[..., None] + np.arange(n) * stride
    return places.reshape(-1)


def linear(x: Any, weight: Any, bias: Any = None, after: After | None = None, packs: dict[str, Any] | None = None) -> Any:
    """As the reference; what follows the product is done while it is in the cache."""
    depth = x.shape[-1] if x.ndim else 0
    others = weight.dtype == _FLOAT and (bias is None or bias.dtype == _FLOAT) and (after is None or suits(None, after))
    if x.dtype != _FLOAT or not others:
        return reference.apply(_biased(matmul(x, weight.T), bias), after, -1)
    if not x.size or not weight.size or weight.shape[1:] != (depth,):
        return reference.linear(x, weight, bias, after, packs)  # nothing to sum, or an error to raise
    out = np.empty((*x.shape[:-1], len(weight)), _FLOAT)
    if x.ndim == 2:
        rows, results = x, out
    else:
        rows, results = x.reshape(-1, depth), out.reshape(-1, len(weight))
    if after is not None and after.residual is not None and after.residual.shape != out.shape:
        after = after._replace(residual=np.broadcast_to(after.residual, out.shape))
    codes, held = ends(bias, after)
    if len(rows) <= FEW and weight.size >= _WIDE and weight.strides[1] == 4:
        linear_few(_aligned(rows) if rows.strides[1] == 4 else rows.copy(), _aligned(weight), results, codes)
    elif packs is None or len(rows) > _CACHED_ROWS:
        _multiply(_aligned(rows), _aligned(weight.T), results, codes)
    else:
        packed = packs.get("linear")
        if packed is None:
            packed = packs["linear"] = packed_columns(_aligned(weight.T))
        _multiply_packed(_aligned(rows), packed, results, codes)
    del held  # the addresses in ``codes`` were good until here
    return out


def _biased(y: Any, bias: Any) -> Any:
    return y if bias is None else y + bias
