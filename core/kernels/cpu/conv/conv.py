"""Which way a convolution on the CPU takes, by its shape: Winograd's, products of windows, narrow groups, or depthwise.

The choice never looks at the batch, so a picture gets the same bits alone and in a batch. Half precision goes the ways of
float32; other dtypes, and arrays without elements, go to the reference. Results lie in channels-last memory.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...reference import conv as reference
from ...reference.after import After, apply
from ...reference.half import in_float32
from ...reference.windows import Pads, Size, output_size
from ..matrix.after import suits
from ..matrix.matmul import matmul
from ..matrix.microkernel import COLUMNS
from . import dense
from .layout import channels_first, channels_last

GROUP_WIDTHS = (2, 4, 8, 16)  # channels of groups that have kernels of their own, where all of them fill vectors
_LANES = 16


class Way(NamedTuple):
    """Three functions with the parameters of the kernels, for float32 arrays with elements."""

    forward: Callable[..., Any]
    input_grad: Callable[..., Any]
    weight_grad: Callable[..., Any]


def _flat(numbers: Any, filler: Any) -> Any:
    """Geometry in two dimensions; one dimension is a picture of height 1."""
    return tuple(numbers) if len(numbers) == 2 else (filler, *numbers)


def _picture(x: Any) -> Any:
    """(N, H, W, C), contiguous, of (N, C, H, W) or (N, C, L)."""
    return channels_last(x if x.ndim == 4 else x[:, :, None])


def _back(y: Any, ndim: int) -> Any:
    y = channels_first(y)
    return y if ndim == 4 else y[:, :, 0]


def _depthwise_forward(
    x: Any, w: Any, stride: Size, padding: Pads, dilation: Size, groups: int, bias: Any, after: After | None, packs: Any
) -> Any:  # fmt: skip
    from . import depthwise

    stride, padding, dilation, kernel = _flat(stride, 1), _flat(padding, 0), _flat(dilation, 1), _flat(w.shape[2:], 1)
    image = _picture(x)
    if after is not None and after.residual is not None and x.ndim == 3:
        after = after._replace(residual=after.residual[:, :, None])
    out = output_size(image.shape[1:3], kernel, stride, padding, dilation)
    w = w.reshape(groups, 1, *kernel)
    return _back(depthwise.forward(image, w, stride, padding, dilation, out, bias, after, packs), x.ndim)


def _depthwise_input_grad(g: Any, w: Any, input_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int) -> Any:
    from . import depthwise

    geometry, size = (_flat(stride, 1), _flat(padding, 0), _flat(dilation, 1)), _flat(input_shape[2:], 1)
    return _back(depthwise.input_grad(_picture(g), w.reshape(groups, 1, *_flat(w.shape[2:], 1)), size, *geometry), g.ndim)


def _depthwise_weight_grad(g: Any, x: Any, weight_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int) -> Any:  # noqa: ARG001
    from . import depthwise

    geometry, kernel = (_flat(stride, 1), _flat(padding, 0), _flat(dilation, 1)), _flat(weight_shape[2:], 1)
    return depthwise.weight_grad(_picture(g), _picture(x), kernel, *geometry).reshape(weight_shape)


def _winograd_forward(*arguments: Any) -> Any:
    from .winograd import forward

    return forward(*arguments)


def _winograd_input_grad(*arguments: Any) -> Any:
    from .winograd import input_grad

    return input_grad(*arguments)


def _winograd_weight_grad(*arguments: Any) -> Any:
    from .winograd_grad import weight_grad

    return weight_grad(*arguments)


def _winograd_pays(channels: Size, out: Size) -> bool:
    """Whether it is the fastest way to an output of ``out`` (height, width).

    Its tiles of 4 x 4 are computed whole at the edges too, and less than one tile does not earn the weight's transform. With
    three channels sums over windows are as fast. Panels narrower than a vector (processors without AVX2) are not written.
    """
    height, width = out
    tiles = -(-height // 4) * -(-width // 4)
    return COLUMNS % 16 == 0 and min(channels) > 3 and height * width >= max(16, 8 * tiles)


def _reference_forward(*arguments: Any) -> Any:
    *common, _ = arguments  # no layout of the weight is kept
    return reference.forward_by(matmul, *common)


def _grouped_forward(*arguments: Any) -> Any:
    from . import grouped

    return grouped.forward(*arguments)


def _grouped_input_grad(*arguments: Any) -> Any:
    from . import grouped

    return grouped.input_grad(*arguments)


def _grouped_weight_grad(*arguments: Any) -> Any:
    from . import grouped

    return grouped.weight_grad(*arguments)


_REFERENCE = Way(
    _reference_forward,
    functools.partial(reference.input_grad_by, matmul),
    functools.partial(reference.weight_grad_by, matmul),
)
_WAYS = {
    "dense": Way(dense.forward, dense.input_grad, dense.weight_grad),
    "winograd": Way(_winograd_forward, _winograd_input_grad, _winograd_weight_grad),
    "depthwise": Way(_depthwise_forward, _depthwise_input_grad, _depthwise_weight_grad),
    "grouped": Way(_grouped_forward, _grouped_input_grad, _grouped_weight_grad),
    "reference": _REFERENCE,
}


def _choice(kernel: Size, channels: Size, stride: Size, dilation: Size, groups: int, out: Size) -> str:
    """A key of ``_WAYS``; ``channels`` (O, C / groups), ``out``: the size of what is computed from windows."""
    if channels == (groups, 1) and len(kernel) < 3:
        return "depthwise"
    if kernel == (3, 3) and stride == (1, 1) and dilation == (1, 1) and groups == 1 and _winograd_pays(channels, out):
        return "winograd"
    if channels == (groups * channels[1], channels[1]) and channels[1] in GROUP_WIDTHS and channels[0] % _LANES == 0:
        return "grouped"
    return "dense"


@functools.lru_cache(maxsize=2048)
def _forward_way(shape: Size, weight_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int) -> Way:
    """The way of a forward convolution, and of its weight's gradient."""
    out = output_size(shape[2:], weight_shape[2:], stride, padding, dilation)
    return _way(weight_shape, stride, dilation, groups, out) if math.prod(shape) else _REFERENCE


