"""A part of a network, times a factor for each feature, added to the stream: the residuals of layer scale."""

from __future__ import annotations

from typing import Any

from .half import narrowed, widened

__all__ = ["add_scaled", "add_scaled_backward"]


def add_scaled(stream: Any, part: Any, scale: Any) -> Any:
    """``stream + part * scale``, the product rounded first: stream and part (..., n), scale (n,), all of one dtype."""
    return stream + part * scale


def add_scaled_backward(grad: Any, part: Any, scale: Any, affine: bool = True) -> tuple[Any, Any]:
    """Gradients of part and scale, the latter None unless ``affine``; the stream's is ``grad``."""
    if not affine:
        return grad * scale, None
    along = (widened(grad) * widened(part)).reshape(-1, scale.size).sum(axis=0)
    return grad * scale, narrowed(along, scale.dtype)
