"""Counter-based random bits: Philox4x32-10.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The same key and counter give
the same bits on every backend; element ``i`` does not depend on how many are drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["philox"]

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox(xp: Any, key: tuple[int, int], count: int) -> Any:
    """``count`` uint32 numbers on array module ``xp``: blocks 0, 1, 2, ... of four, under a 64-bit key of two halves."""
    blocks = (count + 3) // 4
    index = xp.arange(blocks, dtype=np.uint64)
    c0, c1 = index & _LOW, index >> _32
    c2 = c3 = xp.zeros(blocks, np.uint64)
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ np.uint64(k0), p1 & _LOW, (p0 >> _32) ^ c3 ^ np.uint64(k1), p0 & _LOW
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    out = xp.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)
    return out.reshape(-1)[:count]