@functools.lru_cache(maxsize=2048)
def _way(weight_shape: Size, stride: Size, dilation: Size, groups: int, out: Size) -> Way:
    if min(*out, *weight_shape) < 1 or len(out) > 3:
        return _REFERENCE
    return _WAYS[_choice(weight_shape[2:], weight_shape[:2], stride, dilation, groups, out)]


def _float32(x: Any, w: Any) -> bool:
    return bool(x.dtype == np.float32 == w.dtype)


@in_float32
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
    """As the reference."""
    if not suits(bias, after):
        return apply(conv_forward(x, w, stride, padding, dilation, groups) + _column(bias, x.ndim), after, 1)
    way = _forward_way(x.shape, w.shape, stride, padding, dilation, groups) if _float32(x, w) else _REFERENCE
    return way.forward(x, w, stride, padding, dilation, groups, bias, after, packs)


def _column(bias: Any, ndim: int) -> Any:
    return 0 if bias is None else bias.reshape(-1, *[1] * (ndim - 2))


@in_float32
def conv_input_grad(g: Any, w: Any, input_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int) -> Any:
    """As the reference."""
    way = _way(w.shape, stride, dilation, groups, input_shape[2:]) if _float32(g, w) and g.size else _REFERENCE
    return way.input_grad(g, w, input_shape, stride, padding, dilation, groups)


@in_float32
def conv_weight_grad(g: Any, x: Any, weight_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int) -> Any:
    """As the reference."""
    way = _forward_way(x.shape, weight_shape, stride, padding, dilation, groups) if _float32(g, x) else _REFERENCE
    return way.weight_grad(g, x, weight_shape, stride, padding, dilation, groups)
