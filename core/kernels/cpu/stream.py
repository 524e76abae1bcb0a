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

LANES = 16
"""Rows of the weight that are turned at a time."""
GROUPS = 4
"""Of so many rows; their chains run side by side."""
OUTPUTS = GROUPS * LANES
"""Results of a row that a call computes."""
FLOAT32, BFLOAT16, INT8 = range(3)
"""Kinds of weights."""
BYTES = (4, 2, 1)
"""Of a weight, by kind."""
_CHUNK = 64  # bytes of each row that are turned at a time

_F32, _VOID = ir.FloatType(), ir.VoidType()
_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_FLOATS, _WORDS = ir.VectorType(_F32, LANES), ir.VectorType(_I32, LANES)
_ARGUMENTS = ("weight", "step", "last", "scales", "x", "x_step", "depth", "sums")


def _number(value: int) -> Any:
    return ir.Constant(_I64, value)


def _words(value: int) -> Any:
    return ir.Constant(_WORDS, [value] * LANES)


def _splat(builder: Any, value: Any) -> Any:
    undefined = ir.Constant(_FLOATS, ir.Undefined)
    return builder.shuffle_vector(
        builder.insert_element(undefined, value, ir.Constant(_I32, 0)), undefined, ir.Constant(_WORDS, [0] * LANES)
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


def _number_at(builder: Any, kind: int, address: Any) -> Any:
    """One weight as a float32."""
    if kind == FLOAT32:
        return builder.load(builder.inttoptr(address, _F32.as_pointer()), align=4)
    if kind == BFLOAT16:
        half = builder.load(builder.inttoptr(address, _I16.as_pointer()), align=2)
        return builder.bitcast(builder.shl(builder.zext(half, _I32), ir.Constant(_I32, 16)), _F32)
    return builder.sitofp(builder.load(builder.inttoptr(address, _I8.as_pointer()), align=1), _F32)


def _rolled(module: Any) -> Any:
    """What keeps LLVM from writing a loop out: that takes it seconds, and gains nothing here."""
    rule = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    node = ir.MDValue(module, [rule], str(len(module.metadata)))
    node.operands = (node, rule)  # LLVM wants it to name itself first
    return node


class _Writer:
    """Writes ``void(*_ARGUMENTS)``, all int64, for a kind of weights and a number of rows."""

    def __init__(self, module: Any, kind: int, rows: int, name: str) -> None:
        self.kind, self.rows = kind, rows
        self.function = ir.Function(module, ir.FunctionType(_VOID, [_I64] * len(_ARGUMENTS)), name)
        self.function.linkage = "internal"
        self.function.attributes.add("noinline")
        self.given = dict(zip(_ARGUMENTS, self.function.args, strict=True))
        self.fma = cgutils.get_or_insert_function(module, ir.FunctionType(_FLOATS, [_FLOATS] * 3), f"llvm.fma.v{LANES}f32")
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.starts = self.builder.alloca(_I64, OUTPUTS)
        self.turned = self.builder.alloca(_FLOATS, LANES * GROUPS)
        self.turned.align = 64
        self.rolled = _rolled(module)

    def write(self) -> None:
        self._prepare()
        chunk = _CHUNK // BYTES[self.kind]
        whole = self.builder.mul(self.builder.udiv(self.given["depth"], _number(chunk)), _number(chunk))
        sums = [self._place("sums", 4 * LANES * i) for i in range(GROUPS * self.rows)]
        totals = [self.builder.load(s, align=4) for s in sums]
        totals = self._loop(_number(0), whole, chunk, totals, self._chunk)
        totals = self._loop(whole, self.given["depth"], 1, totals, self._lone)
        for place, total in zip(sums, totals, strict=True):
            self.builder.store(total, place, align=4)
        self.builder.ret_void()

    def _prepare(self) -> None:
        """Where each row of the weight begins; behind the last row the last one once more."""
        builder, start = self.builder, self.given["weight"]
        for i in range(OUTPUTS):
            builder.store(start, builder.gep(self.starts, [_number(i)]))
            further = builder.icmp_signed("<", _number(i), self.given["last"])
            start = builder.add(start, builder.select(further, self.given["step"], _number(0)))

    def _place(self, argument: str, offset: Any) -> Any:
        offset = _number(offset) if isinstance(offset, int) else offset
        return self.builder.inttoptr(self.builder.add(self.given[argument], offset), _FLOATS.as_pointer())

    def _group_starts(self, group: Any) -> list[Any]:
        first = self.builder.mul(group, _number(LANES))
        return [self.builder.load(self.builder.gep(self.starts, [self.builder.add(first, _number(i))])) for i in range(LANES)]

    def _chunk(self, k: Any, totals: list[Any]) -> list[Any]:
        offset = self.builder.mul(k, _number(BYTES[self.kind]))

        def turn(group: Any, _: list[Any]) -> list[Any]:
            builder = self.builder
            places = [builder.inttoptr(builder.add(s, offset), _FLOATS.as_pointer()) for s in self._group_starts(group)]
            lines, distance = [builder.load(p, align=1) for p in places], LANES // 2
            while distance:
                lines, distance = exchange(builder, lines, distance), distance // 2
            for i, line in enumerate(lines):
                at = builder.add(builder.mul(_number(i), _number(GROUPS)), group)
                builder.store(line, builder.gep(self.turned, [at]), align=64)
            return []

        def add(line: Any, sums: list[Any]) -> list[Any]:
            builder, per_word = self.builder, 4 // BYTES[self.kind]
            first = builder.mul(line, _number(GROUPS))
            words = [builder.load(builder.gep(self.turned, [builder.add(first, _number(g))]), align=64) for g in range(GROUPS)]
            terms = [_terms(builder, self.kind, w, self._scales(g)) for g, w in enumerate(words)]
            at = builder.add(k, builder.mul(line, _number(per_word)))
            for i in range(per_word):
                sums = self._add([t[i] for t in terms], builder.add(at, _number(i)), sums)
            return sums

        self._loop(_number(0), _number(GROUPS), 1, [], turn)
        return self._loop(_number(0), _number(LANES), 1, totals, add)

    def _lone(self, k: Any, totals: list[Any]) -> list[Any]:
        """One term of each result, read number by number: for what is left behind the last whole chunk."""
        builder = self.builder
        offset, numbers = builder.mul(k, _number(BYTES[self.kind])), builder.bitcast(self.turned, _F32.as_pointer())

        def gather(output: Any, _: list[Any]) -> list[Any]:
            address = builder.add(builder.load(builder.gep(self.starts, [output])), offset)
            builder.store(_number_at(builder, self.kind, address), builder.gep(numbers, [output]), align=4)
            return []

        self._loop(_number(0), _number(OUTPUTS), 1, [], gather)
        terms = [builder.load(builder.gep(self.turned, [_number(g)]), align=64) for g in range(GROUPS)]
        if self.kind == INT8:
            terms = [builder.fmul(t, self._scales(g)) for g, t in enumerate(terms)]
        return self._add(terms, k, totals)

    def _scales(self, group: int) -> Any:
        return self.builder.load(self._place("scales", 4 * LANES * group), align=4) if self.kind == INT8 else None

    def _add(self, terms: list[Any], k: Any, totals: list[Any]) -> list[Any]:
        """totals, for each row and group, += the row's number k times the group's term."""
        builder, found = self.builder, []
        place = builder.add(self.given["x"], builder.mul(k, _number(4)))
        for r in range(self.rows):
            left = _splat(builder, builder.load(builder.inttoptr(place, _F32.as_pointer()), align=4))
            found += [builder.call(self.fma, [left, t, totals[r * GROUPS + g]]) for g, t in enumerate(terms)]
            place = builder.add(place, self.given["x_step"])
        return found

    def _loop(self, first: Any, last: Any, step: int, totals: list[Any], body: Any) -> list[Any]:
        """``totals = body(k, totals)`` for k in range(first, last, step)."""
        builder = self.builder
        before, head, inside, after = builder.block, *(self.function.append_basic_block() for _ in range(3))
        builder.branch(head)
        builder.position_at_end(head)
        k, held = builder.phi(_I64), [builder.phi(_FLOATS) for _ in totals]
        builder.cbranch(builder.icmp_signed("<", k, last), inside, after)
        builder.position_at_end(inside)
        found = body(k, held)
        following, end = builder.add(k, _number(step)), builder.block
        builder.branch(head).set_metadata("llvm.loop", self.rolled)
        for phi, start, result in zip((k, *held), (first, *totals), (following, *found), strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(result, end)
        builder.position_at_end(after)
        return held


def _function(module: Any, kind: int, rows: int) -> Any:
    name = f"nyala_stream_{kind}_{rows}"
    if name not in module.globals:
        _Writer(module, kind, rows, name).write()
    return module.globals[name]


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
