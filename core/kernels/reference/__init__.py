"""Every kernel in plain array code: the truth that faster ones are tested against, on NumPy and on CuPy.

Run on float64 input these give the values that tests take as right. Each family's ``__all__`` lists its kernels.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

_FAMILIES = (
    "elementwise", "gates", "reduce", "linalg", "index", "random", "conv", "pool", "spatial", "softmax", "norm", "dropout",
    "add_norm", "scaled", "loss", "fft", "recurrent", "optim", "optim_scaled", "attention", "positions", "quantized", "decoding",
    "pictures", "filter_taps", "iir",
)  # fmt: skip

KERNELS: dict[str, Callable[..., Any]] = {}
for _family in _FAMILIES:
    _module = importlib.import_module(f".{_family}", __name__)
    KERNELS.update({name: getattr(_module, name) for name in _module.__all__})
