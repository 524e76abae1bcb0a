"""Products of short numbers: a word holds two bfloat16 or four int8, and adds their products to a sum at once.

Where the processor has an instruction for it, that is taken; the others get the same bits from what all have.

A pair of bfloat16 is a chain of two float32 multiply-adds. ``vdpbf16ps`` computes the upper halves' product first, so a pair's
first term lies in the upper half. It takes numbers below the smallest normal float32 for zero, in what comes in and in what
comes out: ``micro_bfloat16`` is for operands whose sums have none of these, ``micro_chain`` for all.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from .microkernel import FEATURES, LANES, Step, micro_of

_I16, _I32 = ir.IntType(16), ir.IntType(32)
_FLOATS, _WORDS, _HALVES = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(_I32, LANES), ir.VectorType(_I16, 2 * LANES)


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite has no name for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


def _call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    kind = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _all(kind: Any, value: int) -> Any:
    return ir.Constant(kind, [value] * kind.count)


def _pair(builder: Any, left: Any, panel: Any, sums: Any) -> Any:
    halves = ir.VectorType(_BFloat(), 2 * LANES)
    left, panel = builder.bitcast(left, halves), builder.bitcast(panel, halves)
    return _call(builder, "llvm.x86.avx512bf16.dpbf16ps.512", _FLOATS, sums, left, panel)


def _chain(builder: Any, left: Any, panel: Any, sums: Any) -> Any:
    def upper(words: Any) -> Any:
        return builder.bitcast(builder.and_(words, _all(_WORDS, 0xFFFF0000)), _FLOATS)

    def lower(words: Any) -> Any:
        return builder.bitcast(builder.shl(words, _all(_WORDS, 16)), _FLOATS)

    fma = f"llvm.fma.v{LANES}f32"
    sums = _call(builder, fma, _FLOATS, upper(left), upper(panel), sums)
    return _call(builder, fma, _FLOATS, lower(left), lower(panel), sums)


def _four(builder: Any, left: Any, panel: Any, sums: Any) -> Any:
    return _call(builder, f"llvm.x86.avx512.vpdpbusd.{32 * LANES}", _WORDS, sums, *_as_operands(builder, panel, left))


def _as_operands(builder: Any, *words: Any) -> list[Any]:
    kind = ir.VectorType(ir.IntType(8), 4 * LANES)
    return [builder.bitcast(w, kind) for w in words]


def _four_apart(builder: Any, left: Any, panel: Any, sums: Any) -> Any:
    """Numbers at even and odd places, each widened to 16 bits: no product of two pairs leaves 32 bits."""
    left, panel = builder.bitcast(left, _HALVES), builder.bitcast(panel, _HALVES)
    eight = _all(_HALVES, 8)
    even = builder.ashr(builder.shl(left, eight), eight), builder.and_(panel, _all(_HALVES, 0xFF))
    odd = builder.ashr(left, eight), builder.lshr(panel, eight)
    return builder.add(builder.add(sums, _two(builder, *even)), _two(builder, *odd))


def _two(builder: Any, left: Any, panel: Any) -> Any:
    """The sum of the products of neighbours, 16 bits to 32."""
    if _NEIGHBOURS is not None:
        return _call(builder, _NEIGHBOURS, _WORDS, left, panel)
    products = []
    for first in (0, 1):
        places = ir.Constant(_WORDS, list(range(first, 2 * LANES, 2)))
        mine = [builder.sext(builder.shuffle_vector(x, x, places), _WORDS) for x in (left, panel)]
        products.append(builder.mul(*mine))
    return builder.add(*products)


def _neighbours() -> str | None:
    """What multiplies 16-bit numbers and adds neighbours."""
    names = {
        16: ("+avx512bw", "llvm.x86.avx512.pmaddw.d.512"), 8: ("+avx2", "llvm.x86.avx2.pmadd.wd"),
        4: ("+sse2", "llvm.x86.sse2.pmadd.wd"),
    }  # fmt: skip
    feature, name = names[LANES]
    return name if feature in FEATURES else None


_NEIGHBOURS = _neighbours()
_WHOLE = {16: {"+avx512vnni"}, 8: {"+avxvnni", "+avx512vnni"}}.get(LANES, set())

CHAIN = Step("chain", _I32, _FLOATS, _chain)
BFLOAT16 = Step("bfloat16", _I32, _FLOATS, _pair) if {"+avx512bf16", "+avx512f"} <= FEATURES else CHAIN
INT8 = Step("int8", _I32, _WORDS, _four if _WHOLE & FEATURES else _four_apart)

micro_bfloat16 = micro_of(BFLOAT16)
"""As ``microkernel.micro``, of bfloat16 pairs, without numbers near float32's smallest."""
micro_chain = micro_of(CHAIN)
"""As ``microkernel.micro``, of bfloat16 pairs."""
micro_int8 = micro_of(INT8)
"""As ``microkernel.micro``, of signed int8 in rows times unsigned int8 in panels, in int32."""
