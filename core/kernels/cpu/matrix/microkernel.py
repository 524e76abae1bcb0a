"""The innermost loop of every product: a few rows times a panel of packed columns, held in registers.

LLVM gets the loop as explicit vectors of the machine's width. Each float32 element is one chain of fused multiply-adds in the
order of k, so its bits depend neither on the rows and columns computed beside it nor on the width of the vectors.

The loop goes from word to word, 32 bits of a row and of each column: a float32 here, and in ``dots`` two bfloat16 or four int8.
"""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

_F32, _I1, _I32, _I64, _VOID = ir.FloatType(), ir.IntType(1), ir.IntType(32), ir.IntType(64), ir.VoidType()


FEATURES = frozenset(cpu_target.target_context.codegen().magic_tuple()[2].split(","))
"""What the processor that Numba compiles for has ("+avx2"): this one, or that of ``NUMBA_CPU_NAME``, ``NUMBA_CPU_FEATURES``."""


def _width() -> tuple[int, int]:
    """(floats in a vector, vectors in a panel): what fills the processor's registers and leaves room for operands."""
    if "+avx512f" in FEATURES:
        return 16, 4
    if "+avx2" in FEATURES:
        return 8, 2
    return 4, 4 if "+neon" in FEATURES else 2


LANES, VECTORS = _width()
ROWS = 6
"""Rows a call computes at most."""
COLUMNS = LANES * VECTORS
"""Columns of a panel."""
_VECTOR = ir.VectorType(_F32, LANES)
_ARGUMENTS = ("a", "row_step", "k_step", "b", "depth", "c", "c_step", "add", "last_lanes")


class Step(NamedTuple):
    """What a word adds to the sums.

    Attributes:
        name: in the names of compiled functions.
        word: LLVM type of a word.
        sums: LLVM type of a vector of sums.
        grown: (builder, a row's word in all lanes, words of columns, sums) -> sums.
    """

    name: str
    word: Any
    sums: Any
    grown: Callable[[Any, Any, Any, Any], Any]


def _fused(builder: Any, left: Any, panel: Any, sums: Any) -> Any:
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32"), [left, panel, sums])


FLOAT32 = Step("float32", _F32, _VECTOR, _fused)


def _constant(value: int) -> Any:
    return ir.Constant(_I64, value)


def _at(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


def _splat(builder: Any, value: Any) -> Any:
    undefined = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    zeros = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return builder.shuffle_vector(builder.insert_element(undefined, value, ir.Constant(_I32, 0)), undefined, zeros)


def _function(module: Any, step: Step, rows: int, vectors: int) -> Any:
    """``void(a, row_step, k_step, b, depth, c, c_step, add, last_lanes)``, all int64; steps are in bytes."""
    name = f"nyala_micro_{step.name}_{rows}x{vectors}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(_VOID, [_I64] * len(_ARGUMENTS)), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    given = dict(zip(_ARGUMENTS, function.args, strict=True))
    entry, loop, done = (function.append_basic_block(n) for n in ("entry", "loop", "done"))
    builder = ir.IRBuilder(entry)
    starts = [given["a"]]
    for _ in range(rows - 1):
        starts.append(builder.add(starts[-1], given["row_step"]))
    builder.branch(loop)
    builder.position_at_end(loop)
    sums = _loop(builder, step, entry, given, starts, vectors, done)
    builder.position_at_end(done)
    _store(builder, function, given, sums)
    return function


def _loop(
    builder: Any, step: Step, entry: Any, given: dict[str, Any], starts: list[Any], vectors: int, done: Any
) -> list[list[Any]]:
    loop, zero, words = builder.block, ir.Constant(step.sums, None), ir.VectorType(step.word, LANES)
    k, a_offset, b = (builder.phi(_I64) for _ in range(3))
    k.add_incoming(_constant(0), entry)
    a_offset.add_incoming(_constant(0), entry)
    b.add_incoming(given["b"], entry)
    before = [[builder.phi(step.sums) for _ in range(vectors)] for _ in starts]
    panel = [builder.load(_at(builder, builder.add(b, _constant(4 * LANES * j)), words), align=4) for j in range(vectors)]
    after = []
    for start, sums in zip(starts, before, strict=True):
        left = _splat(builder, builder.load(_at(builder, builder.add(start, a_offset), step.word), align=4))
        after.append([step.grown(builder, left, column, s) for column, s in zip(panel, sums, strict=True)])
    following = builder.add(k, _constant(1))
    k.add_incoming(following, loop)
    a_offset.add_incoming(builder.add(a_offset, given["k_step"]), loop)
    b.add_incoming(builder.add(b, _constant(4 * COLUMNS)), loop)
    for old, new in zip(before, after, strict=True):
        for phi, value in zip(old, new, strict=True):
            phi.add_incoming(zero, entry)
            phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, given["depth"]), loop, done)
    return after


