"""What a product or a convolution may do to its result before anybody else sees it."""

from __future__ import annotations

from typing import Any, NamedTuple

from .elementwise import gelu, silu
from .half import narrowed, widened

ACTIVATIONS = ("none", "relu", "relu6", "gelu", "gelu_tanh", "silu")


class After(NamedTuple):
    """y -> activation(y * scale + shift + residual), after the bias has been added.

    Attributes:
        scale: (channels,), or None for 1; float32 for results of half precision, as ``shift`` is.
        shift: (channels,), or None for 0; there is none without a scale. A batch norm in evaluation mode is both.
        residual: of the result's shape, or None.
        activation: one of ``ACTIVATIONS``.
    """

    scale: Any = None
    shift: Any = None
    residual: Any = None
    activation: str = "none"


def apply(y: Any, after: After | None, axis: int) -> Any:
    """``after`` on y, whose channels lie along ``axis``."""
    if after is None:
        return y
    if after.scale is not None:
        shape = [1] * y.ndim
        shape[axis] = -1
        scaled = widened(y) * after.scale.reshape(shape)
        y = narrowed(scaled if after.shift is None else scaled + after.shift.reshape(shape), y.dtype)
    if after.residual is not None:
        y = y + after.residual
    return _activated(y, after.activation)


def _activated(y: Any, name: str) -> Any:
    if name == "relu":
        return y.clip(0)
    if name == "relu6":
        return y.clip(0, 6)
    if name == "silu":
        return silu(y)
    return y if name == "none" else gelu(y, "tanh" if name == "gelu_tanh" else "none")
