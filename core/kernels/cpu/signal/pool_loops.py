"""The compiled loops of maximum pooling, over channels-last memory: windows by tables of positions, vectors over channels.

An index is the flat position in its plane, an int32; in vectors it stands as the bits of a float32.
"""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..conv.strips import Loop, constant, least
from ..lanes.pointers import floats, hold
from ..lanes.simd import LANES, add, load_at, splat, store_at, vector
from ..lanes.vector_math import bits_float, float_bits
from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for

_TAPS = 1 << 17  # elements of a result in a tile times the taps of a row of its windows
_TILE = 1 << 15  # elements of a gradient in a tile
_ARGUMENTS = ("x", "y", "index", "down", "across", "flat_down", "flat_across", "rows", "columns", "channels")
_F32, _I32, _I64, _VOID = ir.FloatType(), ir.IntType(32), ir.IntType(64), ir.VoidType()
_f = np.float32


class _Window:
    """Code for the maxima of one window: groups of ``beside`` vectors of ``lanes`` channels, then single vectors."""

    def __init__(self, function: Any, lanes: int, beside: int, places: bool) -> None:
        self.builder = ir.IRBuilder(function.append_basic_block())
        self.given = dict(zip(_ARGUMENTS, function.args, strict=True))
        self.values, self.numbers = ir.VectorType(_F32, lanes), ir.VectorType(_I32, lanes)
        self.lanes, self.places = lanes, places
        builder, channels = self.builder, self.given["channels"]
        groups = builder.sdiv(channels, constant(lanes * beside))
        loop = Loop(builder, groups, [])
        self._group(builder.mul(loop.index, constant(4 * lanes * beside)), beside)
        loop.end([])
        done = builder.mul(groups, constant(lanes * beside))
        rest = builder.sdiv(builder.add(builder.sub(channels, done), constant(lanes - 1)), constant(lanes))
        loop = Loop(builder, rest, [])
        first = builder.add(done, builder.mul(loop.index, constant(lanes)))  # the last vector may overlap the one before
        self._group(builder.mul(least(builder, first, builder.sub(channels, constant(lanes))), constant(4)), 1)
        loop.end([])
        builder.ret_void()

    def _word(self, name: str, index: Any) -> Any:
        place = self.builder.add(self.given[name], self.builder.mul(index, constant(8)))
        return self.builder.load(self.builder.inttoptr(place, _I64.as_pointer()))

    def _at(self, place: Any, kind: Any, v: int) -> Any:
        return self.builder.inttoptr(self.builder.add(place, constant(4 * self.lanes * v)), kind.as_pointer())

    def _tap(self, down: Any, p: Any, q: Any, offset: Any) -> tuple[Any, Any]:
        """Where a tap's channels lie, and its index in all lanes."""
        builder = self.builder
        place = builder.add(builder.add(self.given["x"], offset), builder.add(down, self._word("across", q)))
        if not self.places:
            return place, None
        number = builder.trunc(builder.add(self._word("flat_down", p), self._word("flat_across", q)), _I32)
        single = builder.insert_element(ir.Constant(self.numbers, ir.Undefined), number, ir.Constant(_I32, 0))
        zeros = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        return place, builder.shuffle_vector(single, single, zeros)

    def _group(self, offset: Any, beside: int) -> None:
        builder, zero = self.builder, constant(0)
        place, flat = self._tap(self._word("down", zero), zero, zero, offset)
        tops = [builder.load(self._at(place, self.values, v), align=4) for v in range(beside)]
        rows = Loop(builder, self.given["rows"], tops + [flat] * (beside if self.places else 0))
        down = self._word("down", rows.index)
        columns = Loop(builder, self.given["columns"], rows.values)
        place, flat = self._tap(down, rows.index, columns.index, offset)
        tops, indices = columns.values[:beside], columns.values[beside:]
        for v in range(beside):
            value = builder.load(self._at(place, self.values, v), align=4)
            better = builder.or_(builder.fcmp_ordered(">", value, tops[v]), builder.fcmp_unordered("uno", value, value))
            tops[v] = builder.select(better, value, tops[v])
            if self.places:
                indices[v] = builder.select(better, flat, indices[v])
        found = rows.end(columns.end([*tops, *indices]))
        for name, kind, values in (("y", self.values, found[:beside]), ("index", self.numbers, found[beside:])):
            for v, value in enumerate(values):
                builder.store(value, self._at(builder.add(self.given[name], offset), kind, v), align=4)


def _function(module: Any, lanes: int, beside: int, places: bool) -> Any:
    name = f"nyala_maxima_{lanes}x{beside}_{int(places)}"
    if name not in module.globals:
        function = ir.Function(module, ir.FunctionType(_VOID, [_I64] * len(_ARGUMENTS)), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        _Window(function, lanes, beside, places)
    return module.globals[name]


@intrinsic
def _window(typing_context, x, y, index, down, across, flat_down, flat_across, rows, columns, channels):
    """All channels of one window: y, and where each maximum stands where ``index`` is not 0.

    Addresses. Tap (p, q) lies down[p] + across[q] bytes from x, and its index is flat_down[p] + flat_across[q].
    """

    def generate(context, builder, signature, arguments):
        wide = builder.icmp_signed(">=", arguments[-1], constant(LANES))
        places = builder.icmp_signed("!=", arguments[2], constant(0))
        number = builder.add(builder.mul(builder.zext(wide, _I64), constant(2)), builder.zext(places, _I64))
        end = builder.append_basic_block("maxima_end")
        switch = builder.switch(number, end)
        for i, (lanes, beside, both) in enumerate(((1, 1, False), (1, 1, True), (LANES, 4, False), (LANES, 2, True))):
            block = builder.append_basic_block(f"maxima_{i}")
            switch.add_case(constant(i), block)
            builder.position_at_end(block)
            builder.call(_function(builder.module, lanes, beside, both), arguments)
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 10), generate


