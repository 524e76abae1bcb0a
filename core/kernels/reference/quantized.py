"""Products with weights that are kept in fewer bits, and widened to float32 to be computed with, or met by numbers as short."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...devices import module_of
from ...dtypes import bfloat16
from .after import After, apply
from .half import widened
from .linalg import linear

__all__ = ["linear_bf16", "linear_bf16_both", "linear_int4", "linear_int8", "linear_int8_both"]

_MOST = 1 << 16  # terms of a sum of int8 products that are added in whole numbers


def linear_int8(x: Any, weight: Any, scales: Any, group: int, bias: Any = None, after: After | None = None) -> Any:
    """``linear`` with the weight that ``dequantized`` gives, bit for bit where x is float32.

    weight (out, in) int8; scales (out, groups) float32, one for every ``group`` terms of a row (the last group may be shorter).
    """
    return _wide(x, dequantized(weight, scales, group), bias, after)


def linear_int4(x: Any, weight: Any, scales: Any, group: int, bias: Any = None, after: After | None = None) -> Any:
    """``linear`` with the weight that ``unpacked`` gives, bit for bit where x is float32.

    weight (out, bytes) uint8, two numbers a byte; scales (out, groups) bfloat16, one for every ``group`` terms of a row.
    """
    return _wide(x, unpacked(weight, scales, group, x.shape[-1]), bias, after)


def linear_bf16(x: Any, weight: Any, bias: Any = None, after: After | None = None) -> Any:
    """``linear`` with a weight (out, in) of bfloat16, computed in float32."""
    return _wide(x, widened(weight), bias, after)


def linear_int8_both(x: Any, weight: Any, scales: Any, group: int, bias: Any = None, after: After | None = None) -> Any:
    """``linear_int8`` of x in int8 too, each group of each row with a scale of its own: its largest number becomes 127.

    Products are added in whole numbers, exactly, for each group, or 65536 terms of it; each sum is taken times its weight's
    scale and its row's, and these are added in order. A row that is not finite gives NaN.
    """
    wide, xp = widened(x).astype(np.float32, copy=False), module_of(x)
    y, whole = xp.zeros((*x.shape[:-1], len(weight)), np.float32), weight.astype(np.float64)
    for k, end, number in _parts(weight.shape[1], group):
        numbers, factors = _by_rows(wide[..., k:end], xp)
        sums = numbers @ whole[:, k:end].T  # whole numbers below 2**53: exact
        part = sums.astype(np.float32) * scales[:, number] * factors
        y = y + part if k else part
    return apply(y if bias is None else y + widened(bias), after, -1).astype(x.dtype, copy=False)


def linear_bf16_both(x: Any, weight: Any, bias: Any = None, after: After | None = None) -> Any:
    """``linear_bf16`` of x rounded to bfloat16 too."""
    return linear_bf16(rounded(x), weight, bias, after)


def rounded(x: Any) -> Any:
    """x with every number the nearest that bfloat16 has, in its own dtype."""
    return x.astype(bfloat16).astype(x.dtype, copy=False)


def _by_rows(x: Any, xp: Any) -> tuple[Any, Any]:
    """(whole numbers from -127 to 127, as float64; scales (..., 1) float32) of float32 rows."""
    largest = abs(x).max(axis=-1, keepdims=True)
    finite, scale = xp.isfinite(largest), largest / np.float32(127)
    usable = finite & (scale > 0)
    shares = xp.where(usable, x, 0) / xp.where(usable, scale, 1)
    scale = xp.where(finite, xp.where(usable, scale, 1), xp.nan)
    return xp.clip(xp.rint(shares), -127, 127).astype(np.float64), scale.astype(np.float32)


def _parts(depth: int, group: int) -> Iterator[tuple[int, int, int]]:
    """(first term, end, group) of what is added in whole numbers."""
    k = 0
    while k < depth:
        end = min(depth, (k // group + 1) * group, k + _MOST)
        yield k, end, k // group
        k = end


def dequantized(weight: Any, scales: Any, group: int) -> Any:
    """The float32 weight: each number times the scale of its group."""
    return weight.astype(np.float32) * scales.repeat(group, axis=1)[:, : weight.shape[1]]


def unpacked(weight: Any, scales: Any, group: int, width: int) -> Any:
    """The float32 weight (out, width) of two numbers a byte: the earlier in the lower half, each with 8 added to it."""
    pairs = module_of(weight).stack([weight & 15, weight >> 4], axis=2)
    numbers = pairs.reshape(len(weight), 2 * weight.shape[1])[:, :width].astype(np.float32) - np.float32(8)
    return dequantized(numbers, widened(scales), group) + np.float32(0)  # no -0, which kernels do not make either


def _wide(x: Any, weight: Any, bias: Any, after: After | None) -> Any:
    return linear(widened(x), weight, widened(bias) if bias is not None else None, after).astype(x.dtype, copy=False)
