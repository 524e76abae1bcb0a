"""How tensors print: as torch prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import devices, dtypes

if TYPE_CHECKING:
    from .tensor import Tensor


def format_tensor(t: Tensor) -> str:
    """The tensor's values, and whatever of dtype, device and graph is not the default."""
    array = devices.move(t.array, "cpu")
    if array.dtype.kind == "V":
        array = array.astype(np.float32)
    body = np.array2string(array, separator=", ", precision=4, prefix="tensor(", threshold=1000, floatmode="maxprec")
    extras = []
    if t.numel() == 0:
        extras.append(f"size={t.shape}")
    if t.dtype not in (dtypes.default_dtype(), dtypes.int64, dtypes.bool_):
        extras.append(f"dtype={dtypes.name(t.dtype)}")
    if t.device != "cpu":
        extras.append(f"device={t.device!r}")
    if t.grad_fn is not None:
        extras.append(f"grad_fn={t.grad_fn!r}")
    elif t.requires_grad:
        extras.append("requires_grad=True")
    return f"tensor({', '.join([body, *extras])})"
