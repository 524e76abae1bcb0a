"""The innermost loop of products of a few rows with a weight that lies as layers keep it, (out, in): read once, never packed.

Sixteen rows of the weight are read side by side, 64 bytes of each at a time, and turned over the diagonal in registers: then a
vector holds one term of sixteen results. Each result is one chain of fused multiply-adds in the order of k, as in
``microkernel``, so both give the same bits. Weights may be float32, bfloat16, or whole numbers of 8 bits with scales.
"""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .microkernel import exchange

OUTPUTS = 16
"""Results of a row that a call computes."""
FLOAT32, BFLOAT16, INT8 = range(3)
"""Kinds of weights."""
BYTES = (4, 2, 1)
"""Of a weight, by kind."""
_CHUNK = 64  # bytes of each row that are turned at a time
_AHEAD = 8 * _CHUNK  # bytes by which memory is asked for before it is read: sixteen rows at once are too many for it to guess

_F32, _I8, _I32, _I64, _VOID = ir.FloatType(), ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.VoidType()
_FLOATS, _WORDS = ir.VectorType(_F32, OUTPUTS), ir.VectorType(_I32, OUTPUTS)
_ARGUMENTS = ("weight", "step", "last", "scales", "x", "x_step", "depth", "sums")


def _number(value: int) -> Any:
    return ir.Constant(_I64, value)


def _words(value: int) -> Any:
    return ir.Constant(_WORDS, [value] * OUTPUTS)


def _splat(builder: Any, value: Any) -> Any:
    undefined = ir.Constant(_FLOATS, ir.Undefined)
    return builder.shuffle_vector(
        builder.insert_element(undefined, value, ir.Constant(_I32, 0)), undefined, ir.Constant(_WORDS, [0] * OUTPUTS)
    )


def _terms(builder: Any, kind: int, turned: Any, scales: Any) -> list[Any]:
    """The weights that a turned vector of 4-byte words holds, in the order of k."""
    if kind == FLOAT32:
        return [turned]
    words = builder.bitcast(turned, _WORDS)
    if kind == BFLOAT16:
        pair = [builder.shl(words, _words(16)), builder.and_(words, _words(-(1 << 16)))]
        return [builder.bitcast(w, _FLOATS) for w in pair]
    parts = [builder.shl(words, _words(24 - 8 * i)) if i < 3 else words for i in range(4)]
    return [builder.fmul(builder.sitofp(builder.ashr(p, _words(24)), _FLOATS), scales) for p in parts]


def _lone_term(builder: Any, kind: int, starts: list[Any], offset: Any, scales: Any) -> Any:
    """One term of each result, read number by number: for what is left behind the last whole chunk."""
    vector = ir.Constant(_FLOATS, ir.Undefined)
    for i, start in enumerate(starts):
        place = builder.add(start, offset)
        if kind == FLOAT32:
            value = builder.load(builder.inttoptr(place, _F32.as_pointer()), align=4)
        elif kind == BFLOAT16:
            half = builder.load(builder.inttoptr(place, ir.IntType(16).as_pointer()), align=2)
            value = builder.bitcast(builder.shl(builder.zext(half, _I32), ir.Constant(_I32, 16)), _F32)
        else:
            value = builder.sitofp(builder.load(builder.inttoptr(place, _I8.as_pointer()), align=1), _F32)
        vector = builder.insert_element(vector, value, ir.Constant(_I32, i))
    return builder.fmul(vector, scales) if kind == INT8 else vector


