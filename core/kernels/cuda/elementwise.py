"""Element-wise functions that CuPy would compute in many passes, each in one: chains of one step (``chains.py``)."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ...devices import cupy
from ..reference import elementwise as reference
from .chains import Step, compute
from .running.launching import contiguous, suffix


def _run(name: str, arrays: tuple[Any, ...], numbers: tuple[float, ...] = ()) -> Any:
    """The result, which lies in memory as the arrays do; None for what no kernel is for."""
    x = arrays[0]
    if suffix(*arrays) is None or not x.size or any(a.shape != x.shape for a in arrays):
        return None
    order = _order(arrays)
    lying = [contiguous(a.transpose(order)) if a.ndim else a for a in arrays]
    out = cupy().empty(lying[0].shape, x.dtype)
    compute([Step(name, tuple(-1 - i for i in range(len(arrays))), numbers)], lying, ["full"] * len(arrays), out)
    return out.transpose(np.argsort(order).tolist()) if x.ndim else out


def _order(arrays: tuple[Any, ...]) -> tuple[int, ...]:
    """The dimensions of the first array from the outermost in memory; as they come where that would not spare a copy."""
    x = arrays[0]
    if x.flags.c_contiguous or not x.ndim:
        return tuple(range(x.ndim))
    order = tuple(sorted(range(x.ndim), key=lambda i: -x.strides[i]))
    return order if x.transpose(order).flags.c_contiguous else tuple(range(x.ndim))


def _kernel(name: str) -> Any:
    """The kernel of this name: its arrays come first, two for a gradient, then its numbers or the name of its form."""
    otherwise, count = getattr(reference, name), 2 if name.endswith("_backward") else 1

    @functools.wraps(otherwise)
    def kernel(*given: Any) -> Any:
        arrays, rest = given[:count], given[count:]
        form = f" {rest[0]}" if rest and isinstance(rest[0], str) else ""
        numbers = () if form else tuple(end if n is None else n for n, end in zip(rest, (-np.inf, np.inf), strict=False))
        found = _run(name + form, arrays, numbers)
        return otherwise(*given) if found is None else found

    return kernel


NAMES = (
    "clip", "elu", "elu_backward", "erf", "gelu", "gelu_backward", "hardsigmoid", "hardsigmoid_backward", "hardswish",
    "hardswish_backward", "hardtanh_backward", "leaky_relu", "leaky_relu_backward", "mish", "mish_backward", "relu",
    "relu_backward", "rsqrt", "sigmoid", "sigmoid_backward", "silu", "silu_backward", "softplus", "softplus_backward",
    "tanh_backward",
)  # fmt: skip
globals().update({name: _kernel(name) for name in NAMES})
