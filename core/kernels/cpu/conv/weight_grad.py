"""The gradient of a dense convolution's weight: the sum over all places of the window, in compiled code.

One factor is read where it lies: its rows through pointers (an element of the window, or an output channel), its terms (the
places) at offsets that are looked up. The other factor's rows, one for each place, are packed where enough rows use them. The
places are cut into parts that depend on shapes alone; each part's sum runs in order, and the parts are added in order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..lanes.moves import add_vector, copy, copy_few, copy_vector
from ..lanes.pointers import floats, hold, integers
from ..matrix.gemm import DEPTH
from ..matrix.microkernel import COLUMNS, LANES, ROWS, transpose
from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for
from . import window as at
from .correlate import GROUP_STEP, GROUPS, ROW_STEP, TERMS, WIDTH
from .indirect import indirect_block
from .window import following, place

# What is cut how: rows of a task and the number of tasks, the same for panels and places, bytes between the gradients of two
# places; whether the rows are output channels rather than elements of the window.
ROWS_EACH, ROW_TASKS, PANELS_EACH, PANEL_TASKS, PLACES_EACH, PARTS, GRADIENT_STEP, OUTPUTS = range(8)
_DIRECT_ROWS = 48  # rows up to which packing the other factor costs more than it saves


@njit(**EXACT)
def window_offsets(plan: Any, first: Any, many: Any, out: Any) -> None:
    """Bytes from the picture's start to the windows at ``many`` places."""
    if plan[ROW_STEP]:
        for i in range(many):
            out[i] = (first + i) * plan[ROW_STEP]
        return
    n, z, y, x = place(plan, first)
    step, i = plan[at.MOVE_W] * plan[at.STEP_W], 0
    while i < many:
        down = z * plan[at.MOVE_D] * plan[at.STEP_D] + y * plan[at.MOVE_H] * plan[at.STEP_H]
        line, row = n * plan[at.STEP_N] + down, min(many - i, plan[at.OUT_W] - x)
        for j in range(row):
            out[i + j] = line + (x + j) * step
        i += row
        n, z, y, x = following(plan, n, z, y)


@njit(**EXACT)
def _point(plan: Any, cuts: Any, k: Any, many: Any, outputs: Any, offsets: Any) -> None:
    """Bytes to ``many`` places from k on: of the gradient, or of the picture."""
    if outputs:
        for i in range(many):
            offsets[i] = (k + i) * cuts[GRADIENT_STEP]
    else:
        window_offsets(plan, k, many, offsets)


@njit(**EXACT)
def _pack(b: Any, offsets: Any, many: Any, columns: Any, packed: Any) -> None:
    """Rows of B, which begin at ``offsets``, as panels of ``many`` rows."""
    for i in range(many):
        for p in range(0, columns, COLUMNS):
            copy(b + offsets[i] + 4 * p, packed + 4 * (p * many + COLUMNS * i), min(COLUMNS, columns - p))


@njit(**EXACT)
def _task(t: Any, plan: Any, cuts: Any, g: Any, source: Any, elements: Any, sums: Any) -> None:
    outputs = cuts[OUTPUTS]
    all_rows, all_columns = (plan[WIDTH], plan[TERMS]) if outputs else (plan[TERMS], plan[WIDTH])
    panel_task, rest = t % cuts[PANEL_TASKS], t // cuts[PANEL_TASKS]
    row_task, rest = rest % cuts[ROW_TASKS], rest // cuts[ROW_TASKS]
    part, group = rest % cuts[PARTS], rest // cuts[PARTS]
    top, left = row_task * cuts[ROWS_EACH], panel_task * cuts[PANELS_EACH] * COLUMNS
    rows, columns = min(cuts[ROWS_EACH], all_rows - top), min(cuts[PANELS_EACH] * COLUMNS, all_columns - left)
    places = plan[at.IMAGES] * plan[at.OUT_D] * plan[at.OUT_H] * plan[at.OUT_W]
    lo = part * cuts[PLACES_EACH]
    hi = min(lo + cuts[PLACES_EACH], places)
    g += 4 * group * plan[WIDTH]
    source += group * plan[GROUP_STEP]
    c = sums + 4 * (((part * plan[GROUPS] + group) * all_rows + top) * all_columns + left)
    b = source + 4 * left if outputs else g + 4 * left
    straight = plan[ROW_STEP] if outputs else cuts[GRADIENT_STEP]  # bytes between rows of B, or 0
    table, offsets, b_offsets = np.empty(rows + ROWS, np.int64), np.empty(DEPTH, np.int64), np.empty(DEPTH, np.int64)
    for r in range(rows):
        table[r] = g + 4 * (top + r) if outputs else source + integers(elements, all_rows)[top + r]
    packed = np.empty(DEPTH * (columns + COLUMNS), np.float32)
    for k in range(lo, hi, DEPTH):
        many, add = min(DEPTH, hi - k), 1 if k > lo else 0
        _point(plan, cuts, k, many, outputs, offsets)
        b_here, b_step, panel_step = packed.ctypes.data, 4 * COLUMNS, 4 * COLUMNS * many
        # whole vectors are read: past a row's end lie the next ones, but past the last one's perhaps nothing
        readable = columns % LANES == 0 or (places - k - many) * straight >= 4 * LANES
        if straight and rows <= _DIRECT_ROWS and readable:
            b_here, b_step, panel_step = b + k * straight, straight, 4 * COLUMNS
        else:
            _point(plan, cuts, k, many, not outputs, b_offsets)
            _pack(b, b_offsets, many, columns, packed.ctypes.data)
        indirect_block(
            table.ctypes.data, 1, offsets.ctypes.data, many, b_here, b_step, panel_step, c, 4 * all_columns, rows, columns,
            0, (columns + COLUMNS - 1) // COLUMNS, add, 0, 0, 0, 0, 0, 0,
        )  # fmt: skip
    hold(table)
    hold(offsets)
    hold(b_offsets)
    hold(packed)


