"""Parts added to the stream of a network, in as few kernels as a GPU needs for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import state
from ..ops.add_norm import add_layer_norm, add_rms_norm
from ..ops.dropout import add_dropout
from ..ops.scaled import add_scaled
from ..tensor import Tensor
from ..unfinished import Unfinished
from .dropout import Dropout
from .layer_scale import LayerScale
from .module import Module
from .norm import LayerNorm, RMSNorm


def add_dropped(stream: Tensor, part: Tensor, drop: Module) -> Tensor:
    """``stream + drop(part)``: in one kernel on a GPU, where ``drop`` is a ``Dropout`` at work, not hooked or patched.

    Example:
        >>> import nyala
        >>> add_dropped(nyala.ones(2), nyala.ones(2), Dropout(0.5).eval())
        tensor([2., 2.])
    """
    plain = type(drop) is Dropout and drop.training and _as_written(drop)
    if not plain or isinstance(stream.array, np.ndarray) or stream.shape != part.shape or stream.dtype != part.dtype:
        return stream + drop(part)
    return add_dropout(stream, part, drop.p)  # type: ignore[attr-defined]  # it is a Dropout


def add_damped(stream: Tensor, part: Tensor, last: Module) -> Tensor:
    """``stream + last(part)``: in one kernel on a GPU, where ``last`` is a plain ``LayerScale``, or a ``Dropout`` at work.

    Example:
        >>> import nyala
        >>> add_damped(nyala.ones(2), nyala.ones(2), LayerScale(2, 0.5))
        tensor([1.5000, 1.5000], grad_fn=<AddBackward>)
    """
    if type(last) is not LayerScale or not _as_written(last) or isinstance(stream.array, np.ndarray) or type(part) is Unfinished:
        return add_dropped(stream, part, last)
    scale = getattr(last, last.name)
    if stream.shape != part.shape or stream.dtype != scale.dtype or not _widens(part.dtype, stream.dtype):
        return stream + last(part)
    return add_scaled(stream, part.to(stream.dtype), scale)


def _widens(dtype: np.dtype[Any], to: np.dtype[Any]) -> bool:
    """Whether numbers of a part are added to such a stream as they are, or as autocast has them: halves to float32."""
    return dtype == to or (to == np.float32 and dtype.itemsize == 2)


def add_normed(stream: Tensor, part: Tensor, drop: Module, norm: Module) -> tuple[Tensor, Tensor]:
    """``total = stream + drop(part)``, and ``norm(total)``: in one kernel on a GPU, where both layers are plain.

    Example:
        >>> import nyala
        >>> add_normed(nyala.ones(1, 2), nyala.tensor([[0.0, 1.0]]), Dropout(0.5).eval(), LayerNorm(2, eps=0.0))
        (tensor([[1., 2.]]), tensor([[-1.,  1.]], grad_fn=<LayerNormBackward>))
    """
    if not _in_one_kernel(stream, part, drop, norm):
        total = add_dropped(stream, part, drop)
        return total, norm(total)
    layer: Any = norm
    p = drop.p if drop.training else 0.0  # type: ignore[attr-defined]  # it is a Dropout
    if type(norm) is LayerNorm:
        return add_layer_norm(stream, part, stream.shape[-1], layer.weight, layer.bias, layer.eps, p)
    return add_rms_norm(stream, part, stream.shape[-1], layer.weight, layer.eps, p)


def _in_one_kernel(stream: Tensor, part: Tensor, drop: Module, norm: Module) -> bool:
    if (type(part) is Unfinished and part.dtype == stream.dtype) or isinstance(stream.array, np.ndarray):
        return False  # the product before takes the stream along
    if type(drop) is not Dropout or type(norm) not in (LayerNorm, RMSNorm) or not (_as_written(drop) and _as_written(norm)):
        return False
    layer: Any = norm
    if layer.normalized_shape != stream.shape[-1:] or stream.shape != part.shape or (drop.training and drop.p == 1.0):
        return False
    if any(p is not None and p.dtype != stream.dtype for p in (layer.weight, getattr(layer, "bias", None))):
        return False
    single = stream.dtype == np.float32  # as autocast has streams, whose norms it computes in float32
    return _widens(part.dtype, stream.dtype) and (single or state.autocast is None)


def _as_written(layer: Module) -> bool:
    return layer._hooks is None and "forward" not in layer.__dict__
