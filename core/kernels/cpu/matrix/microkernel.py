"""The innermost loop of every float32 product: a few rows times a panel of packed columns, held in registers.

LLVM gets the loop as explicit vectors of the machine's width. Each element is one chain of fused multiply-adds in the order of
k, so its bits depend neither on the rows and columns computed beside it nor on the width of the vectors.
"""

# ruff: noqa: ARG001 - Numba fixes what an intrinsic and its generator are given

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

_F32, _I1, _I32, _I64, _VOID = ir.FloatType(), ir.IntType(1), ir.IntType(32), ir.IntType(64), ir.VoidType()


def _width() -> tuple[int, int]:
    """(floats in a vector, vectors in a panel): what fills the processor's registers and leaves room for operands.

    The processor is the one that Numba compiles for: this one, or that of ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES``.
    """
    features = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
    if "+avx512f" in features:
        return 16, 4
    if "+avx2" in features:
        return 8, 2
    return 4, 4 if "+neon" in features else 2


LANES, VECTORS = _width()
ROWS = 6
"""Rows a call computes at most."""
COLUMNS = LANES * VECTORS
"""Columns of a panel."""
_VECTOR = ir.VectorType(_F32, LANES)
_ARGUMENTS = ("a", "row_step", "k_step", "b", "depth", "c", "c_step", "add", "last_lanes")


def _constant(value: int) -> Any:
    return ir.Constant(_I64, value)


def _floats(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, _F32.as_pointer())


def _vector_at(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, _VECTOR.as_pointer())


def _splat(builder: Any, value: Any) -> Any:
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    zeros = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return builder.shuffle_vector(builder.insert_element(undefined, value, ir.Constant(_I32, 0)), undefined, zeros)


def _function(module: Any, rows: int, vectors: int) -> Any:
    """``void(a, row_step, k_step, b, depth, c, c_step, add, last_lanes)``, all int64; steps are in bytes."""
    name = f"nyala_micro_{rows}x{vectors}"
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
    sums = _loop(builder, entry, given, starts, vectors, done)
    builder.position_at_end(done)
    _store(builder, function, given, sums)
    return function


def _loop(builder: Any, entry: Any, given: dict[str, Any], starts: list[Any], vectors: int, done: Any) -> list[list[Any]]:
    loop, zero = builder.block, ir.Constant(_VECTOR, [0.0] * LANES)
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fma.v{LANES}f32")
    k, a_offset, b = (builder.phi(_I64) for _ in range(3))
    k.add_incoming(_constant(0), entry)
    a_offset.add_incoming(_constant(0), entry)
    b.add_incoming(given["b"], entry)
    before = [[builder.phi(_VECTOR) for _ in range(vectors)] for _ in starts]
    panel = [builder.load(_vector_at(builder, builder.add(b, _constant(4 * LANES * j))), align=4) for j in range(vectors)]
    after = []
    for start, sums in zip(starts, before, strict=True):
        left = _splat(builder, builder.load(_floats(builder, builder.add(start, a_offset)), align=4))
        after.append([builder.call(fma, [left, column, s]) for column, s in zip(panel, sums, strict=True)])
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
                    place = _vector_at(builder, builder.add(row, _constant(4 * LANES * j)))
                    _put(builder, place, value, adds, mask if j == len(values) - 1 else None)
                row = builder.add(row, given["c_step"])
            builder.ret_void()


def _put(builder: Any, place: Any, value: Any, adds: bool, mask: Any) -> None:
    pointer, suffix = _VECTOR.as_pointer(), f"v{LANES}f32.p0"
    masks = ir.VectorType(_I1, LANES)
    if mask is None:
        builder.store(builder.fadd(builder.load(place, align=4), value) if adds else value, place, align=4)
        return
    if adds:
        kind = ir.FunctionType(_VECTOR, [pointer, _I32, masks, _VECTOR])
        read = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.{suffix}")
        old = builder.call(read, [place, ir.Constant(_I32, 4), mask, ir.Constant(_VECTOR, [0.0] * LANES)])
        value = builder.fadd(old, value)
    kind = ir.FunctionType(_VOID, [_VECTOR, pointer, _I32, masks])
    write = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.store.{suffix}")
    builder.call(write, [value, place, ir.Constant(_I32, 4), mask])


@intrinsic
def micro(typing_context, rows, vectors, a, row_step, k_step, b, depth, c, c_step, add, last_lanes):
    """c (rows, columns) = or += a (rows, depth) times a packed panel b (depth, COLUMNS); ``depth`` is at least 1.

    Addresses and steps are in bytes; ``rows`` from 1 to ROWS; of the panel the first ``vectors`` vectors are taken, and
    ``last_lanes`` floats of the last of them are written.
    """

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
                builder.call(_function(builder.module, r, v), rest)
                builder.branch(end)
        builder.position_at_end(default)
        builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 11), generate


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
