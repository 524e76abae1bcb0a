"""One step of recurrent networks: ``recurrent.cu``. Half precision is widened by who calls, as the reference has it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...devices import cupy
from ..reference import recurrent as reference
from .running.launching import blocks_for, contiguous, launch, suffix

_THREADS = 256


def lstm_cell(gates: Any, c: Any) -> tuple[Any, Any, Any]:
    if not _fits(gates, c):
        return reference.lstm_cell(gates, c)
    n, width = c.shape
    results = _empty(c, (n, width), (n, width), (n, 5 * width))
    _launch("lstm", c, gates, c, *results)
    return results[0], results[1], results[2]


def lstm_cell_backward(grad_h: Any, grad_c: Any, c: Any, acts: Any) -> tuple[Any, Any]:
    if not _fits(grad_h, grad_c, c, acts):
        return reference.lstm_cell_backward(grad_h, grad_c, c, acts)
    n, width = c.shape
    results = _empty(c, (n, 4 * width), (n, width))
    _launch("lstm_backward", c, grad_h, grad_c, c, acts, *results)
    return results[0], results[1]


def gru_cell(from_input: Any, from_state: Any, h: Any) -> tuple[Any, Any]:
    if not _fits(from_input, from_state, h):
        return reference.gru_cell(from_input, from_state, h)
    results = _empty(h, h.shape, from_input.shape)
    _launch("gru", h, from_input, from_state, h, *results)
    return results[0], results[1]


def gru_cell_backward(grad: Any, from_state: Any, h: Any, acts: Any) -> tuple[Any, Any, Any]:
    if not _fits(grad, from_state, h, acts):
        return reference.gru_cell_backward(grad, from_state, h, acts)
    results = _empty(h, acts.shape, acts.shape, h.shape)
    _launch("gru_backward", h, grad, from_state, h, acts, *results)
    return results[0], results[1], results[2]


def _fits(*arrays: Any) -> bool:
    return suffix(*arrays) in ("f32", "f64") and all(a.ndim == 2 and len(a) == len(arrays[0]) for a in arrays)


def _empty(like: Any, *shapes: tuple[int, ...]) -> list[Any]:
    return [cupy().empty(shape, like.dtype) for shape in shapes]


def _launch(kernel: str, state: Any, *arrays: Any) -> None:
    """``state`` (N, H): a thread for each of its numbers."""
    blocks = blocks_for(state.size, _THREADS)
    sizes = (np.int64(state.size), state.shape[1])
    launch("recurrent", f"{kernel}_{suffix(state)}", blocks, _THREADS, *map(contiguous, arrays), *sizes)
