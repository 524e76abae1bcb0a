"""Reductions: sums, means, extremes, and orders along dimensions.

Example:
    >>> import nyala
    >>> x = nyala.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> nyala.mean(x, dim=0)
    tensor([2., 3.])
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import dtypes, kernels
from ..autocast import in_full_precision
from ..devices import module_of
from ..errors import ArgumentError, DtypeError, ShapeError
from ..kernels.reference.half import is_half, widened
from ..operation import Operation
from ..tensor import Tensor
from .elementwise import abs_, exp, log, sqrt, where
from .index import gather, scatter_add
from .operands import axes_of, axis_of, floating
from .shape import cat, expand, flip, narrow, reshape, unsqueeze

Dim = int | Sequence[int] | None


class ValuesIndices(NamedTuple):
    """What max, min, sort, topk and their like give along a dimension."""

    values: Tensor
    indices: Tensor


def _kept(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with the reduced dimensions at length 1."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


class Sum(Operation):
    def __init__(self, axes: tuple[int, ...], keepdim: bool) -> None:
        self.axes, self.keepdim = axes, keepdim

    def forward(self, x: Any) -> Any:
        self.source = x.shape
        return kernels.of(x).sum(x, self.axes, self.keepdim)

    def backward(self, g: Tensor) -> Tensor:
        return expand(reshape(g, _kept(self.source, self.axes)), self.source)


class Mean(Sum):
    def forward(self, x: Any) -> Any:
        self.source = x.shape
        return kernels.of(x).mean(x, self.axes, self.keepdim)

    def backward(self, g: Tensor) -> Tensor:
        return super().backward(g / builtins.max(1, math.prod(self.source[i] for i in self.axes)))


@in_full_precision
def sum(input: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum over ``dim``, or over everything; integers and bools are added up as int64."""
    if dtype is not None:
        input = input.to(dtype)
    elif input.array.dtype.kind in "iub":
        input = input.to(dtypes.int64)
    return Sum(axes_of(dim, input.ndim, "sum"), keepdim).apply(input)


