"""Softmax along one axis, its logarithm, and their gradients: ``softmax.cu``."""

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
