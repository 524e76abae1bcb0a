"""Products whose rows lie in pieces: the micro-kernel reads each piece of a row through a pointer.

For convolutions: a window is as many pieces as the kernel has taps, and a tap outside the picture points at zeros. Nothing is
copied. Sums run in the order of ``gemm.block``, so the bits are those of a product with the windows written out.
"""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..lanes.moves import fetch
from ..lanes.pointers import integers
from ..matrix.gemm import DEPTH, finish
from ..matrix.microkernel import (
    _F32,
    _I64,
    _VECTOR,
    _VOID,
    COLUMNS,
    LANES,
    ROWS,
    VECTORS,
    _at,
    _constant,
    _splat,
    _store,
)  # fmt: skip
from ..running.compiled import EXACT, compiled_callback, njit

_ARGUMENTS = ("table", "offsets", "first", "run", "b", "b_step", "depth", "c", "c_step", "add", "last_lanes")
_SHORT = 128  # terms of a sum whose rows arrive from memory no faster than they are used
PIECE = 8 * ROWS
"""Bytes of a piece's pointers, one for each row."""


def _function(module: Any, rows: int, vectors: int) -> Any:
    """``void(*_ARGUMENTS)``, all int64."""
    name = f"nyala_indirect_{rows}x{vectors}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(_VOID, [_I64] * len(_ARGUMENTS)), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    given = dict(zip(_ARGUMENTS, function.args, strict=True))
    entry, done = (function.append_basic_block(n) for n in ("entry", "done"))
    builder = ir.IRBuilder(entry)
    _fetch(builder, given, rows, vectors)
    sums = _pieces(builder, function, given, rows, vectors, done)
    builder.position_at_end(done)
    _store(builder, function, given, sums)
    return function


def _fetch(builder: Any, given: dict[str, Any], rows: int, vectors: int) -> None:
    """Let the cache fetch what will be written, while the sum is made."""
    byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(_VOID, [byte, *[flag] * 3])
    prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    row = given["c"]
    for _ in range(rows):
        for j in range(vectors):
            place = builder.inttoptr(builder.add(row, _constant(4 * LANES * j)), byte)
            builder.call(prefetch, [place, *[ir.Constant(flag, n) for n in (1, 3, 1)]])  # to write, and to keep; data
        row = builder.add(row, given["c_step"])


def _phis(builder: Any, rows: int, vectors: int) -> list[list[Any]]:
    return [[builder.phi(_VECTOR) for _ in range(vectors)] for _ in range(rows)]


def _join(phis: list[list[Any]], values: list[list[Any]] | None, block: Any) -> None:
    zero = ir.Constant(_VECTOR, [0.0] * LANES)
    for r, line in enumerate(phis):
        for j, phi in enumerate(line):
            phi.add_incoming(zero if values is None else values[r][j], block)


def _pieces(builder: Any, function: Any, given: dict[str, Any], rows: int, vectors: int, done: Any) -> list[list[Any]]:
    """One piece after the other, until ``depth`` terms are added up."""
    entry = builder.block
    piece, loop, following = (function.append_basic_block(n) for n in ("piece", "loop", "next"))
    builder.branch(piece)
    builder.position_at_end(piece)
    table, first, left, b = (builder.phi(_I64) for _ in range(4))  # left: terms still to be added
    before = _phis(builder, rows, vectors)
    places = [builder.load(builder.inttoptr(builder.add(table, _constant(8 * r)), _I64.as_pointer())) for r in range(rows)]
    whole = builder.sub(given["run"], first)
    many = builder.select(builder.icmp_signed("<", whole, left), whole, left)
    end = builder.add(first, many)
    builder.branch(loop)
    builder.position_at_end(loop)
    after, b_after = _terms(builder, given, piece, places, (first, end, b), before, following)
    builder.position_at_end(following)
    rest = builder.sub(left, many)
    starts = (given["table"], given["first"], given["depth"], given["b"])
    for phi, start, value in zip(
        (table, first, left, b), starts, (builder.add(table, _constant(PIECE)), _constant(0), rest, b_after), strict=True
    ):
        phi.add_incoming(start, entry)
        phi.add_incoming(value, following)
    _join(before, None, entry)
    _join(before, after, following)
    builder.cbranch(builder.icmp_signed(">", rest, _constant(0)), piece, done)
    return after


