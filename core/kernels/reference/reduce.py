"""Sums, products and orders along dimensions. Half precision is added up in float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...devices import module_of
from .half import in_float32

__all__ = ["amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "mean", "prod", "sum", "var"]


@in_float32
def sum(x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
    """The sum over ``axes`` in the dtype of ``x``; over no axes ``x`` itself."""
    return module_of(x).asarray(x.sum(axis=axes, keepdims=keepdim, dtype=x.dtype))


@in_float32
def mean(x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
    """The sum divided by the count; NaN where there is nothing to count."""
    total = sum(x, axes, keepdim)
    count = int(np.prod([x.shape[i] for i in axes], dtype=np.int64))
    return total / total.dtype.type(count) if count else total + total.dtype.type(np.nan)


@in_float32
def var(x: Any, axes: tuple[int, ...], keepdim: bool, correction: float) -> Any:
    """The variance: squares of the distance to the mean, added up and divided by their count less ``correction``."""
    centred = x - mean(x, axes, True)
    freedom = int(np.prod([x.shape[i] for i in axes], dtype=np.int64)) - correction
    total = sum(centred * centred, axes, keepdim)
    return total / total.dtype.type(freedom) if freedom > 0 else total * total.dtype.type(np.nan)


def amax(x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
    """The largest element over ``axes``; NaN where there is one."""
    return module_of(x).asarray(x.max(axis=axes, keepdims=keepdim))


def amin(x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
    """The smallest element over ``axes``; NaN where there is one."""
    return module_of(x).asarray(x.min(axis=axes, keepdims=keepdim))


def argmax(x: Any, axis: int) -> Any:
    """The place of the largest element along ``axis``, the first of equal ones or of NaN, int64."""
    return module_of(x).asarray(x.argmax(axis=axis)).astype(np.int64, copy=False)


def argmin(x: Any, axis: int) -> Any:
    """The place of the smallest element along ``axis``, the first of equal ones or of NaN, int64."""
    return module_of(x).asarray(x.argmin(axis=axis)).astype(np.int64, copy=False)


@in_float32
def prod(x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
    """The product over ``axes``."""
    return module_of(x).asarray(x.prod(axis=axes, keepdims=keepdim, dtype=x.dtype))


@in_float32
def cumsum(x: Any, axis: int) -> Any:
    """Running sums."""
    return x.cumsum(axis=axis, dtype=x.dtype)


@in_float32
def cumprod(x: Any, axis: int) -> Any:
    """Running products."""
    return x.cumprod(axis=axis, dtype=x.dtype)
