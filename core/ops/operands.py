"""Turning what users write into what operations take: tensors of one dtype, axes, shapes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..errors import ArgumentError, DtypeError, ShapeError, kind_of
from ..tensor import Tensor

_NUMBERS = (int, float, complex, bool, np.generic)


def as_tensor(value: Any, like: Tensor | None = None) -> Tensor:
    """A tensor from a tensor, an array, a number or nested lists; on the device of ``like``."""
    if isinstance(value, Tensor):
        return value
    from ..create import tensor

    return tensor(value, device=like.device if like is not None else None)


def require_tensors(what: str, **named: Any) -> None:
    """Raise an ArgumentError where an argument is an array, a list or anything else that is no tensor."""
    for name, value in named.items():
        if not isinstance(value, Tensor):
            raise ArgumentError(f"{what}: {name} is {kind_of(value)}, not a tensor", fix="wrap it: nyala.tensor(...)")


def operands(a: Any, b: Any, what: str) -> tuple[Tensor, Tensor]:
    """Two tensors of one dtype, by torch's promotion rules.

    Raises:
        DtypeError: one of them is neither a tensor, an array nor a number.
    """
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if type(a.array) is not type(b.array):
            a, b = _together(a, b, what)
        if a.array.dtype == b.array.dtype:
            return a, b
        return _promoted(a, b)
    if isinstance(a, Tensor):
        return _with_other(a, b, what)
    if isinstance(b, Tensor):
        second, first = _with_other(b, a, what)
        return first, second
    raise DtypeError(
        f"{what} needs a tensor, not {type(a).__name__} and {type(b).__name__}", fix="wrap one of them: nyala.tensor(...)"
    )


def _together(a: Tensor, b: Tensor, what: str) -> tuple[Tensor, Tensor]:
    """Tensors on the CPU and on a GPU: a single number without dimensions follows the other one, as in torch."""
    if isinstance(a.array, np.ndarray) and isinstance(b.array, np.ndarray):
        return a, b  # one of them belongs to a recording
    if a.ndim == 0 and not a.is_cuda:
        return a.to(b.device), b
    if b.ndim == 0 and not b.is_cuda:
        return a, b.to(a.device)
    raise devices.mismatch(what, "input", a.array, "other", b.array)


def _with_other(t: Tensor, other: Any, what: str) -> tuple[Tensor, Tensor]:
    if isinstance(other, _NUMBERS):
        value: Any = other.item() if isinstance(other, np.generic) else other
        dtype = t.array.dtype
        if dtype.kind != "f" or isinstance(value, complex):
            dtype = dtypes.result_with_scalar(dtype, value)
            if dtype.kind in "iu" and not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
                dtype = dtypes.int64  # a number that the dtype cannot hold, as in ``image < 256``
            t = t if dtype == t.array.dtype else t.to(dtype)
        xp = t._module  # on a GPU a kernel fills it in: a copy from the host could not be part of a captured graph
        return t, Tensor._made(xp.full((), value, dtype) if t.is_cuda else xp.asarray(value, dtype), None, 0)
    if isinstance(other, np.ndarray) or hasattr(other, "__cuda_array_interface__"):
        return operands(t, Tensor(other), what)
    raise DtypeError(f"{what} cannot work with {type(other).__name__}", fix="pass a tensor, an array or a number")


def _promoted(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    da, db = a.array.dtype, b.array.dtype
    if bool(a.array.ndim) == bool(b.array.ndim):
        dtype = dtypes.promote(da, db)
    else:
        dtype = dtypes.result_with_zero_dim(*((da, db) if a.array.ndim else (db, da)))
    return a.to(dtype), b.to(dtype)


def floating(t: Tensor) -> Tensor:
    """The tensor itself, or as the default floating dtype where it holds integers or bools."""
    return t if t.array.dtype.kind in "fcV" else t.to(dtypes.default_dtype())


def axis_of(dim: int, ndim: int, what: str) -> int:
    """``dim`` counted from the front.

    Raises:
        ShapeError: there is no such dimension.
    """
    size = max(ndim, 1)
    if not -size <= dim < size:
        raise ShapeError(
            f"{what}: dimension {dim} of a tensor with {ndim} dimension(s)", fix=f"use a number from {-size} to {size - 1}"
        )
    return dim % size


def axes_of(dim: int | Sequence[int] | None, ndim: int, what: str) -> tuple[int, ...]:
    """All the dimensions that ``dim`` names, from the front and in order; None names all.

    Raises:
        ShapeError: a dimension that is not there, or one named twice.
    """
    if dim is None or (not hasattr(dim, "__index__") and len(dim) == 0):
        return tuple(range(ndim))
    dims = (operator.index(dim),) if hasattr(dim, "__index__") else tuple(operator.index(d) for d in dim)
    if ndim == 0:
        for d in dims:
            axis_of(d, 0, what)
        return ()
    axes = tuple(sorted(axis_of(d, ndim, what) for d in dims))
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{what}: dimensions {dims} name one dimension twice", fix="name each dimension once")
    return axes


def shape_of(args: tuple[Any, ...], what: str) -> tuple[int, ...]:
    """A shape from ``f(2, 3)`` or ``f((2, 3))``."""
    given = args[0] if len(args) == 1 and isinstance(args[0], Sequence) else args
    try:
        return tuple(int(n.item()) if isinstance(n, Tensor) else int(n.__index__()) for n in given)
    except AttributeError:
        raise ArgumentError(f"{what}: {given!r} is not a shape", fix="pass whole numbers") from None


def broadcast_error(what: str, *shapes: Sequence[int]) -> ShapeError:
    """The error for shapes that do not broadcast against each other."""
    named = " and ".join(str(tuple(s)) for s in shapes)
    return ShapeError(
        f"{what}: shapes {named} do not broadcast",
        why="counted from the right, two dimensions must be equal or one of them 1",
        fix="reshape one of them, e.g. with unsqueeze",
    )
