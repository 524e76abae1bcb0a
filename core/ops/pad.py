"""Padding, and windows laid out as columns.

Example:
    >>> import nyala
    >>> pad(nyala.tensor([[1.0, 2.0, 3.0]]), (2, 1), mode="reflect")
    tensor([[3., 2., 1., 2., 3., 2.]])
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import kernels
from ..devices import module_of
from ..errors import ArgumentError, ShapeError
from ..operation import Operation
from ..tensor import Tensor
from .operands import axis_of
from .shape import cat, expand, flip, narrow, squeeze, unsqueeze
from .sizes import each
from .taps import Taps, take_taps

Number = int | Sequence[int]
Widths = tuple[tuple[int, int], ...]


class ConstantPad(Operation):
    """A border of one value around each dimension; negative widths cut off."""

    def __init__(self, widths: Widths, value: float) -> None:
        self.widths, self.value = widths, value

    def forward(self, x: Any) -> Any:
        return kernels.of(x).constant_pad(x, self.widths, self.value)

    def backward(self, g: Tensor) -> Tensor:
        return zero_pad(g, [(-a, -b) for a, b in self.widths])


def zero_pad(input: Tensor, widths: Sequence[tuple[int, int]]) -> Tensor:
    """Zeros around the tensor: one pair (before, after) for each of its dimensions."""
    return ConstantPad(tuple(widths), 0).apply(input)


def _places(mode: str, size: int, before: int, after: int) -> np.ndarray[Any, Any]:
    """Where in a dimension of length ``size`` each element of the padded one comes from."""
    at = np.arange(-before, size + after)
    if mode == "circular":
        return at % size
    if mode == "replicate":
        return at.clip(0, size - 1)
    period = max(2 * (size - 1), 1)
    return size - 1 - abs(at % period - (size - 1))


@functools.lru_cache(maxsize=256)
def _pad_taps(mode: str, size: int, before: int, after: int) -> Taps:
    return Taps(_places(mode, size, before, after)[:, None], None, size)


def _check_border(input: Tensor, widths: Widths, mode: str) -> None:
    """Modes that take the border from the input can give only as much as it has."""
    for i, ((before, after), size) in enumerate(zip(widths, input.shape[-len(widths) :], strict=True)):
        most = {"reflect": size - 1, "circular": size, "replicate": max(before, after)}[mode]
        axis = input.ndim - len(widths) + i
        if max(before, after) > most or size == 0:
            raise ShapeError(
                f"pad: {before} before and {after} after dimension {axis} of {input.shape}, mode {mode!r}",
                why=f"at most {most} can be taken from a length of {size}",
                fix="pad less, or use mode 'replicate' or 'constant'",
            )
        if size + before + after < 0:
            raise ShapeError(f"pad: {before} and {after} leave nothing of dimension {axis} of {input.shape}", fix="cut off less")


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Add a border to the last dimensions; negative widths cut off.

    Args:
        pad: before and after the last dimension, then before and after the last but one, and so on.
        mode: "constant" (any number of dimensions), or "reflect", "replicate" or "circular" for the last 1, 2 or 3
            of an input (N, C, *S) or (C, *S).
        value: what "constant" fills with, 0 where None.

    Raises:
        ShapeError: a border wider than the mode can take from the input, or widths for more dimensions than there are.
        ArgumentError: an unknown mode, or an odd number of widths.

    Example:
        >>> import nyala
        >>> import nyala.nn.functional as F
        >>> F.pad(nyala.ones(1, 1, 2, 2), (1, 1), value=7.0)
        tensor([[[[7., 1., 1., 7.],
                  [7., 1., 1., 7.]]]])
    """
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise ArgumentError(f"pad: mode={mode!r}", fix="use 'constant', 'reflect', 'replicate' or 'circular'")
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise ArgumentError(
            f"pad: {len(pad)} widths {tuple(pad)} for a tensor of shape {input.shape}",
            fix="pass two for each dimension, the last dimension first",
        )
    widths = tuple((int(pad[i]), int(pad[i + 1])) for i in range(len(pad) - 2, -1, -2))
    if mode == "constant":
        return _constant_pad(input, widths, 0 if value is None else value)
    if value is not None and value != 0:
        raise ArgumentError(
            f"pad: value={value} with mode {mode!r}", why="only 'constant' fills with a value", fix="leave it out"
        )
    n = len(widths)
    if n not in (1, 2, 3) or input.ndim not in (n + 1, n + 2):
        raise ShapeError(
            f"pad: {len(pad)} widths with mode {mode!r} for a tensor of shape {input.shape}",
            why="this mode pads the last 1, 2 or 3 dimensions of (N, C, *S) or (C, *S)",
            fix="pass 2, 4 or 6 widths to match the spatial dimensions",
        )
    _check_border(input, widths, mode)
    if n == 1 and -min(widths[0]) <= input.shape[-1]:
        return _bordered(input, *widths[0], mode)
    tables = [_pad_taps(mode, size, *w) for w, size in zip(widths, input.shape[-n:], strict=True)]
    return input.clone() if all(t.identity for t in tables) else take_taps(input, tables, input.ndim - n)


