"""Freed memory kept for the next array.

The C library hands large blocks back to the system when they are freed and fetches new ones, page by page and zeroed, for
the next array: on a LayerNorm that takes several times as long as the arithmetic. Here it is told to keep them.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys

_MMAP_MAX, _TRIM_THRESHOLD = -4, -1  # glibc's numbers for mallopt
_NEVER = 2**31 - 1


@functools.lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Let this process keep what it frees; says whether the C library could be told (glibc can).

    The memory a process holds is then the most it ever used at once. ``NYALA_KEEP_MEMORY=0`` leaves the C library as it is.
    """
    if os.environ.get("NYALA_KEEP_MEMORY") == "0" or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, _NEVER))
