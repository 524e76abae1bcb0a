"""The gradient of a dense convolution's weight: the sum over all places of (gradient) x (window), in compiled code.

The places are cut into parts that depend on shapes alone; each part's sum runs over its places in order, and the parts are
added in order. A task is one part, some rows (output channels) and some panels (terms of the window).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import EXACT, njit
from .correlate import GROUP_STEP, GROUPS, ROW_STEP, TERMS, WIDTH
from .gather import IMAGES, OUT_D, OUT_H, OUT_W, gather
from .gemm import DEPTH, block, floats, hold, pack_part
from .microkernel import COLUMNS
from .moves import clear
from .parallel import parallel_for

# What is cut how: rows of a task and their number of tasks, the same for panels and places, bytes between gradients of places.
ROWS_EACH, ROW_TASKS, PANELS_EACH, PANEL_TASKS, PLACES_EACH, PARTS, GRADIENT_STEP, CUTS = range(8)


@njit(**EXACT)
def _pack(plan: Any, source: Any, place: Any, many: Any, first: Any, last: Any, packed: Any) -> None:
    """The windows of ``many`` places as rows of B, the panels first to last alone."""
    terms = plan[TERMS]
    for p in range(first, last):
        if plan[ROW_STEP]:
            pack_part(source + place * plan[ROW_STEP], plan[ROW_STEP], 4, many, terms, packed - 4 * COLUMNS * first * many, p)
            continue
        width = min(COLUMNS, terms - p * COLUMNS)
        target = packed + 4 * COLUMNS * (p - first) * many
        gather(plan.ctypes.data, source, place, many, p * COLUMNS, p * COLUMNS + width, target, 4 * COLUMNS)
        if width < COLUMNS:
            for i in range(many):
                clear(target + 4 * (COLUMNS * i + width), COLUMNS - width)


@njit(**EXACT)
def _task(t: Any, plan: Any, cuts: Any, g: Any, source: Any, sums: Any) -> None:
    terms, rows = plan[TERMS], plan[WIDTH]
    panel_task, rest = t % cuts[PANEL_TASKS], t // cuts[PANEL_TASKS]
    row_task, rest = rest % cuts[ROW_TASKS], rest // cuts[ROW_TASKS]
    part, group = rest % cuts[PARTS], rest // cuts[PARTS]
    top, first = row_task * cuts[ROWS_EACH], panel_task * cuts[PANELS_EACH]
    last = min(first + cuts[PANELS_EACH], (terms + COLUMNS - 1) // COLUMNS)
    places = plan[IMAGES] * plan[OUT_D] * plan[OUT_H] * plan[OUT_W]
    lo = part * cuts[PLACES_EACH]
    hi = min(lo + cuts[PLACES_EACH], places)
    row = group * rows + top
    c = sums + 4 * terms * (part * plan[GROUPS] * rows + row) + 4 * COLUMNS * first
    packed = np.empty((last - first) * COLUMNS * min(DEPTH, hi - lo), np.float32)
    for k in range(lo, hi, DEPTH):
        many = min(DEPTH, hi - k)
        _pack(plan, source + group * plan[GROUP_STEP], k, many, first, last, packed.ctypes.data)
        block(
            g + k * cuts[GRADIENT_STEP] + 4 * row, 4, cuts[GRADIENT_STEP], packed.ctypes.data, c, 4 * terms,
            min(cuts[ROWS_EACH], rows - top), many, min(terms, last * COLUMNS) - first * COLUMNS, 0, last - first,
            1 if k > lo else 0, 0, 0, 0, 0, 0, 0,
        )  # fmt: skip
    hold(packed)


@njit(**EXACT)
def _collect(row: Any, sums: Any, rows: Any, terms: Any, parts: Any, channels: Any, out: Any) -> None:
    """One row of the weight: its parts added in order, (taps, channels) turned into (channels, taps)."""
    total = floats(sums + 4 * row * terms, terms)
    for part in range(1, parts):
        more = floats(sums + 4 * terms * (part * rows + row), terms)
        for j in range(total.size):
            total[j] += more[j]
    taps = terms // channels
    for t in range(taps):
        line, target = floats(sums + 4 * (row * terms + t * channels), channels), floats(out + 4 * (row * terms + t), terms)
        for j in range(line.size):
            target[j * taps] = line[j]


@njit(**EXACT)
def weight_gradient(plan: Any, cuts: Any, g: Any, source: Any, channels: Any, out: Any) -> None:
    """out (rows of all groups, channels, taps), the terms of a window being ordered (taps, channels). Addresses."""
    rows, terms, parts = plan[GROUPS] * plan[WIDTH], plan[TERMS], cuts[PARTS]
    tasks = plan[GROUPS] * parts * cuts[ROW_TASKS] * cuts[PANEL_TASKS]
    if parts == 1 and channels == terms:
        parallel_for(_task, tasks, (plan, cuts, g, source, out))
        return
    sums = np.empty(parts * rows * terms, np.float32)
    parallel_for(_task, tasks, (plan, cuts, g, source, sums.ctypes.data))
    parallel_for(_collect, rows, (sums.ctypes.data, rows, terms, parts, channels, out))
    hold(sums)
