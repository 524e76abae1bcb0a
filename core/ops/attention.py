"""Attention: weighted means of values, weighted by how well queries and keys agree.

Example:
    >>> import nyala
    >>> q = nyala.zeros(1, 1, 2)
    >>> scaled_dot_product_attention(q, nyala.ones(1, 3, 2), nyala.tensor([[[0.0], [3.0], [6.0]]]))
    tensor([[[3.]]])
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from .. import kernels
from ..autocast import in_low_precision
from ..devices import check_same, module_of
from ..errors import ArgumentError, DtypeError, ShapeError
from ..operation import Composite, Operation
from ..random import Key, next_key
from ..tensor import Tensor
from .dropout import Dropout
from .elementwise import where
from .linalg import matmul
from .shape import repeat_interleave, transpose
from .softmax import softmax


class Attention(Composite):
    """Inputs query (..., H, L, E), key (..., G, S, E), value (..., G, S, V), and the float mask where there is one.

    ``grouped``: H is a multiple of G; else the dimensions before the last two broadcast. ``start``: query i sees keys up to
    number start + i, an array (1,) where the device alone knows it; None for all.
    """

    keeps_output = True

    def __init__(self, scale: float, allowed: Any, start: Any, p: float, words: tuple[int, int], grouped: bool = False) -> None:
        self.scale, self.allowed, self.start, self.grouped = scale, allowed, start, grouped
        self.dropout = (p, words) if p else None

    def forward(self, q: Any, k: Any, v: Any, *mask: Any) -> Any:
        inputs = _four(q, k, v, self.allowed, mask[0] if mask else None, self.grouped)
        out, statistics = kernels.of(q).attention(*inputs[:3], self.scale, *inputs[3:], self.start, self.dropout, self.recording)
        self.saved = (statistics,)
        return out if q.ndim == k.ndim == v.ndim == 4 else out.reshape(*_batch(q, k, v, self.grouped), *out.shape[-2:])

    def compose(self, q: Tensor, k: Tensor, v: Tensor, *mask: Tensor) -> Tensor:
        if self.grouped:
            k, v = (repeat_interleave(t, q.shape[-3] // t.shape[-3], -3) for t in (k, v))
        scores = matmul(q, transpose(k, -1, -2)) * self.scale
        if mask:
            scores = scores + mask[0]
        allowed = Tensor(_allowed(scores.array, self._seen(scores.array)))
        none = Tensor(~allowed.array.any(axis=-1, keepdims=True))
        # a row that may look nowhere gives 0, and must not pass NaN to its neighbours' gradients
        weights = softmax(where(allowed | none, where(none, 0.0, scores), -math.inf), -1)
        weights = where(none, 0.0, weights)
        return matmul(Dropout(*self.dropout).apply(weights) if self.dropout else weights, v)

    def _seen(self, scores: Any) -> Any:
        """Where queries may look as a bool array, or None for everywhere."""
        if self.start is None:
            return self.allowed
        xp, (queries, keys) = module_of(scores), scores.shape[-2:]
        causal = xp.arange(keys) <= xp.arange(queries)[:, None] + self.start
        return causal if self.allowed is None else causal & self.allowed

    def fused_backward(self, grad: Any, q: Any, k: Any, v: Any, *mask: Any) -> Any:
        if mask and self.edges[3] is not None:
            return self._backward_with_mask(grad, q, k, v, mask[0])
        inputs = _four(q, k, v, self.allowed, mask[0] if mask else None, self.grouped)
        shape = (*inputs[0].shape[:3], v.shape[-1])
        given = (grad.reshape(shape), *inputs[:3], self.output().array.reshape(shape), *self.saved)
        found = kernels.of(q).attention_backward(*given, self.scale, *inputs[3:], self.start, self.dropout)
        lead = _batch(q, k, v, self.grouped)
        ends = [t.shape[-3:] if self.grouped else t.shape[-2:] for t in (q, k, v)]
        lead = lead[:-1] if self.grouped else lead
        gradients = [_sum_to(g.reshape(*lead, *end), t.shape) for g, end, t in zip(found, ends, (q, k, v), strict=True)]
        return *gradients, *[None for _ in mask]

    def _backward_with_mask(self, grad: Any, q: Any, k: Any, v: Any, mask: Any) -> Any:
        """The gradient of a mask has the shape of the scores: here they are computed as a whole."""
        table, times = kernels.of(q), q.shape[-3] // k.shape[-3] if self.grouped else 1
        keys, values = (x.repeat(times, axis=-3) if times > 1 else x for x in (k, v))
        scores = table.matmul(q, keys.swapaxes(-1, -2))
        weights = table.attention_weights(scores, self.scale, self._seen(scores), mask)
        dropped = table.dropout(weights, *self.dropout) if self.dropout else weights
        gv = table.matmul(dropped.swapaxes(-1, -2), grad)
        gw = table.matmul(grad, values.swapaxes(-1, -2))
        gs = table.attention_weights_backward(gw, weights, dropped, 1.0)
        gm = _sum_to(gs, mask.shape).astype(mask.dtype, copy=False)
        gs = gs * gs.dtype.type(self.scale)
        gk = table.matmul(gs.swapaxes(-1, -2), q)
        gq = _sum_to(table.matmul(gs, keys), q.shape)
        return gq, _gathered(gk, k.shape, times), _gathered(gv, v.shape, times), gm


class _Split(Operation):
    """(N, T, heads * width) as (N, heads, T, width), the same memory."""

    view = True

    def __init__(self, width: int) -> None:
        self.width = width

    def forward(self, x: Any) -> Any:
        return x.reshape(x.shape[0], x.shape[1], -1, self.width).transpose(0, 2, 1, 3)

    def backward(self, g: Tensor) -> Tensor:
        return _Join().apply(g)


class _Join(Operation):
    """The inverse: (N, heads, T, width) as (N, T, heads * width)."""

    view = True

    def forward(self, x: Any) -> Any:
        n, heads, steps, self.width = x.shape
        return x.transpose(0, 2, 1, 3).reshape(n, steps, heads * self.width)

    def backward(self, g: Tensor) -> Tensor:
        return _Split(self.width).apply(g)


def split_heads(input: Tensor, width: int) -> Tensor:
    """(N, T, heads * width) -> (N, heads, T, width), a view."""
    return _Split(width).apply(input)


def join_heads(input: Tensor) -> Tensor:
    """(N, heads, T, width) -> (N, T, heads * width), a view of what attention gives."""
    return _Join().apply(input)


def _four(q: Any, k: Any, v: Any, allowed: Any, mask: Any, grouped: bool) -> tuple[Any, ...]:
    """The arrays as kernels take them: four dimensions, one batch size, one number of heads or (``grouped``) a multiple."""
    if (
        q.ndim == k.ndim == v.ndim == 4
        and q.shape[0] == k.shape[0] == v.shape[0]
        and (grouped or q.shape[1] == k.shape[1] == v.shape[1])
    ):
        return q, k, v, allowed, mask
    batch = _batch(q, k, v, grouped)
    scores = (*batch, q.shape[-2], k.shape[-2])
    if grouped:
        q, k, v = (_stretched(x, (*batch[:-1], *x.shape[-3:])) for x in (q, k, v))
    else:
        q, k, v = (_stretched(x, (*batch, *x.shape[-2:])) for x in (q, k, v))
    return q, k, v, *(None if x is None else _stretched(x, scores) for x in (allowed, mask))


def _alike(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...], grouped: bool) -> bool:
    """Whether shapes have four dimensions with nothing to broadcast: nearly always so."""
    return len(q) == len(k) == len(v) == 4 and q[0] == k[0] == v[0] and (grouped or q[1] == k[1] == v[1])


def _batch(q: Any, k: Any, v: Any, grouped: bool) -> tuple[int, ...]:
    """The dimensions of the result before the last two."""
    if grouped:
        return (*np.broadcast_shapes(q.shape[:-3], k.shape[:-3], v.shape[:-3]), q.shape[-3])
    return np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])


def _stretched(x: Any, shape: tuple[int, ...]) -> Any:
    """x broadcast to a shape, then with four dimensions."""
    x = module_of(x).broadcast_to(x, shape)
    if x.ndim < 4:
        return x[(None,) * (4 - x.ndim)]
    return x if x.ndim == 4 else x.reshape(-1, *shape[-3:])


def _gathered(g: Any, shape: tuple[int, ...], times: int) -> Any:
    """The gradient of keys or values, each of whose heads ``times`` heads shared."""
    if times > 1:
        g = g.reshape(*g.shape[:-3], -1, times, *g.shape[-2:]).sum(axis=-3, dtype=g.dtype)
    return _sum_to(g, shape)


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


def _check_shapes(query: Tensor, key: Tensor, value: Tensor, grouped: bool) -> None:
    q, k, v = query.shape, key.shape, value.shape
    if _alike(q, k, v, grouped) and q[3] == k[3] and k[2] == v[2]:
        return
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
        _batch(query, key, value, grouped)
    except ValueError:
        raise ShapeError(
            f"scaled_dot_product_attention: {shown}",
            why="the dimensions before the last two must broadcast",
            fix="make batch and heads equal, or pass enable_gqa=True for fewer heads of key and value",
        ) from None


def _check_groups(query: Tensor, key: Tensor, value: Tensor) -> None:
    heads = query.shape[-3] if query.ndim > 2 else 0
    for name, t in (("key", key), ("value", value)):
        if t.ndim < 3 or not t.shape[-3] or heads % t.shape[-3]:
            raise ShapeError(
                f"scaled_dot_product_attention with enable_gqa: query {query.shape}, {name} {t.shape}",
                why="the query's heads, dimension -3, must be a multiple of the key's and the value's",
                fix="check num_heads and num_key_value_heads",
            )


def _check_mask(attn_mask: Tensor, query: Tensor, key: Tensor, batch: tuple[int, ...]) -> None:
    check_same("scaled_dot_product_attention", query=query, attn_mask=attn_mask)
    scores = (*batch, query.shape[-2], key.shape[-2])
    try:
        fits = np.broadcast_shapes(attn_mask.shape, scores) == scores
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"scaled_dot_product_attention: attn_mask of shape {attn_mask.shape}, scores {scores}",
            why="the mask must broadcast to the scores (..., L, S)",
            fix="a padding mask (N, S) becomes mask[:, None, None, :]",
        )
    if attn_mask.dtype.kind not in "bfV":
        raise DtypeError(
            f"scaled_dot_product_attention: attn_mask of {attn_mask.dtype}",
            why="True in a bool mask lets take part, a float mask is added to the scores",
            fix="convert it with .bool()",
        )


_watching: ContextVar[list[Any] | None] = ContextVar("watched attention", default=None)


@contextlib.contextmanager
def watch_attention() -> Iterator[list[Any]]:
    """Inside, every attention also puts its weights, an array (..., heads, L, S), on the list: those before any dropout.

    The weights are computed besides the result, which stays what it is; it takes their memory and time.

    Example:
        >>> import nyala
        >>> x = nyala.zeros(1, 1, 2, 4)
        >>> with watch_attention() as seen:
        ...     out = scaled_dot_product_attention(x, x, x)
        >>> seen[0].tolist()
        [[[[0.5, 0.5], [0.5, 0.5]]]]
    """
    seen: list[Any] = []
    token = _watching.set(seen)
    try:
        yield seen
    finally:
        _watching.reset(token)


def _weights(operation: Attention, q: Any, k: Any, mask: Any) -> Any:
    """What an attention multiplies its values with: (..., heads, L, S)."""
    if operation.grouped:
        k = k.repeat(q.shape[-3] // k.shape[-3], axis=-3)
    table = kernels.of(q)
    scores = table.matmul(q, k.swapaxes(-1, -2))
    return table.attention_weights(scores, operation.scale, operation._seen(scores), mask)


@in_low_precision
def attend(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, start: Any, scale: float | None,
    grouped: bool = False, dropout_p: float = 0.0, dropout_key: Key | None = None,
) -> Tensor:  # fmt: skip
    """As ``scaled_dot_product_attention``, where a mask may join ``start``: query i sees keys 0..start + i, None all."""
    if query.dtype != key.dtype or query.dtype != value.dtype:
        raise DtypeError(
            f"scaled_dot_product_attention: query {query.dtype}, key {key.dtype}, value {value.dtype}",
            fix="convert them to one dtype",
        )
    if grouped:
        _check_groups(query, key, value)
        heads = query.shape[-3]
        if key.shape[-3] != value.shape[-3]:
            key, value = (repeat_interleave(t, heads // t.shape[-3], -3) for t in (key, value))
        grouped = key.shape[-3] != heads
    _check_shapes(query, key, value, grouped)
    allowed: Any = None
    added: tuple[Tensor, ...] = ()
    if attn_mask is not None:
        _check_mask(attn_mask, query, key, _batch(query, key, value, grouped))
        if attn_mask.dtype.kind == "b":
            allowed = attn_mask.array
        else:
            added = (attn_mask.to(query.dtype),)
    factor = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    words = (dropout_key or next_key("dropout")).words if dropout_p else (0, 0)
    operation = Attention(factor, allowed, start, dropout_p, words, grouped)
    if (seen := _watching.get()) is not None:
        seen.append(_weights(operation, query.array, key.array, added[0].array if added else None))
    return operation.apply(query, key, value, *added)


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
    if is_causal and attn_mask is not None:
        raise ArgumentError("scaled_dot_product_attention: attn_mask and is_causal=True", fix="put both into one mask")
    return attend(query, key, value, attn_mask, 0 if is_causal else None, scale, enable_gqa, dropout_p, dropout_key)
