"""Windows times a packed matrix, tile by tile: the compiled half of the dense convolutions.

A tile is some places of the window. Where its windows lie in memory as the rows of a matrix (a 1x1 kernel) it is one block of
a product; elsewhere the micro-kernel reads each tap of a window through a pointer, and zeros for taps outside the picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..lanes.moves import clear, copy, fetch
from ..lanes.pointers import hold
from ..matrix.gemm import block, packed_size
from ..matrix.microkernel import COLUMNS, ROWS
from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for
from . import window as at
from .indirect import indirect_block
from .window import following, place

# Numbers of a plan after those of ``window``. ROW_STEP: bytes between windows that lie as the rows of a matrix, or 0; otherwise
# a window is PIECES pieces of RUN floats, whose offsets in bytes lie at the address OFFSETS; ZEROS is the address of RUN zeros;
# INSIDE: 1 where there is one piece and all windows lie inside the picture.
# EVEN: 1 where the result's places are evenly spaced. A task is TILE places times PANELS panels of a group's columns.
(
    TERMS, WIDTH, GROUPS, GROUP_STEP, TARGET_N, TARGET_D, TARGET_H, TARGET_W, ROW_STEP, EVEN, TILE, TILES, PANELS, PARTS,
    PIECES, RUN, OFFSETS, ZEROS, INSIDE,
) = range(at.NUMBERS, at.NUMBERS + 19)  # fmt: skip


@njit(**EXACT)
def shifted(ends: Any, column: Any, place: Any) -> Any:
    """``ends`` for a block that starts ``column`` columns and ``place`` bytes further on."""
    bias, scale, shift, residual, activation = ends
    at = 4 * column
    return (
        bias + at if bias else 0, scale + at if scale else 0, shift + at if shift else 0, residual + place if residual else 0,
        activation,
    )  # fmt: skip


@njit(**EXACT)
def _point_rows(plan: Any, source: Any, top: Any, rows: Any, table: Any) -> None:
    """Pointers to ``rows`` windows of one piece each, which lie inside the picture."""
    n, z, y, x = place(plan, top)
    start, step = plan[at.START_W] * plan[at.STEP_W], plan[at.MOVE_W] * plan[at.STEP_W]
    r = 0
    while r < rows:
        front, down = z * plan[at.MOVE_D] + plan[at.START_D], y * plan[at.MOVE_H] + plan[at.START_H]
        line = source + n * plan[at.STEP_N] + front * plan[at.STEP_D] + down * plan[at.STEP_H] + start
        many = min(rows - r, plan[at.OUT_W] - x)
        for i in range(many):
            table[r + i] = line + (x + i) * step
        r += many
        n, z, y, x = following(plan, n, z, y)


@njit(**EXACT)
def _point_taps(plan: Any, source: Any, top: Any, rows: Any, table: Any) -> None:
    """Pointers to the taps of ``rows`` windows; to zeros outside the picture."""
    n, z, y, x = place(plan, top)
    pieces, kd, kh, kw = plan[PIECES], plan[at.KERNEL_D], plan[at.KERNEL_H], plan[at.KERNEL_W]
    depth, height, width, zeros = plan[at.IN_D], plan[at.IN_H], plan[at.IN_W], plan[ZEROS]
    step, spread = plan[at.STEP_W], plan[at.SPREAD_W]
    for r in range(rows):
        where = (r // ROWS * pieces) * ROWS + r % ROWS
        front, left = z * plan[at.MOVE_D] + plan[at.START_D], x * plan[at.MOVE_W] + plan[at.START_W]
        for _ in range(kd):
            down = y * plan[at.MOVE_H] + plan[at.START_H]
            for _ in range(kh):
                line = source + n * plan[at.STEP_N] + front * plan[at.STEP_D] + down * plan[at.STEP_H]
                inside = 0 <= front < depth and 0 <= down < height
                column = left
                for _ in range(kw):
                    table[where] = line + column * step if inside and 0 <= column < width else zeros
                    where += ROWS
                    column += spread
                down += plan[at.SPREAD_H]
            front += plan[at.SPREAD_D]
        x += 1
        if x == plan[at.OUT_W]:
            n, z, y, x = following(plan, n, z, y)


@njit(**EXACT)
def point(plan: Any, source: Any, top: Any, rows: Any, table: Any) -> None:
    """Pointers to the pieces of ``rows`` windows, as ``indirect_block`` takes them."""
    if plan[INSIDE]:
        _point_rows(plan, source, top, rows, table)
    else:
        _point_taps(plan, source, top, rows, table)


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
    point(plan, source, top, rows, table)
    indirect_block(
        table.ctypes.data, plan[PIECES], plan[OFFSETS], plan[RUN], packed, 4 * COLUMNS, 0, c, step, rows, plan[WIDTH], first,
        last, 0, bias, scale, shift, residual, activation, step,
    )  # fmt: skip
    hold(table)


@njit(**EXACT)
def aim(plan: Any, target: Any, top: Any, rows: Any, targets: Any) -> None:
    """Where the results of ``rows`` places go."""
    n, z, y, x = place(plan, top)
    for r in range(rows):
        down = z * plan[TARGET_D] + y * plan[TARGET_H]
        targets[r] = target + n * plan[TARGET_N] + down + x * plan[TARGET_W]
        x += 1
        if x == plan[at.OUT_W]:
            n, z, y, x = following(plan, n, z, y)


@njit(**EXACT)
def _multiply_apart(
    plan: Any, source: Any, packed: Any, top: Any, rows: Any, first: Any, last: Any, target: Any
) -> None:  # fmt: skip
    """``_multiply`` to places that are not evenly spaced; zeros where there is nothing to add up."""
    columns = plan[WIDTH]
    left, right = first * COLUMNS, min(last * COLUMNS, columns)
    targets = np.empty(rows, np.int64)
    aim(plan, target + 4 * left, top, rows, targets)
    if plan[TERMS] == 0:
        for r in range(rows):
            clear(targets[r], right - left)
        return
    c = np.empty(rows * columns, np.float32)
    for r in range(rows):
        for i in range(0, 4 * (right - left), 64):
            fetch(targets[r] + i)  # while the product is made
    _multiply(plan, source, packed, top, rows, first, last, c.ctypes.data, 4 * columns, (0, 0, 0, 0, 0))
    for r in range(rows):
        copy(c.ctypes.data + 4 * (r * columns + left), targets[r], right - left)
    hold(c)


@njit(**EXACT)
def _task(t: Any, plan: Any, source: Any, packed: Any, target: Any, ends: Any) -> None:
    depth, columns = plan[TERMS], plan[WIDTH]
    part, rest = t % plan[PARTS], t // plan[PARTS]
    top, group = rest % plan[TILES] * plan[TILE], rest // plan[TILES]
    places = plan[at.IMAGES] * plan[at.OUT_D] * plan[at.OUT_H] * plan[at.OUT_W]
    rows = min(plan[TILE], places - top)
    first = part * plan[PANELS]
    last = min(first + plan[PANELS], (columns + COLUMNS - 1) // COLUMNS)
    source += group * plan[GROUP_STEP]
    packed += 4 * group * packed_size(depth, columns)
    column = group * columns
    if plan[EVEN] and depth:
        step = 4 * columns * plan[GROUPS]
        bytes_before = top * step + 4 * column
        ends = shifted(ends, column, bytes_before)
        _multiply(plan, source, packed, top, rows, first, last, target + bytes_before, step, ends)
        return
    _multiply_apart(plan, source, packed, top, rows, first, last, target + 4 * column)


@njit(**EXACT)
def correlate(plan: Any, source: Any, packed: Any, target: Any, ends: Any) -> None:
    """target = the windows of source times ``packed``, and what ``ends`` say. Addresses."""
    tasks = plan[GROUPS] * plan[TILES] * plan[PARTS]
    parallel_for(_task, tasks, (plan, source, packed, target, ends))