@intrinsic
def _where_same(typing_context, bits, number, a):
    """a where the bits are those of ``number``, else 0."""

    def generate(context, builder, signature, arguments):
        kind = ir.VectorType(_I32, LANES)
        same = builder.icmp_signed("==", *[builder.bitcast(v, kind) for v in arguments[:2]])
        return builder.select(same, arguments[2], ir.Constant(arguments[2].type, [0.0] * LANES))

    return vector(vector, vector, vector), generate


@njit(**EXACT)
def _maxima_rows(t: Any, x: Any, y: Any, index: Any, height: Any, width: Any, channels: Any, rows: Any, columns: Any, each: Any,
                 total: Any) -> None:  # fmt: skip
    pixel, kh, kw = 4 * channels, rows.shape[1], columns.shape[1]
    across, down, flat = columns * pixel, np.empty(kh, np.int64), np.empty(kh, np.int64)
    for r in range(t * each, min(total, (t + 1) * each)):
        n, oy = r // len(rows), r % len(rows)
        for p in range(kh):
            flat[p] = rows[oy, p] * width
            down[p] = flat[p] * pixel
        for ox in range(len(columns)):
            offset, column = (r * len(columns) + ox) * pixel, 8 * ox * kw
            _window(
                x + n * height * width * pixel, y + offset, index + offset if index else 0,
                np.int64(down.ctypes.data), np.int64(across.ctypes.data) + column,
                np.int64(flat.ctypes.data), np.int64(columns.ctypes.data) + column, kh, kw, channels,
            )  # fmt: skip
    hold(across)
    hold(down)
    hold(flat)


@njit(**EXACT)
def maxima(x: Any, y: Any, index: Any, images: Any, height: Any, width: Any, channels: Any, rows: Any, columns: Any) -> None:
    """The maxima of the windows; NaN counts as the largest, of equal elements the first, of NaNs the last.

    x (images, height, width, channels) and y (images, len(rows), len(columns), channels), also ``index``: addresses, 0 for none.
    """
    total = images * len(rows)
    each = max(1, _TAPS // (len(columns) * columns.shape[1] * channels))
    parallel_for(_maxima_rows, (total + each - 1) // each, (x, y, index, height, width, channels, rows, columns, each, total))


# ---- backwards


@njit(**EXACT)
def _spread(g: Any, index: Any, x: Any, flat: Any, channels: Any) -> None:
    """Add at one place of x what each channel of a window's gradient has there."""
    if channels < LANES:
        for c in range(0, 4 * channels, 4):
            if float_bits(floats(index + c, 1)[0]) == float_bits(flat):
                floats(x + c, 1)[0] += floats(g + c, 1)[0]
        return
    number, whole = splat(flat), 4 * (channels // LANES * LANES)
    for c in range(0, whole, 4 * LANES):
        store_at(x + c, add(load_at(x + c), _where_same(load_at(index + c), number, load_at(g + c))))
    for c in range(whole, 4 * channels, 4):
        if float_bits(floats(index + c, 1)[0]) == float_bits(flat):
            floats(x + c, 1)[0] += floats(g + c, 1)[0]


@njit(**EXACT)
def _spread_rows(t: Any, g: Any, index: Any, x: Any, height: Any, width: Any, channels: Any, rows: Any, columns: Any,
                 each: Any) -> None:  # fmt: skip
    """Some rows of an image of x: zeros, then each window's gradient in the windows' order."""
    blocks, pixel = (height + each - 1) // each, 4 * channels
    n, top = t // blocks, t % blocks * each
    end = min(height, top + each)
    x += n * height * width * pixel
    mine = floats(x + top * width * pixel, (end - top) * width * channels)
    for i in range(mine.size):
        mine[i] = _f(0.0)
    kh, kw = rows.shape[1], columns.shape[1]
    for oy in range(len(rows)):
        if rows[oy, 0] >= end or rows[oy, kh - 1] < top:
            continue
        for ox in range(len(columns)):
            offset = ((n * len(rows) + oy) * len(columns) + ox) * pixel
            for p in range(kh):
                iy = rows[oy, p]
                if top <= iy < end and (p == 0 or iy != rows[oy, p - 1]):
                    for q in range(kw):
                        ix = columns[ox, q]
                        if q == 0 or ix != columns[ox, q - 1]:
                            flat = iy * width + ix
                            _spread(g + offset, index + offset, x + flat * pixel, bits_float(np.int32(flat)), channels)


@njit(**EXACT)
def spread(g: Any, index: Any, x: Any, images: Any, height: Any, width: Any, channels: Any, rows: Any, columns: Any) -> None:
    """x (images, height, width, channels): the gradients g of the windows added where ``index`` says; addresses."""
    each = max(1, _TILE // (width * channels))
    tiles = images * ((height + each - 1) // each)
    parallel_for(_spread_rows, tiles, (g, index, x, height, width, channels, rows, columns, each))


@njit(**EXACT)
def _scatter_image(n: Any, g: Any, places: Any, out: Any) -> None:
    grad, place, total = g[n], places[n], out[n]
    total[:] = _f(0.0)
    for k in range(grad.shape[0]):
        for c in range(grad.shape[1]):
            total[place[k, c], c] += grad[k, c]


@njit(**EXACT)
def scatter(g: Any, places: Any, out: Any) -> None:
    """g (N, L, C) added at places (N, L, C) of out (N, S, C), which is zero elsewhere."""
    parallel_for(_scatter_image, len(out), (g, places, out))
