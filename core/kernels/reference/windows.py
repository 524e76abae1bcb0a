"""The places that a sliding window touches, one tap at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from ...devices import module_of

Size = tuple[int, ...]


def output_size(size: Sequence[int], kernel: Size, stride: Size, padding: Size, dilation: Size) -> Size:
    """How many places a window has along each dimension; negative or 0 where it does not fit."""
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )


def padded(x: Any, padding: Size) -> Any:
    """(N, C, *S) with zeros around the last dimensions; ``x`` itself where there are none to add."""
    if not any(padding):
        return x
    out = module_of(x).zeros((*x.shape[:2], *[n + 2 * p for n, p in zip(x.shape[2:], padding, strict=True)]), x.dtype)
    unpadded(out, padding)[...] = x
    return out


def unpadded(x: Any, padding: Size) -> Any:
    """A view of ``x`` without ``padding`` elements at both ends of the last dimensions."""
    return x[(..., *[slice(p, n - p) for n, p in zip(x.shape[2:], padding, strict=True)])]


def taps(x: Any, kernel: Size, stride: Size, dilation: Size, out: Size) -> Iterator[Any]:
    """For each tap of the window, in C order, the view (N, C, *out) of the elements of ``x`` that it touches."""
    for tap in itertools.product(*[range(k) for k in kernel]):
        places = [
            slice(t * d, t * d + s * (n - 1) + 1, s) if n > 0 else slice(0, 0)
            for t, d, s, n in zip(tap, dilation, stride, out, strict=True)
        ]
        yield x[(..., *places)]
