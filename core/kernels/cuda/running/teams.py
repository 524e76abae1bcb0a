"""Who works on a row: a warp where it is short, else a block. Their sizes are fixed, and with them every sum's order."""

from __future__ import annotations

_WARP_ROW = 1024  # elements: up to here a warp reads a row faster than a block agrees on it
_WARPS = 4  # rows a block, where a warp has one


def of_rows(rows: int, n: int) -> tuple[str, int, int]:
    """The team's name (``"warp"`` or ``"block"``), the grid and the block for ``rows`` rows of ``n`` elements.

    Example:
        >>> of_rows(10, 768), of_rows(3, 50257)
        (('warp', 3, 128), ('block', 3, 1024))
    """
    if n <= _WARP_ROW:
        return "warp", -(-rows // _WARPS), 32 * _WARPS
    return "block", rows, 256 if n <= 4 * _WARP_ROW else 1024


def of_held_rows(rows: int, n: int, itemsize: int, most: int = 0) -> tuple[str, int, int]:
    """The same where teams hold their rows in registers (``held.cuh``); ``"long"`` for a block whose row is too long for that.

    Args:
        itemsize: bytes of an element.
        most: blocks, each of which then has several rows; 0 for a row a team.

    Example:
        >>> of_held_rows(10, 768, 2), of_held_rows(10000, 4096, 2, 264), of_held_rows(3, 50257, 4)
        (('warp', 3, 128), ('block', 264, 256), ('long', 3, 512))
    """
    held = 16 if itemsize == 8 else 32  # numbers a thread of a warp; half as many of a block
    if n <= 32 * held:
        warps = 2 * _WARPS if most else _WARPS
        blocks = -(-int(rows) // warps)
        return "warp", min(blocks, most or blocks), 32 * warps
    team, threads = ("block" if n <= 256 * held else "long"), 256 if n <= 128 * held else 512
    return team, min(int(rows), most or int(rows)), threads
