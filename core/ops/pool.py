"""Pooling: maxima and averages over windows, fixed and adaptive.

Example:
    >>> import nyala
    >>> max_pool2d(nyala.arange(16.0).reshape(1, 1, 4, 4), 2)
    tensor([[[[ 5.,  7.],
              [13., 15.]]]])
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import kernels
from ..errors import ArgumentError, DtypeError, ShapeError
from ..operation import Operation
from ..tensor import Tensor
from .elementwise import abs_, pow, relu, sign
from .reduce import mean
from .shape import squeeze
from .sizes import batched, each, named
from .taps import Taps, take_taps

Size = tuple[int, ...]
Number = int | Sequence[int]
Table = np.ndarray[Any, Any]


class MaxPool(Operation):
    """The maximum of each window; ``indices`` holds where each stood, flat over the spatial dimensions."""

    indices: Any

    def __init__(self, tables: tuple[Table, ...], return_indices: bool) -> None:
        self.tables, self.return_indices = tables, return_indices

    def forward(self, x: Any) -> Any:
        self.spatial = x.shape[2:]
        best, self.indices = kernels.of(x).max_pool(x, self.tables, self.return_indices or self.recording)
        return best

    def backward(self, g: Tensor) -> Tensor:
        return ScatterPlanes(self.indices, self.spatial, self.tables).apply(g)


class ScatterPlanes(Operation):
    """Values added at flat indices of each plane, which a pooling by ``tables`` gave."""

    def __init__(self, indices: Any, spatial: Size, tables: tuple[Table, ...] | None = None) -> None:
        self.indices, self.spatial, self.tables = indices, spatial, tables

    def forward(self, g: Any) -> Any:
        return kernels.of(g).scatter_planes(g, self.indices, self.spatial, self.tables)

    def backward(self, g: Tensor) -> Tensor:
        return GatherPlanes(self.indices).apply(g)


class GatherPlanes(Operation):
    """Values at flat indices of each plane."""

    def __init__(self, indices: Any) -> None:
        self.indices = indices

    def forward(self, x: Any) -> Any:
        self.spatial = x.shape[2:]
        return kernels.of(x).gather_planes(x, self.indices)

    def backward(self, g: Tensor) -> Tensor:
        return ScatterPlanes(self.indices, self.spatial).apply(g)


# ---- windows


def _output_length(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """The number of windows; with ``ceil_mode`` the last may hang over the end, but must start before it."""
    reach = size + 2 * padding - dilation * (kernel - 1) - 1
    length = (reach + (stride - 1 if ceil_mode else 0)) // stride + 1
    return length - 1 if ceil_mode and (length - 1) * stride >= size + padding else length


@functools.lru_cache(maxsize=256)
def _max_table(size: int, kernel: int, stride: int, padding: int, dilation: int, length: int) -> Table:
    """(length, kernel) positions in the input; taps outside it repeat the window's first or last one inside."""
    at = np.arange(length)[:, None] * stride - padding + np.arange(kernel) * dilation
    inside = (at >= 0) & (at < size)
    first = np.where(inside, at, size).min(1, keepdims=True)
    last = np.where(inside, at, -1).max(1, keepdims=True)
    return at.clip(first, last)


@functools.lru_cache(maxsize=256)
def _average_taps(size: int, kernel: int, stride: int, padding: int, length: int, divide: str) -> Taps:
    """``divide`` by the "padded" extent of each window, by what is "inside" the input, or by "nothing"."""
    start = np.arange(length) * stride - padding
    end = np.minimum(start + kernel, size + padding)
    at = start[:, None] + np.arange(kernel)
    inside = (at >= 0) & (at < size)
    extent = {"padded": end - start, "inside": inside.sum(1), "nothing": np.ones(length)}[divide]
    return Taps(at.clip(0, size - 1), inside / extent[:, None], size)


def _adaptive_spans(size: int, length: int) -> tuple[Table, Table]:
    """Start and end of each of ``length`` windows that cover ``size`` elements evenly."""
    i = np.arange(length)
    return i * size // max(length, 1), -(-(i + 1) * size // max(length, 1))


