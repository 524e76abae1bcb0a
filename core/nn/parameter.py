"""``Parameter`` and ``Buffer``: tensors that a module registers when they are assigned to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module learns: assigned to a module, it is in ``parameters()`` and ``state_dict()``.

    Args:
        data: the initial values, a tensor or an array, whose memory is used.
        requires_grad: whether it is trained.

    Example:
        >>> import nyala
        >>> nyala.nn.Parameter(nyala.zeros(2))
        Parameter containing:
        tensor([0., 0.], requires_grad=True)
    """

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        super().__init__(_array_of(data), requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class Buffer(Tensor):
    """A tensor that belongs to a module's state and is not learnt, as running statistics are.

    Args:
        data: the initial values.
        persistent: whether ``state_dict()`` holds it.
    """

    def __init__(self, data: Any = None, *, persistent: bool = True) -> None:
        super().__init__(_array_of(data))
        self.persistent = persistent


def _array_of(data: Any) -> Any:
    """The array behind a tensor, an array, or nothing (an empty one)."""
    if data is None:
        return np.empty(0, dtypes.default_dtype())
    if isinstance(data, Tensor):
        return data.array
    return data if hasattr(data, "__cuda_array_interface__") else np.asarray(data)