def _function(module: Any, kind: int, rows: int) -> Any:
    """``void(*_ARGUMENTS)``, all int64."""
    name = f"nyala_stream_{kind}_{rows}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(_VOID, [_I64] * len(_ARGUMENTS)), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    given = dict(zip(_ARGUMENTS, function.args, strict=True))
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    starts = [given["weight"]]
    for i in range(1, OUTPUTS):  # behind the last row the last one once more
        further = builder.select(builder.icmp_signed("<=", _number(i), given["last"]), given["step"], _number(0))
        starts.append(builder.add(starts[-1], further))
    sums = [builder.inttoptr(builder.add(given["sums"], _number(4 * OUTPUTS * r)), _FLOATS.as_pointer()) for r in range(rows)]
    scales = builder.load(builder.inttoptr(given["scales"], _FLOATS.as_pointer()), align=4) if kind == INT8 else None
    per_chunk = _CHUNK // BYTES[kind]
    whole = builder.mul(builder.udiv(given["depth"], _number(per_chunk)), _number(per_chunk))
    fma = cgutils.get_or_insert_function(module, ir.FunctionType(_FLOATS, [_FLOATS] * 3), f"llvm.fma.v{OUTPUTS}f32")
    fetching = ir.FunctionType(_VOID, [_I8.as_pointer(), *[_I32] * 3])
    fetch = cgutils.get_or_insert_function(module, fetching, "llvm.prefetch.p0")

    def more(builder: Any, term: Any, k: Any, totals: list[Any]) -> list[Any]:
        """totals, one for each row, += the row's number k times the term."""
        place, found = builder.add(given["x"], builder.mul(k, _number(4))), []
        for total in totals:
            left = _splat(builder, builder.load(builder.inttoptr(place, _F32.as_pointer()), align=4))
            found.append(builder.call(fma, [left, term, total]))
            place = builder.add(place, given["x_step"])
        return found

    def chunk(builder: Any, k: Any, totals: list[Any]) -> list[Any]:
        offset = builder.mul(k, _number(BYTES[kind]))
        lines = [builder.load(builder.inttoptr(builder.add(s, offset), _FLOATS.as_pointer()), align=1) for s in starts]
        ahead = builder.add(offset, _number(_AHEAD))
        for start in starts:
            place = builder.inttoptr(builder.add(start, ahead), _I8.as_pointer())
            builder.call(fetch, [place, *(ir.Constant(_I32, n) for n in (0, 3, 1))])
        distance = OUTPUTS // 2
        while distance:
            lines = exchange(builder, lines, distance)
            distance //= 2
        place = 0
        for line in lines:
            for term in _terms(builder, kind, line, scales):
                totals = more(builder, term, builder.add(k, _number(place)), totals)
                place += 1
        return totals

    def lone(builder: Any, k: Any, totals: list[Any]) -> list[Any]:
        term = _lone_term(builder, kind, starts, builder.mul(k, _number(BYTES[kind])), scales)
        return more(builder, term, k, totals)

    totals = [builder.load(s, align=4) for s in sums]
    totals = _loop(builder, function, _number(0), whole, per_chunk, totals, chunk)
    totals = _loop(builder, function, whole, given["depth"], 1, totals, lone)
    for place, total in zip(sums, totals, strict=True):
        builder.store(total, place, align=4)
    builder.ret_void()
    return function


def _loop(builder: Any, function: Any, first: Any, last: Any, step: int, totals: list[Any], body: Any) -> list[Any]:
    """``totals = body(builder, k, totals)`` for k in range(first, last, step)."""
    before, head, inside, after = builder.block, *(function.append_basic_block() for _ in range(3))
    builder.branch(head)
    builder.position_at_end(head)
    k, held = builder.phi(_I64), [builder.phi(_FLOATS) for _ in totals]
    builder.cbranch(builder.icmp_signed("<", k, last), inside, after)
    builder.position_at_end(inside)
    found = body(builder, k, held)
    following = builder.add(k, _number(step))
    end = builder.block
    builder.branch(head)
    for phi, start, result in zip((k, *held), (first, *totals), (following, *found), strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(result, end)
    builder.position_at_end(after)
    return held


def _streamer(kind: int) -> Any:
    @intrinsic
    def stream(typing_context, rows, weight, step, last, scales, x, x_step, depth, sums):
        def generate(context, builder, signature, arguments):
            count, *rest = arguments
            end, default = builder.append_basic_block("stream_end"), builder.append_basic_block("stream_none")
            switch = builder.switch(count, default)
            for rows in ROWS:
                block = builder.append_basic_block(f"stream_{rows}")
                switch.add_case(_number(rows), block)
                builder.position_at_end(block)
                builder.call(_function(builder.module, kind, rows), rest)
                builder.branch(end)
            builder.position_at_end(default)
            builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 9), generate

    return stream


ROWS = (1, 2, 4)
"""Rows that a call can compute."""
stream_float32, stream_bfloat16, stream_int8 = (_streamer(kind) for kind in (FLOAT32, BFLOAT16, INT8))
"""``stream(rows, weight, step, last, scales, x, x_step, depth, sums)``: sums (rows, OUTPUTS) += x @ weight.T, ``depth`` terms.

Addresses; steps between rows in bytes. ``last``: the last of the weight's OUTPUTS rows that is there; ``scales``: the address
of OUTPUTS factors of the weights, for INT8 alone."""
