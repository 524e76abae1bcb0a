"""The kernels for the CPU as they are inside ``batch_invariant``: sums get their terms side by side, in C order.

Elsewhere they go along the memory, for speed, so the order of a sum depends on how an array lies there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from . import reference
from .interface import Kernels, parameters
from .reference import attention, loss, norm, pool, reduce, softmax, spatial

_EXACT = frozenset({"amax", "amin", "argmax", "argmin"})
_SUMS = frozenset(name for family in (attention, loss, norm, pool, reduce, softmax, spatial) for name in family.__all__)


class InvariantKernels(Kernels):
    """The CPU's kernels, fed with arrays in one order where they add up."""

    def __init__(self) -> None:
        super().__init__("cpu")

    def _resolve(self, name: str) -> Callable[..., Any]:
        kernel = super()._resolve(name)
        if name not in _SUMS - _EXACT:
            return kernel
        takes = [p for p, _ in parameters(reference.KERNELS[name])]
        return functools.partial(_over if takes[1:2] == ["axes"] else _along if takes[-1] == "axis" else _in_c_order, kernel)


def _in_c_order(kernel: Callable[..., Any], *given: Any, **named: Any) -> Any:
    return kernel(*[_ordered(g) for g in given], **{k: _ordered(v) for k, v in named.items()})


def _ordered(x: Any) -> Any:
    return np.ascontiguousarray(x) if isinstance(x, np.ndarray) and x.ndim else x


def _over(kernel: Callable[..., Any], x: Any, axes: tuple[int, ...], keepdim: bool, *more: Any) -> Any:
    kept = [i for i in range(x.ndim) if i not in axes]
    out = kernel(_ordered(x.transpose(*kept, *axes)), tuple(range(len(kept), x.ndim)), False, *more)
    return out.reshape([1 if i in axes else n for i, n in enumerate(x.shape)]) if keepdim else out


def _along(kernel: Callable[..., Any], *given: Any) -> Any:
    *arrays, axis = given
    return np.moveaxis(kernel(*[_ordered(np.moveaxis(x, axis, -1)) for x in arrays], arrays[0].ndim - 1), -1, axis)
