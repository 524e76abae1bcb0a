"""Who works on a row: a warp where rows are short, a block where they are long. Widths are fixed, and with them every sum's order."""

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
