"""The innermost loops of depthwise convolutions: a row of pixels times a window, a vector of channels at a time.

``row`` computes neighbouring pixels together, so that each element of the source is loaded once for all the windows over it;
``row_back`` sums the weight's gradient over a row, likewise. Both are written for the usual windows with all taps in registers,
and once more for any window. Each sum is one chain of fused multiply-adds, row by row of the window, tap by tap, so its bits
depend neither on the pixels beside it nor on which loop computes it nor on the width of the vectors.
"""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..matrix.microkernel import LANES
from ..running.compiled import EXACT, njit

PIXELS = 7
"""Pixels computed together; image networks have rows of 7, 14, 28, 56 and 112."""
_WINDOWS = ((2, 1), (3, 1), (5, 1), (7, 1), (3, 2), (5, 2), (7, 2))  # taps in a row, and how many each pixel moves on
_ANY = (0, 0)

_F32, _I64, _VOID = ir.FloatType(), ir.IntType(64), ir.VoidType()
_NUMBERS = (
    "x_rows", "w_rows", "rows", "taps", "x_tap", "w_tap", "x_pixel", "y", "y_pixel", "pixels", "channels",
    "bias", "scale", "shift", "residual", "top", "first",
)  # fmt: skip
NUMBERS = len(_NUMBERS)
"""Room that a call of ``row`` or ``row_back`` takes."""
_TOGETHER = 4  # pixels of a gradient at a time
_CHAINS = 9  # sums under way at once: what hides the delay of a multiply-add
_RELU6 = 2


def constant(value: int) -> Any:
    return ir.Constant(_I64, value)


def least(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.icmp_signed("<", a, b), a, b)


class Loop:
    """``for i in range(count)``, with values carried from one round to the next."""

    def __init__(self, builder: Any, count: Any, carried: list[Any]) -> None:
        self.builder = builder
        before, self.head = builder.block, builder.append_basic_block("head")
        self.body, self.done = builder.append_basic_block("body"), builder.append_basic_block("done")
        builder.branch(self.head)
        builder.position_at_end(self.head)
        self.index = builder.phi(_I64)
        self.index.add_incoming(constant(0), before)
        self.values = [builder.phi(v.type) for v in carried]
        for phi, value in zip(self.values, carried, strict=True):
            phi.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<", self.index, count), self.body, self.done)
        builder.position_at_end(self.body)

    def end(self, following: list[Any]) -> list[Any]:
        """Close the loop; gives the carried values as they are after it."""
        for phi, value in zip(self.values, following, strict=True):
            phi.add_incoming(value, self.builder.block)
        self.index.add_incoming(self.builder.add(self.index, constant(1)), self.builder.block)
        self.builder.branch(self.head)
        self.builder.position_at_end(self.done)
        return self.values


class _Code:
    """What both loops are written with: vectors of ``lanes`` channels at addresses."""

    def __init__(self, builder: Any, numbers: Any, lanes: int) -> None:
        self.builder = builder
        self.kind = ir.VectorType(_F32, lanes)
        self.places = {
            name: builder.inttoptr(builder.add(numbers, constant(8 * i)), _I64.as_pointer()) for i, name in enumerate(_NUMBERS)
        }

    def number(self, name: str) -> Any:
        return self.builder.load(self.places[name])

    def step(self, name: str) -> Any:
        """A number read anew each time: LLVM would keep many multiples of it, in registers that are not there."""
        return self.builder.load_atomic(self.places[name], "monotonic", 8)

    def word(self, base: Any, index: Any) -> Any:
        """One of the numbers at ``base``."""
        place = self.builder.add(base, self.builder.mul(index, constant(8)))
        return self.builder.load(self.builder.inttoptr(place, _I64.as_pointer()))

    def pointer(self, *parts: Any) -> Any:
        place = parts[0]
        for part in parts[1:]:
            place = self.builder.add(place, part)
        return self.builder.inttoptr(place, self.kind.as_pointer())

    def times(self, step: Any, count: Any) -> Any:
        return self.builder.mul(step, constant(count) if isinstance(count, int) else count)

    def load(self, *parts: Any) -> Any:
        return self.builder.load(self.pointer(*parts), align=4)

    def store(self, value: Any, *parts: Any) -> None:
        self.builder.store(value, self.pointer(*parts), align=4)

    def splat(self, value: float) -> Any:
        return ir.Constant(self.kind, [value] * self.kind.count)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        kind, name = ir.FunctionType(self.kind, [self.kind] * 3), f"llvm.fma.v{self.kind.count}f32"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), [a, b, c])

    def where(self, condition: Any, values: list[Any], change: Callable[[], list[Any]]) -> list[Any]:
        """``change()`` where a number is not 0, ``values`` elsewhere."""
        builder = self.builder
        before, inside, after = builder.block, builder.append_basic_block("some"), builder.append_basic_block("on")
        builder.cbranch(builder.icmp_signed("!=", condition, constant(0)), inside, after)
        builder.position_at_end(inside)
        changed = change()
        inside = builder.block
        builder.branch(after)
        builder.position_at_end(after)
        merged = []
        for old, new in zip(values, changed, strict=True):
            phi = builder.phi(self.kind)
            phi.add_incoming(old, before)
            phi.add_incoming(new, inside)
            merged.append(phi)
        return merged

    def for_vectors(self, body: Callable[[Any], None]) -> None:
        """``body(bytes from the first channel)`` for each vector of channels; the last may overlap the one before."""
        builder, lanes, channels = self.builder, self.kind.count, self.number("channels")
        loop = Loop(builder, builder.sdiv(builder.add(channels, constant(lanes - 1)), constant(lanes)), [])
        first = least(builder, self.times(loop.index, lanes), builder.sub(channels, constant(lanes)))
        body(self.times(first, 4))
        loop.end([])


