"""``After`` as compiled code takes it: five numbers, four of them addresses."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..reference.after import ACTIVATIONS, After

CODES = {name: code for code, name in enumerate(ACTIVATIONS)}
Ends = tuple[int, int, int, int, int]
PLAIN: Ends = (0, 0, 0, 0, 0)


def suits(bias: Any, after: After | None) -> bool:
    """Whether everything that follows the product is float32."""
    arrays = (bias,) if after is None else (bias, after.scale, after.shift, after.residual)
    return all(x is None or x.dtype == np.float32 for x in arrays)


def ends(bias: Any, after: After | None) -> tuple[Ends, tuple[Any, ...]]:
    """(bias, scale, shift, residual, activation) with 0 for what is not there, and the arrays to keep alive meanwhile.

    The residual must lie in memory as the result will; its rows are then as far apart as the result's.
    """
    if after is None:
        if bias is None:
            return PLAIN, ()
        bias = _flat(bias)
        return (bias.ctypes.data, 0, 0, 0, 0), (bias,)
    held = (*(None if x is None else _flat(x) for x in (bias, after.scale, after.shift)), after.residual)
    bias_at, scale_at, shift_at, residual_at = (0 if x is None else x.ctypes.data for x in held)
    return (bias_at, scale_at, shift_at, residual_at, CODES[after.activation]), held


def _flat(x: Any) -> Any:
    return x if x.flags.c_contiguous and x.flags.aligned else np.ascontiguousarray(x).copy()
