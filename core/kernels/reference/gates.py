"""Products with a gate: what SwiGLU and its relatives do between their layers."""

from __future__ import annotations

from typing import Any

from .elementwise import gelu, gelu_backward, silu, silu_backward
from .half import widened

__all__ = ["gated", "gated_backward"]

_FUNCTIONS: dict[str, Any] = {
    "silu": (silu, silu_backward),
    "gelu": (lambda x: gelu(x, "none"), lambda g, x: gelu_backward(g, x, "none")),
    "gelu_tanh": (lambda x: gelu(x, "tanh"), lambda g, x: gelu_backward(g, x, "tanh")),
}
KINDS = tuple(_FUNCTIONS)


def gated(gate: Any, x: Any, kind: str) -> Any:
    """The ``kind`` of activation of the gate, one of ``KINDS``, times x of the same shape and dtype; rounded once."""
    return (_FUNCTIONS[kind][0](widened(gate)) * widened(x)).astype(x.dtype, copy=False)


def gated_backward(grad: Any, gate: Any, x: Any, kind: str) -> tuple[Any, Any]:
    """Gradients of the gate and of x."""
    value, slope = _FUNCTIONS[kind]
    g, wide = widened(grad), widened(gate)
    return slope(g * widened(x), wide).astype(x.dtype, copy=False), (g * value(wide)).astype(x.dtype, copy=False)
