"""Linear maps along dimensions (resizing, averaging): ``spatial.cu``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...devices import cupy
from ..reference import spatial as reference
from ..reference.half import in_float32
from ..reference.spatial import Map
from .running.launching import blocks_for, contiguous, launch, suffix

_THREADS = 256


@in_float32
def resample(x: Any, maps: Sequence[Map]) -> Any:
    dtype = suffix(x)
    if dtype is None or not x.size or any(m.index.size == 0 for m in maps):
        return reference.resample(x, maps)
    for map in maps:
        x = _along(contiguous(x), map, dtype)
    return x


def _along(x: Any, map: Map, dtype: str) -> Any:
    length, taps = map.index.shape
    index, weight = _tables(map, x.dtype)
    y = cupy().empty((*x.shape[: map.axis], length, *x.shape[map.axis + 1 :]), x.dtype)
    sizes = (x.shape[map.axis], length, taps, np.int64(math.prod(x.shape[map.axis + 1 :])), np.int64(y.size))
    launch("spatial", f"along_{dtype}", blocks_for(y.size, _THREADS), _THREADS, x, y, index, weight, *sizes)
    return y


def _tables(map: Map, dtype: Any) -> tuple[Any, Any]:
    """The map's index and weight on the current device; kept with it."""
    key = f"cuda:{cupy().cuda.runtime.getDevice()} {dtype}"
    if key not in map.packs:
        weight = None if map.weight is None else cupy().asarray(np.ascontiguousarray(map.weight, dtype))
        map.packs[key] = (cupy().asarray(np.ascontiguousarray(map.index, np.int32)), weight)
    return map.packs[key]