@njit(**EXACT)
def _add_part(t: Any, sums: Any, size: Any, each: Any, parts: Any, out: Any) -> None:
    """Some elements of all parts, added in order."""
    lo = t * each
    many = min(each, size - lo)
    copy(sums + 4 * lo, out + 4 * lo, many)
    total = floats(out + 4 * lo, many)
    for part in range(1, parts):
        more = floats(sums + 4 * (part * size + lo), many)
        for j in range(total.size):
            total[j] += more[j]


@njit(**EXACT)
def _turn(t: Any, sums: Any, groups: Any, terms: Any, width: Any, channels: Any, parts: Any, out: Any) -> None:
    """16 elements of the windows of a group, for all its outputs: parts added in order, turned over, put in their places."""
    tiles, taps = (terms + 15) // 16, terms // channels
    first, group = t % tiles * 16, t // tiles
    many = min(16, terms - first)
    out += 4 * group * width * terms
    held = np.zeros(256, np.float32)
    for o in range(0, width, 16):
        across = min(16, width - o)
        for i in range(many):
            row = (first + i) % taps * channels + (first + i) // taps
            place, line = held.ctypes.data + 64 * i, sums + 4 * ((group * terms + row) * width + o)
            if across == 16:
                copy_vector(line, place)
                for part in range(1, parts):
                    add_vector(line + 4 * part * groups * terms * width, place)
            else:
                copy_few(line, place, across)
                for part in range(1, parts):
                    total, more = floats(place, across), floats(line + 4 * part * groups * terms * width, across)
                    for j in range(across):
                        total[j] += more[j]
        if across == 16 and many == 16:
            transpose(held.ctypes.data, 64, out + 4 * (o * terms + first), 4 * terms)
        else:
            for j in range(across):
                line = floats(out + 4 * ((o + j) * terms + first), many)
                for i in range(many):
                    line[i] = held[16 * i + j]
    hold(held)


@njit(**EXACT)
def weight_gradient(plan: Any, cuts: Any, g: Any, source: Any, elements: Any, channels: Any, out: Any) -> None:
    """out (rows of all groups, channels, taps), the elements of a window being ordered (taps, channels). Addresses.

    ``elements``: bytes from a window's start to each of its elements.
    """
    groups, width, terms, parts = plan[GROUPS], plan[WIDTH], plan[TERMS], cuts[PARTS]
    tasks, size = groups * parts * cuts[ROW_TASKS] * cuts[PANEL_TASKS], groups * width * terms
    if cuts[OUTPUTS] and parts == 1:
        parallel_for(_task, tasks, (plan, cuts, g, source, elements, out))
        return
    sums = np.empty(parts * size, np.float32)
    parallel_for(_task, tasks, (plan, cuts, g, source, elements, sums.ctypes.data))
    if cuts[OUTPUTS]:
        parallel_for(_add_part, (size + 4095) // 4096, (sums.ctypes.data, size, 4096, parts, out))
    else:
        tiles = groups * ((terms + 15) // 16)
        parallel_for(_turn, tiles, (sums.ctypes.data, groups, terms, width, channels, parts, out))
    hold(sums)