@functools.lru_cache(maxsize=256)
def _adaptive_table(size: int, length: int) -> Table:
    start, end = _adaptive_spans(size, length)
    width = int((end - start).max(initial=1))
    return np.minimum(start[:, None] + np.arange(width), end[:, None] - 1)


@functools.lru_cache(maxsize=256)
def adaptive_taps(size: int, length: int) -> Taps:
    """The map that averages ``size`` elements into ``length``: adaptive average pooling along one dimension."""
    start, end = _adaptive_spans(size, length)
    table = start[:, None] + np.arange(int((end - start).max(initial=1)))
    weight = (table < end[:, None]) / (end - start)[:, None]
    return Taps(np.minimum(table, end[:, None] - 1), weight, size)


# ---- checks


def _window(
    what: str, input: Tensor, n: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Size, Size, Size, Size, Size]:
    """kernel, stride, padding, dilation and output size.

    Raises:
        ArgumentError: numbers that make no sense, or padding wider than half the window.
        ShapeError: the window does not fit the padded input.
    """
    kernel = each(kernel_size, n, f"{what}: kernel_size", 1)
    steps = kernel if stride is None or stride == [] or stride == () else each(stride, n, f"{what}: stride", 1)
    pads, spread = each(padding, n, f"{what}: padding"), each(dilation, n, f"{what}: dilation", 1)
    if any(p > (d * (k - 1) + 1) // 2 for p, k, d in zip(pads, kernel, spread, strict=True)):
        raise ArgumentError(
            f"{what}: padding {pads} with a window of {kernel}",
            why="a window could lie wholly in the padding",
            fix="pad at most half the window, or use nyala.nn.functional.pad first",
        )
    out = tuple(map(_output_length, input.shape[2:], kernel, steps, pads, spread, [ceil_mode] * n))
    if min(out) < 1:
        raise ShapeError(
            f"{what}: a window {kernel} with dilation {spread} on an input {named(input.shape, n)} with padding {pads}",
            why="it does not fit once",
            fix="use a smaller window or a larger input",
        )
    return kernel, steps, pads, spread, out


def _check_floating(what: str, input: Tensor) -> None:
    if not input.is_floating_point():
        raise DtypeError(f"{what}: an input of {input.dtype}", why="averages need floating point", fix="convert it with .float()")


def _pooled(x: Tensor, tables: tuple[Table, ...], had_batch: bool, return_indices: bool) -> Any:
    operation = MaxPool(tables, return_indices)
    out = operation.apply(x)
    if not had_batch:
        out = squeeze(out, 0)
    if not return_indices:
        return out
    indices = x._like(operation.indices.astype(np.int64))
    return out, indices if had_batch else squeeze(indices, 0)


def _max_pool(
    input: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, return_indices: bool, n: int
) -> Any:
    what = f"max_pool{n}d"
    x, had_batch = batched(input, n, what)
    kernel, steps, pads, spread, out = _window(what, x, n, kernel_size, stride, padding, dilation, ceil_mode)
    tables = tuple(map(_max_table, x.shape[2:], kernel, steps, pads, spread, out))
    if any(t.size and int(t.min()) < 0 for t in tables):
        raise ShapeError(
            f"{what}: a window {kernel} with dilation {spread} and padding {pads} on an input {named(x.shape, n)}",
            why="it steps over the whole input and would have no maximum",
            fix="use less dilation or a larger input",
        )
    return _pooled(x, tables, had_batch, return_indices)


def _avg_pool(
    input: Tensor, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, include: bool, divisor: int | None, n: int
) -> Tensor:
    what = f"avg_pool{n}d"
    x, had_batch = batched(input, n, what)
    _check_floating(what, x)
    if divisor == 0:
        raise ArgumentError(f"{what}: divisor_override=0", fix="use another number, or None")
    kernel, steps, pads, _, out = _window(what, x, n, kernel_size, stride, padding, 1, ceil_mode)
    divide = "nothing" if divisor is not None else "padded" if include else "inside"
    tables = list(map(_average_taps, x.shape[2:], kernel, steps, pads, out, [divide] * n))
    y = take_taps(x, tables)
    if divisor is not None:
        y = y * (1.0 / divisor)
    return y if had_batch else squeeze(y, 0)


def _adaptive_size(what: str, output_size: Any, x: Tensor, n: int) -> Size:
    given = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,) * n
    if len(given) != n:
        raise ArgumentError(f"{what}: output_size={output_size!r}", fix=f"pass one number, or {n}; None keeps a length")
    if 0 in x.shape[2:]:
        raise ShapeError(f"{what}: an input {named(x.shape, n)}", why="there is nothing to pool", fix="pass a larger input")
    return each(tuple(s if o is None else o for o, s in zip(given, x.shape[2:], strict=True)), n, f"{what}: output_size")


