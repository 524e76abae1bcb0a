"""Maxima over windows and their gradient: ``pool.cu``."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ...devices import cupy
from ...tracing import keep
from ..reference import pool as reference
from .running.launching import blocks_for, contiguous, launch, suffix

_THREADS = 256
_DIMENSIONS = 3
_LARGEST = 2**31  # places of a plane that an int counts


def max_pool(x: Any, tables: tuple[Any, ...], indices: bool = True) -> tuple[Any, Any]:
    dtype, spatial = suffix(x), x.shape[2:]
    lengths = tuple([len(t) for t in tables])
    planes = math.prod(x.shape[:2])
    if dtype is None or not _fits(spatial, lengths) or not planes * math.prod(lengths):
        return reference.max_pool(x, tables, indices)
    xp, shape = cupy(), (*x.shape[:2], *lengths)
    y, index = xp.empty(shape, x.dtype), xp.empty(shape, np.int32) if indices else None
    windows = [keep(_on_device(*_key(t), _device())) for t in _three(tables, np.zeros((1, 1), np.int32))]
    widths = [w.shape[1] for w in windows]
    sizes = (*widths, *_three(lengths, 1), *_three(spatial, 1), np.int64(y.size))
    launch("pool", f"max_pool_{dtype}", blocks_for(y.size, _THREADS), _THREADS, contiguous(x), y, index, *windows, *sizes)
    return y, index


def scatter_planes(g: Any, indices: Any, spatial: tuple[int, ...], tables: tuple[Any, ...] | None = None) -> Any:
    dtype, lengths = suffix(g), g.shape[2:]
    if dtype is None or tables is None or not _fits(spatial, lengths) or not g.size or indices.dtype != np.int32:
        return reference.scatter_planes(g, indices, spatial, tables)
    gx = cupy().empty((*g.shape[:2], *spatial), g.dtype)
    pairs = zip(_three(tables, np.zeros((1, 1), np.int32)), _three(spatial, 1), strict=True)
    covering = [part for table, size in pairs for part in keep(_inverse(*_key(table), size, _device()))]
    sizes = (*_three(lengths, 1), *_three(spatial, 1), np.int64(gx.size))
    arrays = (contiguous(g), contiguous(indices), gx, *covering)
    launch("pool", f"scatter_{dtype}", blocks_for(gx.size, _THREADS), _THREADS, *arrays, *sizes)
    return gx


def _fits(spatial: tuple[int, ...], lengths: tuple[int, ...]) -> bool:
    return 1 <= len(spatial) <= _DIMENSIONS and max(math.prod(spatial), math.prod(lengths)) < _LARGEST


def _three(values: Any, missing: Any) -> list[Any]:
    return [missing] * (_DIMENSIONS - len(values)) + list(values)


def _device() -> int:
    return int(cupy().cuda.runtime.getDevice())


def _key(table: Any) -> tuple[bytes, int]:
    """A table as what tells it from others: its numbers and the width of its rows."""
    return np.ascontiguousarray(table, np.int32).tobytes(), table.shape[1]


@functools.lru_cache(maxsize=128)
def _on_device(content: bytes, width: int, device: int) -> Any:  # noqa: ARG001 - a key
    return cupy().asarray(np.frombuffer(content, np.int32).reshape(-1, width))


@functools.lru_cache(maxsize=128)
def _inverse(content: bytes, width: int, size: int, device: int) -> tuple[Any, Any]:  # noqa: ARG001 - a key
    """The windows that cover each position, in a list; and before it where each position's part begins, and where all end."""
    table = np.frombuffer(content, np.int32).reshape(-1, width)
    pairs = np.unique(np.stack([table.reshape(-1), np.repeat(np.arange(len(table)), width)], 1), axis=0)
    firsts = np.searchsorted(pairs[:, 0], np.arange(size + 1))
    return cupy().asarray(firsts.astype(np.int32)), cupy().asarray(np.ascontiguousarray(pairs[:, 1], np.int32))
