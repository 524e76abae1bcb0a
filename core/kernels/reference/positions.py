"""Rotary positions."""

from __future__ import annotations

from typing import Any

from ...devices import module_of
from .half import widened

__all__ = ["append", "rotate", "rotate_append"]


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


def rotate_append(q: Any, k: Any, v: Any, cos: Any, sin: Any, interleaved: bool, keys: Any, values: Any, place: Any) -> Any:
    """The queries turned; the keys turned, and the values, are written to where a cache has room for them.

    q (N, H, T, D), k (N, G, T, D), v (N, G, T, V), cos and sin (T, P): as of ``rotate``. keys (N, G, R, D) and values
    (N, G, R, V) hold the steps before, and get the new ones from step ``place`` on; ``place`` + T is R at most. Where it is no
    number but an array (1,), on a GPU, cos and sin (R, P) are those of all positions.
    """
    if not isinstance(place, int):
        steps = _steps(place, k.shape[2])
        cos, sin = cos[steps], sin[steps]
    append(rotate(k, cos, sin, interleaved), v, keys, values, place)
    return rotate(q, cos, sin, interleaved)


def append(k: Any, v: Any, keys: Any, values: Any, place: Any) -> None:
    """Keys and values are written to where a cache has room for them; arguments as of ``rotate_append``."""
    steps = slice(place, place + k.shape[2]) if isinstance(place, int) else _steps(place, k.shape[2])
    keys[:, :, steps] = k
    values[:, :, steps] = v


def _steps(place: Any, count: int) -> Any:
    return place.astype("int64") + module_of(place).arange(count)
