"""Softmax along one axis, its logarithm, the weights of attention, and their gradients: ``softmax.cu``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...devices import cupy
from ..reference import softmax as reference
from .running.launching import blocks_for, contiguous, launch, suffix
from .running.teams import of_rows


def softmax(x: Any, axis: int) -> Any:
    return _run("softmax", reference.softmax, (x,), axis)


def log_softmax(x: Any, axis: int) -> Any:
    return _run("log_softmax", reference.log_softmax, (x,), axis)


def softmax_backward(grad: Any, y: Any, axis: int) -> Any:
    return _run("softmax_backward", reference.softmax_backward, (grad, y), axis)


def log_softmax_backward(grad: Any, y: Any, axis: int) -> Any:
    return _run("log_softmax_backward", reference.log_softmax_backward, (grad, y), axis)


def attention_weights(scores: Any, scale: float, allowed: Any, mask: Any) -> Any:
    dtype = suffix(scores, mask)
    if dtype is None or not scores.size or not 1 <= scores.ndim <= 4 or (allowed is not None and allowed.dtype != np.bool_):
        return reference.attention_weights(scores, scale, allowed, mask)
    x = contiguous(scores)
    b, c, n = (1, 1, 1, *x.shape)[-3:]
    rows = x.size // n
    team, grid, block = of_rows(rows, n)
    beside = (*_beside(allowed, x.shape), *_beside(mask, x.shape))
    sizes = np.int64(rows), np.int64(b), np.int64(c), n
    launch("softmax", f"attention_weights_{team}_{dtype}", grid, block, x, float(scale), *beside, *sizes)
    return x


def attention_weights_backward(grad: Any, weights: Any, dropped: Any, scale: float) -> Any:
    dtype = suffix(grad, weights, dropped)
    if dtype is None or not grad.size or not grad.shape == weights.shape == dropped.shape:
        return reference.attention_weights_backward(grad, weights, dropped, scale)
    same = weights is dropped  # where nothing was dropped: one copy, if it needs one
    grad, weights = contiguous(grad), contiguous(weights)
    dropped = weights if same else contiguous(dropped)
    n = grad.shape[-1]
    team, grid, block = of_rows(grad.size // n, n)
    given = (grad, weights, dropped, float(scale), np.int64(grad.size // n), n)
    launch("softmax", f"attention_weights_backward_{team}_{dtype}", grid, block, *given)
    return grad


def _beside(array: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """An array and its strides, in elements, as one of ``shape`` padded to four dimensions; it broadcasts to that."""
    if array is None:
        return (None, *(np.int64(0),) * 4)
    strides = cupy().broadcast_to(array, shape).strides
    return array, *(np.int64(0),) * (4 - len(shape)), *(np.int64(s // array.dtype.itemsize) for s in strides)


def _run(name: str, otherwise: Any, arrays: tuple[Any, ...], axis: int) -> Any:
    """A result of the first array's shape; ``otherwise`` computes what no kernel is for: arrays of several dtypes."""
    x, dtype = arrays[0], suffix(*arrays)
    if dtype is None or any(a.shape != x.shape for a in arrays) or not x.size:
        return otherwise(*arrays, axis)
    arrays = tuple(map(contiguous, arrays))
    out = cupy().empty(x.shape, x.dtype)
    axis = axis % max(x.ndim, 1)
    n, inner = x.shape[axis] if x.ndim else 1, math.prod(x.shape[axis + 1 :])
    if inner == 1:
        team, grid, block = of_rows(x.size // n, n)
        launch("softmax", f"{name}_{team}_{dtype}", grid, block, *arrays, out, np.int64(x.size // n), n)
    else:
        columns = x.size // n
        launch(
            "softmax",
            f"{name}_column_{dtype}",
            blocks_for(columns, 128),
            128,
            *arrays,
            out,
            np.int64(columns),
            n,
            np.int64(inner),
        )
    return out
