"""Softmax along one axis, its logarithm, and their gradients. Half precision is computed in float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...devices import module_of
from .half import widened

__all__ = [
    "attention_weights",
    "attention_weights_backward",
    "log_softmax",
    "log_softmax_backward",
    "softmax",
    "softmax_backward",
]


def softmax(x: Any, axis: int) -> Any:
    """exp(x) over its sum along the axis. A row of nothing but -inf gives NaN."""
    if not x.size:
        return x.copy()
    v = widened(x)
    e = module_of(x).exp(_shifted(v, axis))
    return (e / e.sum(axis=axis, keepdims=True)).astype(x.dtype, copy=False)


def softmax_backward(grad: Any, y: Any, axis: int) -> Any:
    """Gradient of softmax from its result."""
    g, v = widened(grad), widened(y)
    product = g * v
    return (product - v * product.sum(axis=axis, keepdims=True)).astype(y.dtype, copy=False)


def log_softmax(x: Any, axis: int) -> Any:
    """x - log(sum(exp(x))) along the axis, without overflow. A row of nothing but -inf gives NaN."""
    if not x.size:
        return x.copy()
    xp, v = module_of(x), widened(x)
    shifted = _shifted(v, axis)
    return (shifted - xp.log(xp.exp(shifted).sum(axis=axis, keepdims=True))).astype(x.dtype, copy=False)


def log_softmax_backward(grad: Any, y: Any, axis: int) -> Any:
    """Gradient of log_softmax from its result."""
    g, v = widened(grad), widened(y)
    return (g - module_of(y).exp(v) * g.sum(axis=axis, keepdims=True)).astype(y.dtype, copy=False)


def _shifted(v: Any, axis: int) -> Any:
    with np.errstate(invalid="ignore"):  # -inf - -inf is NaN, as promised
        return v - v.max(axis=axis, keepdims=True)


def attention_weights(scores: Any, scale: float, allowed: Any, mask: Any) -> Any:
    """softmax(scores * scale + mask) over the last axis, among the places that ``allowed`` marks; may write to ``scores``.

    ``allowed`` (bool) and ``mask`` broadcast to the scores and may be None. A row with no place to look gives 0.
    """
    xp = module_of(scores)
    v = widened(scores) * widened(scores).dtype.type(scale)
    if mask is not None:
        v = v + widened(mask)
    if allowed is not None:
        v = xp.where(allowed, v, v.dtype.type(-np.inf))
    if not v.size:
        return scores
    largest = v.max(axis=-1, keepdims=True)
    none = largest == -np.inf
    e = xp.exp(v - xp.where(none, 0, largest))
    return (e / xp.where(none, 1, e.sum(axis=-1, keepdims=True))).astype(scores.dtype, copy=False)


def attention_weights_backward(grad: Any, weights: Any, dropped: Any, scale: float) -> Any:
    """Gradient of the scores from that of the dropped weights; may write to ``grad``.

    With a mask m of dropout, dropped = m weights, so softmax's gradient weights (m grad - sum(m grad weights)) needs no m.
    """
    g, w, d = widened(grad), widened(weights), widened(dropped)
    along = d * g
    out = (along - w * along.sum(axis=-1, keepdims=True)) * w.dtype.type(scale)
    return out.astype(weights.dtype, copy=False)
