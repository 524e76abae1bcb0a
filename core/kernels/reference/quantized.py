"""Products with weights that are kept in fewer bits and widened to float32 to be computed with."""

from __future__ import annotations

from typing import Any

import numpy as np

from .after import After
from .half import widened
from .linalg import linear

__all__ = ["linear_bf16", "linear_int8"]


def linear_int8(x: Any, weight: Any, scales: Any, group: int, bias: Any = None, after: After | None = None) -> Any:
    """``linear`` with the weight that ``dequantized`` gives, bit for bit where x is float32.

    weight (out, in) int8; scales (out, groups) float32, one for every ``group`` terms of a row (the last group may be shorter).
    """
    return _wide(x, dequantized(weight, scales, group), bias, after)


def linear_bf16(x: Any, weight: Any, bias: Any = None, after: After | None = None) -> Any:
    """``linear`` with a weight (out, in) of bfloat16, computed in float32."""
    return _wide(x, widened(weight), bias, after)


def dequantized(weight: Any, scales: Any, group: int) -> Any:
    """The float32 weight: each number times the scale of its group."""
    return weight.astype(np.float32) * scales.repeat(group, axis=1)[:, : weight.shape[1]]


def _wide(x: Any, weight: Any, bias: Any, after: After | None) -> Any:
    return linear(widened(x), weight, widened(bias) if bias is not None else None, after).astype(x.dtype, copy=False)
