"""The kernel table: every computation on arrays, behind one set of names for every backend.

``of(array)`` gives the table of the array's device. A kernel takes and returns arrays (and plain numbers, tuples,
strings); it knows nothing of tensors or graphs. What a kernel promises is said once, by the reference of the same name.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..devices import module_of
from ..invariance import mode
from ..tracing import here
from .interface import Kernels

CPU = Kernels("cpu")


@functools.lru_cache(maxsize=1)
def _invariant() -> Kernels:
    from .invariant import InvariantKernels

    return InvariantKernels()


@functools.lru_cache(maxsize=1)
def _cuda() -> Kernels:
    return Kernels("cuda")


def of(array: Any) -> Any:
    """The kernels for the device that holds ``array``.

    Example:
        >>> import numpy as np
        >>> of(np.ones(2)).exp(np.zeros(1))
        array([1.])
    """
    if isinstance(array, np.ndarray):
        return here.table or (_invariant() if mode.depth else CPU)
    module_of(array)  # where it is a CuPy array its device is the current one from here on
    return _cuda()
