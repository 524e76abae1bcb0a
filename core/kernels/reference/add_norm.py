"""A part added to the stream of a network, and the norm of the sum."""

from __future__ import annotations

from typing import Any

from .dropout import dropout
from .half import narrowed, widened
from .norm import layer_norm, layer_norm_backward, rms_norm, rms_norm_backward

__all__ = ["add_norm", "add_norm_backward"]

Dropped = tuple[float, tuple[int, int]]  # probability and key


def add_norm(
    stream: Any, part: Any, weight: Any, bias: Any, eps: float, centred: bool, dropped: Dropped | None = None
) -> tuple[Any, ...]:
    """(stream + part, its norm, the mean of each row, 1 / std of each row): layer norm, or RMS norm without a mean.

    stream and part (..., D), weight and bias (D,) or None. The part goes through dropout in its own dtype first, where that is
    asked for; sum and norm have the stream's dtype. Where not ``centred`` there is no bias, and None for the mean.
    """
    more = part if dropped is None else dropout(part, *dropped)
    total = narrowed(widened(stream) + widened(more), stream.dtype)
    if centred:
        return total, *layer_norm(total, weight, bias, eps)
    y, inverse = rms_norm(total, weight, eps)
    return total, y, None, inverse


def add_norm_backward(
    own: Any, grad: Any, total: Any, weight: Any, mean: Any, inverse: Any, dtype: Any, dropped: Dropped | None = None,
    affine: bool = True,
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """Gradients of add_norm's stream, part, weight and bias, from those of the sum (``own``, or None) and of the norm.

    ``mean`` is None for RMS norm, ``dtype`` the part's. The last two are None where not ``affine``.
    """
    gb = None
    if mean is None:
        found, gw = rms_norm_backward(grad, total, weight, inverse, affine)
    else:
        found, gw, gb = layer_norm_backward(grad, total, weight, mean, inverse, affine)
    if own is not None:
        found = narrowed(widened(found) + widened(own), total.dtype)
    passed = narrowed(found, dtype)
    return found, passed if dropped is None else dropout(passed, *dropped), gw, gb
