"""Tensors as another dtype.

Example:
    >>> import nyala
    >>> cast(nyala.tensor([1.5, 2.5]), nyala.int64)
    tensor([1, 2])
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes, kernels
from ..devices import check_dtype
from ..operation import Operation
from ..tensor import Tensor


class Cast(Operation):
    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype

    def forward(self, x: Any) -> Any:
        self.source = x.dtype
        return kernels.of(x).cast(x, self.dtype)

    def backward(self, g: Tensor) -> Tensor:
        return cast(g, self.source)


def cast(input: Tensor, dtype: Any) -> Tensor:
    """The values as another dtype; the tensor itself if it has that dtype."""
    dtype = dtypes.parse(dtype)
    if input.array.dtype == dtype:
        return input
    if input.is_cuda:
        check_dtype(dtype)
    if not dtypes.is_differentiable(dtype):
        return Tensor(kernels.of(input.array).cast(input.array, dtype))
    return Cast(dtype).apply(input)
