"""Rotary positions."""

from __future__ import annotations

from typing import Any

from ...devices import module_of
from .half import widened

__all__ = ["rotate"]


def rotate(x: Any, cos: Any, sin: Any, interleaved: bool) -> Any:
    """Pairs of features turned by angles: (a, b) -> (a cos - b sin, b cos + a sin).

    x (N, heads, T, D), cos and sin (T, P), 2 P <= D. The first 2 P features are turned: those of a pair lie side by side where
    ``interleaved``, else P apart.
    """
    pairs = cos.shape[-1]
    turned, rest = widened(x[..., : 2 * pairs]), x[..., 2 * pairs :]
    if interleaved:
        a, b = turned[..., ::2], turned[..., 1::2]
    else:
        a, b = turned[..., :pairs], turned[..., pairs:]
    xp = module_of(x)
    parts = (a * cos - b * sin, b * cos + a * sin)
    found = xp.stack(parts, axis=-1).reshape(turned.shape) if interleaved else xp.concatenate(parts, axis=-1)
    found = found.astype(x.dtype, copy=False)
    return xp.concatenate([found, rest], axis=-1) if rest.shape[-1] else found