def _terms(
    builder: Any, given: dict[str, Any], piece: Any, places: list[Any], bounds: Any, before: list[list[Any]], done: Any
) -> tuple[list[list[Any]], Any]:
    """The terms of a piece; their offsets from its start are looked up."""
    loop, (first, end, b_first) = builder.block, bounds
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fma.v{LANES}f32")
    i, b = builder.phi(_I64), builder.phi(_I64)
    phis = _phis(builder, len(places), len(before[0]))
    place = builder.inttoptr(builder.add(given["offsets"], builder.shl(i, _constant(3))), _I64.as_pointer())
    offset = builder.load(place)
    panel = [
        builder.load(_at(builder, builder.add(b, _constant(4 * LANES * j)), _VECTOR), align=4) for j in range(len(before[0]))
    ]
    after = []
    for place, sums in zip(places, phis, strict=True):
        left = _splat(builder, builder.load(_at(builder, builder.add(place, offset), _F32), align=4))
        after.append([builder.call(fma, [left, column, s]) for column, s in zip(panel, sums, strict=True)])
    following, b_after = builder.add(i, _constant(1)), builder.add(b, given["b_step"])
    for phi, start, value in ((i, first, following), (b, b_first, b_after)):
        phi.add_incoming(start, piece)
        phi.add_incoming(value, loop)
    _join(phis, before, piece)
    _join(phis, after, loop)
    builder.cbranch(builder.icmp_signed("<", following, end), loop, done)
    return after, b_after


@intrinsic
def _micro(typing_context, rows, vectors, table, offsets, first, run, b, b_step, depth, c, c_step, add, last_lanes):
    def generate(context, builder, signature, arguments):
        count, used, *rest = arguments
        end = builder.append_basic_block("indirect_end")
        switch = builder.switch(builder.add(builder.mul(count, _constant(VECTORS + 1)), used), end)
        for r in range(1, ROWS + 1):
            for v in range(1, VECTORS + 1):
                block = builder.append_basic_block(f"indirect_{r}x{v}")
                switch.add_case(_constant(r * (VECTORS + 1) + v), block)
                builder.position_at_end(block)
                builder.call(_function(builder.module, r, v), rest)
                builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 13), generate


@njit(**EXACT)
def _fetch_rows(table: Any, rows: Any, start: Any, end: Any) -> None:
    """Let the cache fetch bytes start to end of ``rows`` rows of one piece each."""
    places = integers(table, rows)
    for r in range(rows):
        for i in range(start, end, 64):
            fetch(places[r] + i)


def _block(
    table: Any, pieces: Any, offsets: Any, run: Any, b: Any, b_step: Any, panel_step: Any, c: Any, c_step: Any, rows: Any,
    columns: Any, first: Any, last: Any, add: Any, bias: Any, scale: Any, shift: Any, residual: Any, activation: Any,
    residual_step: Any,
) -> None:  # fmt: skip
    panels, depth = (columns + COLUMNS - 1) // COLUMNS, pieces * run
    ends = bias or scale or residual or activation
    # short rows that lie apart: no processor foresees where the next ones begin
    foresee = pieces == 1 and run <= _SHORT and integers(offsets, run)[run - 1] == 4 * (run - 1)
    k = 0
    while k < depth:
        part = min(DEPTH, depth - k)
        for p in range(first, last):
            width = min(COLUMNS, columns - p * COLUMNS)
            vectors = (width + LANES - 1) // LANES
            panel = b + p * panel_step if panel_step else b + 4 * COLUMNS * (k * panels + p * part)
            for r in range(0, rows, ROWS):
                many = min(ROWS, rows - r)
                target = c + r * c_step + 4 * COLUMNS * p
                if foresee and p == first and r + ROWS < rows:
                    _fetch_rows(table + 8 * (r + ROWS), min(ROWS, rows - r - ROWS), 4 * k, 4 * (k + part))
                start = table + PIECE * (r // ROWS * pieces + k // run)
                _micro(
                    many, vectors, start, offsets, k % run, run, panel, b_step, part, target, c_step, 1 if k or add else 0,
                    width - LANES * (vectors - 1),
                )  # fmt: skip
                if ends and k + part == depth:
                    beside = residual + r * residual_step if residual else 0
                    finish(target, c_step, many, width, p * COLUMNS, (bias, scale, shift, beside, activation), residual_step)
        k += part


_BLOCK = types.void(*[types.int64] * 20)
_compiled = compiled_callback(_BLOCK, _block)
llvm.add_symbol("nyala_indirect_block", _compiled.address)

indirect_block = types.ExternalFunction("nyala_indirect_block", _BLOCK)
"""``indirect_block(table, pieces, offsets, run, b, b_step, panel_step, c, c_step, rows, columns, first, last, add, bias, scale,
shift, residual, activation, residual_step)``: as ``gemm.block``, rows of ``pieces`` pieces of ``run`` floats each.

``table``: for ROWS rows at a time, for each piece, ROWS pointers. ``offsets``: bytes from a piece's start to each of its
floats, int64. ``b``: packed columns, ``b_step`` 4 * COLUMNS and ``panel_step`` 0; or, for sums of DEPTH terms at most, rows
``b_step`` bytes apart, of which whole vectors are read, and panels ``panel_step`` bytes apart."""
