"""Convolutions over all channels of a group, on nyala's own matrix products; up to three dimensions, any stride.

The result lies in channels-last memory. A picture with more than ``PLANAR`` channels is read in channels-last memory too (one
that lies otherwise is copied), one with fewer channel by channel, padded. Windows are never written out: the micro-kernel reads
their taps where they lie, and zeros where they leave the picture.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...reference.after import After
from ...reference.windows import Pads, Size, sides
from ..matrix.after import PLAIN, ends
from .correlate import correlate
from .layout import address, channels_last, padded
from .plan import back_plan, forward_plan, last_axes, weight_plan
from .weight_grad import weight_gradient
from .weight_pack import pack_back, pack_forward

PLANAR = 4
"""Channels up to which a picture is read channel by channel."""


def readable(x: Any, planar: bool) -> Any:
    """x (N, C, *S) as its windows can be read."""
    if planar:
        return x if x.flags.aligned else np.array(x, order="C")
    return x if x.flags.aligned and (x.shape[1] == 1 or x.strides[1] == 4) else channels_last(x).transpose(last_axes(x.ndim))


def unpadded(x: Any, padding: Pads, planar: bool) -> Any:
    """x with its padding, to be read without any."""
    return padded(x, padding, planar) if any(map(any, sides(padding))) else readable(x, planar)


def natural(w: Any) -> Any:
    """w in memory of its own order."""
    return w if w.flags.c_contiguous and w.flags.aligned else np.array(w, order="C")


def forward(
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
    """As the reference, for float32."""
    planar = x.shape[1] <= PLANAR
    if planar:
        x, padding = unpadded(x, padding, planar), (0,) * len(padding)
    else:
        x = readable(x, planar)
    plan = forward_plan(x.shape, x.strides, w.shape, tuple(stride), tuple(padding), tuple(dilation), groups, planar)
    y = np.empty(plan.shape, np.float32)
    if after is not None and after.residual is not None:
        after = after._replace(residual=channels_last(after.residual))
    codes, held = ends(bias, after)
    packed = None if packs is None else packs.get("dense")
    if packed is None:
        packed = _packed(w, groups, planar)
        if packs is not None and plan.keeps:
            packs["dense"] = packed
    correlate(plan.numbers, address(x), address(packed), address(y), codes)
    del held  # the addresses in ``codes`` were good until here
    return y.transpose(plan.axes)


def _packed(w: Any, groups: int, planar: bool) -> Any:
    w = natural(w)
    return pack_forward(address(w), groups, w.shape[0] // groups, w.shape[1], math.prod(w.shape[2:]), planar)


def input_grad(g: Any, w: Any, input_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int) -> Any:
    """As the reference, for float32: each place of the input gathers from the windows that cover it."""
    g, w = readable(g, False), natural(w)
    plan = back_plan(g.shape, g.strides, w.shape, tuple(input_shape), tuple(stride), tuple(padding), tuple(dilation), groups)
    x = np.empty(plan.shape, np.float32)
    taps = math.prod(w.shape[2:])
    for numbers, _, chosen, offset in plan.classes:
        packed = pack_back(address(w), groups, w.shape[0] // groups, w.shape[1], taps, chosen)
        correlate(numbers, address(g), address(packed), address(x) + offset, PLAIN)
    return x.transpose(plan.axes)


def weight_grad(g: Any, x: Any, weight_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int) -> Any:
    """As the reference, for float32."""
    planar, g = x.shape[1] <= PLANAR, channels_last(g)
    x = unpadded(x, padding, planar)
    shape, geometry = tuple(weight_shape), (tuple(stride), tuple(dilation), groups, planar)
    plan = weight_plan(x.shape, x.strides, shape, *geometry, g.shape[1:-1])
    out = np.empty(shape, np.float32)
    channels = math.prod(shape[1:]) if planar else shape[1]
    weight_gradient(plan.numbers, plan.cuts, address(g), address(x), plan.elements.ctypes.data, channels, address(out))
    return out
