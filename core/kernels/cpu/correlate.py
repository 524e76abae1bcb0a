"""Windows times a packed matrix, tile by tile: the compiled half of the dense convolutions.

A tile is some places of the window; its windows are gathered into the cache a few hundred terms at a time and multiplied at
once, and the last product ends with what follows the convolution. Where the windows lie in memory as the rows of a matrix (a
1x1 kernel) nothing is gathered.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import EXACT, njit
from .gather import GATHERED, IMAGES, OUT_D, OUT_H, OUT_W, gather
from .gemm import block, hold, packed_size
from .microkernel import COLUMNS
from .moves import clear, copy
from .parallel import parallel_for

# Numbers of a plan after those of ``gather``. ROW_STEP: bytes between windows that need no gathering, or 0. EVEN: 1 where
# the result's places are evenly spaced. A task is TILE places times PANELS panels of a group's columns.
(
    TERMS, WIDTH, GROUPS, GROUP_STEP, TARGET_N, TARGET_D, TARGET_H, TARGET_W, ROW_STEP, EVEN, TILE, TILES, PANELS, PARTS, CHUNK,
) = range(GATHERED, GATHERED + 15)  # fmt: skip


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
def _multiply(
    plan: Any, source: Any, packed: Any, top: Any, rows: Any, first: Any, last: Any, c: Any, step: Any, ends: Any
) -> None:  # fmt: skip
    """c (rows, columns of a group), at its column 0: the panels first to last."""
    bias, scale, shift, residual, activation = ends
    depth, columns = plan[TERMS], plan[WIDTH]
    if plan[ROW_STEP]:
        block(
            source + top * plan[ROW_STEP], plan[ROW_STEP], 4, packed, c, step, rows, depth, columns, first, last,
            0, bias, scale, shift, residual, activation, step,
        )  # fmt: skip
        return
    chunk, all_panels = plan[CHUNK], (columns + COLUMNS - 1) // COLUMNS
    scratch = np.empty(rows * min(chunk, depth), np.float32)
    for k in range(0, depth, chunk):
        part = min(chunk, depth - k)
        gather(plan.ctypes.data, source, top, rows, k, k + part, scratch.ctypes.data, 4 * part)
        if k + part < depth:
            bias, scale, shift, residual, activation = 0, 0, 0, 0, 0
        else:
            bias, scale, shift, residual, activation = ends
        block(
            scratch.ctypes.data, 4 * part, 4, packed + 4 * COLUMNS * k * all_panels, c, step, rows, part, columns, first, last,
            1 if k else 0, bias, scale, shift, residual, activation, step,
        )  # fmt: skip
    hold(scratch)


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
    if plan[EVEN]:
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
