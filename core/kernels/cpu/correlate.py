"""Windows times a packed matrix, tile by tile: the compiled half of the dense convolutions.

A tile is some places of the window. Where its windows lie in memory as the rows of a matrix (a 1x1 kernel) it is one block of
a product; elsewhere the micro-kernel reads each tap of a window through a pointer, and zeros for taps outside the picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import EXACT, njit
from .gather import (
    GATHERED, IMAGES, IN_D, IN_H, IN_W, KERNEL_D, KERNEL_H, KERNEL_W, MOVE_D, MOVE_H, MOVE_W, OUT_D, OUT_H, OUT_W, SPREAD_D,
    SPREAD_H, SPREAD_W, START_D, START_H, START_W, STEP_D, STEP_H, STEP_N, STEP_W,
)  # fmt: skip
from .gemm import block, hold, packed_size
from .indirect import indirect_block
from .microkernel import COLUMNS, ROWS
from .moves import clear, copy
from .parallel import parallel_for

# Numbers of a plan after those of ``gather``. ROW_STEP: bytes between windows that lie as the rows of a matrix, or 0; otherwise
# a window is PIECES pieces of RUN floats, whose offsets in bytes lie at the address OFFSETS; ZEROS is the address of RUN zeros.
# EVEN: 1 where the result's places are evenly spaced. A task is TILE places times PANELS panels of a group's columns.
(
    TERMS, WIDTH, GROUPS, GROUP_STEP, TARGET_N, TARGET_D, TARGET_H, TARGET_W, ROW_STEP, EVEN, TILE, TILES, PANELS, PARTS,
    PIECES, RUN, OFFSETS, ZEROS,
) = range(GATHERED, GATHERED + 18)  # fmt: skip


@njit(**EXACT)
def _shifted(ends: Any, column: Any, place: Any) -> Any:
    """``ends`` for a block that starts ``column`` columns and ``place`` bytes further on."""
    bias, scale, shift, residual, activation = ends
    at = 4 * column
    return (
        bias + at if bias else 0, scale + at if scale else 0, shift + at if shift else 0, residual + place if residual else 0,
        activation,
    )  # fmt: skip


@njit(**EXACT)
def _point(plan: Any, source: Any, top: Any, rows: Any, table: Any) -> None:
    """Pointers to the taps of ``rows`` windows, as ``indirect_block`` takes them."""
    x, rest = top % plan[OUT_W], top // plan[OUT_W]
    y, rest = rest % plan[OUT_H], rest // plan[OUT_H]
    z, n = rest % plan[OUT_D], rest // plan[OUT_D]
    pieces = plan[PIECES]
    kd, kh, kw = (plan[KERNEL_D], plan[KERNEL_H], plan[KERNEL_W]) if pieces > 1 else (1, 1, 1)
    for r in range(rows):
        at = (r // ROWS * pieces) * ROWS + r % ROWS
        front, left = z * plan[MOVE_D] + plan[START_D], x * plan[MOVE_W] + plan[START_W]
        for _ in range(kd):
            top = y * plan[MOVE_H] + plan[START_H]
            for _ in range(kh):
                line = source + n * plan[STEP_N] + front * plan[STEP_D] + top * plan[STEP_H]
                inside = 0 <= front < plan[IN_D] and 0 <= top < plan[IN_H]
                column = left
                for _ in range(kw):
                    table[at] = line + column * plan[STEP_W] if inside and 0 <= column < plan[IN_W] else plan[ZEROS]
                    at += ROWS
                    column += plan[SPREAD_W]
                top += plan[SPREAD_H]
            front += plan[SPREAD_D]
        x += 1
        if x == plan[OUT_W]:
            x, y = 0, y + 1
            if y == plan[OUT_H]:
                y, z = 0, z + 1
                if z == plan[OUT_D]:
                    z, n = 0, n + 1


@njit(**EXACT)
def _multiply(
    plan: Any, source: Any, packed: Any, top: Any, rows: Any, first: Any, last: Any, c: Any, step: Any, ends: Any
) -> None:  # fmt: skip
    """c (rows, columns of a group), at its column 0: the panels first to last."""
    bias, scale, shift, residual, activation = ends
    if plan[ROW_STEP]:
        block(
            source + top * plan[ROW_STEP], plan[ROW_STEP], 4, packed, c, step, rows, plan[TERMS], plan[WIDTH], first, last,
            0, bias, scale, shift, residual, activation, step,
        )  # fmt: skip
        return
    table = np.empty((rows + ROWS) * plan[PIECES], np.int64)
    _point(plan, source, top, rows, table)
    indirect_block(
        table.ctypes.data, plan[PIECES], plan[OFFSETS], plan[RUN], packed, c, step, rows, plan[WIDTH], first, last,
        bias, scale, shift, residual, activation, step,
    )  # fmt: skip
    hold(table)


@njit(**EXACT)
def _spread(plan: Any, source: Any, target: Any, top: Any, rows: Any, first: Any, last: Any) -> None:
    """Columns first to last of the tile's rows to places that are not evenly spaced; zeros where there is no source."""
    many = last - first
    x, rest = top % plan[OUT_W], top // plan[OUT_W]
    y, rest = rest % plan[OUT_H], rest // plan[OUT_H]
    z, n = rest % plan[OUT_D], rest // plan[OUT_D]
    for r in range(rows):
        place = target + n * plan[TARGET_N] + z * plan[TARGET_D] + y * plan[TARGET_H] + x * plan[TARGET_W] + 4 * first
        if source:
            copy(source + 4 * (r * plan[WIDTH] + first), place, many)
        else:
            clear(place, many)
        x += 1
        if x == plan[OUT_W]:
            x, y = 0, y + 1
            if y == plan[OUT_H]:
                y, z = 0, z + 1
                if z == plan[OUT_D]:
                    z, n = 0, n + 1


@njit(**EXACT)
def _task(t: Any, plan: Any, source: Any, packed: Any, target: Any, ends: Any) -> None:
    depth, columns = plan[TERMS], plan[WIDTH]
    part, rest = t % plan[PARTS], t // plan[PARTS]
    top, group = rest % plan[TILES] * plan[TILE], rest // plan[TILES]
    places = plan[IMAGES] * plan[OUT_D] * plan[OUT_H] * plan[OUT_W]
    rows = min(plan[TILE], places - top)
    first = part * plan[PANELS]
    last = min(first + plan[PANELS], (columns + COLUMNS - 1) // COLUMNS)
    source += group * plan[GROUP_STEP]
    packed += 4 * group * packed_size(depth, columns)
    column = group * columns
    if plan[EVEN] and depth:
        place = top * plan[TARGET_W] + 4 * column
        _multiply(plan, source, packed, top, rows, first, last, target + place, plan[TARGET_W], _shifted(ends, column, place))
        return
    left, right = first * COLUMNS, min(last * COLUMNS, columns)
    if depth == 0:
        _spread(plan, 0, target + 4 * column, top, rows, left, right)
        return
    c = np.empty(rows * columns, np.float32)
    _multiply(plan, source, packed, top, rows, first, last, c.ctypes.data, 4 * columns, (0, 0, 0, 0, 0))
    _spread(plan, c.ctypes.data, target + 4 * column, top, rows, left, right)
    hold(c)


@njit(**EXACT)
def correlate(plan: Any, source: Any, packed: Any, target: Any, ends: Any) -> None:
    """target = the windows of source times ``packed``, and what ``ends`` say. Addresses."""
    tasks = plan[GROUPS] * plan[TILES] * plan[PARTS]
    parallel_for(_task, tasks, (plan, source, packed, target, ends))
