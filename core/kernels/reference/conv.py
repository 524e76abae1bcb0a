"""Convolution in any number of dimensions, and its two adjoints: one matrix product for each tap of the window.

Shapes: x (N, C, *S), w (O, C / groups, *K), g and the result (N, O, *L),
L = (S + zeros - dilation (K - 1) - 1) // stride + 1; ``padding`` holds for each dimension the number of zeros at both ends,
or the pair (before, after).
The three kernels are the derivatives of one another, so gradients of any order are made of them.
"""

from __future__ import annotations

import math
from typing import Any

from ...devices import module_of
from .after import After, apply
from .half import in_float32
from .linalg import Product, matmul
from .windows import Pads, Size, output_size, padded, padded_size, taps, unpadded

__all__ = ["conv_forward", "conv_input_grad", "conv_weight_grad"]


def _by_tap(w: Any, groups: int) -> Any:
    """(O, C / groups, *K) -> (taps, groups, O / groups, C / groups), contiguous."""
    xp = module_of(w)
    grouped = w.reshape(groups, w.shape[0] // groups, w.shape[1], math.prod(w.shape[2:]))
    return xp.ascontiguousarray(xp.moveaxis(grouped, -1, 0))


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
    packs: dict[str, Any] | None = None,  # noqa: ARG001 - a place for kernels to keep what they make of the weight
) -> Any:
    """The cross-correlation of ``x`` with ``w``, plus ``bias`` (O,) where there is one, then ``after``.

    ``packs`` belongs to the weight and lives until the weight changes: a kernel may keep its own layout of it there.
    """
    return forward_by(matmul, x, w, stride, padding, dilation, groups, bias, after)


def forward_by(
    product: Product, x: Any, w: Any, stride: Size, padding: Pads, dilation: Size, groups: int, bias: Any, after: After | None
) -> Any:
    """``conv_forward``; ``product`` multiplies matrices."""
    xp = module_of(x)
    out = output_size(x.shape[2:], w.shape[2:], stride, padding, dilation)
    n, o, inner = x.shape[0], w.shape[0], w.shape[1]
    if inner == 1:
        product = xp.multiply  # with one channel a group there is nothing to sum
    y = xp.zeros((n, groups, o // groups, math.prod(out)), x.dtype)
    for matrix, window in zip(_by_tap(w, groups), taps(padded(x, padding), w.shape[2:], stride, dilation, out), strict=True):
        y += product(matrix, window.reshape(n, groups, inner, math.prod(out)))
    y = y.reshape(n, o, *out)
    return apply(y if bias is None else y + bias.reshape(o, *[1] * len(out)), after, 1)


@in_float32
def conv_input_grad(g: Any, w: Any, input_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int) -> Any:
    """The gradient of ``x``, of shape ``input_shape``, from the gradient ``g`` of the result: a transposed convolution."""
    return input_grad_by(matmul, g, w, input_shape, stride, padding, dilation, groups)


def input_grad_by(
    product: Product, g: Any, w: Any, input_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int
) -> Any:
    """``conv_input_grad``; ``product`` multiplies matrices."""
    xp = module_of(g)
    n, out, inner = g.shape[0], g.shape[2:], w.shape[1]
    grad = g.reshape(n, groups, w.shape[0] // groups, math.prod(out))
    wide = xp.zeros((*input_shape[:2], *padded_size(input_shape[2:], padding)), g.dtype)
    if w.shape[0] == groups:
        product = xp.multiply
    for matrix, window in zip(_by_tap(w, groups), taps(wide, w.shape[2:], stride, dilation, out), strict=True):
        window += product(matrix.swapaxes(-1, -2), grad).reshape(n, groups * inner, *out)
    return unpadded(wide, padding)


@in_float32
def conv_weight_grad(g: Any, x: Any, weight_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int) -> Any:
    """The gradient of ``w``, of shape ``weight_shape``, from the gradient ``g`` of the result and the input ``x``."""
    return weight_grad_by(matmul, g, x, weight_shape, stride, padding, dilation, groups)


def weight_grad_by(
    product: Product, g: Any, x: Any, weight_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int
) -> Any:
    """``conv_weight_grad``; ``product`` multiplies matrices."""
    xp = module_of(g)
    n, out, kernel = g.shape[0], g.shape[2:], weight_shape[2:]
    o, inner = weight_shape[0] // groups, weight_shape[1]
    grad = g.reshape(n, groups, o, math.prod(out))
    parts = [
        product(grad, window.reshape(n, groups, inner, math.prod(out)).swapaxes(-1, -2)).sum(0)
        for window in taps(padded(x, padding), kernel, stride, dilation, out)
    ]
    return xp.ascontiguousarray(xp.stack(parts, -1).reshape(weight_shape))