def mean(input: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean over ``dim``, or over everything.

    Raises:
        DtypeError: the tensor holds integers or bools.
    """
    if dtype is not None:
        input = input.to(dtype)
    _floating_only(input, "mean")
    return Mean(axes_of(dim, input.ndim, "mean"), keepdim).apply(input)


def _floating_only(input: Tensor, what: str) -> None:
    if input.array.dtype.kind in "iub":
        raise DtypeError(f"{what} of a tensor of {input.dtype}", why="it would not be whole", fix="convert it with .float()")


def var(
    input: Tensor, dim: Dim = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    """The variance over ``dim``: squares of the distance to the mean, divided by N - correction (1 unless said).

    NaN where N is not greater than the correction. ``x.var(False)`` is ``x.var(unbiased=False)``, as in torch.
    """
    _floating_only(input, "var")
    if isinstance(dim, bool):
        unbiased, dim = dim, None
    axes = axes_of(dim, input.ndim, "var")
    correction = (1 if unbiased else 0) if correction is None else correction
    if not input.is_complex():
        return Var(axes, keepdim, correction).apply(input)
    freedom = math.prod(input.shape[i] for i in axes) - correction
    centred = input - mean(input, axes, keepdim=True)
    total = Sum(axes, keepdim).apply(centred.real * centred.real + centred.imag * centred.imag)
    return total / freedom if freedom > 0 else total * math.nan


class Var(Operation):
    keeps = (0,)

    def __init__(self, axes: tuple[int, ...], keepdim: bool, correction: float) -> None:
        self.axes, self.keepdim, self.correction = axes, keepdim, correction

    def forward(self, x: Any) -> Any:
        return kernels.of(x).var(x, self.axes, self.keepdim, self.correction)

    def backward(self, g: Tensor) -> Tensor:
        (x,) = self.kept_tensors()
        freedom = math.prod(x.shape[i] for i in self.axes) - self.correction
        scaled = g * (2.0 / freedom) if freedom > 0 else g * math.nan
        return (x - mean(x, self.axes, keepdim=True)) * reshape(scaled, _kept(x.shape, self.axes))


def std(
    input: Tensor, dim: Dim = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    """The square root of ``var``; the gradient where all elements are equal is 0."""
    return _root(var(input, dim, unbiased, keepdim, correction=correction))


def _root(squares: Tensor) -> Tensor:
    """The square root with gradient 0 at 0, where it has none."""
    zero = squares.detach() == 0
    return where(zero, 0.0, sqrt(where(zero, 1.0, squares)))


def var_mean(
    input: Tensor, dim: Dim = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Tensor, Tensor]:
    """``var`` and ``mean``."""
    return var(input, dim, unbiased, keepdim, correction=correction), mean(input, dim, keepdim)


def std_mean(
    input: Tensor, dim: Dim = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Tensor, Tensor]:
    """``std`` and ``mean``."""
    return std(input, dim, unbiased, keepdim, correction=correction), mean(input, dim, keepdim)


class Prod(Operation):
    keeps = (0,)

    def __init__(self, axis: int, keepdim: bool) -> None:
        self.axis, self.keepdim = axis, keepdim

    def forward(self, x: Any) -> Any:
        return kernels.of(x).prod(x, (self.axis,), self.keepdim)

    def backward(self, g: Tensor) -> Tensor:
        (x,) = self.kept_tensors()
        g = g if self.keepdim else unsqueeze(g, self.axis)
        if bool((x.array != 0).all()):
            return g * (Prod(self.axis, True).apply(x) / x).conj()
        return g * _product_of_others(x, self.axis).conj()


def _product_of_others(x: Tensor, axis: int) -> Tensor:
    """For each element the product of the others along the axis, right where some are zero."""
    one = x._like(x._module.ones(_kept(x.shape, (axis,)), x.dtype))
    n = x.shape[axis]
    before, after = [one], [one]
    for i in range(n - 1):
        before.append(before[-1] * narrow(x, axis, i, 1))
        after.append(after[-1] * narrow(x, axis, n - 1 - i, 1))
    return cat(before, axis) * cat(after[::-1], axis)


@in_full_precision
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The product over ``dim``, or over everything."""
    input = input.to(dtype) if dtype is not None else input.to(dtypes.int64) if input.array.dtype.kind in "iub" else input
    if dim is None:
        return Prod(0, False).apply(reshape(input, -1))
    axis = axis_of(dim, input.ndim, "prod")
    return input if input.ndim == 0 else Prod(axis, keepdim).apply(input)


class Amax(Operation):
    """Extremes over several dimensions; equal ones share the gradient."""

    keeps = (0,)
    keeps_output = True
    kernel = "amax"

    def __init__(self, axes: tuple[int, ...], keepdim: bool) -> None:
        self.axes, self.keepdim = axes, keepdim

    def forward(self, x: Any) -> Any:
        return getattr(kernels.of(x), self.kernel)(x, self.axes, self.keepdim)

    def backward(self, g: Tensor) -> Tensor:
        (x,) = self.kept_tensors()
        shape = _kept(x.shape, self.axes)
        extreme = reshape(self.output().detach(), shape)
        hits = ((x.detach() == extreme) | (x.detach().isnan() & extreme.isnan())).to(x.dtype)
        return reshape(g, shape) * (hits / sum(hits, self.axes, keepdim=True))


class Amin(Amax):
    kernel = "amin"


class Median(Amax):
    def forward(self, x: Any) -> Any:
        xp = module_of(x)
        ordered = xp.sort(widened(x).reshape(-1))  # NaN is sorted last: it decides
        last = x.dtype.kind in "fV" and bool(xp.isnan(ordered[-1]))
        return xp.asarray(ordered[-1] if last else ordered[(x.size - 1) // 2]).astype(x.dtype)


def _not_empty(input: Tensor, axes: tuple[int, ...], what: str) -> None:
    if 0 in [input.shape[i] for i in axes]:
        raise ShapeError(
            f"{what} over a dimension of length 0 of {input.shape}",
            why="there is no element to choose",
            fix="check for an empty tensor first",
        )


def amax(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The largest element over ``dim``; several equal ones share the gradient."""
    axes = axes_of(dim, input.ndim, "amax")
    _not_empty(input, axes, "amax")
    return Amax(axes, keepdim).apply(input)


def amin(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The smallest element over ``dim``; several equal ones share the gradient."""
    axes = axes_of(dim, input.ndim, "amin")
    _not_empty(input, axes, "amin")
    return Amin(axes, keepdim).apply(input)


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The place of the largest element (the first of equal ones) along ``dim``, or in the flat tensor."""
    return _arg(input, dim, keepdim, "argmax")


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The place of the smallest element (the first of equal ones) along ``dim``, or in the flat tensor."""
    return _arg(input, dim, keepdim, "argmin")


def _arg(input: Tensor, dim: int | None, keepdim: bool, what: str) -> Tensor:
    if input.array.dtype.kind in "bc":
        raise DtypeError(f"{what} of a tensor of {input.dtype}", fix="convert it with .int() or abs()")
    if dim is None or input.ndim == 0:
        _not_empty(reshape(input, -1), (0,), what)
        found = getattr(kernels.of(input.array), what)(input.array.reshape(-1), 0)
        return Tensor(found.reshape((1,) * input.ndim if keepdim else ()))
    axis = axis_of(dim, input.ndim, what)
    _not_empty(input, (axis,), what)
    found = getattr(kernels.of(input.array), what)(input.array, axis)
    return Tensor(input._module.expand_dims(found, axis) if keepdim else found)


def max(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest element; with ``dim`` also its places; with a tensor in place of ``dim``, the larger of the two."""
    return _extreme(input, dim, keepdim, argmax, amax, "maximum")


def min(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest element; with ``dim`` also its places; with a tensor in place of ``dim``, the smaller of the two."""
    return _extreme(input, dim, keepdim, argmin, amin, "minimum")


def _extreme(input: Tensor, dim: Any, keepdim: bool, arg: Any, over_all: Any, pairwise: str) -> Any:
    if isinstance(dim, Tensor):
        from . import elementwise

        return getattr(elementwise, pairwise)(input, dim)
    if dim is None:
        return over_all(input)
    axis = axis_of(dim, input.ndim, arg.__name__[3:])
    if input.ndim == 0:
        return ValuesIndices(input, arg(input))
    places = arg(input, axis, keepdim=True)
    values = gather(input, axis, places)
    if keepdim:
        return ValuesIndices(values, places)
    rest = tuple(n for i, n in enumerate(input.shape) if i != axis)
    return ValuesIndices(reshape(values, rest), reshape(places, rest))


@in_full_precision
def logsumexp(input: Tensor, dim: Dim, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) without overflow."""
    axes = axes_of(dim, input.ndim, "logsumexp")
    input = floating(input)
    if 0 in [input.shape[i] for i in axes]:
        return log(sum(exp(input), axes, keepdim))
    largest = amax(input.detach(), axes, keepdim=True)
    largest = where(largest.isfinite(), largest, 0.0)
    total = log(sum(exp(input - largest), axes, keepdim=True)) + largest
    return total if keepdim else reshape(total, tuple(n for i, n in enumerate(input.shape) if i not in axes))


class Cumsum(Operation):
    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return kernels.of(x).cumsum(x, self.axis)

    def backward(self, g: Tensor) -> Tensor:
        return flip(Cumsum(self.axis).apply(flip(g, self.axis)), self.axis)


@in_full_precision
def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running sums along ``dim``."""
    input = input.to(dtype) if dtype is not None else input.to(dtypes.int64) if input.array.dtype.kind in "iub" else input
    axis = axis_of(dim, input.ndim, "cumsum")
    return input if input.ndim == 0 else Cumsum(axis).apply(input)


class Cumprod(Operation):
    keeps = (0,)

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return kernels.of(x).cumprod(x, self.axis)

    def backward(self, g: Tensor) -> Tensor:
        (x,) = self.kept_tensors()
        if bool((x.array != 0).all()):
            weighted = flip(g * Cumprod(self.axis).apply(x).conj(), self.axis)
            return flip(Cumsum(self.axis).apply(weighted), self.axis) / x.conj()
        return self._with_zeros(x, g)

    def _with_zeros(self, x: Tensor, g: Tensor) -> Tensor:
        """Element i counts in the results j >= i: times g[j], the elements before i, and those between i and j."""
        axis, n = self.axis, x.shape[self.axis]
        one = x._like(x._module.ones(_kept(x.shape, (axis,)), x.dtype))
        columns, before = [], one
        for i in range(n):
            between = cat([one, narrow(x, axis, i + 1, n - i - 1)], axis)
            products = Cumprod(axis).apply(between) * before
            columns.append(sum(narrow(g, axis, i, n - i) * products.conj(), axis, keepdim=True))
            before = before * narrow(x, axis, i, 1)
        return cat(columns, axis)


@in_full_precision
def cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running products along ``dim``."""
    input = input.to(dtype) if dtype is not None else input.to(dtypes.int64) if input.array.dtype.kind in "iub" else input
    axis = axis_of(dim, input.ndim, "cumprod")
    return input if input.ndim == 0 else Cumprod(axis).apply(input)


@in_full_precision
def norm(input: Tensor, p: float | str = 2, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The p-norm of the elements over ``dim``, or over everything; the gradient at 0 is 0."""
    axes = axes_of(dim, input.ndim, "norm")
    input = floating(input)
    if is_half(input.array):
        return norm(input.to(dtypes.float32), p, dim, keepdim).to(input.dtype)
    if p in (2, "fro"):
        return _root(sum(abs_(input) * abs_(input) if input.is_complex() else input * input, axes, keepdim))
    size = abs_(input)
    if p == math.inf:
        return amax(size, axes, keepdim)
    if p == -math.inf:
        return amin(size, axes, keepdim)
    if p == 1:
        return sum(size, axes, keepdim)
    if p == 0:
        return sum((input.detach() != 0).to(size.dtype), axes, keepdim)
    if isinstance(p, str):
        raise ArgumentError(f"norm: p={p!r}", fix="use a number or 'fro'")
    zero = size.detach() == 0
    powers = sum(where(zero, 0.0, where(zero, 1.0, size) ** float(p)), axes, keepdim)
    empty = any(zero, axes, keepdim) if float(p) < 0 else powers.detach() == 0  # 0 to a negative power outweighs all
    return where(empty, 0.0, where(empty, 1.0, powers) ** (1.0 / p))


def any(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Whether any element is true (not zero)."""
    axes = axes_of(dim, input.ndim, "any")
    return Tensor(input._module.asarray(input.array.astype(bool).any(axis=axes, keepdims=keepdim)))


def all(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Whether all elements are true (not zero)."""
    axes = axes_of(dim, input.ndim, "all")
    return Tensor(input._module.asarray(input.array.astype(bool).all(axis=axes, keepdims=keepdim)))


def count_nonzero(input: Tensor, dim: Dim = None) -> Tensor:
    """How many elements are not zero."""
    return sum(input != 0, dim)


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:  # noqa: ARG001 - always stable
    """The places of the elements in sorted order; equal ones keep theirs."""
    if input.ndim == 0:
        return Tensor(input._module.zeros((), np.int64))
    axis = axis_of(dim, input.ndim, "argsort")
    xp, array = input._module, widened(input.array)  # CuPy sorts no bfloat16; in float32 the order is the same
    if not descending:
        return Tensor(xp.argsort(array, axis=axis, kind="stable").astype(np.int64))
    # from the back, so that equal elements keep their order when the result is turned round
    backwards = xp.flip(xp.argsort(xp.flip(array, axis), axis=axis, kind="stable"), axis)
    return Tensor((input.shape[axis] - 1 - backwards).astype(np.int64))


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> ValuesIndices:
    """The elements in order along ``dim``, and where each came from; equal ones keep their order."""
    places = argsort(input, dim, descending, stable)
    return ValuesIndices(gather(input, dim, places) if input.ndim else input, places)


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:  # noqa: ARG001 - always sorted
    """The ``k`` largest (or smallest) elements along ``dim``, in order, and their places.

    Raises:
        ArgumentError: there are fewer than ``k``.
    """
    axis = axis_of(dim, input.ndim, "topk")
    length = input.shape[axis] if input.ndim else 1
    if not 0 <= k <= length:
        raise ArgumentError(f"topk: k={k} of a dimension of length {length}", fix=f"use at most {length}")
    if input.ndim == 0:
        return ValuesIndices(input, Tensor(input._module.zeros((), np.int64)))
    places = argsort(input, axis, descending=largest).narrow(axis, 0, k).contiguous()
    return ValuesIndices(gather(input, axis, places), places)


def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element (the lower of two); with ``dim`` also its places."""
    if dim is None:
        _not_empty(reshape(input, -1), (0,), "median")
        return Median(tuple(range(input.ndim)), False).apply(input)
    axis = axis_of(dim, input.ndim, "median")
    if input.ndim == 0:
        return ValuesIndices(input, argsort(input))
    _not_empty(input, (axis,), "median")
    order = argsort(input, axis)
    last = narrow(order, axis, input.shape[axis] - 1, 1)  # NaN is sorted last: it decides
    middle = narrow(order, axis, (input.shape[axis] - 1) // 2, 1)
    places = where(gather(input.detach(), axis, last).isnan(), last, middle).contiguous()
    values = gather(input, axis, places)
    return ValuesIndices(values, places) if keepdim else ValuesIndices(values.squeeze(axis), places.squeeze(axis))


def unique(input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False) -> Any:  # noqa: ARG001
    """The different values, always sorted; on request also where each element went, and how often each value occurs."""
    xp = input._module
    values, inverse, counts = xp.unique(widened(input.array), return_inverse=True, return_counts=True)
    extra = [Tensor(inverse.reshape(input.shape).astype(np.int64))] if return_inverse else []
    extra += [Tensor(counts.astype(np.int64))] if return_counts else []
    values = Tensor(values.astype(input.dtype, copy=False))
    return (values, *extra) if extra else values


def bincount(input: Tensor, minlength: int = 0) -> Tensor:
    """How often each whole number from 0 occurs, int64.

    Raises:
        DtypeError: not whole numbers.
        ArgumentError: a negative number, or not a vector.
    """
    if input.array.dtype.kind not in "iu":
        raise DtypeError(f"bincount of {input.dtype}", fix="convert with .long()")
    module_of(input.array)  # its device is the current one from here on
    if input.ndim != 1 or (input.array.size and int(input.array.min()) < 0):
        raise ArgumentError(
            f"bincount of a tensor of shape {input.shape}",
            why="it takes a vector of numbers from 0 up",
            fix="flatten it, and count labels from 0",
        )
    ones = input._like(input._module.ones(input.shape, np.int64))
    size = builtins.max(minlength, int(input.array.max()) + 1 if input.array.size else 0)
    return scatter_add(input._like(input._module.zeros(size, np.int64)), 0, input.to(dtypes.int64), ones)