def _bordered(input: Tensor, before: int, after: int, mode: str) -> Tensor:
    """The last dimension between two borders. Sounds are long: a table of all places would outweigh them."""
    size, first, last = input.shape[-1], max(-before, 0), max(-after, 0)
    parts = [narrow(input, -1, first, size - first - last)] if first + last <= size else []
    if before > 0:
        parts.insert(0, _border(input, before, mode, 0))
    if after > 0:
        parts.append(_border(input, after, mode, size))
    return cat(parts, -1) if len(parts) > 1 else parts[0].clone()


def _border(input: Tensor, width: int, mode: str, end: int) -> Tensor:
    """``width`` elements before the last dimension (``end`` 0) or behind it (``end`` its size)."""
    size = input.shape[-1]
    if mode == "circular":
        return narrow(input, -1, 0 if end else size - width, width)
    if mode == "reflect":
        return flip(narrow(input, -1, size - 1 - width if end else 1, width), -1)
    return expand(narrow(input, -1, size - 1 if end else 0, 1), (*input.shape[:-1], width))


def _constant_pad(input: Tensor, widths: Widths, value: float) -> Tensor:
    full = ((0, 0),) * (input.ndim - len(widths)) + widths
    for i, (n, (a, b)) in enumerate(zip(input.shape, full, strict=True)):
        if n + a + b < 0 or n + min(a, 0) + min(b, 0) < 0:
            raise ShapeError(f"pad: {a} and {b} leave nothing of dimension {i} of {input.shape}", fix="cut off less")
    if not any(a or b for a, b in full):
        return input.clone()
    return ConstantPad(full, value).apply(input)


class Unfold(Operation):
    """Windows as columns: im2col."""

    def __init__(
        self, kernel: tuple[int, ...], dilation: tuple[int, ...], padding: tuple[int, ...], stride: tuple[int, ...]
    ) -> None:
        self.window = kernel, dilation, padding, stride

    def forward(self, x: Any) -> Any:
        self.size = x.shape[2:]
        return kernels.of(x).im2col(x, *self.window)

    def backward(self, g: Tensor) -> Tensor:
        return Fold(self.size, *self.window).apply(g)


class Fold(Operation):
    """Columns added back where their windows stood: col2im."""

    def __init__(self, size: tuple[int, ...], *window: Any) -> None:
        self.size, self.window = size, window

    def forward(self, columns: Any) -> Any:
        return kernels.of(columns).col2im(columns, self.size, *self.window)

    def backward(self, g: Tensor) -> Tensor:
        return Unfold(*self.window).apply(g)


