"""Resizing, sampling at given places, and moving channels into pixels, with torch's conventions.

Resizing is separable: along each dimension every result is a weighted sum of a few elements (``taps``).

Example:
    >>> import nyala
    >>> interpolate(nyala.tensor([[[0.0, 2.0]]]), size=4, mode="linear")
    tensor([[[0.0000, 0.5000, 1.5000, 2.0000]]])
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autocast import in_full_precision
from ..errors import ArgumentError, DtypeError, ShapeError
from ..tensor import Tensor
from .pool import adaptive_taps
from .shape import permute, reshape
from .sizes import each, named
from .taps import Taps, take_taps

_LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}
_MODES = ("nearest", "nearest-exact", "area", *_LINEAR, "bicubic")
_ANTIALIASED = ("bilinear", "bicubic")


# ---- tables


def _ratio(size: int, out: int, align_corners: bool, scale: float | None, real: type[np.floating[Any]]) -> np.floating[Any]:
    """How many source elements one result spans, in the precision that torch uses."""
    if align_corners:
        return real(size - 1) / real(out - 1) if out > 1 else real(0)
    return real(1.0 / scale) if scale is not None and scale > 0 else real(size) / real(out)


def _centres(size: int, out: int, align_corners: bool, scale: float | None, real: type[np.floating[Any]]) -> np.ndarray[Any, Any]:
    """Where in the source each result lies; may be below 0."""
    ratio, i = _ratio(size, out, align_corners, scale, real), np.arange(out, dtype=real)
    return ratio * i if align_corners else ratio * (i + real(0.5)) - real(0.5)


def _nearest(size: int, out: int, exact: bool, scale: float | None, real: type[np.floating[Any]]) -> Taps:
    ratio, i = _ratio(size, out, False, scale, real), np.arange(out, dtype=real)
    at = _centres(size, out, False, scale, real).clip(0) + real(0.5) if exact else ratio * i
    return Taps(np.minimum(np.floor(at.astype(np.float32)).astype(np.int64), size - 1)[:, None], None, size)


def _linear(size: int, out: int, align_corners: bool, scale: float | None, real: type[np.floating[Any]]) -> Taps:
    at = _centres(size, out, align_corners, scale, real).clip(0)
    low = np.minimum(np.floor(at).astype(np.int64), size - 1)
    part = (at - low).clip(0, 1).astype(np.float64)
    return Taps(np.stack([low, np.minimum(low + 1, size - 1)], 1), np.stack([1 - part, part], 1), size)


def _cubic_filter(x: np.ndarray[Any, Any], a: float) -> np.ndarray[Any, Any]:
    """Keys' cubic convolution kernel; torch uses a = -0.75, and -0.5 with antialias."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _cubic(size: int, out: int, align_corners: bool, scale: float | None, real: type[np.floating[Any]]) -> Taps:
    at = _centres(size, out, align_corners, scale, real)
    low = np.minimum(np.floor(at).astype(np.int64), size - 1)
    part = (at - low).clip(0, 1).astype(np.float64)[:, None]
    steps = np.arange(-1, 3)
    return Taps((low[:, None] + steps).clip(0, size - 1), _cubic_filter(part - steps, -0.75), size)


def _antialias(size: int, out: int, align_corners: bool, scale: float | None, real: type[np.floating[Any]], cubic: bool) -> Taps:
    """A filter as wide as one result: the cubic or linear one stretched, cut at the edges and made to add up to 1."""
    ratio = float(_ratio(size, out, align_corners, scale, real))
    stretch = max(ratio, 1.0)
    support = (2.0 if cubic else 1.0) * stretch
    centre = ratio * (np.arange(out) + 0.5)
    start = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + support + 0.5).astype(np.int64), size)
    index = start[:, None] + np.arange(max(1, int((end - start).max(initial=1))))
    x = (index - centre[:, None] + 0.5) / stretch
    weight = _cubic_filter(x, -0.5) if cubic else (1 - np.abs(x)).clip(0)
    weight = np.where(index < end[:, None], weight, 0.0)
    return Taps(np.minimum(index, size - 1), weight / weight.sum(1, keepdims=True), size)


@functools.lru_cache(maxsize=256)
def _taps(mode: str, size: int, out: int, align_corners: bool, scale: float | None, antialias: bool, single: bool) -> Taps:
    """The table of one dimension; ``single`` says that places are computed in float32, as torch does for float32 and half."""
    real = np.float32 if single else np.float64
    if mode in ("nearest", "nearest-exact"):
        return _nearest(size, out, mode == "nearest-exact", scale, real)
    if mode == "area":
        return adaptive_taps(size, out)
    if antialias:
        return _antialias(size, out, align_corners, scale, real, mode == "bicubic")
    if mode == "bicubic":
        return _cubic(size, out, align_corners, scale, real)
    return _linear(size, out, align_corners, scale, real)


# ---- interpolate


def _check_mode(input: Tensor, mode: str, align_corners: bool | None, antialias: bool) -> None:
    n = input.ndim - 2
    if mode not in _MODES:
        raise ArgumentError(f"interpolate: mode={mode!r}", fix=f"use one of {', '.join(map(repr, _MODES))}")
    if not 1 <= n <= 3:
        raise ShapeError(
            f"interpolate: an input of shape {input.shape}",
            why="it takes (N, C, *S) with 1 to 3 dimensions in S",
            fix="unsqueeze it",
        )
    wanted = {**_LINEAR, "bicubic": 2}.get(mode, n)
    if wanted != n:
        raise ShapeError(
            f"interpolate: mode {mode!r} on an input {named(input.shape, n)}",
            why=f"this mode resizes {wanted} dimension(s), the input has {n}",
            fix=f"use mode {['linear', 'bilinear', 'trilinear'][n - 1]!r}",
        )
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        raise ArgumentError(
            f"interpolate: align_corners with mode {mode!r}", why="it has no corners to align", fix="leave it out"
        )
    if antialias and mode not in _ANTIALIASED:
        raise ArgumentError(f"interpolate: antialias with mode {mode!r}", fix="use 'bilinear' or 'bicubic' on (N, C, H, W)")
    if not input.is_floating_point() and not mode.startswith("nearest"):
        raise DtypeError(
            f"interpolate: mode {mode!r} on {input.dtype}", why="it computes averages", fix="convert it with .float()"
        )


