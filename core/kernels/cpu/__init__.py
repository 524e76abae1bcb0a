"""Kernels for the CPU: NumPy's own loops where they are good, Numba where they are not."""

from __future__ import annotations

_UFUNCS = [
    "add", "subtract", "multiply", "true_divide", "maximum", "minimum", "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt",
    "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2", "sinh", "cosh", "tanh", "floor", "ceil", "trunc",
]  # fmt: skip

# Kernel -> "module:function"; a module with a leading dot is one of this folder.
KERNELS: dict[str, str] = {name: f"numpy:{name}" for name in _UFUNCS}
KERNELS |= {
    "matmul": ".matmul:matmul",
    "conv_forward": ".conv:conv_forward",
    "conv_input_grad": ".conv:conv_input_grad",
    "conv_weight_grad": ".conv:conv_weight_grad",
}
