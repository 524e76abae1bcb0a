"""Which way a convolution on the CPU takes: matrix products, the depthwise kernels, group by group, or the reference.

float32 in one or two dimensions has ways of its own, and half precision goes them too; results lie in channels-last memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..reference import conv as reference
from ..reference.after import After, apply
from ..reference.half import in_float32
from ..reference.windows import Size, output_size
from . import dense
from .layout import channels_first, channels_last
from .threads import single_threaded_blas

_LEAST_GROUP = 8  # channels a group below which the reference's batched products are no slower


def _way(dtype: Any, ndim: int, size: int, weight_shape: Size, groups: int) -> str:
    """ "dense", "depthwise", "grouped", or "reference"."""
    if dtype != np.float32 or ndim not in (3, 4) or not size:
        return "reference"
    if groups == 1:
        return "dense"
    if weight_shape[0] == groups and weight_shape[1] == 1:
        return "depthwise"
    return "grouped" if min(weight_shape[0] // groups, weight_shape[1]) >= _LEAST_GROUP else "reference"


def _lifted(numbers: Size, filler: int) -> Size:
    """One-dimensional geometry as that of an image of width 1: tiles are cut along the height."""
    return numbers if len(numbers) == 2 else (*numbers, filler)


def _image(x: Any) -> Any:
    """(N, C, L) -> (N, C, L, 1)."""
    return x if x.ndim == 4 else x[..., None]


def _groups(channels: int, groups: int) -> list[slice]:
    step = channels // groups
    return [slice(i * step, (i + 1) * step) for i in range(groups)]


@in_float32
def conv_forward(
    x: Any,
    w: Any,
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
    bias: Any = None,
    after: After | None = None,
    packs: dict[str, Any] | None = None,
) -> Any:
    """As the reference."""
    if after is not None:
        return apply(conv_forward(x, w, stride, padding, dilation, groups, bias, None, packs), after, 1)
    single_threaded_blas()
    way = _way(x.dtype, x.ndim, x.size, w.shape, groups)
    if way == "reference":
        return reference.conv_forward(x, w, stride, padding, dilation, groups, bias)
    if way == "grouped":
        parts = zip(_groups(x.shape[1], groups), _groups(w.shape[0], groups), strict=True)
        results = [conv_forward(x[:, i], w[o], stride, padding, dilation, 1, None if bias is None else bias[o]) for i, o in parts]
        return np.concatenate(results, axis=1)
    if x.ndim == 3:
        y = conv_forward(_image(x), _image(w), _lifted(stride, 1), _lifted(padding, 0), _lifted(dilation, 1), groups, bias)
        return y[..., 0]
    out = output_size(x.shape[2:], w.shape[2:], stride, padding, dilation)
    if way == "depthwise":
        from . import depthwise

        return channels_first(depthwise.forward(channels_last(x), w, stride, padding, dilation, out, bias))
    return channels_first(dense.forward(x, dense.as_matrix(w).T, w.shape[2:], stride, padding, dilation, out, bias))


@in_float32
def conv_input_grad(g: Any, w: Any, input_shape: Size, stride: Size, padding: Size, dilation: Size, groups: int) -> Any:
    """As the reference."""
    single_threaded_blas()
    way = _way(g.dtype, g.ndim, g.size, w.shape, groups)
    if way == "reference":
        return reference.conv_input_grad(g, w, input_shape, stride, padding, dilation, groups)
    if way == "grouped":
        shape = (input_shape[0], input_shape[1] // groups, *input_shape[2:])
        parts = [conv_input_grad(g[:, o], w[o], shape, stride, padding, dilation, 1) for o in _groups(w.shape[0], groups)]
        return np.concatenate(parts, axis=1)
    if g.ndim == 3:
        shape = (*input_shape, 1)
        lifted = _lifted(stride, 1), _lifted(padding, 0), _lifted(dilation, 1)
        return conv_input_grad(_image(g), _image(w), shape, *lifted, groups)[..., 0]
    if way == "depthwise":
        from . import depthwise

        return channels_first(depthwise.input_grad(channels_last(g), w, input_shape[2:], stride, padding, dilation))
    return channels_first(dense.input_grad(g, w, input_shape[2:], stride, padding, dilation))


@in_float32
def conv_weight_grad(g: Any, x: Any, weight_shape: Size, stride: Size, padding: Size, dilation: Size, groups: int) -> Any:
    """As the reference."""
    single_threaded_blas()
    way = _way(g.dtype, g.ndim, g.size, weight_shape, groups)
    if way == "reference":
        return reference.conv_weight_grad(g, x, weight_shape, stride, padding, dilation, groups)
    if way == "grouped":
        shape = (weight_shape[0] // groups, *weight_shape[1:])
        parts = zip(_groups(g.shape[1], groups), _groups(x.shape[1], groups), strict=True)
        return np.concatenate([conv_weight_grad(g[:, o], x[:, i], shape, stride, padding, dilation, 1) for o, i in parts])
    if g.ndim == 3:
        shape = (*weight_shape, 1)
        lifted = _lifted(stride, 1), _lifted(padding, 0), _lifted(dilation, 1)
        return conv_weight_grad(_image(g), _image(x), shape, *lifted, groups)[..., 0]
    if way == "depthwise":
        from . import depthwise

        return depthwise.weight_grad(channels_last(g), channels_last(x), weight_shape[2:], stride, padding, dilation)
    return dense.weight_grad(g, x, weight_shape[2:], stride, padding, dilation)
