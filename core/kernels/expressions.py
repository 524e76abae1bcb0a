"""Element-wise kernels of one number each, as text: what kernels that are written by a program are made of.

One table for all backends. An expression is Python; ``a``, ``b`` are the kernel's arrays in its own order, ``n0``, ``n1`` its
numbers. Kernels with an option have a row for each of its values: ``gelu tanh``.
"""

from __future__ import annotations

import math

# One step each: they are what they say on every backend, to the bit.
SIMPLE: dict[str, str] = {
    "add": "a + b", "subtract": "a - b", "multiply": "a * b", "true_divide": "a / b", "divide": "a / b", "negative": "-a",
    "maximum": "a if (a > b) | (a != a) else b", "minimum": "a if (a < b) | (a != a) else b",
    "sqrt": "sqrt(a)", "rsqrt": "one / sqrt(a)", "absolute": "abs(a)", "square": "a * a",
    "relu": "zero if a < zero else a", "relu_backward": "a if b > zero else zero",
    "leaky_relu": "a if a > zero else a * n0", "leaky_relu_backward": "a if b > zero else a * n0",
}  # fmt: skip

_A, _C = math.sqrt(2 / math.pi), 0.044715
_TANH = f"tanh({_A} * (b + {_C} * b * b * b))"
_CDF = f"0.5 * (one + erf(b * {math.sqrt(0.5)}))"
_QUICK = "sigmoid(b * 1.702)"

# Of several steps: backends that have quicker words for them use those.
COMPOSED: dict[str, str] = {
    "exp": "exp(a)", "expm1": "expm1(a)", "log": "log(a)", "log1p": "log1p(a)", "tanh": "tanh(a)", "erf": "erf(a)",
    "sigmoid": "sigmoid(a)", "tanh_backward": "a * (one - b * b)", "sigmoid_backward": "a * (b * (one - b))",
    "silu": "a * sigmoid(a)", "silu_backward": "a * (sigmoid(b) * (one + b * (one - sigmoid(b))))",
    "mish": "a * mish_tanh(a)",
    "mish_backward": "a * (mish_tanh(b) + b * sigmoid(b) * (one - mish_tanh(b) * mish_tanh(b)))",
    "hardsigmoid": "between(a + 3, zero, 6) * sixth",
    "hardsigmoid_backward": "a * sixth if (b > -3) & (b < 3) else zero",
    "hardswish": "a * (between(a + 3, zero, 6) * sixth)",
    "hardswish_backward": "a * (zero if b < -3 else (b / 3 + 0.5 if b <= 3 else one))",
    "elu": "a if a > zero else expm1(a) * n0", "elu_backward": "a if b > zero else a * n0 * exp(b)",
    "softplus": "a if a * n0 > n1 else log1p(exp(a * n0)) / n0",
    "softplus_backward": "a if b * n0 > n1 else a * sigmoid(b * n0)",
    "clip": "between(a, n0, n1)", "hardtanh_backward": "a if (b > n0) & (b < n1) else zero",
    "gelu none": f"a * ({_CDF.replace('b', 'a')})",
    "gelu_backward none": f"a * ({_CDF} + b * (exp(b * b * -0.5) * {1 / math.sqrt(2 * math.pi)}))",
    "gelu tanh": f"0.5 * a * (one + {_TANH.replace('b', 'a')})",
    "gelu_backward tanh": (
        f"a * (0.5 * (one + {_TANH}) + 0.5 * b * (one - {_TANH} * {_TANH}) * ({_A} * (one + {3 * _C} * b * b)))"
    ),
    "gelu quick": f"a * {_QUICK.replace('b', 'a')}",
    "gelu_backward quick": f"a * ({_QUICK} * (one + 1.702 * b * (one - {_QUICK})))",
}  # fmt: skip
