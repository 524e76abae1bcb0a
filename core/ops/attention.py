"""Attention: weighted means of values, weighted by how well queries and keys agree.

Example:
    >>> import nyala
    >>> q = nyala.zeros(1, 1, 2)
    >>> scaled_dot_product_attention(q, nyala.ones(1, 3, 2), nyala.tensor([[[0.0], [3.0], [6.0]]]))
    tensor([[[3.]]])
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..devices import check_same
from ..errors import ArgumentError, DtypeError, ShapeError
from ..operation import Composite
from ..random import Key, next_key
from ..tensor import Tensor
from .dropout import Dropout
from .elementwise import where
from .linalg import matmul
from .shape import repeat_interleave, transpose
from .softmax import softmax


class Attention(Composite):
    """Inputs query (..., L, E), key (..., S, E), value (..., S, V), and the float mask where there is one."""

    def __init__(self, scale: float, allowed: Any, p: float, words: tuple[int, int]) -> None:
        self.scale, self.allowed, self.p, self.words = scale, allowed, p, words

    def forward(self, q: Any, k: Any, v: Any, *mask: Any) -> Any:
        table = kernels.of(q)
        scores = table.matmul(q, k.swapaxes(-1, -2))
        weights = table.attention_weights(scores, self.scale, self.allowed, mask[0] if mask else None)
        if self.recording:
            self.saved = (weights,)
        return table.matmul(self._dropped(weights), v)

    def _dropped(self, weights: Any) -> Any:
        return kernels.of(weights).dropout(weights, self.p, self.words) if self.p else weights

    def compose(self, q: Tensor, k: Tensor, v: Tensor, *mask: Tensor) -> Tensor:
        scores = matmul(q, transpose(k, -1, -2)) * self.scale
        if mask:
            scores = scores + mask[0]
        allowed = Tensor(_allowed(scores.array, self.allowed))
        none = Tensor(~allowed.array.any(axis=-1, keepdims=True))
        # a row that may look nowhere gives 0, and must not pass NaN to its neighbours' gradients
        weights = softmax(where(allowed | none, where(none, 0.0, scores), -math.inf), -1)
        weights = where(none, 0.0, weights)
        return matmul(Dropout(self.p, self.words).apply(weights) if self.p else weights, v)

    def fused_backward(self, grad: Any, q: Any, k: Any, v: Any, *mask: Any) -> Any:
        (weights,) = self.saved
        table = kernels.of(q)
        dropped = self._dropped(weights)
        gv = _sum_to(table.matmul(dropped.swapaxes(-1, -2), grad), v.shape)
        gw = table.matmul(grad, v.swapaxes(-1, -2))
        gs = table.attention_weights_backward(gw, weights, dropped, 1.0 if mask else self.scale)
        gm = [_sum_to(gs, m.shape).astype(m.dtype, copy=False) for m in mask]
        if mask:
            gs = gs * gs.dtype.type(self.scale)
        gq = _sum_to(table.matmul(gs, k), q.shape)
        gk = _sum_to(table.matmul(gs.swapaxes(-1, -2), q), k.shape)
        return gq, gk, gv, *gm


def _allowed(scores: Any, allowed: Any) -> Any:
    """Where a query may look, in the shape of the scores: by the mask, and where its score is not -inf."""
    finite = scores != -np.inf
    return finite if allowed is None else finite & allowed


def _sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """The inverse of broadcasting ``shape`` to the shape of ``g``."""
    if g.shape == shape:
        return g
    lead = g.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 and g.shape[i + lead] != 1)
    return g.sum(axis=axes, dtype=g.dtype).reshape(shape)


def _check_shapes(query: Tensor, key: Tensor, value: Tensor) -> None:
    shown = f"query (..., L, E) = {query.shape}, key (..., S, E) = {key.shape}, value (..., S, V) = {value.shape}"
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise ShapeError(
            f"scaled_dot_product_attention: {shown}", why="each needs two dimensions or more", fix="add the batch dimension"
        )
    if query.shape[-1] != key.shape[-1]:
        raise ShapeError(
            f"scaled_dot_product_attention: {shown}", why="query and key must have one width E", fix="project them to it"
        )
    if key.shape[-2] != value.shape[-2]:
        raise ShapeError(
            f"scaled_dot_product_attention: {shown}", why="each key needs its value", fix="make their lengths S equal"
        )
    try:
        np.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    except ValueError:
        raise ShapeError(
            f"scaled_dot_product_attention: {shown}",
            why="the dimensions before the last two must broadcast",
            fix="make batch and heads equal, or pass enable_gqa=True for fewer heads of key and value",
        ) from None


def _grouped(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Key and value with each head repeated for the query heads that share it."""
    heads = query.shape[-3] if query.ndim > 2 else 0
    for name, t in (("key", key), ("value", value)):
        if t.ndim < 3 or not t.shape[-3] or heads % t.shape[-3]:
            raise ShapeError(
                f"scaled_dot_product_attention with enable_gqa: query {query.shape}, {name} {t.shape}",
                why="the query's heads, dimension -3, must be a multiple of the key's and the value's",
                fix="check num_heads and num_key_value_heads",
            )
    return tuple(t if t.shape[-3] == heads else repeat_interleave(t, heads // t.shape[-3], -3) for t in (key, value))  # type: ignore[return-value]


def _mask_of(attn_mask: Tensor | None, is_causal: bool, query: Tensor, key: Tensor) -> tuple[Any, tuple[Tensor, ...]]:
    """What may be looked at as a bool array or None, and the float mask to add, if there is one."""
    length, size = query.shape[-2], key.shape[-2]
    if is_causal:
        if attn_mask is not None:
            raise ArgumentError("scaled_dot_product_attention: attn_mask and is_causal=True", fix="put both into one mask")
        return query._module.tri(length, size, dtype=bool), ()
    if attn_mask is None:
        return None, ()
    check_same("scaled_dot_product_attention", query=query, attn_mask=attn_mask)
    batch = np.broadcast_shapes(query.shape[:-2], key.shape[:-2])
    try:
        fits = np.broadcast_shapes(attn_mask.shape, (*batch, length, size)) == (*batch, length, size)
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"scaled_dot_product_attention: attn_mask of shape {attn_mask.shape}, scores {(*batch, length, size)}",
            why="the mask must broadcast to the scores (..., L, S)",
            fix="a padding mask (N, S) becomes mask[:, None, None, :]",
        )
    if attn_mask.dtype.kind == "b":
        return attn_mask.array, ()
    if attn_mask.dtype.kind not in "fV":
        raise DtypeError(
            f"scaled_dot_product_attention: attn_mask of {attn_mask.dtype}",
            why="True in a bool mask lets take part, a float mask is added to the scores",
            fix="convert it with .bool()",
        )
    return None, (attn_mask.to(query.dtype),)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    dropout_key: Key | None = None,
) -> Tensor:
    """softmax(query key^T * scale + mask) value: (..., L, E), (..., S, E), (..., S, V) -> (..., L, V).

    Args:
        query, key, value: floating point; leading dimensions broadcast.
        attn_mask: broadcasts to (..., L, S). Bool: True lets a key take part. Float: added to the scores.
        dropout_p: probability of dropping a weight; 0 while evaluating.
        is_causal: query i sees keys 0..i only.
        scale: 1 / sqrt(E) unless given.
        enable_gqa: key and value may have fewer heads (dimension -3), each shared by several heads of the query.
        dropout_key: where dropout's bits come from; the ambient stream unless given.

    A query that may look nowhere gives 0, as in torch.

    Raises:
        ShapeError: shapes that do not go together.
        ArgumentError: a mask together with ``is_causal``, or ``dropout_p`` is not a probability below 1.

    Source: Vaswani et al., arXiv:1706.03762; grouped queries: Ainslie et al., arXiv:2305.13245.
    """
    if not 0.0 <= dropout_p < 1.0:
        raise ArgumentError(f"scaled_dot_product_attention: dropout_p={dropout_p}", fix="use a probability below 1")
    if query.dtype != key.dtype or query.dtype != value.dtype:
        raise DtypeError(
            f"scaled_dot_product_attention: query {query.dtype}, key {key.dtype}, value {value.dtype}",
            fix="convert them to one dtype",
        )
    if enable_gqa:
        key, value = _grouped(query, key, value)
    _check_shapes(query, key, value)
    allowed, mask = _mask_of(attn_mask, is_causal, query, key)
    factor = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    words = (dropout_key or next_key("dropout")).words if dropout_p else (0, 0)
    return Attention(factor, allowed, dropout_p, words).apply(query, key, value, *mask)
