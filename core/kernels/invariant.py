"""The kernels for the CPU as they are inside ``batch_invariant``: sums get their terms in C order.

Elsewhere they go along the memory, for speed, so the order of a sum depends on how an array lies there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .interface import Kernels
from .reference import attention, loss, norm, reduce, softmax

_SUMS = frozenset(name for family in (attention, loss, norm, reduce, softmax) for name in family.__all__)


class InvariantKernels(Kernels):
    """The CPU's kernels, fed with arrays in C order where they add up."""

    def __init__(self) -> None:
        super().__init__("cpu")

    def _resolve(self, name: str) -> Callable[..., Any]:
        kernel = super()._resolve(name)
        return functools.partial(_in_c_order, kernel) if name in _SUMS else kernel


def _in_c_order(kernel: Callable[..., Any], *given: Any, **named: Any) -> Any:
    return kernel(*[_ordered(g) for g in given], **{k: _ordered(v) for k, v in named.items()})


def _ordered(x: Any) -> Any:
    return np.ascontiguousarray(x) if isinstance(x, np.ndarray) and x.ndim else x
