"""What follows a product, as kernels take it: ``after.cuh``."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...devices import cupy
from ..reference.after import ACTIVATIONS, After
from .running.launching import contiguous

CODES = {name: code for code, name in enumerate(ACTIVATIONS)}


class End(NamedTuple):
    """The last five arguments of a product's kernel."""

    bias: Any = None
    scale: Any = None
    shift: Any = None
    residual: Any = None
    activation: int = 0


PLAIN = End()


def end_of(bias: Any, after: After | None, dtype: Any, shape: tuple[int, ...]) -> End | None:
    """``bias`` and ``after`` for a result of this dtype and shape, channels last; None where their dtype is another.

    Scale and shift are float32 for results of half precision.
    """
    if bias is not None and bias.dtype != dtype:
        return None
    if after is None:
        return End(contiguous(bias))
    factors = np.float32 if dtype.itemsize == 2 else dtype
    given = ((after.scale, factors), (after.shift, factors), (after.residual, dtype))
    if any(x is not None and x.dtype != expected for x, expected in given):
        return None
    residual = after.residual
    if residual is not None and residual.shape != shape:
        residual = cupy().broadcast_to(residual, shape)
    bias, scale, shift, residual = map(contiguous, (bias, after.scale, after.shift, residual))
    return End(bias, scale, shift, residual, CODES[after.activation])