def _adaptive_avg_pool(input: Tensor, output_size: Any, n: int) -> Tensor:
    what = f"adaptive_avg_pool{n}d"
    x, had_batch = batched(input, n, what)
    _check_floating(what, x)
    out = _adaptive_size(what, output_size, x, n)
    if out == (1,) * n:
        y = mean(x, tuple(range(2, n + 2)), keepdim=True)
    else:
        y = take_taps(x, list(map(adaptive_taps, x.shape[2:], out)))
    return y if had_batch else squeeze(y, 0)


def _adaptive_max_pool(input: Tensor, output_size: Any, return_indices: bool, n: int) -> Any:
    what = f"adaptive_max_pool{n}d"
    x, had_batch = batched(input, n, what)
    out = _adaptive_size(what, output_size, x, n)
    return _pooled(x, tuple(map(_adaptive_table, x.shape[2:], out)), had_batch, return_indices)


# ---- public functions


def max_pool1d(
    input: Tensor,
    kernel_size: Number,
    stride: Number | None = None,
    padding: Number = 0,
    dilation: Number = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of every window: (N, C, L) or (C, L) -> (N, C, L'); with ``return_indices`` also where it stood.

    NaN counts as the largest. Windows over the edge see no padding. ``stride`` is the window's size where None.

    Raises:
        ShapeError: the window does not fit the input.
        ArgumentError: padding wider than half the window.

    Example:
        >>> import nyala
        >>> max_pool1d(nyala.tensor([[1.0, 3.0, 2.0, 5.0]]), 2)
        tensor([[3., 5.]])
    """
    return _max_pool(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, 1)


def max_pool2d(
    input: Tensor,
    kernel_size: Number,
    stride: Number | None = None,
    padding: Number = 0,
    dilation: Number = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of every window: (N, C, H, W) or (C, H, W) -> (N, C, H', W'); with ``return_indices`` also h * W + w of each.

    NaN counts as the largest. Windows over the edge see no padding. ``stride`` is the window's size where None.

    Raises:
        ShapeError: the window does not fit the input.
        ArgumentError: padding wider than half the window.

    Example:
        >>> import nyala
        >>> max_pool2d(nyala.arange(9.0).reshape(1, 1, 3, 3), 2, stride=1, return_indices=True)[1]
        tensor([[[[4, 5],
                  [7, 8]]]])
    """
    return _max_pool(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, 2)


def max_pool3d(
    input: Tensor,
    kernel_size: Number,
    stride: Number | None = None,
    padding: Number = 0,
    dilation: Number = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of every window of a volume: (N, C, D, H, W) or (C, D, H, W); with ``return_indices`` also where it stood.

    Raises:
        ShapeError: the window does not fit the input.
        ArgumentError: padding wider than half the window.

    Example:
        >>> import nyala
        >>> max_pool3d(nyala.ones(1, 2, 4, 4, 6), 2).shape
        (1, 2, 2, 2, 3)
    """
    return _max_pool(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, 3)


def avg_pool1d(
    input: Tensor,
    kernel_size: Number,
    stride: Number | None = None,
    padding: Number = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of every window: (N, C, L) or (C, L) -> (N, C, L').

    Args:
        count_include_pad: whether the padding's zeros count in the mean.

    Raises:
        ShapeError: the window does not fit the input.

    Example:
        >>> import nyala
        >>> avg_pool1d(nyala.tensor([[1.0, 3.0, 2.0, 6.0]]), 2)
        tensor([[2., 4.]])
    """
    return _avg_pool(input, kernel_size, stride, padding, ceil_mode, count_include_pad, None, 1)


def avg_pool2d(
    input: Tensor,
    kernel_size: Number,
    stride: Number | None = None,
    padding: Number = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every window: (N, C, H, W) or (C, H, W) -> (N, C, H', W').

    Args:
        count_include_pad: whether the padding's zeros count in the mean.
        divisor_override: divide the sums by this instead.

    Raises:
        ShapeError: the window does not fit the input.

    Example:
        >>> import nyala
        >>> avg_pool2d(nyala.ones(1, 1, 3, 3), 3, stride=2, padding=1, count_include_pad=False)
        tensor([[[[1., 1.],
                  [1., 1.]]]])
    """
    return _avg_pool(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, 2)


def avg_pool3d(
    input: Tensor,
    kernel_size: Number,
    stride: Number | None = None,
    padding: Number = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every window of a volume: (N, C, D, H, W) or (C, D, H, W).

    Raises:
        ShapeError: the window does not fit the input.

    Example:
        >>> import nyala
        >>> avg_pool3d(nyala.ones(1, 1, 2, 2, 2), 2)
        tensor([[[[[1.]]]]])
    """
    return _avg_pool(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, 3)


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Means over ``output_size`` windows that cover (N, C, L) or (C, L) evenly.

    Example:
        >>> import nyala
        >>> adaptive_avg_pool1d(nyala.tensor([[1.0, 3.0, 5.0]]), 2)
        tensor([[2., 4.]])
    """
    return _adaptive_avg_pool(input, output_size, 1)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means over windows that cover (N, C, H, W) or (C, H, W) evenly; None in ``output_size`` keeps a length.

    Example:
        >>> import nyala
        >>> adaptive_avg_pool2d(nyala.ones(2, 3, 7, 5), (None, 2)).shape
        (2, 3, 7, 2)
    """
    return _adaptive_avg_pool(input, output_size, 2)


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Means over windows that cover (N, C, D, H, W) or (C, D, H, W) evenly; None in ``output_size`` keeps a length.

    Example:
        >>> import nyala
        >>> adaptive_avg_pool3d(nyala.ones(1, 1, 3, 3, 3), 1)
        tensor([[[[[1.]]]]])
    """
    return _adaptive_avg_pool(input, output_size, 3)


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over ``output_size`` windows that cover (N, C, L) or (C, L) evenly.

    Example:
        >>> import nyala
        >>> adaptive_max_pool1d(nyala.tensor([[1.0, 5.0, 3.0]]), 2)
        tensor([[5., 5.]])
    """
    return _adaptive_max_pool(input, output_size, return_indices, 1)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over windows that cover (N, C, H, W) or (C, H, W) evenly; None in ``output_size`` keeps a length.

    Example:
        >>> import nyala
        >>> adaptive_max_pool2d(nyala.arange(9.0).reshape(1, 1, 3, 3), 1)
        tensor([[[[8.]]]])
    """
    return _adaptive_max_pool(input, output_size, return_indices, 2)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over windows that cover (N, C, D, H, W) or (C, D, H, W) evenly; None in ``output_size`` keeps a length.

    Example:
        >>> import nyala
        >>> adaptive_max_pool3d(nyala.ones(1, 2, 4, 4, 4), (2, 1, None)).shape
        (1, 2, 2, 1, 4)
    """
    return _adaptive_max_pool(input, output_size, return_indices, 3)


def _lp_pool(input: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool, n: int) -> Tensor:
    averages = _avg_pool(pow(input, norm_type), kernel_size, stride, 0, ceil_mode, True, None, n)
    count = math.prod(each(kernel_size, n, f"lp_pool{n}d: kernel_size", 1))
    return pow(sign(averages) * relu(abs_(averages)) * count, 1.0 / norm_type)


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Number, stride: Number | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of every window of (N, C, L): (sum of x ** p) ** (1 / p), p = ``norm_type``.

    Example:
        >>> import nyala
        >>> lp_pool1d(nyala.tensor([[3.0, 4.0]]), 2, 2)
        tensor([[5.]])
    """
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 1)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Number, stride: Number | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of every window of (N, C, H, W): (sum of x ** p) ** (1 / p), p = ``norm_type``.

    Example:
        >>> import nyala
        >>> lp_pool2d(nyala.ones(1, 1, 2, 2), 2, 2)
        tensor([[[[2.]]]])
    """
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 2)
