"""Products with weights of int4, int8 and bfloat16: ``quantized.cu``. A weight by rows is read as it lies, others are copied."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...devices import cupy
from ...dtypes import bfloat16
from ..reference import quantized as reference
from ..reference.after import After
from .after import End, end_of
from .matmul import FEW, computed, few, multiply
from .products import described
from .running.launching import blocks_for, contiguous, launch, suffix

_FLOAT = np.dtype(np.float32)
_HALVES = ("f16", "bf16")
_MOST = 1 << 16  # terms of a sum of int8 products that are added in whole numbers
_TERMS = 8  # that a thread reads at a time
_SIDE = 64  # results along each side of a block's tile of int8 products


def linear_int8(x: Any, weight: Any, scales: Any, group: int, bias: Any = None, after: After | None = None) -> Any:
    end = _end(x, weight, bias, after)
    if end is None or weight.dtype != np.int8 or scales.dtype != _FLOAT:
        return reference.linear_int8(x, weight, scales, group, bias, after)
    weight, apart = _by_rows(weight)
    lies = weight, apart, contiguous(scales), scales.shape[1], group
    return _multiplied("int8", x, lies, weight.shape, end)


def linear_int4(x: Any, weight: Any, scales: Any, group: int, bias: Any = None, after: After | None = None) -> Any:
    end = _end(x, weight, bias, after, together=2)
    if end is None or weight.dtype != np.uint8 or scales.dtype != bfloat16 or group % _TERMS:
        return reference.linear_int4(x, weight, scales, group, bias, after)
    weight, apart = _by_rows(weight)
    lies = weight, apart, contiguous(scales), scales.shape[1], group
    return _multiplied("int4", x, lies, (len(weight), x.shape[-1]), end)


def linear_bf16(x: Any, weight: Any, bias: Any = None, after: After | None = None) -> Any:
    end = _end(x, weight, bias, after)
    if end is None or weight.dtype != bfloat16:
        return reference.linear_bf16(x, weight, bias, after)
    weight, apart = _by_rows(weight)
    return _multiplied("bf16", x, (weight, apart), weight.shape, end)


def linear_int8_both(x: Any, weight: Any, scales: Any, group: int, bias: Any = None, after: After | None = None) -> Any:
    end = _end(x, weight, bias, after)
    if end is None or weight.dtype != np.int8 or scales.dtype != _FLOAT:
        return reference.linear_int8_both(x, weight, scales, group, bias, after)
    weight, apart = _by_rows(weight)
    dtype, rows, (n, k), groups = suffix(x), x.size // x.shape[-1], weight.shape, scales.shape[1]
    parts = blocks_for(min(group, k), _MOST)
    whole, factors = cupy().empty((rows, k), np.int8), cupy().empty((rows, groups * parts), np.float32)
    launch("quantized", f"shorten_{dtype}", factors.size, 128, contiguous(x), whole, factors, k, groups, group, parts)
    out = cupy().empty((*x.shape[:-1], n), x.dtype)
    launch(
        "quantized", f"both_int8_{dtype}", blocks_for(rows, _SIDE) * blocks_for(n, _SIDE), 256,
        whole, factors, weight, apart, contiguous(scales), out, rows, n, k, groups, group, parts, *end,
    )  # fmt: skip
    return out


def linear_bf16_both(x: Any, weight: Any, bias: Any = None, after: After | None = None) -> Any:
    end = _end(x, weight, bias, after)
    few_rows = x.ndim == 0 or x.size // max(1, x.shape[-1]) <= FEW
    if end is None or weight.dtype != bfloat16 or few_rows or x.dtype == np.float64:
        return linear_bf16(reference.rounded(x), weight, bias, after)
    short = x.reshape(-1, x.shape[-1]).astype(bfloat16, copy=False)
    out = cupy().empty((len(short), len(weight)), x.dtype)
    multiply("quantized", "both_bf16", str(suffix(x)), described(short, weight.T), out, end)
    return out.reshape(*x.shape[:-1], len(weight))


def _end(x: Any, weight: Any, bias: Any, after: After | None, together: int = 1) -> End | None:
    """What follows the product, in the dtype of x; None where no kernel is for these arguments.

    ``together``: numbers of an element of the weight.
    """
    if suffix(x) is None or not (x.ndim and x.size and weight.size) or blocks_for(x.shape[-1], together) != weight.shape[1]:
        return None
    if suffix(x) in _HALVES:
        bias = _as(bias, x.dtype)
        if after is not None:
            scale, shift, residual = (_as(a, x.dtype) for a in after[:3])
            after = After(scale, shift, residual, after.activation)
    return end_of(bias, after, x.dtype, (*x.shape[:-1], len(weight)))


def _as(array: Any, dtype: Any) -> Any:
    return None if array is None else array.astype(dtype, copy=False)


def _by_rows(weight: Any) -> tuple[Any, np.int64]:
    """The weight with the numbers of a row side by side, and how far apart its rows begin."""
    if weight.strides[1] != weight.itemsize:
        weight = contiguous(weight)
    return weight, np.int64(weight.strides[0] // weight.itemsize)


def _multiplied(kind: str, x: Any, lies: tuple[Any, ...], shape: tuple[int, int], end: End) -> Any:
    """By a weight that ``lies`` passes to kernels: read as it is by a few rows, widened for many."""
    dtype, (n, k), rows = str(suffix(x)), shape, x.reshape(-1, x.shape[-1])
    if len(rows) <= FEW:
        return few(rows, dtype, "quantized", lies, n, end, f"few_{kind}").reshape(*x.shape[:-1], n)
    wide = cupy().empty(shape, x.dtype)
    launch("quantized", f"widen_{kind}_{dtype}", blocks_for(n * blocks_for(k, _TERMS), 256), 256, *lies, wide, n, k)
    return computed(described(rows, wide.T), dtype, end).reshape(*x.shape[:-1], n)
