"""Attention and its gradients: ``attention.cu``, ``attention_few.cu``, ``attention_backward.cu``, ``attention_half*.cu``."""

from __future__ import annotations

from types import NoneType
from typing import Any, NamedTuple

import numpy as np

from ...devices import cupy
from ..reference import attention as reference
from ..reference.dropout import threshold
from .random import halves
from .running.launching import blocks_for, launch, suffix
from .running.parts import wide

_WIDTHS = (64, 128, 256)  # numbers of a head for which there are kernels
_FEW = 8  # queries up to which a block has some of the keys, rather than some of the queries: ``attention_few.cu``
_CHUNK, _CREW = 128, 128  # its keys, and its threads
_EVERYWHERE = np.int64(1 << 40)  # a start from which every key is seen


def attention(
    q: Any, k: Any, v: Any, scale: float, allowed: Any = None, mask: Any = None, start: Any = None,
    dropout: tuple[float, tuple[int, int]] | None = None, statistics: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    dtype = _suits(q, k, v, allowed, mask)
    if dtype is None or (q.shape[2] > _FEW and not isinstance(start, (int, NoneType))):
        return reference.attention(q, k, v, scale, allowed, mask, start, dropout, statistics)
    batch, heads, queries, _ = q.shape
    out = cupy().empty((batch, queries, heads, v.shape[3]), q.dtype)
    found = cupy().empty((2, batch, heads, queries), wide(q)) if statistics else None
    if queries <= _FEW:
        number, start_at = (start, None) if start is None or isinstance(start, int) else (None, start)
        scores = *_scores(q, k, scale, allowed, mask, number, dropout), start_at
        _attend_few(dtype, q, k, v, out, found, scores)
        return out.transpose(0, 2, 1, 3), found
    tiles = _tiles(q, v)
    given = (
        *_heads(q),
        *_heads(k),
        *_heads(v),
        out,
        found,
        *_sizes(q, k, v),
        *_scores(q, k, scale, allowed, mask, start, dropout),
    )
    grid = batch * heads * blocks_for(queries, tiles.queries)
    launch(f"attention{tiles.kind}", f"attention_{tiles.width}_{dtype}", grid, tiles.threads, *given, shared=tiles.memory[0])
    return out.transpose(0, 2, 1, 3), found


def _attend_few(dtype: str, q: Any, k: Any, v: Any, out: Any, statistics: Any, scores: tuple[Any, ...]) -> None:
    """Some keys a block, then what all blocks have found joined: the keys of a long text keep the whole GPU busy."""
    batch, heads, queries, _ = q.shape
    chunks, deep, kind = blocks_for(k.shape[2], _CHUNK), v.shape[3], wide(q)
    rows = batch * heads * queries
    parts, found = cupy().empty((rows, chunks, deep), kind), cupy().empty((rows, chunks, 2), kind)
    grid = batch * k.shape[1] * blocks_for(heads // k.shape[1] * queries, _FEW) * chunks
    given = (*_heads(q), *_heads(k), *_heads(v), parts, found, chunks, *_sizes(q, k, v), *scores)
    memory = _FEW * kind.itemsize * max(_CREW * 16 // q.itemsize, deep)
    launch("attention_few", f"attend_chunks_{dtype}", grid, _CREW, *given, shared=memory)
    sizes = np.int64(rows), heads, queries, chunks, deep
    launch("attention_few", f"join_chunks_{dtype}", rows, 128, parts, found, out, statistics, *sizes)


def attention_backward(
    grad: Any, q: Any, k: Any, v: Any, out: Any, statistics: Any, scale: float, allowed: Any = None, mask: Any = None,
    start: int | None = None, dropout: tuple[float, tuple[int, int]] | None = None,
) -> tuple[Any, Any, Any]:  # fmt: skip
    dtype = _suits(q, k, v, allowed, mask)
    if dtype is None or statistics is None or suffix(grad, out) != dtype:
        return reference.attention_backward(grad, q, k, v, out, statistics, scale, allowed, mask, start, dropout)
    batch, heads, queries, _ = q.shape
    tiles = _tiles(q, v)
    along = cupy().empty((batch, heads, queries), statistics.dtype)
    gq, gk, gv = (cupy().empty((batch, t.shape[2], t.shape[1], t.shape[3]), q.dtype) for t in (q, k, v))
    rest = *_sizes(q, k, v), *_scores(q, k, scale, allowed, mask, start, dropout)
    lies = (*_heads(grad), *_heads(q), *_heads(k), *_heads(v))
    given = (*lies, *_heads(out), statistics, along, gq, *rest)
    source, name, threads = f"attention{tiles.kind}_backward", f"gradient_{tiles.width}_{dtype}", tiles.threads
    grid = batch * heads * blocks_for(queries, tiles.queries)
    launch(source, f"queries_{name}", grid, threads, *given, shared=tiles.memory[1])
    given = (*lies, statistics, along, gk, gv, *rest)
    grid = batch * k.shape[1] * blocks_for(k.shape[2], tiles.keys)
    launch(source, f"keys_{name}", grid, threads, *given, shared=tiles.memory[2])
    return gq.transpose(0, 2, 1, 3), gk.transpose(0, 2, 1, 3), gv.transpose(0, 2, 1, 3)


def _suits(q: Any, k: Any, v: Any, allowed: Any, mask: Any) -> str | None:
    """The dtype's suffix where there are kernels for such arrays, else None."""
    if not q.size or not k.size or not v.size or max(q.shape[3], v.shape[3]) > _WIDTHS[-1]:
        return None
    return None if allowed is not None and allowed.dtype != np.bool_ else suffix(q, k, v, mask)


class _Tiles(NamedTuple):
    """How kernels for heads of some width cut queries and keys: ``Size`` of ``heads.cuh``, and ``half_tiles.cuh``.

    Attributes:
        kind: what sources are called.
        width: numbers of a head for which the kernel is.
        queries, keys: of a block, where it has some of them.
        threads: of a block.
        memory: bytes of shared memory of a block: forward, of the gradient of queries, of those of keys and values.
    """

    kind: str
    width: int
    queries: int
    keys: int
    threads: int
    memory: tuple[int, int, int]


def _tiles(q: Any, v: Any) -> _Tiles:
    width = next(w for w in _WIDTHS if w >= max(q.shape[3], v.shape[3]))
    if q.itemsize == 2:  # on tensor cores
        row, keys = 2 * (width + 8), 32 if width > 128 else 64
        return _Tiles("_half", width, 64, keys, 128, (3 * 64 * row, 3 * 64 * row, (2 * keys + 64) * row))
    room = q.itemsize * width
    side = 64 if room <= 512 else 32 if room <= 1024 else 16
    rows, weights = side * (room + 16), side * (side * q.itemsize + 16)
    return _Tiles("", width, side, side, 256, (2 * rows + weights, 3 * rows + weights, 4 * rows + weights))


def _heads(x: Any) -> tuple[Any, ...]:
    """(B, H, L, E) and its strides in elements, whose last must be 1."""
    if x.strides[3] != x.itemsize and x.shape[3] != 1:
        x = cupy().ascontiguousarray(x)
    return x, *(np.int64(s // x.itemsize) for s in x.strides[:3])


def _sizes(q: Any, k: Any, v: Any) -> tuple[int, ...]:
    return q.shape[0], q.shape[1], k.shape[1], q.shape[2], k.shape[2], q.shape[3], v.shape[3]


def _scores(q: Any, k: Any, scale: float, allowed: Any, mask: Any, start: int | None, dropout: Any) -> tuple[Any, ...]:
    """The last arguments of the kernels: ``SCORES`` of ``heads.cuh``."""
    shape = (*q.shape[:3], k.shape[2])
    masks = (*beside(allowed, shape), *beside(mask, shape))
    p, key = dropout if dropout is not None else (0.0, (0, 0))
    words = *halves(key), np.uint32(threshold(p) if p else 0)
    return float(scale), *masks, _EVERYWHERE if start is None else np.int64(start), *words, float(1.0 / (1.0 - p))


def beside(array: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """An array and its strides, in elements, as one of ``shape``, to which it broadcasts."""
    if array is None:
        return (None, *(np.int64(0),) * 4)
    return array, *(np.int64(s // array.dtype.itemsize) for s in cupy().broadcast_to(array, shape).strides)
