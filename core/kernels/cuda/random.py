"""Random bits of a key: ``random.cu``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...tracing import here
from .running.launching import blocks_for, launch


def philox(xp: Any, key: tuple[int, int], count: int) -> Any:
    out = xp.empty(count, np.uint32)
    launch("random", "philox_words", blocks_for(count, 4 * 256), 256, out, np.int64(count), *halves(key))
    return out


def halves(key: tuple[int, int]) -> tuple[Any, np.uint32, np.uint32]:
    """A key as kernels take it: where it lies on the device, if a graph that is being captured draws it; and by value."""
    drawn = None if here.tracer is None else here.tracer.key_on_device(key)
    return drawn, np.uint32(key[0]), np.uint32(key[1])
