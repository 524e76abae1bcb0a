"""``MultiheadAttention``, with PyTorch's parameters and masks."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ArgumentError, ShapeError
from ..ops.shape import cat
from ..tensor import Tensor
from . import functional as F
from . import init
from .linear import Linear, new_parameter
from .module import Module
from .parameter import Parameter


class MultiheadAttention(Module):
    """Attention of several heads (Vaswani et al., arXiv:1706.03762).

    Args:
        embed_dim: width of queries and results, divided among the heads.
        num_heads: heads.
        dropout: of the attention weights, while training.
        bias: whether the projections have biases.
        add_bias_kv: whether a learnt key and value stand behind the others.
        add_zero_attn: whether a key and value of zeros stand behind the others.
        kdim, vdim: widths of keys and values where they are not ``embed_dim``.
        batch_first: whether tensors are (N, L, E) rather than (L, N, E).

    ``forward(query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None, average_attn_weights=True,
    is_causal=False)`` gives the result and, where ``need_weights``, the attention weights (N, L, S), or (N, heads, L, S)
    with ``average_attn_weights=False``. In bool masks True keeps a key out; float masks are added to the scores.
    ``need_weights=False`` is the quick way.

    Raises:
        ArgumentError: ``num_heads`` does not divide ``embed_dim``.
        ShapeError: inputs or masks of other shapes.

    Example:
        >>> import nyala
        >>> from nyala import nn
        >>> x = nyala.randn(2, 5, 8)
        >>> out, weights = nn.MultiheadAttention(8, num_heads=2, batch_first=True)(x, x, x)
        >>> out.shape, weights.shape
        ((2, 5, 8), (2, 5, 5))
    """

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
        add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise ArgumentError(f"MultiheadAttention: embed_dim={embed_dim} with {num_heads} heads", fix="choose a divisor")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.head_dim, self.add_zero_attn = embed_dim // num_heads, add_zero_attn
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        made = {"device": device, "dtype": dtype}
        one = self.kdim == self.vdim == embed_dim
        widths = {"q": embed_dim, "k": self.kdim, "v": self.vdim}
        self.register_parameter("in_proj_weight", new_parameter(3 * embed_dim, embed_dim, **made) if one else None)
        for part, width in widths.items():
            self.register_parameter(f"{part}_proj_weight", None if one else new_parameter(embed_dim, width, **made))
        self.register_parameter("in_proj_bias", new_parameter(3 * embed_dim, **made) if bias else None)
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, **made)
        for part in ("k", "v"):
            self.register_parameter(f"bias_{part}", new_parameter(1, 1, embed_dim, **made) if add_bias_kv else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Fill the parameters anew: projections by Glorot's rule, biases 0."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None and self.out_proj.bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None, need_weights: bool = True,
        attn_mask: Tensor | None = None, average_attn_weights: bool = True, is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        if is_causal and attn_mask is None:
            raise ArgumentError(
                "MultiheadAttention: is_causal=True without attn_mask", why="it is a hint about the mask", fix="pass the mask"
            )
        batched = query.ndim == 3
        q = self._batch_first(query, batched)
        k = q if key is query else self._batch_first(key, batched)
        v = k if value is key else self._batch_first(value, batched)
        self._check(q, k, v)
        q, k, v = self._project(q, k, v)
        mask = _merged(attn_mask, key_padding_mask, q, k.shape[1], self.num_heads)
        k, v, mask = self._extended(k, v, mask)
        q, k, v = (t.reshape(t.shape[0], t.shape[1], self.num_heads, self.head_dim).transpose(1, 2) for t in (q, k, v))
        mixed, weights = self._attend(q, k, v, mask, need_weights)  # (N, heads, L, head_dim)
        out = self.out_proj(mixed.transpose(1, 2).reshape(q.shape[0], q.shape[2], self.embed_dim))
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            return out.squeeze(0), None if weights is None else weights.squeeze(0)
        return out if self.batch_first else out.transpose(0, 1), weights

    def _batch_first(self, t: Tensor, batched: bool) -> Tensor:
        if not batched:
            return t.unsqueeze(0)
        return t if self.batch_first else t.transpose(0, 1)

    def _check(self, q: Tensor, k: Tensor, v: Tensor) -> None:
        widths = (self.embed_dim, self.kdim, self.vdim)
        fits = all(t.ndim == 3 and t.shape[2] == w for t, w in zip((q, k, v), widths, strict=True))
        if not fits or k.shape[:2] != v.shape[:2] or q.shape[0] != k.shape[0]:
            raise ShapeError(
                f"MultiheadAttention: query (N, L, E) = {q.shape}, key (N, S, kdim) = {k.shape}, value (N, S, vdim) = {v.shape}",
                why=f"E, kdim and vdim must be {widths}, and N and S agree",
                fix="check batch_first, and the widths given to the constructor",
            )

    def _project(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, bias, width = self.in_proj_weight, self.in_proj_bias, self.embed_dim
        if weight is not None and q is k and k is v:
            return F.linear(q, weight, bias).chunk(3, -1)
        parts = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight) if weight is None else weight.chunk(3)
        biases = (None, None, None) if bias is None else bias.split(width)
        q, k, v = (F.linear(t, w, b) for t, w, b in zip((q, k, v), parts, biases, strict=True))
        return q, k, v

    def _extended(self, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keys and values with the learnt one and the zero one behind them, open to every query."""
        extras: list[tuple[Tensor, Tensor]] = []
        n, _, width = k.shape
        if self.bias_k is not None and self.bias_v is not None:
            extras.append((self.bias_k.expand(n, 1, width), self.bias_v.expand(n, 1, width)))
        if self.add_zero_attn:
            extras.append((k.new_zeros(n, 1, width), v.new_zeros(n, 1, width)))
        for more_k, more_v in extras:
            k, v = cat([k, more_k], 1), cat([v, more_v], 1)
            mask = None if mask is None else cat([mask, mask.new_zeros(*mask.shape[:-1], 1)], -1)
        return k, v, mask

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        p = self.dropout if self.training else 0.0
        if not need_weights:
            return F.scaled_dot_product_attention(q, k, v, mask, p), None
        scores = (q * (1.0 / math.sqrt(self.head_dim))) @ k.transpose(-2, -1)
        weights = F.dropout(F.softmax(scores if mask is None else scores + mask, -1), p, self.training)
        return weights @ v, weights

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}"


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """A mask to add to scores: 0 where a bool mask is False, -inf where it is True."""
    if mask.dtype.kind != "b":
        return mask.to(like.dtype)
    return like._like(like._module.where(mask.array, -math.inf, 0.0).astype(like.dtype))


def _merged(attn_mask: Tensor | None, padding: Tensor | None, q: Tensor, size: int, heads: int) -> Tensor | None:
    """Both masks as one that broadcasts to the scores (N, heads, L, S)."""
    n, length = q.shape[:2]
    total = None
    if attn_mask is not None:
        if attn_mask.shape not in ((length, size), (n * heads, length, size)):
            raise ShapeError(
                f"MultiheadAttention: attn_mask of shape {attn_mask.shape}",
                fix=f"pass {(length, size)} or {(n * heads, length, size)}",
            )
        added = _added(attn_mask, q)
        total = added if added.ndim == 2 else added.reshape(n, heads, length, size)
    if padding is not None:
        padding = padding if padding.ndim == 2 else padding.unsqueeze(0)
        if padding.shape != (n, size):
            raise ShapeError(f"MultiheadAttention: key_padding_mask of shape {padding.shape}", fix=f"pass (N, S) = {(n, size)}")
        added = _added(padding, q).reshape(n, 1, 1, size)
        total = added if total is None else total + added
    return total
