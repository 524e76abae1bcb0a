"""Products with a gate: ``gates.cu``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...devices import cupy
from ..reference import gates as reference
from .running.launching import blocks_for, contiguous, launch, suffix

_THREADS = 256


def gated(gate: Any, x: Any, kind: str) -> Any:
    if suffix(gate, x) is None or gate.shape != x.shape:
        return reference.gated(gate, x, kind)
    y = cupy().empty(x.shape, x.dtype)
    _launch(f"gated_{kind}", (gate, x), (y,))
    return y


def gated_backward(grad: Any, gate: Any, x: Any, kind: str) -> tuple[Any, Any]:
    if suffix(grad, gate, x) is None or not grad.shape == gate.shape == x.shape:
        return reference.gated_backward(grad, gate, x, kind)
    made = cupy().empty(x.shape, x.dtype), cupy().empty(x.shape, x.dtype)
    _launch(f"gated_backward_{kind}", (grad, gate, x), made)
    return made


def _launch(name: str, read: tuple[Any, ...], made: tuple[Any, ...]) -> None:
    x, width = made[0], 16 // made[0].dtype.itemsize
    rows, n = 1, x.size
    if not all(a.flags.c_contiguous for a in read):
        n = x.shape[-1]
        rows = x.size // max(n, 1)
        read = tuple(a if _step(a) is not None else contiguous(a) for a in read)
    steps: list[Any] = [_step(a) if rows > 1 else n for a in read]
    packed = not any(step % width or a.data.ptr % 16 for a, step in zip((*read, *made), (*steps, n), strict=False))
    given = [v for a, step in zip(read, steps, strict=True) for v in (a, np.int64(step))]
    grid = blocks_for(x.size, _THREADS * (width if packed else 1))
    name = f"{name}_{'packs' if packed else 'singles'}_{suffix(x)}"
    launch("gates", name, grid, _THREADS, *given, *made, np.int64(rows), np.int64(n))


def _step(x: Any) -> int | None:
    """How many numbers lie between the beginnings of two rows; None where that is not one number, or rows have gaps."""
    if x.ndim < 2 or x.strides[-1] != x.dtype.itemsize:
        return None
    for outer, inner, count in zip(x.strides[:-2], x.strides[1:-1], x.shape[1:-1], strict=True):
        if outer != inner * count:
            return None
    return int(x.strides[-2]) // x.dtype.itemsize
