"""Attention: means of values, weighted by the softmax of how well queries and keys agree."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...devices import module_of
from .dropout import dropout as drop
from .half import widened
from .linalg import Product, matmul

__all__ = ["attention", "attention_backward"]


def attention(
    q: Any, k: Any, v: Any, scale: float, allowed: Any = None, mask: Any = None, start: Any = None,
    dropout: tuple[float, tuple[int, int]] | None = None, statistics: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """softmax(q k^T * scale + mask) v among the keys that a query may see: (result, statistics or None).

    Shapes: q (B, H, L, E), k (B, G, S, E), v (B, G, S, V), result (B, H, L, V), a view of (B, L, H, V) where that is quick.
    H is a multiple of G: H / G neighbouring heads of the queries share a head of keys and values.

    A query sees the keys that ``allowed`` (bool; broadcasts to (B, H, L, S)) marks and, with ``start``, of these the keys up
    to number start + its own; start may be an array (1,). ``mask`` (broadcasts likewise) is added. One that sees nothing gives
    0; a key that a query does not see takes no part in its result, be it or its value infinite or not a number.
    ``dropout``: probability and key, on the weights (B, H, L, S).

    ``statistics``: (2, B, H, L), the largest score of each query, 0 where it sees nothing, and its sum of exp(score - that).
    """
    return attention_by(matmul, q, k, v, scale, allowed, mask, start, dropout, statistics)


def attention_by(
    product: Product, q: Any, k: Any, v: Any, scale: float, allowed: Any, mask: Any, start: Any,
    dropout: tuple[float, tuple[int, int]] | None, statistics: bool,
) -> tuple[Any, Any]:  # fmt: skip
    """``attention``; ``product`` multiplies matrices."""
    weights, largest, total = _weights(product, q, k, scale, allowed, mask, start)
    if dropout is not None:
        weights = drop(weights, *dropout)
    found = module_of(q).stack([largest[..., 0], total[..., 0]]) if statistics else None
    return _mixed(product, weights, _shared(v, q.shape[1])), found


def _mixed(product: Product, weights: Any, v: Any) -> Any:
    """weights @ v, where a weight of 0 takes nothing from its value, be it infinite or not a number."""
    xp = module_of(v)
    wide, used = widened(v), (weights != 0).astype(np.float32)
    finite = xp.isfinite(wide)
    if bool(finite.all()):
        return product(weights, v)
    out = product(weights, xp.where(finite, v, v.dtype.type(0)))
    none, high, low = (product(used, what.astype(np.float32)) > 0 for what in (xp.isnan(wide), wide == np.inf, wide == -np.inf))
    for where, value in ((high, np.inf), (low, -np.inf), (none | (high & low), np.nan)):
        out = xp.where(where & ~xp.isnan(out), out.dtype.type(value), out)
    return out


def _shared(t: Any, heads: int) -> Any:
    """Each head of keys or values once for every head of the queries that share it."""
    return t if t.shape[1] == heads else t.repeat(heads // t.shape[1], axis=1)


def _weights(product: Product, q: Any, k: Any, scale: float, allowed: Any, mask: Any, start: Any) -> tuple[Any, Any, Any]:
    """The softmax (B, H, L, S) in the dtype of q, its largest scores, and its sums, (B, H, L, 1)."""
    xp = module_of(q)
    scores = widened(product(q, _shared(k, q.shape[1]).swapaxes(-1, -2)))
    scores = scores * scores.dtype.type(scale)
    if mask is not None:
        scores = scores + widened(mask)
    if start is not None:
        queries, keys = scores.shape[-2:]
        seen = xp.arange(keys) <= xp.arange(queries)[:, None] + start
        allowed = seen if allowed is None else seen & allowed
    if allowed is not None:
        scores = xp.where(allowed, scores, scores.dtype.type(-np.inf))
    largest = scores.max(axis=-1, keepdims=True) if scores.shape[-1] else xp.zeros((*scores.shape[:-1], 1), scores.dtype)
    largest = xp.where(largest == -np.inf, 0, largest)
    e = xp.exp(scores - largest)
    total = e.sum(axis=-1, keepdims=True)
    return (e / xp.where(total == 0, 1, total)).astype(q.dtype, copy=False), largest, total


def attention_backward(
    grad: Any, q: Any, k: Any, v: Any, out: Any, statistics: Any, scale: float, allowed: Any = None, mask: Any = None,  # noqa: ARG001 - faster kernels need what attention gave
    start: int | None = None, dropout: tuple[float, tuple[int, int]] | None = None,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Gradients of q, k and v, from what ``attention`` was given and gave; the weights are computed anew."""
    return attention_backward_by(matmul, grad, q, k, v, scale, allowed, mask, start, dropout)


def attention_backward_by(
    product: Product, grad: Any, q: Any, k: Any, v: Any, scale: float, allowed: Any, mask: Any, start: int | None,
    dropout: tuple[float, tuple[int, int]] | None,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """``attention_backward``; ``product`` multiplies matrices."""
    heads = q.shape[1]
    weights = _weights(product, q, k, scale, allowed, mask, start)[0]
    dropped = weights if dropout is None else drop(weights, *dropout)
    gw = widened(product(grad, _shared(v, heads).swapaxes(-1, -2)))
    along = widened(dropped) * gw
    gs = (along - widened(weights) * along.sum(axis=-1, keepdims=True)) * along.dtype.type(scale)
    gs = gs.astype(q.dtype, copy=False)
    gq = product(gs, _shared(k, heads))
    return gq, _gathered(product(gs.swapaxes(-1, -2), q), k), _gathered(product(dropped.swapaxes(-1, -2), grad), v)


def _gathered(g: Any, t: Any) -> Any:
    """The sum over the heads that shared one of ``t``."""
    if g.shape[1] == t.shape[1]:
        return g
    b, heads, s, width = g.shape
    return widened(g).reshape(b, t.shape[1], heads // t.shape[1], s, width).sum(axis=2).astype(t.dtype, copy=False)
