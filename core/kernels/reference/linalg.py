"""Products of matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...devices import module_of
from .after import After, apply

__all__ = ["linear", "matmul"]

Product = Callable[[Any, Any], Any]
"""What multiplies matrices as ``matmul``: a backend hands its own to the functions whose names end in ``_by``."""


def matmul(a: Any, b: Any) -> Any:
    """(..., M, K) @ (..., K, N) -> (..., M, N), batch dimensions broadcast; half precision is summed in float32."""
    xp = module_of(a)
    if a.dtype.itemsize < 4 and a.dtype.kind in "fV":
        return xp.matmul(a.astype(np.float32), b.astype(np.float32)).astype(a.dtype)
    return xp.matmul(a, b)


def linear(x: Any, weight: Any, bias: Any = None, after: After | None = None, packs: dict[str, Any] | None = None) -> Any:  # noqa: ARG001 - a place for kernels to keep what they make of the weight
    """(..., in) @ (out, in) transposed + (out,) -> (..., out), then ``after``.

    ``packs`` belongs to the weight and lives until the weight changes: a kernel may keep its own layout of it there.
    """
    out = matmul(x, weight.T)
    return apply(out if bias is None else out + bias, after, -1)