def _output_size(
    input: Tensor, size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[tuple[int, ...], list[float | None]]:
    """The size, and the scale that places are computed with: None where the sizes alone decide."""
    n = input.ndim - 2
    if (size is None) == (scale_factor is None):
        raise ArgumentError("interpolate: both or neither of size and scale_factor", fix="give exactly one of them")
    if size is not None:
        if recompute:
            raise ArgumentError("interpolate: recompute_scale_factor with a size", fix="leave it out, or give scale_factor")
        return each(size, n, "interpolate: size", 1), [None] * n
    factors = [float(f) for f in scale_factor] if isinstance(scale_factor, Sequence) else [float(scale_factor)] * n
    if len(factors) != n or min(factors) <= 0:
        raise ArgumentError(f"interpolate: scale_factor={scale_factor!r}", fix=f"pass one positive number, or {n} of them")
    out = tuple(math.floor(s * f) for s, f in zip(input.shape[2:], factors, strict=True))
    if min(out) < 1:
        raise ShapeError(f"interpolate: {named(input.shape, n)} scaled by {scale_factor} would have size {out}", fix="scale less")
    return out, [None] * n if recompute else list(factors)


@in_full_precision
def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resize (N, C, *S) to a size or by a factor, as torch.nn.functional.interpolate.

    Args:
        size: the new spatial size, one number or one for each dimension.
        scale_factor: the factor, likewise; the size is rounded down. Give one of ``size`` and ``scale_factor``.
        mode: "nearest" (torch's off-by-half one), "nearest-exact", "linear" (N, C, L), "bilinear" and "bicubic" (N, C, H, W),
            "trilinear" (N, C, D, H, W), or "area".
        align_corners: whether the corner elements' centres, not their outer corners, stay in place.
        recompute_scale_factor: place results by the rounded size, not by ``scale_factor`` itself.
        antialias: filter before shrinking, as Pillow does; for "bilinear" and "bicubic".

    Raises:
        ArgumentError: an unknown mode, or arguments that exclude each other.
        ShapeError: the mode is for another number of dimensions.

    Example:
        >>> import nyala
        >>> interpolate(nyala.tensor([[[1.0, 2.0]]]), scale_factor=2)
        tensor([[[1., 1., 2., 2.]]])
    """
    _check_mode(input, mode, align_corners, antialias)
    out, scales = _output_size(input, size, scale_factor, recompute_scale_factor)
    if 0 in input.shape[1:]:
        raise ShapeError(
            f"interpolate: an input {named(input.shape, input.ndim - 2)}", why="it has nothing to resize", fix="pass elements"
        )
    single = input.dtype.itemsize < 8
    tables = [
        _taps(mode, s, o, bool(align_corners), f, antialias, single) for s, o, f in zip(input.shape[2:], out, scales, strict=True)
    ]
    if all(t.identity for t in tables):
        return input.clone()
    return take_taps(input, tables)


# ---- channels and pixels


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(*, C r r, H, W) -> (*, C, H r, W r): channels laid out as pixels (Shi et al., arXiv:1609.05158).

    Raises:
        ShapeError: the channels do not divide by r * r.

    Example:
        >>> import nyala
        >>> pixel_shuffle(nyala.arange(4.0).reshape(1, 4, 1, 1), 2)
        tensor([[[[0., 1.],
                  [2., 3.]]]])
    """
    (r,) = each(upscale_factor, 1, "pixel_shuffle: upscale_factor", 1)
    if input.ndim < 3 or input.shape[-3] % (r * r):
        raise ShapeError(
            f"pixel_shuffle: an input (*, C, H, W) of shape {input.shape} with upscale_factor={r}",
            why=f"the channels must divide by {r * r}",
            fix="change the factor or the layer before",
        )
    *lead, c, h, w = input.shape
    k = len(lead)
    x = reshape(input, (*lead, c // (r * r), r, r, h, w))
    x = permute(x, *range(k), k, k + 3, k + 1, k + 4, k + 2)
    return reshape(x, (*lead, c // (r * r), h * r, w * r))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(*, C, H r, W r) -> (*, C r r, H, W): the inverse of ``pixel_shuffle``.

    Raises:
        ShapeError: height or width do not divide by r.

    Example:
        >>> import nyala
        >>> pixel_unshuffle(nyala.ones(1, 1, 4, 6), 2).shape
        (1, 4, 2, 3)
    """
    (r,) = each(downscale_factor, 1, "pixel_unshuffle: downscale_factor", 1)
    if input.ndim < 3 or input.shape[-1] % r or input.shape[-2] % r:
        raise ShapeError(
            f"pixel_unshuffle: an input (*, C, H, W) of shape {input.shape} with downscale_factor={r}",
            why=f"height and width must divide by {r}",
            fix="pad the input or change the factor",
        )
    *lead, c, h, w = input.shape
    k = len(lead)
    x = reshape(input, (*lead, c, h // r, r, w // r, r))
    x = permute(x, *range(k), k, k + 2, k + 4, k + 1, k + 3)
    return reshape(x, (*lead, c * r * r, h // r, w // r))
