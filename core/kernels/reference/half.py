"""Half precision is storage: what is summed is summed in float32."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ...devices import module_of


def is_half(x: Any) -> bool:
    """Whether ``x`` is an array of a floating dtype below 32 bits (float16, bfloat16, float8)."""
    return hasattr(x, "dtype") and x.dtype.itemsize < 4 and x.dtype.kind in "fV"


def widened(x: Any) -> Any:
    """Half precision as float32, everything else as it is."""
    return x.astype(np.float32) if is_half(x) else x


def narrowed(x: Any, dtype: Any) -> Any:
    """``x`` as ``dtype``; what half precision cannot hold becomes infinite, without NumPy's warning, as on a GPU."""
    if x.dtype == dtype:
        return x
    with np.errstate(over="ignore"):
        return x.astype(dtype)


def in_float32(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel that computes half precision in float32 and gives its result in the dtype of its first argument."""

    @functools.wraps(kernel)
    def wrapped(x: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_half(x):
            return kernel(x, *args, **kwargs)
        wide = [a.astype(np.float32) if is_half(a) else a for a in args]
        wide_kwargs = {k: a.astype(np.float32) if is_half(a) else a for k, a in kwargs.items()}
        return narrowed(kernel(x.astype(np.float32), *wide, **wide_kwargs), x.dtype)

    return wrapped


def where(condition: Any, a: Any, b: Any) -> Any:
    """``a`` where the condition holds, ``b`` elsewhere, in the dtype they share; CuPy's own turns bfloat16 into float32."""
    return module_of(condition).where(condition, a, b).astype(a.dtype, copy=False)
