"""The places that a sliding window touches, one tap at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from ...devices import module_of

Size = tuple[int, ...]
Pads = Sequence[int | tuple[int, int]]  # for each dimension: zeros at both ends, or (before, after)


def sides(padding: Pads) -> tuple[tuple[int, int], ...]:
    """For each dimension the zeros before and after it."""
    return tuple((p[0], p[1]) if isinstance(p, (tuple, list)) else (p, p) for p in padding)


def output_size(size: Sequence[int], kernel: Size, stride: Size, padding: Pads, dilation: Size) -> Size:
    """How many places a window has along each dimension; negative or 0 where it does not fit."""
    return tuple(
        (n + before + after - d * (k - 1) - 1) // s + 1
        for n, k, s, (before, after), d in zip(size, kernel, stride, sides(padding), dilation, strict=True)
    )


def padded_size(size: Sequence[int], padding: Pads) -> Size:
    """``size`` with the zeros around it."""
    return tuple(n + before + after for n, (before, after) in zip(size, sides(padding), strict=True))


def padded(x: Any, padding: Pads) -> Any:
    """(N, C, *S) with zeros around the last dimensions; ``x`` itself where there are none to add."""
    if not any(map(any, sides(padding))):
        return x
    out = module_of(x).zeros((*x.shape[:2], *padded_size(x.shape[2:], padding)), x.dtype)
    unpadded(out, padding)[...] = x
    return out


def unpadded(x: Any, padding: Pads) -> Any:
    """A view of ``x`` without the ``padding`` at the ends of the last dimensions."""
    return x[(..., *[slice(before, n - after) for n, (before, after) in zip(x.shape[2:], sides(padding), strict=True)])]


def taps(x: Any, kernel: Size, stride: Size, dilation: Size, out: Size) -> Iterator[Any]:
    """For each tap of the window, in C order, the view (N, C, *out) of the elements of ``x`` that it touches."""
    for tap in itertools.product(*[range(k) for k in kernel]):
        places = [
            slice(t * d, t * d + s * (n - 1) + 1, s) if n > 0 else slice(0, 0)
            for t, d, s, n in zip(tap, dilation, stride, out, strict=True)
        ]
        yield x[(..., *places)]