def _window(what: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> list[tuple[int, ...]]:
    return [
        each(kernel_size, 2, f"{what}: kernel_size", 1),
        each(dilation, 2, f"{what}: dilation", 1),
        each(padding, 2, f"{what}: padding"),
        each(stride, 2, f"{what}: stride", 1),
    ]


def _places_of(what: str, size: Sequence[int], window: list[tuple[int, ...]]) -> tuple[int, ...]:
    """How many windows stand along each dimension."""
    kernel, dilation, padding, stride = window
    counts = tuple(
        (s + 2 * p - d * (k - 1) - 1) // t + 1 for s, k, d, p, t in zip(size, kernel, dilation, padding, stride, strict=True)
    )
    if min(counts) < 1:
        raise ShapeError(
            f"{what}: a window {kernel} with dilation {dilation} on a size of {tuple(size)} with padding {padding}",
            why="it does not fit once",
            fix="use a smaller window or more padding",
        )
    return counts


def unfold(input: Tensor, kernel_size: Number, dilation: Number = 1, padding: Number = 0, stride: Number = 1) -> Tensor:
    """Every window of an image as a column: (N, C, H, W) or (C, H, W) -> (N, C * KH * KW, L).

    Raises:
        ShapeError: the window does not fit the padded input.

    Example:
        >>> import nyala
        >>> unfold(nyala.arange(6.0).reshape(1, 1, 2, 3), (2, 2))
        tensor([[[0., 1.],
                 [1., 2.],
                 [3., 4.],
                 [4., 5.]]])
    """
    if input.ndim not in (3, 4):
        raise ShapeError(
            f"unfold: an input of shape {input.shape}", why="it takes (N, C, H, W) or (C, H, W)", fix="add or remove a dimension"
        )
    window = _window("unfold", kernel_size, dilation, padding, stride)
    _places_of("unfold", input.shape[-2:], window)
    out = Unfold(*window).apply(input if input.ndim == 4 else unsqueeze(input, 0))
    return out if input.ndim == 4 else squeeze(out, 0)


def fold(
    input: Tensor, output_size: Number, kernel_size: Number, dilation: Number = 1, padding: Number = 0, stride: Number = 1
) -> Tensor:
    """Columns added back where their windows stood: (N, C * KH * KW, L) or without N -> (N, C, *output_size).

    Raises:
        ShapeError: the columns do not match the windows of ``output_size``.

    Example:
        >>> import nyala
        >>> fold(nyala.ones(1, 4, 2), (2, 3), (2, 2))
        tensor([[[[1., 2., 1.],
                  [1., 2., 1.]]]])
    """
    if input.ndim not in (2, 3):
        raise ShapeError(
            f"fold: an input of shape {input.shape}", why="it takes (N, C * KH * KW, L) or (C * KH * KW, L)", fix="reshape it"
        )
    size = each(output_size, 2, "fold: output_size", 1)
    window = _window("fold", kernel_size, dilation, padding, stride)
    places = _places_of("fold", size, window)
    rows, columns = input.shape[-2:]
    if rows % math.prod(window[0]) or columns != math.prod(places):
        raise ShapeError(
            f"fold: an input (N, C * KH * KW, L) of shape {input.shape}",
            why=f"windows {window[0]} on {size} give C * {math.prod(window[0])} rows and L = {places[0]} * {places[1]} columns",
            fix="use the arguments that unfold was called with",
        )
    out = Fold(size, *window).apply(input if input.ndim == 3 else unsqueeze(input, 0))
    return out if input.ndim == 3 else squeeze(out, 0)


class SlidingWindows(Operation):
    """Windows along one dimension as a view, the window's own dimension last."""

    view = True

    def __init__(self, axis: int, size: int, step: int) -> None:
        self.axis, self.size, self.step = axis, size, step

    def forward(self, x: Any) -> Any:
        self.length = x.shape[self.axis]
        shape = list(x.shape)
        strides = list(x.strides)
        shape[self.axis] = (self.length - self.size) // self.step + 1
        strides[self.axis] *= self.step
        as_strided = module_of(x).lib.stride_tricks.as_strided
        return as_strided(x, (*shape, self.size), (*strides, x.strides[self.axis]))

    def backward(self, g: Tensor) -> Tensor:
        return AddWindows(self.axis, self.length, self.size, self.step).apply(g)


class AddWindows(Operation):
    """Windows added back along their dimension: the adjoint of ``SlidingWindows``."""

    def __init__(self, axis: int, length: int, size: int, step: int) -> None:
        self.axis, self.length, self.size, self.step = axis, length, size, step

    def forward(self, g: Any) -> Any:
        return kernels.of(g).add_windows(g, self.axis, self.length, self.step)

    def backward(self, g: Tensor) -> Tensor:
        return SlidingWindows(self.axis, self.size, self.step).apply(g)


def unfold_dimension(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """``Tensor.unfold``: every window of ``size`` elements along a dimension, ``step`` apart, as a new last dimension (a view).

    Raises:
        ShapeError: the window is longer than the dimension.

    Example:
        >>> import nyala
        >>> unfold_dimension(nyala.arange(5.0), 0, 3, 2)
        tensor([[0., 1., 2.],
                [2., 3., 4.]])
    """
    axis = axis_of(dimension, input.ndim, "unfold")
    (size,), (step,) = each(size, 1, "unfold: size"), each(step, 1, "unfold: step", 1)
    if input.ndim == 0:
        return SlidingWindows(0, size, step).apply(unsqueeze(input, 0))[0]
    if size > input.shape[axis]:
        raise ShapeError(
            f"unfold: a window of {size} along dimension {dimension} of {input.shape}",
            why=f"the dimension has length {input.shape[axis]}",
            fix="use a shorter window, or pad first",
        )
    return SlidingWindows(axis, size, step).apply(input)