def _function(module: Any, name: str, write: Callable[[Any, Any], Any]) -> Any:
    """``void(address of _NUMBERS)``, written by ``write(builder, address)``."""
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(_VOID, [_I64]), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block())
    write(builder, function.args[0])
    builder.ret_void()
    return function


# ---- a row of the result


class _Row(_Code):
    """For each vector of channels and each strip of ``many`` pixels: the window's sums, and what follows them."""

    def __init__(self, builder: Any, numbers: Any, lanes: int, many: int, window: tuple[int, int]) -> None:
        super().__init__(builder, numbers, lanes)
        self.many, (self.taps, self.moves) = many, window
        self.for_vectors(self._strips)

    def _strips(self, offset: Any) -> None:
        builder, pixels = self.builder, self.number("pixels")
        loop = Loop(builder, builder.sdiv(builder.add(pixels, constant(self.many - 1)), constant(self.many)), [])
        first = least(builder, self.times(loop.index, self.many), builder.sub(pixels, constant(self.many)))
        sums = self._sums(offset, self.times(self.number("x_pixel"), first))
        place = builder.add(offset, self.times(self.number("y_pixel"), first))
        self._store_all(self._finished(sums, offset, place), builder.add(self.number("y"), place))
        loop.end([])

    def _sums(self, offset: Any, moved: Any) -> list[Any]:
        builder = self.builder
        rows = Loop(builder, self.number("rows"), [self.splat(0.0)] * self.many)
        x = builder.add(self.word(self.number("x_rows"), rows.index), builder.add(moved, offset))
        w = builder.add(self.word(self.number("w_rows"), rows.index), offset)
        return rows.end(self._known(x, w, rows.values) if self.taps else self._any(x, w, rows.values))

    def _known(self, x: Any, w: Any, sums: list[Any]) -> list[Any]:
        """One row of a window whose taps are counted: each element of x is loaded once."""
        sums, x_tap, w_tap = list(sums), self.step("x_tap"), self.step("w_tap")
        weights = [self.load(w, self.times(w_tap, j)) for j in range(self.taps)]
        for column in range((self.many - 1) * self.moves + self.taps):
            source = self.load(x, self.times(x_tap, column))
            for p in range(self.many):
                if 0 <= column - p * self.moves < self.taps:
                    sums[p] = self.fma(source, weights[column - p * self.moves], sums[p])
        return sums

    def _any(self, x: Any, w: Any, sums: list[Any]) -> list[Any]:
        builder = self.builder
        taps = Loop(builder, self.number("taps"), [x, w, *sums])
        x, w, *sums = taps.values
        weight, step = self.load(w), self.step("x_pixel")
        added = [self.fma(self.load(x, self.times(step, p)), weight, s) for p, s in enumerate(sums)]
        return taps.end([builder.add(x, self.step("x_tap")), builder.add(w, self.step("w_tap")), *added])[2:]

    def _store_all(self, values: list[Any], place: Any) -> None:
        step = self.step("y_pixel")
        for p, value in enumerate(values):
            self.store(value, place, self.times(step, p))

    def _finished(self, sums: list[Any], offset: Any, place: Any) -> list[Any]:
        """As ``gemm.finish``, whose roundings these are."""
        bias, scale, residual, top = (self.number(name) for name in ("bias", "scale", "residual", "top"))
        sums = self.where(bias, sums, lambda: self._with_bias(sums, self.load(bias, offset)))
        sums = self.where(scale, sums, lambda: self._scaled(sums, offset))
        sums = self.where(residual, sums, lambda: self._with_residual(sums, self.builder.add(residual, place)))
        sums = self.where(top, sums, lambda: [self._bounded(v, "<", 0.0) for v in sums])
        six = self.builder.and_(top, constant(_RELU6))
        return self.where(six, sums, lambda: [self._bounded(v, ">", 6.0) for v in sums])

    def _with_bias(self, sums: list[Any], bias: Any) -> list[Any]:
        return [self.builder.fadd(v, bias) for v in sums]

    def _scaled(self, sums: list[Any], offset: Any) -> list[Any]:
        scale, shift = (self.load(self.number(name), offset) for name in ("scale", "shift"))
        return [self.fma(v, scale, shift) for v in sums]

    def _with_residual(self, sums: list[Any], place: Any) -> list[Any]:
        step = self.step("y_pixel")
        return [self.builder.fadd(v, self.load(place, self.times(step, p))) for p, v in enumerate(sums)]

    def _bounded(self, value: Any, order: str, bound: float) -> Any:
        return self.builder.select(self.builder.fcmp_ordered(order, value, self.splat(bound)), self.splat(bound), value)


