"""A convolution's weight as packed panels whose terms come in the order of windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..lanes.moves import clear, copy_vector
from ..lanes.pointers import floats, hold
from ..matrix.gemm import DEPTH, pack_part, packed_size
from ..matrix.microkernel import COLUMNS, transpose
from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for


@njit(**EXACT)
def _row(packed: Any, k: Any, panel: Any, depth: Any, panels: Any) -> Any:
    """Where row k of a panel lies."""
    start = k // DEPTH * DEPTH
    part = min(DEPTH, depth - start)
    return packed + 4 * COLUMNS * (start * panels + panel * part + k - start)


@njit(**EXACT)
def _forward_panel(t: Any, w: Any, width: Any, channels: Any, taps: Any, packed: Any) -> None:
    """Of w (O, C, taps) a panel whose terms are ordered (taps, C): blocks turned over, their rows put in their places."""
    depth, panels = channels * taps, (width + COLUMNS - 1) // COLUMNS
    panel, group = t % panels, t // panels
    w += 4 * depth * (group * width + panel * COLUMNS)
    packed += 4 * group * packed_size(depth, width)
    many = min(COLUMNS, width - panel * COLUMNS)
    across, along = many // 16 * 16, depth // 16 * 16
    held = np.empty(256, np.float32)
    for i in range(0, depth, 16):
        for j in range(0, across, 16):
            if i < along:
                transpose(w + 4 * (j * depth + i), 4 * depth, held.ctypes.data, 64)
                for r in range(16):
                    k = (i + r) % taps * channels + (i + r) // taps
                    copy_vector(held.ctypes.data + 64 * r, _row(packed, k, panel, depth, panels) + 4 * j)
            else:
                _scattered(w, packed, i, depth, j, j + 16, channels, taps, panel, panels)
        _scattered(w, packed, i, min(i + 16, depth), across, many, channels, taps, panel, panels)
    hold(held)
    for k in range(depth):
        clear(_row(packed, k, panel, depth, panels) + 4 * many, COLUMNS - many)


@njit(**EXACT)
def _scattered(
    w: Any, packed: Any, i: Any, end: Any, left: Any, right: Any, channels: Any, taps: Any, panel: Any, panels: Any
) -> None:  # fmt: skip
    depth = channels * taps
    for r in range(i, end):
        out = floats(_row(packed, r % taps * channels + r // taps, panel, depth, panels), COLUMNS)
        for j in range(left, right):
            out[j] = floats(w + 4 * (j * depth + r), 1)[0]


@njit(**EXACT)
def _natural_panel(t: Any, w: Any, width: Any, depth: Any, packed: Any) -> None:
    panels = (width + COLUMNS - 1) // COLUMNS
    panel, group = t % panels, t // panels
    target = packed + 4 * group * packed_size(depth, width)
    pack_part(w + 4 * depth * group * width, 4, 4 * depth, depth, width, target, panel)


@njit(**EXACT)
def pack_forward(w: Any, groups: Any, width: Any, channels: Any, taps: Any, planar: Any) -> Any:
    """w (groups * width, channels, taps) at an address as one packed matrix for each group, its terms in the order of windows."""
    depth = channels * taps
    packed = np.empty(groups * packed_size(depth, width), np.float32)
    panels = groups * ((width + COLUMNS - 1) // COLUMNS)
    if planar or taps == 1:
        parallel_for(_natural_panel, panels, (w, width, depth, packed.ctypes.data))
    else:
        parallel_for(_forward_panel, panels, (w, width, channels, taps, packed.ctypes.data))
    return packed


@njit(**EXACT)
def _back_panel(t: Any, w: Any, width: Any, channels: Any, taps: Any, chosen: Any, packed: Any) -> None:
    depth, panels = chosen.size * width, (channels + COLUMNS - 1) // COLUMNS
    panel, group = t % panels, t // panels
    packed += 4 * group * packed_size(depth, channels)
    w += 4 * group * width * channels * taps
    if taps == 1:
        pack_part(w, 4 * channels, 4, depth, channels, packed, panel)
        return
    many, held = min(COLUMNS, channels - panel * COLUMNS), np.empty(256, np.float32)
    for o in range(width):
        for c in range(0, many, 16):
            line, left = w + 4 * ((o * channels + panel * COLUMNS + c) * taps), many - c
            # blocks of 16 x 16 read beyond rows of fewer taps, but must not read beyond the weight
            if left >= 16 and 15 * taps + (taps + 15) // 16 * 16 <= ((width - o) * channels - panel * COLUMNS - c) * taps:
                _blocks(line, taps, chosen, packed + 4 * c, o, width, panel, panels, held.ctypes.data)
            else:
                _scalars(line, min(16, left), taps, chosen, packed + 4 * c, o, width, panel, panels)
    for k in range(depth if many < COLUMNS else 0):
        clear(_row(packed, k, panel, depth, panels) + 4 * many, COLUMNS - many)
    hold(held)


@njit(**EXACT)
def _blocks(
    line: Any, taps: Any, chosen: Any, packed: Any, o: Any, width: Any, panel: Any, panels: Any, held: Any
) -> None:  # fmt: skip
    """The chosen taps of 16 channels, blocks turned over."""
    for first in range(0, taps, 16):
        transpose(line + 4 * first, 4 * taps, held, 64)
        for i in range(chosen.size):
            if first <= chosen[i] < first + 16:
                place = _row(packed, i * width + o, panel, chosen.size * width, panels)
                copy_vector(held + 64 * (chosen[i] - first), place)


@njit(**EXACT)
def _scalars(
    line: Any, many: Any, taps: Any, chosen: Any, packed: Any, o: Any, width: Any, panel: Any, panels: Any
) -> None:  # fmt: skip
    x = floats(line, many * taps)
    for i in range(chosen.size):
        out, tap = floats(_row(packed, i * width + o, panel, chosen.size * width, panels), many), chosen[i]
        for j in range(out.size):
            out[j] = x[j * taps + tap]


@njit(**EXACT)
def pack_back(w: Any, groups: Any, width: Any, channels: Any, taps: Any, chosen: Any) -> Any:
    """Of w (groups * width, channels, taps) the ``chosen`` taps, for each group as a packed matrix (chosen * width, channels)."""
    packed = np.empty(groups * packed_size(chosen.size * width, channels), np.float32)
    panels = groups * ((channels + COLUMNS - 1) // COLUMNS)
    parallel_for(_back_panel, panels, (w, width, channels, taps, chosen, packed.ctypes.data))
    return packed
