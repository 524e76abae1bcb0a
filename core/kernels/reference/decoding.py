"""One token a text through a layer of Llama's shape, with the keys and values of the steps before."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .after import After
from .attention import attention
from .linalg import linear
from .norm import rms_norm
from .positions import rotate
from .quantized import linear_bf16, linear_bf16_both, linear_int4, linear_int8, linear_int8_both

__all__ = ["gated_step"]


class Product(NamedTuple):
    """What a fully connected layer multiplies by.

    Attributes:
        weight: (out, in) float32, bfloat16 or int8; (out, in / 2) uint8 of int4.
        scales: (out, groups) float32 of an int8 weight, bfloat16 of an int4 one; None for others.
        group: terms of a row that share a scale.
        bias: (out,), or None.
        rounds: whether what comes in is rounded to the weight's dtype.
    """

    weight: Any
    scales: Any = None
    group: int = 1
    bias: Any = None
    rounds: bool = False


class GatedLayer(NamedTuple):
    """Arrays and numbers of a layer.

    Attributes:
        norm1, norm2: (D,) weights of the RMS norms before the two parts.
        eps1, eps2: of the norms.
        products: of queries, keys, values, the way out of attention, gate, inner and outer feed-forward layer.
        heads, kv_heads: of queries, and of keys and values.
        scale: of the scores.
        interleaved: of the rotary positions.
    """

    norm1: Any
    norm2: Any
    eps1: float
    eps2: float
    products: tuple[Product, ...]
    heads: int
    kv_heads: int
    scale: float
    interleaved: bool


def gated_step(
    x: Any, layer: GatedLayer, cos: Any, sin: Any, keys: Any, values: Any, length: int, packs: dict[str, Any] | None = None
) -> Any:
    """The layer of one new step, in SiLU; the step's keys and values are written to place ``length`` of those before.

    x (N, 1, D), cos and sin (1, P) as of ``rotate``, keys and values (N, kv_heads, room, E) with ``length`` < room.
    ``packs``: where a backend may keep what it made of ``layer``. Gives (N, 1, D).
    """
    del packs
    q, k, v, out, gate, up, down = layer.products
    inner = rms_norm(x, layer.norm1, layer.eps1)[0]
    turned = rotate(_heads(_product(inner, q), layer.heads), cos, sin, layer.interleaved)
    keys[:, :, length : length + 1] = rotate(_heads(_product(inner, k), layer.kv_heads), cos, sin, layer.interleaved)
    values[:, :, length : length + 1] = _heads(_product(inner, v), layer.kv_heads)
    seen = slice(0, length + 1)
    mixed = attention(turned, keys[:, :, seen], values[:, :, seen], layer.scale, start=length)[0]
    mixed = mixed.transpose(0, 2, 1, 3).reshape(*x.shape[:2], -1)
    x = _product(mixed, out, After(residual=x))
    inner = rms_norm(x, layer.norm2, layer.eps2)[0]
    inner = _product(inner, gate, After(activation="silu")) * _product(inner, up)
    return _product(inner, down, After(residual=x))


def _heads(x: Any, heads: int) -> Any:
    """(N, 1, heads * width) -> (N, heads, 1, width)."""
    return x.reshape(x.shape[0], 1, heads, -1).transpose(0, 2, 1, 3)


def _product(x: Any, by: Product, after: After | None = None) -> Any:
    if by.weight.dtype == np.uint8:
        return linear_int4(x, by.weight, by.scales, by.group, by.bias, after)
    if by.scales is not None:
        kernel = linear_int8_both if by.rounds else linear_int8
        return kernel(x, by.weight, by.scales, by.group, by.bias, after)
    if by.weight.dtype == x.dtype:
        return linear(x, by.weight, by.bias, after)
    return (linear_bf16_both if by.rounds else linear_bf16)(x, by.weight, by.bias, after)
