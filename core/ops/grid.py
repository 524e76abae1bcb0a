"""Sampling at places that are themselves tensors: ``grid_sample`` and ``affine_grid`` (Jaderberg et al., arXiv:1506.02025).

Written in differentiable operations, so gradients of any order reach both the input and the grid.

Example:
    >>> import nyala
    >>> x = nyala.arange(4.0).reshape(1, 1, 2, 2)
    >>> grid_sample(x, nyala.zeros(1, 1, 1, 2))
    tensor([[[[1.5000]]]])
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..autocast import in_widest_precision
from ..devices import module_of
from ..errors import ArgumentError, DtypeError, ShapeError
from ..tensor import Tensor
from .elementwise import where
from .index import gather
from .linalg import matmul
from .shape import expand, reshape, transpose, unsqueeze

_MODES = ("bilinear", "nearest", "bicubic")
_BORDERS = ("zeros", "border", "reflection")


class _Tap(NamedTuple):
    """Along one dimension: which element each sample takes, how much of it (None: all), and whether it lies inside."""

    index: Any
    weight: Tensor | None
    inside: Any


def _unnormalised(grid: Tensor, size: int, align_corners: bool) -> Tensor:
    """From -1..1 to positions in a dimension of length ``size``."""
    return (grid + 1) * ((size - 1) / 2) if align_corners else ((grid + 1) * size - 1) * 0.5


def _clipped(at: Tensor, size: int) -> Tensor:
    """Positions moved to 0..size - 1; those that were moved, and those on the border itself, pass no gradient."""
    inner = Tensor((at.array > 0) & (at.array < size - 1))
    return where(inner, at, at.detach().clamp(0, size - 1))


def _reflected(at: Tensor, low: float, high: float) -> Tensor:
    """Positions mirrored at ``low`` and ``high`` until they lie between: x or a constant minus x, piece by piece."""
    xp, x = at._module, at.array
    if high <= low:
        return at * 0.0
    offset = x - low
    distance, sign = xp.abs(offset), xp.where(offset < 0, -1.0, 1.0).astype(x.dtype)
    flips, rest = xp.floor(distance / (high - low)), xp.fmod(distance, high - low)
    even = flips % 2 == 0
    value, slope = xp.where(even, rest + low, high - rest), xp.where(even, sign, -sign)
    return at * Tensor(slope) + Tensor((value - slope * x).astype(x.dtype))


def _bordered(at: Tensor, size: int, padding_mode: str, align_corners: bool) -> Tensor:
    if padding_mode == "zeros":
        return at
    if padding_mode == "reflection":
        at = _reflected(at, 0, size - 1) if align_corners else _reflected(at, -0.5, size - 0.5)
    return _clipped(at, size)


def _tap(at: Any, weight: Tensor | None, size: int) -> _Tap:
    """``at`` holds whole numbers, perhaps outside (or NaN, which counts as outside)."""
    inside = (at >= 0) & (at < size)
    return _Tap(module_of(at).where(inside, at, 0).astype(np.int64), weight, inside)


def _cubic_weights(t: Tensor) -> list[Tensor]:
    """Keys' kernel with a = -0.75 at distances t + 1, t, 1 - t and 2 - t."""
    a = -0.75

    def far(x: Tensor) -> Tensor:
        return ((x - 5) * x + 8) * x * a - 4 * a

    def near(x: Tensor) -> Tensor:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def _taps(grid: Tensor, size: int, mode: str, padding_mode: str, align_corners: bool) -> list[_Tap]:
    """The elements along one dimension that each sample is made of."""
    at = _unnormalised(grid, size, align_corners)
    xp = at._module
    if mode == "bicubic":
        low = xp.floor(at.array)
        weights = _cubic_weights(at - Tensor(low))
        places = [_bordered(Tensor(low + k), size, padding_mode, align_corners).array for k in (-1, 0, 1, 2)]
        return [_tap(xp.round(p), w, size) for p, w in zip(places, weights, strict=True)]
    at = _bordered(at, size, padding_mode, align_corners)
    if mode == "nearest":
        return [_tap(xp.round(at.array), None, size)]
    low = xp.floor(at.array)
    part = at - Tensor(low)
    return [_tap(low, 1 - part, size), _tap(low + 1, part, size)]


