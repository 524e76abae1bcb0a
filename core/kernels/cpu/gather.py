"""Windows of a picture written out as the rows of a matrix, tile by tile, for compiled code.

A plan (int64 numbers) says where a picture's pixels lie and how a window moves over them, in three dimensions; pictures with
fewer have sizes of 1. A window is a sequence of runs: for each plane, depth and height of the kernel the floats along its
width. In channels-last memory there is one plane, and a pixel holds all channels of a group; pictures with few channels are
planar: a plane for each channel, pixels of one float. Where a window leaves the picture there are zeros.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from .compiled import EXACT, compiled_callback, njit
from .moves import clear, copy, copy_few

# Numbers of a plan. Steps are in bytes. Place (z, y, x) of the window begins at pixel START + MOVE * place, and its
# taps are SPREAD pixels apart.
(
    IMAGES, IN_D, IN_H, IN_W, FLOATS, PLANES, STEP_N, STEP_C, STEP_D, STEP_H, STEP_W,
    OUT_D, OUT_H, OUT_W, KERNEL_D, KERNEL_H, KERNEL_W,
    START_D, START_H, START_W, MOVE_D, MOVE_H, MOVE_W, SPREAD_D, SPREAD_H, SPREAD_W, GATHERED,
) = range(27)  # fmt: skip


@intrinsic
def _pointer(typing_context, address):  # noqa: ARG001 - Numba fixes what an intrinsic is given
    def generate(context, builder, signature, arguments):  # noqa: ARG001
        return builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())

    return types.CPointer(types.int64)(types.int64), generate


@njit(**EXACT)
def _taps(source: Any, target: Any, a: Any, b: Any, left: Any, width: Any, floats: Any, step: Any, spread: Any) -> None:
    """Floats a to b of a run whose taps do not follow each other in memory."""
    i = a
    while i < b:
        tap = i // floats
        end = min(b, (tap + 1) * floats)
        x = left + tap * spread
        if 0 <= x < width:
            copy(source + tap * spread * step + 4 * (i - tap * floats), target + 4 * i, end - i)
        else:
            clear(target + 4 * i, end - i)
        i = end


@njit(**EXACT)
def _run(source: Any, target: Any, a: Any, b: Any, lo: Any, hi: Any) -> None:
    """Floats a to b of a run of which lo to hi lie inside the picture, one after the other."""
    first = min(max(a, lo), b)
    last = max(min(b, hi), first)
    if first > a:
        clear(target + 4 * a, first - a)
    copy(source + 4 * first, target + 4 * first, last - first)
    if last < b:
        clear(target + 4 * last, b - last)


def _gather(plan: Any, source: Any, first: Any, rows: Any, k0: Any, k1: Any, target: Any, step: Any) -> None:
    p = carray(_pointer(plan), GATHERED)
    floats, width, kd, kh = p[FLOATS], p[IN_W], p[KERNEL_D], p[KERNEL_H]
    run = p[KERNEL_W] * floats
    joined = p[KERNEL_W] == 1 or (p[SPREAD_W] == 1 and p[STEP_W] == 4 * floats)
    q0, q1 = k0 // run, (k1 + run - 1) // run
    x, rest = first % p[OUT_W], first // p[OUT_W]
    y, rest = rest % p[OUT_H], rest // p[OUT_H]
    z, n = rest % p[OUT_D], rest // p[OUT_D]
    for _ in range(rows):
        front, top, left = (
            z * p[MOVE_D] + p[START_D], y * p[MOVE_H] + p[START_H], x * p[MOVE_W] + p[START_W],
        )  # fmt: skip
        lo = min(max(-left * floats, 0), run)
        hi = max(min((width - left) * floats, run), lo)
        pixel = source + n * p[STEP_N] + front * p[STEP_D] + top * p[STEP_H] + left * p[STEP_W]
        ky, kz, plane = q0 % kh, q0 // kh % kd, q0 // (kh * kd)
        short = joined and run <= 16 and lo == 0 and hi == run and k0 == 0 and k1 == q1 * run
        for q in range(q0, q1):
            out = target + 4 * (q * run - k0)
            a, b = max(k0 - q * run, 0), min(k1 - q * run, run)
            iy, iz = top + ky * p[SPREAD_H], front + kz * p[SPREAD_D]
            if iy < 0 or iy >= p[IN_H] or iz < 0 or iz >= p[IN_D]:
                clear(out + 4 * a, b - a)
            else:
                line = pixel + plane * p[STEP_C] + kz * p[SPREAD_D] * p[STEP_D] + ky * p[SPREAD_H] * p[STEP_H]
                if short:
                    copy_few(line, out, run)
                elif joined:
                    _run(line, out, a, b, lo, hi)
                else:
                    _taps(line, out, a, b, left, width, floats, p[STEP_W], p[SPREAD_W])
            ky += 1
            if ky == kh:
                ky, kz = 0, kz + 1
                if kz == kd:
                    kz, plane = 0, plane + 1
        target += step
        x += 1
        if x == p[OUT_W]:
            x, y = 0, y + 1
            if y == p[OUT_H]:
                y, z = 0, z + 1
                if z == p[OUT_D]:
                    z, n = 0, n + 1


_GATHER = types.void(*[types.int64] * 8)
_compiled = compiled_callback(_GATHER, _gather)
llvm.add_symbol("nyala_gather", _compiled.address)

gather = types.ExternalFunction("nyala_gather", _GATHER)
"""``gather(plan, source, first, rows, k0, k1, target, step)``: floats k0 to k1 of the windows at places ``first`` and on.

Places are counted over all images; row r is written from ``target + r * step`` on. ``plan`` is the address of its numbers."""
