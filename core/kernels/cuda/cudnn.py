"""Convolutions and their adjoints by cuDNN, through nvidia-cudnn-frontend, where it is installed; by ``conv`` elsewhere.

cuDNN is asked for the convolution with its bias and activation where it has a kernel for all of it; what else follows is done in
a second pass. Arrays are read as they lie, channels first or last, and a result lies as its input does.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import backends
from ...devices import cupy
from ..reference.after import After
from ..reference.windows import Pads, Size, output_size, sides
from . import conv as own
from . import cudnn_plans as plans
from .after import CODES, End, end_of
from .cudnn_plans import Convolution, Window
from .running.launching import blocks_for, launch, suffix

_ALIGNED = 16  # bytes, which plans may count on
_FUSED = {CODES[name]: name for name in ("none", "relu", "gelu", "gelu_tanh", "silu")}
_EACH = 8  # numbers a thread finishes


def conv_forward(
    x: Any,
    w: Any,
    stride: Size,
    padding: Pads,
    dilation: Size,
    groups: int,
    bias: Any = None,
    after: After | None = None,
    packs: dict[str, Any] | None = None,
) -> Any:
    shape = (x.shape[0], w.shape[0], *output_size(x.shape[2:], w.shape[2:], stride, padding, dilation))
    if _can((x, w, bias), shape):
        last = _channels_last(x)
        end = _end(bias, after, x.dtype, shape, last)
        kind = _kind("y", x.dtype, (x.shape, w.shape, shape), last, (stride, padding, dilation))
        y = None if end is None else _forward(kind, {"x": _lying(x, last), "w": _weight(w, last, packs)}, end)
        if y is not None:
            return y
    return own.conv_forward(x, w, stride, padding, dilation, groups, bias, after, packs)


def conv_input_grad(g: Any, w: Any, input_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int) -> Any:
    if _can((g, w), input_shape):
        last = _channels_last(g)
        kind = _kind("x", g.dtype, (input_shape, w.shape, g.shape), last, (stride, padding, dilation))
        gx = _run(kind, {"y": _lying(g, last), "w": _lying(w, last)})
        if gx is not None:
            return gx
    return own.conv_input_grad(g, w, input_shape, stride, padding, dilation, groups)


def conv_weight_grad(g: Any, x: Any, weight_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int) -> Any:
    if _can((g, x), weight_shape):
        last = _channels_last(x)
        kind = _kind("w", g.dtype, (x.shape, weight_shape, g.shape), last, (stride, padding, dilation))
        gw = _run(kind, {"y": _lying(g, last), "x": _lying(x, last)})
        if gw is not None:
            return cupy().ascontiguousarray(gw)
    return own.conv_weight_grad(g, x, weight_shape, stride, padding, dilation, groups)


def _can(arrays: tuple[Any, ...], result: Size) -> bool:
    """Whether cuDNN may be asked: it is there, the arrays are of one floating dtype, and none is empty."""
    shapes = [result, *(a.shape for a in arrays if a is not None)]
    return (
        suffix(*arrays) is not None
        and 3 <= len(result) <= 5
        and all(math.prod(shape) > 0 for shape in shapes)
        and plans.library() is not None
    )


def _channels_last(x: Any) -> bool:
    return not x.flags.c_contiguous and _moved(x).flags.c_contiguous


def _moved(x: Any) -> Any:
    """The view of (N, C, *S) as (N, *S, C)."""
    return x.transpose(0, *range(2, x.ndim), 1)


def _lying(x: Any, last: bool) -> Any:
    """The array with its channels last in memory, or first, at an address that plans count on: itself where it lies so."""
    view = _moved(x) if last else x
    if not view.flags.c_contiguous or x.data.ptr % _ALIGNED:
        view = view.copy()
    return view.transpose(0, view.ndim - 1, *range(1, view.ndim - 1)) if last else view


def _empty(shape: Size, dtype: Any, last: bool) -> Any:
    if not last:
        return cupy().empty(shape, dtype)
    made = cupy().empty((shape[0], *shape[2:], shape[1]), dtype)
    return made.transpose(0, made.ndim - 1, *range(1, made.ndim - 1))


def _weight(w: Any, last: bool, packs: dict[str, Any] | None) -> Any:
    """The weight lying as the picture does, kept with it."""
    if not last or packs is None:
        return _lying(w, last)
    if "cudnn" not in packs:
        packs["cudnn"] = _lying(w, last)
    return packs["cudnn"]


def _kind(wanted: str, dtype: Any, shapes: tuple[Size, Size, Size], last: bool, moves: tuple[Size, Pads, Size]) -> Convolution:
    """The plan's kind; a picture of one dimension is one of two, a pixel high."""
    stride, padding, dilation = moves
    before, after = zip(*sides(padding), strict=True)
    window = Window(tuple(stride), before, after, tuple(dilation))
    if len(stride) == 1:
        shapes = tuple((*s[:2], 1, *s[2:]) for s in shapes)  # type: ignore[assignment]
        window = Window(*((missing, *part) for missing, part in zip((1, 0, 0, 1), window, strict=True)))
    tf32 = dtype == np.float32 and backends.cudnn.allow_tf32
    return Convolution(wanted, dtype.name, *shapes, last, window, tf32)


def _end(bias: Any, after: After | None, dtype: Any, shape: Size, last: bool) -> End | None:
    """What follows, what is added lying as the result will."""
    residual = None if after is None else after.residual
    end = end_of(bias, None if after is None else after._replace(residual=None), dtype, shape)
    if end is None or residual is None:
        return end
    return end._replace(residual=_lying(cupy().broadcast_to(residual, shape), last)) if residual.dtype == dtype else None


def _forward(kind: Convolution, arrays: dict[str, Any], end: End) -> Any:
    if end.scale is None and end.residual is None and end.activation in _FUSED:
        fused = kind._replace(bias=end.bias is not None, activation=_FUSED[end.activation])
        y = _run(fused, arrays if end.bias is None else {**arrays, "bias": _lying(end.bias, False)})
        if y is not None or fused == kind:
            return y
    y = _run(kind, arrays)
    if y is not None and (end.activation or any(part is not None for part in end[:4])):
        inner = 1 if kind.last else math.prod(kind.y[2:])
        grid = blocks_for(y.size, 256 * _EACH)
        launch("matmul", f"after_{suffix(y)}", grid, 256, y, np.int64(y.size), kind.y[1], np.int64(inner), *end)
    return y


def _run(kind: Convolution, arrays: dict[str, Any]) -> Any:
    """What is wanted; None where cuDNN has nothing for it."""
    first = next(iter(arrays.values()))
    shape = getattr(kind, kind.wanted)
    if first.ndim == 3:
        shape = (*shape[:2], *shape[3:])
    out = _empty(shape, first.dtype, kind.last)
    return out if plans.run(kind, {**arrays, kind.wanted: out}) else None