def _store(builder: Any, function: Any, given: dict[str, Any], sums: list[list[Any]]) -> None:
    """c = sums, or c += sums; of the last vector ``last_lanes`` floats alone are touched."""
    full, part = function.append_basic_block("full"), function.append_basic_block("part")
    builder.cbranch(builder.icmp_signed("==", given["last_lanes"], _constant(LANES)), full, part)
    lanes = ir.Constant(ir.VectorType(_I64, LANES), list(range(LANES)))
    for block, masked in ((full, False), (part, True)):
        builder.position_at_end(block)
        mask = None
        if masked:
            many = builder.insert_element(ir.Constant(lanes.type, ir.Undefined), given["last_lanes"], ir.Constant(_I32, 0))
            zeros = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
            mask = builder.icmp_signed("<", lanes, builder.shuffle_vector(many, many, zeros))
        fresh, more = function.append_basic_block("fresh"), function.append_basic_block("more")
        builder.cbranch(builder.icmp_signed("==", given["add"], _constant(0)), fresh, more)
        for target, adds in ((fresh, False), (more, True)):
            builder.position_at_end(target)
            row = given["c"]
            for values in sums:
                for j, value in enumerate(values):
                    place = _at(builder, builder.add(row, _constant(4 * LANES * j)), value.type)
                    _put(builder, place, value, adds, mask if j == len(values) - 1 else None)
                row = builder.add(row, given["c_step"])
            builder.ret_void()


def _put(builder: Any, place: Any, value: Any, adds: bool, mask: Any) -> None:
    kind, number = value.type, _F32 if value.type == _VECTOR else _I32
    more = builder.fadd if number == _F32 else builder.add
    if mask is None:
        builder.store(more(builder.load(place, align=4), value) if adds else value, place, align=4)
        return
    suffix, masks = f"v{LANES}{'f32' if number == _F32 else 'i32'}.p0", ir.VectorType(_I1, LANES)
    if adds:
        reader = ir.FunctionType(kind, [kind.as_pointer(), _I32, masks, kind])
        read = cgutils.get_or_insert_function(builder.module, reader, f"llvm.masked.load.{suffix}")
        old = builder.call(read, [place, ir.Constant(_I32, 4), mask, ir.Constant(kind, None)])
        value = more(old, value)
    writer = ir.FunctionType(_VOID, [kind, kind.as_pointer(), _I32, masks])
    write = cgutils.get_or_insert_function(builder.module, writer, f"llvm.masked.store.{suffix}")
    builder.call(write, [value, place, ir.Constant(_I32, 4), mask])


def micro_of(step: Step) -> Any:
    """As ``micro`` below, for words of another kind: depth is counted in words."""

    @intrinsic
    def micro(typing_context, rows, vectors, a, row_step, k_step, b, depth, c, c_step, add, last_lanes):
        def generate(context, builder, signature, arguments):
            count, used, *rest = arguments
            end = builder.append_basic_block("micro_end")
            default = builder.append_basic_block("micro_none")
            number = builder.add(builder.mul(count, _constant(VECTORS + 1)), used)
            switch = builder.switch(number, default)
            for r in range(1, ROWS + 1):
                for v in range(1, VECTORS + 1):
                    block = builder.append_basic_block(f"micro_{r}x{v}")
                    switch.add_case(_constant(r * (VECTORS + 1) + v), block)
                    builder.position_at_end(block)
                    builder.call(_function(builder.module, step, r, v), rest)
                    builder.branch(end)
            builder.position_at_end(default)
            builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 11), generate

    return micro


micro = micro_of(FLOAT32)
"""``micro(rows, vectors, a, row_step, k_step, b, depth, c, c_step, add, last_lanes)``: c (rows, columns) = or += a (rows, depth)
times a packed panel b (depth, COLUMNS); ``depth`` is at least 1.

Addresses and steps are in bytes; ``rows`` from 1 to ROWS; of the panel the first ``vectors`` vectors are taken, and
``last_lanes`` floats of the last of them are written."""

_SIDE = 16
"""Rows and columns of the blocks that ``transpose`` turns."""
_LINE = ir.VectorType(_F32, _SIDE)


@intrinsic
def transpose(typing_context, source, source_step, target, target_step):
    """Turn a block of 16 x 16 floats over its diagonal; addresses and steps between rows in bytes."""

    def generate(context, builder, signature, arguments):
        builder.call(_transposer(builder.module), arguments)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


def _transposer(module: Any) -> Any:
    name = "nyala_transpose"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(_VOID, [_I64] * 4), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block())
    source, source_step, target, target_step = function.args
    rows = []
    for _ in range(_SIDE):
        rows.append(builder.load(builder.inttoptr(source, _LINE.as_pointer()), align=4))
        source = builder.add(source, source_step)
    distance = _SIDE // 2
    while distance:
        rows = exchange(builder, rows, distance)
        distance //= 2
    for row in rows:
        builder.store(row, builder.inttoptr(target, _LINE.as_pointer()), align=4)
        target = builder.add(target, target_step)
    builder.ret_void()
    return function


def exchange(builder: Any, rows: list[Any], distance: int) -> list[Any]:
    """Swap the off-diagonal quarters of every block of 2 ``distance`` rows and columns."""
    kind = ir.VectorType(_I32, _SIDE)
    first = ir.Constant(kind, [j if not j & distance else _SIDE + j - distance for j in range(_SIDE)])
    second = ir.Constant(kind, [j + distance if not j & distance else _SIDE + j for j in range(_SIDE)])
    out = list(rows)
    for i in range(_SIDE):
        if not i & distance:
            out[i] = builder.shuffle_vector(rows[i], rows[i + distance], first)
            out[i + distance] = builder.shuffle_vector(rows[i], rows[i + distance], second)
    return out