# ---- a row's part of the weight's gradient


class _RowBack(_Code):
    """For some vectors of channels at once and each row of the window: a row's part of the sums of all its taps."""

    def __init__(self, builder: Any, numbers: Any, lanes: int, window: tuple[int, int]) -> None:
        super().__init__(builder, numbers, lanes)
        self.taps, self.moves = window
        beside = 1 if lanes == 1 else _CHAINS // max(self.taps, 1)
        wide = beside * lanes
        first, groups = self.number("first"), builder.sdiv(self.number("channels"), constant(wide))
        loop = Loop(builder, groups, [])
        self._rows(builder.add(first, self.times(loop.index, 4 * wide)), beside)
        loop.end([])
        done = self.times(groups, wide)
        loop = Loop(builder, builder.sdiv(builder.sub(self.number("channels"), done), constant(lanes)), [])
        self._rows(builder.add(first, self.times(builder.add(done, self.times(loop.index, lanes)), 4)), 1)
        loop.end([])

    def _rows(self, offset: Any, beside: int) -> None:
        """``y`` is the gradient of the result, ``w_rows`` are the sums."""
        builder = self.builder
        rows = Loop(builder, self.number("rows"), [])
        x = builder.add(self.word(self.number("x_rows"), rows.index), offset)
        w = builder.add(self.word(self.number("w_rows"), rows.index), offset)
        y = builder.add(self.number("y"), offset)
        if self.taps:
            self._along(x, w, y, beside, self.taps)
        else:
            taps = Loop(builder, self.number("taps"), [x, w])
            self._along(taps.values[0], taps.values[1], y, beside, 1)
            taps.end([builder.add(v, self.number(step)) for v, step in zip(taps.values, ("x_tap", "w_tap"), strict=True)])
        rows.end([])

    def _along(self, x: Any, w: Any, y: Any, beside: int, taps: int) -> None:
        """The sums of ``taps`` taps, which stay in registers all along the row."""
        builder, pixels, step, wide = self.builder, self.number("pixels"), self.number("w_tap"), 4 * self.kind.count
        starts = [builder.add(w, constant(v * wide)) for v in range(beside)]
        places = [builder.add(start, self.times(step, j)) for start in starts for j in range(taps)]
        held = [self.load(place) for place in places]
        many = builder.sdiv(pixels, constant(_TOGETHER))
        loop = Loop(builder, many, [x, y, *held])
        values = loop.end(self._pixels(loop.values, _TOGETHER, beside, taps))
        loop = Loop(builder, builder.sub(pixels, self.times(many, _TOGETHER)), values)
        values = loop.end(self._pixels(loop.values, 1, beside, taps))
        for place, value in zip(places, values[2:], strict=True):
            self.store(value, place)

    def _pixels(self, values: list[Any], many: int, beside: int, taps: int) -> list[Any]:
        """``many`` more pixels in the sums; in known windows each element of x is loaded once for them."""
        x, y, *sums = values
        x_tap, x_pixel, y_pixel = (self.step(name) for name in ("x_tap", "x_pixel", "y_pixel"))
        moves = self.moves or 1
        unit = x_tap if self.taps else x_pixel
        for v in range(beside):
            beyond = constant(4 * self.kind.count * v)
            grads = [self.load(y, self.times(y_pixel, p), beyond) for p in range(many)]
            for column in range((many - 1) * moves + taps):
                if any(0 <= column - p * moves < taps for p in range(many)):
                    source = self.load(x, self.times(unit, column), beyond)
                    for p in range(many):
                        j = column - p * moves
                        if 0 <= j < taps:
                            sums[v * taps + j] = self.fma(source, grads[p], sums[v * taps + j])
        return [self.builder.add(x, self.times(x_pixel, many)), self.builder.add(y, self.times(y_pixel, many)), *sums]


