"""The numbers by which compiled code knows a picture in memory and a window that moves over it, in three dimensions.

A pixel holds the FLOATS of a group side by side (channels-last memory), or a picture has PLANES of pixels of one float. Steps
are in bytes. The window at place (z, y, x) begins at pixel START + MOVE * place, and its taps are SPREAD pixels apart. Places
are counted over all images.
"""

from __future__ import annotations

from typing import Any

from ..running.compiled import EXACT, njit

(
    IMAGES, IN_D, IN_H, IN_W, FLOATS, PLANES, STEP_N, STEP_C, STEP_D, STEP_H, STEP_W,
    OUT_D, OUT_H, OUT_W, KERNEL_D, KERNEL_H, KERNEL_W,
    START_D, START_H, START_W, MOVE_D, MOVE_H, MOVE_W, SPREAD_D, SPREAD_H, SPREAD_W, NUMBERS,
) = range(27)  # fmt: skip


@njit(**EXACT)
def place(plan: Any, index: Any) -> Any:
    """(image, z, y, x) of the place with a number."""
    x, rest = index % plan[OUT_W], index // plan[OUT_W]
    y, rest = rest % plan[OUT_H], rest // plan[OUT_H]
    return rest // plan[OUT_D], rest % plan[OUT_D], y, x


@njit(**EXACT)
def following(plan: Any, n: Any, z: Any, y: Any) -> Any:
    """The first place of the row after (image, z, y)."""
    if y + 1 < plan[OUT_H]:
        return n, z, y + 1, 0
    if z + 1 < plan[OUT_D]:
        return n, z + 1, 0, 0
    return n + 1, 0, 0, 0
