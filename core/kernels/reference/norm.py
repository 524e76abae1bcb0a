"""Normalisation: each kernel also returns the statistics that its backward needs, in float32 or wider.

``weight`` and ``bias`` may be None everywhere. Variances are biased (divided by the count).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...devices import module_of
from .after import After, apply
from .half import narrowed, widened

__all__ = [
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_eval",
    "batch_norm_eval_backward",
    "batch_norm_scale",
    "group_norm",
    "group_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "rms_norm",
    "rms_norm_backward",
]


def _column(v: Any, ndim: int) -> Any:
    """(C,) -> (1, C, 1, ...) of ``ndim`` dimensions."""
    return widened(v).reshape(1, -1, *[1] * (ndim - 2))


def _others(x: Any) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _affine(x: Any, weight: Any, bias: Any) -> Any:
    """A number a channel (dimension 1) multiplied and added."""
    if weight is not None:
        x = x * _column(weight, x.ndim)
    return x if bias is None else x + _column(bias, x.ndim)


def _inverse(xp: Any, var: Any, eps: float) -> Any:
    return 1 / xp.sqrt(var + var.dtype.type(eps))


def batch_norm(x: Any, weight: Any, bias: Any, eps: float, activation: str = "none") -> tuple[Any, Any, Any]:
    """(N, C, ...) normalised over all but C: the result, and mean and variance of each channel (C,).

    The result goes through ``activation``: "none", "relu" or "relu6".
    """
    v, axes = widened(x), _others(x)
    mean = v.mean(axis=axes, dtype=v.dtype)
    centred = v - _column(mean, x.ndim)
    var = (centred * centred).mean(axis=axes, dtype=v.dtype)
    y = _affine(centred * _column(_inverse(module_of(x), var, eps), x.ndim), weight, bias)
    return apply(y, After(activation=activation), 1).astype(x.dtype, copy=False), mean, var


def batch_norm_backward(
    grad: Any, x: Any, weight: Any, mean: Any, var: Any, eps: float, bias: Any = None, activation: str = "none"
) -> tuple[Any, Any, Any]:
    """Gradients of batch_norm's x, weight and bias. ``bias`` is needed where there is an activation."""
    g, v, axes = widened(grad), widened(x), _others(x)
    inverse = _column(_inverse(module_of(x), var, eps), x.ndim)
    xhat = (v - _column(mean, x.ndim)) * inverse
    if activation != "none":
        y = _affine(xhat, weight, bias)
        g = module_of(x).where((y > 0) & ~(y >= (6 if activation == "relu6" else np.nan)), g, g.dtype.type(0))
    gb, gw = g.sum(axis=axes), (g * xhat).sum(axis=axes)
    count = max(x.size // max(x.shape[1], 1), 1)
    gx = (g - _column(gb, x.ndim) / count - xhat * (_column(gw, x.ndim) / count)) * inverse
    return narrowed(_affine(gx, weight, None), x.dtype), gw, gb


def batch_norm_scale(weight: Any, bias: Any, mean: Any, var: Any, eps: float) -> tuple[Any, Any]:
    """(scale, shift), (C,) each: with statistics that are given, batch norm is x * scale + shift."""
    scale = _inverse(module_of(var), var.astype(np.float64), eps)
    scale = scale if weight is None else scale * weight.astype(np.float64)
    shift = -mean.astype(np.float64) * scale
    shift = shift if bias is None else shift + bias.astype(np.float64)
    dtype = widened(var).dtype
    return scale.astype(dtype), shift.astype(dtype)


def batch_norm_eval(x: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: float) -> Any:
    """(N, C, ...) normalised with statistics that are given (C,)."""
    scale, shift = batch_norm_scale(weight, bias, mean, var, eps)
    return (widened(x) * _column(scale, x.ndim) + _column(shift, x.ndim)).astype(x.dtype, copy=False)


def batch_norm_eval_backward(grad: Any, x: Any, mean: Any, var: Any, weight: Any, eps: float) -> tuple[Any, Any, Any]:
    """Gradients of batch_norm_eval's x, weight and bias; the statistics are constants."""
    g, axes = widened(grad), _others(x)
    inverse = _column(_inverse(module_of(x), widened(var), eps), x.ndim)
    gw = (g * ((widened(x) - _column(mean, x.ndim)) * inverse)).sum(axis=axes)
    return narrowed(_affine(g * inverse, weight, None), x.dtype), gw, g.sum(axis=axes)


def _rows(v: Any, eps: float) -> tuple[Any, Any, Any]:
    """(..., D): each row normalised, with its mean and 1 / sqrt(variance + eps), both (...)."""
    mean = v.mean(axis=-1, keepdims=True, dtype=v.dtype)
    centred = v - mean
    inverse = _inverse(module_of(v), (centred * centred).mean(axis=-1, keepdims=True, dtype=v.dtype), eps)
    return centred * inverse, mean[..., 0], inverse[..., 0]


def _rows_backward(g: Any, xhat: Any, inverse: Any) -> Any:
    """Gradient of the rows from the gradient of the normalised rows."""
    along = (g * xhat).mean(axis=-1, keepdims=True, dtype=g.dtype)
    return (g - g.mean(axis=-1, keepdims=True, dtype=g.dtype) - xhat * along) * inverse[..., None]


def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """(..., D), each row normalised, times weight (D,) plus bias (D,); with mean and 1 / std of each row (...)."""
    y, mean, inverse = _rows(widened(x), eps)
    y = y if weight is None else y * widened(weight)
    y = y if bias is None else y + widened(bias)
    return y.astype(x.dtype, copy=False), mean, inverse


def layer_norm_backward(grad: Any, x: Any, weight: Any, mean: Any, inverse: Any, affine: bool = True) -> tuple[Any, Any, Any]:
    """Gradients of layer_norm's x, weight and bias, the last two None where not ``affine``."""
    g = widened(grad)
    xhat = (widened(x) - mean[..., None]) * inverse[..., None]
    gx = _rows_backward(g if weight is None else g * widened(weight), xhat, inverse).astype(x.dtype, copy=False)
    return (gx, _column_sum(g * xhat), _column_sum(g)) if affine else (gx, None, None)


def _column_sum(v: Any) -> Any:
    return v.sum(axis=tuple(range(v.ndim - 1)))


def group_norm(x: Any, groups: int, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """(N, C, ...), the channels in groups, each sample's group normalised; with mean and 1 / std (N * groups,)."""
    y, mean, inverse = _rows(widened(x).reshape(x.shape[0] * groups, -1), eps)
    return _affine(y.reshape(x.shape), weight, bias).astype(x.dtype, copy=False), mean, inverse


def group_norm_backward(grad: Any, x: Any, groups: int, weight: Any, mean: Any, inverse: Any) -> tuple[Any, Any, Any]:
    """Gradients of group_norm's x, weight and bias."""
    g, rows = widened(grad), (x.shape[0] * groups, -1)
    xhat = (widened(x).reshape(rows) - mean[:, None]) * inverse[:, None]
    gw = (g * xhat.reshape(x.shape)).sum(axis=_others(x))
    gx = _rows_backward(_affine(g, weight, None).reshape(rows), xhat, inverse).reshape(x.shape)
    return narrowed(gx, x.dtype), gw, g.sum(axis=_others(x))


def rms_norm(x: Any, weight: Any, eps: float) -> tuple[Any, Any]:
    """(..., D), each row over its root mean square, times weight (D,); with 1 / rms (...)."""
    v = widened(x)
    inverse = _inverse(module_of(x), (v * v).mean(axis=-1, dtype=v.dtype), eps)
    y = v * inverse[..., None]
    return (y if weight is None else y * widened(weight)).astype(x.dtype, copy=False), inverse


def rms_norm_backward(grad: Any, x: Any, weight: Any, inverse: Any, affine: bool = True) -> tuple[Any, Any]:
    """Gradients of rms_norm's x and weight, the latter None where there is none, or not ``affine``."""
    g = widened(grad)
    xhat = widened(x) * inverse[..., None]
    scaled = g if weight is None else g * widened(weight)
    gx = (scaled - xhat * (scaled * xhat).mean(axis=-1, keepdims=True, dtype=g.dtype)) * inverse[..., None]
    return narrowed(gx, x.dtype), _column_sum(g * xhat) if affine and weight is not None else None