# ---- for Numba code


def _chosen(typing_context: Any, name: str, writers: list[Callable[[Any, Any], Any]]) -> Any:
    """What an intrinsic gives: a call of the function of a number."""

    def generate(context, builder, signature, arguments):
        end, default = builder.append_basic_block(f"{name}_end"), builder.append_basic_block(f"{name}_none")
        switch = builder.switch(arguments[0], default)
        for i, write in enumerate(writers):
            block = builder.append_basic_block(f"{name}_{i}")
            switch.add_case(constant(i), block)
            builder.position_at_end(block)
            builder.call(_function(builder.module, f"nyala_{name}_{i}", write), [arguments[1]])
            builder.branch(end)
        builder.position_at_end(default)
        builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


_ROWS = [
    lambda b, a: _Row(b, a, 1, 1, _ANY),
    lambda b, a: _Row(b, a, LANES, 1, _ANY),
    lambda b, a: _Row(b, a, LANES, PIXELS, _ANY),
    *[lambda b, a, window=window: _Row(b, a, LANES, PIXELS, window) for window in _WINDOWS],
]
_ROWS_BACK = [
    lambda b, a: _RowBack(b, a, 1, _ANY),
    lambda b, a: _RowBack(b, a, LANES, _ANY),
    *[lambda b, a, window=window: _RowBack(b, a, LANES, window) for window in _WINDOWS],
]


@intrinsic
def _row(typing_context, which, numbers):
    return _chosen(typing_context, "row", _ROWS)


@intrinsic
def _row_back(typing_context, which, numbers):
    return _chosen(typing_context, "row_back", _ROWS_BACK)


@njit(**EXACT)
def _known(taps: Any, x_tap: Any, x_pixel: Any) -> Any:
    """The place in ``_WINDOWS`` of a window, or -1."""
    for i in range(len(_WINDOWS)):
        if taps == _WINDOWS[i][0] and x_pixel == x_tap * _WINDOWS[i][1]:
            return i
    return -1


@njit(**EXACT)
def row(room: Any, x_rows: Any, w_rows: Any, rows: Any, taps: Any, x_tap: Any, w_tap: Any, x_pixel: Any, y: Any, y_pixel: Any,
        pixels: Any, channels: Any, ends: Any) -> None:  # fmt: skip
    """y[p, c] = the sum over i < rows, j < taps of x_rows[i][p, j, c] * w_rows[i][j, c]; pixels and channels at least 1.

    Addresses; steps in bytes. Channels lie side by side; ``x_rows`` and ``w_rows`` (rows,) int64 hold addresses.
    Then follows what ``ends`` say, each 0 for nothing: addresses of (channels,) to add, to multiply with and to add, of a
    residual as y, and 1 for ReLU or 2 for ReLU6. ``room`` (NUMBERS,) int64 is scratch.
    """
    tables = np.int64(x_rows.ctypes.data), np.int64(w_rows.ctypes.data)
    _put(room, (*tables, rows, taps, x_tap, w_tap, x_pixel, y, y_pixel, pixels, channels, *ends, 0))
    which = 3 + _known(taps, x_tap, x_pixel) if pixels >= PIXELS else 1
    _row(which if channels >= LANES else 0, room.ctypes.data)


@njit(**EXACT)
def row_back(room: Any, x_rows: Any, w_rows: Any, rows: Any, taps: Any, x_tap: Any, w_tap: Any, x_pixel: Any, y: Any,
             y_pixel: Any, pixels: Any, channels: Any) -> None:  # fmt: skip
    """Add to w_rows[i][j, c] the sum over p < pixels of x_rows[i][p, j, c] * y[p, c]; otherwise as ``row``."""
    whole = channels // LANES * LANES
    tables = np.int64(x_rows.ctypes.data), np.int64(w_rows.ctypes.data)
    _put(room, (*tables, rows, taps, x_tap, w_tap, x_pixel, y, y_pixel, pixels, whole, 0, 0, 0, 0, 0, 0))
    _row_back(2 + _known(taps, x_tap, x_pixel), room.ctypes.data)
    if whole < channels:
        room[10], room[16] = channels - whole, 4 * whole
        _row_back(0, room.ctypes.data)


@njit(**EXACT)
def _put(room: Any, numbers: Any) -> None:
    for i in range(len(numbers)):
        room[i] = numbers[i]