def _check(input: Tensor, grid: Tensor, mode: str, padding_mode: str) -> int:
    n = input.ndim - 2
    if mode not in _MODES or padding_mode not in _BORDERS:
        raise ArgumentError(
            f"grid_sample: mode={mode!r}, padding_mode={padding_mode!r}",
            fix=f"use a mode of {', '.join(_MODES)} and a padding mode of {', '.join(_BORDERS)}",
        )
    if n not in (2, 3) or grid.ndim != input.ndim or grid.shape[-1] != n or grid.shape[0] != input.shape[0]:
        raise ShapeError(
            f"grid_sample: an input {input.shape} and a grid {grid.shape}",
            why="it takes (N, C, H, W) with (N, H', W', 2), or (N, C, D, H, W) with (N, D', H', W', 3)",
            fix="give the grid the input's batch size and one coordinate for each spatial dimension",
        )
    if mode == "bicubic" and n != 2:
        raise ShapeError(f"grid_sample: mode 'bicubic' on an input {input.shape}", why="it samples images", fix="use 'bilinear'")
    if 0 in input.shape[1:]:
        raise ShapeError(f"grid_sample: an input {input.shape}", why="there is nothing to sample", fix="pass elements")
    if input.dtype != grid.dtype or not input.is_floating_point():
        raise DtypeError(f"grid_sample: an input of {input.dtype} and a grid of {grid.dtype}", fix="give both one floating dtype")
    return n


@in_widest_precision
def grid_sample(
    input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Tensor:
    """Elements of (N, C, H, W) or (N, C, D, H, W) at the places of a grid (N, *S, 2 or 3) -> (N, C, *S).

    Args:
        grid: x, y (and z) in -1..1: x runs along W.
        mode: "bilinear", "nearest", or "bicubic" (images alone).
        padding_mode: what lies outside: "zeros", the "border", or the "reflection" of the inside.
        align_corners: whether -1 and 1 name the centres of the corner elements, not their outer corners. None is False.

    Raises:
        ShapeError: the grid does not fit the input.

    Example:
        >>> import nyala
        >>> grid_sample(nyala.ones(1, 3, 4, 4), nyala.zeros(1, 5, 6, 2), padding_mode="border").shape
        (1, 3, 5, 6)
    """
    n = _check(input, grid, mode, padding_mode)
    batch, channels, out = input.shape[0], input.shape[1], grid.shape[1:-1]
    flat = reshape(input, (batch, channels, math.prod(input.shape[2:])))
    coordinates = reshape(grid, (batch, math.prod(out), n))
    axes = [
        _taps(coordinates[:, :, n - 1 - i], size, mode, padding_mode, bool(align_corners))
        for i, size in enumerate(input.shape[2:])
    ]
    total: Tensor | None = None
    for combination in itertools.product(*axes):
        part = _sampled(flat, combination, input.shape[2:])
        total = part if total is None else total + part
    assert total is not None
    return reshape(total, (batch, channels, *out))


def _sampled(flat: Tensor, combination: Sequence[_Tap], spatial: tuple[int, ...]) -> Tensor:
    """One element for each sample, times its weight; 0 where it lies outside. (N, C, S) -> (N, C, P)."""
    index, inside, weight = 0, True, None
    for tap, size in zip(combination, spatial, strict=True):
        index, inside = index * size + tap.index, inside & tap.inside
        if tap.weight is not None:
            weight = tap.weight if weight is None else weight * tap.weight
    places = expand(unsqueeze(Tensor(index), 1), flat.shape[0], flat.shape[1], -1)
    mask = unsqueeze(Tensor(inside), 1)
    found = where(mask, gather(flat, 2, places), 0.0)
    return found if weight is None else found * where(mask, unsqueeze(weight, 1), 0.0)


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The grid of an affine map: theta (N, 2, 3) with size (N, C, H, W) -> (N, H, W, 2), or (N, 3, 4) -> (N, D, H, W, 3).

    Raises:
        ShapeError: theta does not fit the size.

    Example:
        >>> import nyala
        >>> affine_grid(nyala.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (1, 1, 1, 2), align_corners=True)
        tensor([[[[-1.,  0.],
                  [ 1.,  0.]]]])
    """
    n = len(size) - 2
    if n not in (2, 3) or theta.shape != (size[0], n, n + 1):
        raise ShapeError(
            f"affine_grid: theta {theta.shape} and size {tuple(size)}",
            why="it takes theta (N, 2, 3) with (N, C, H, W), or (N, 3, 4) with (N, C, D, H, W)",
            fix="give theta the batch size and number of dimensions of the size",
        )
    lines = []
    for length in size[2:]:
        line = np.linspace(-1, 1, length) if length > 1 else np.zeros(1)
        lines.append(line if align_corners else line * ((length - 1) / length))
    places = np.stack([*np.meshgrid(*lines, indexing="ij")[::-1], np.ones(tuple(size[2:]))], -1)
    base = theta._like(theta._module.asarray(places.reshape(-1, n + 1), theta.dtype))
    grid = matmul(expand(unsqueeze(base, 0), size[0], -1, -1), transpose(theta, 1, 2))
    return reshape(grid, (size[0], *size[2:], n))
