"""Gradients kept within bounds: by their norm together, or each value."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import devices, dtypes, kernels
from ..errors import ArgumentError, NumericError, kind_of
from ..kernels.reference.half import widened
from ..tensor import Tensor
from ..tracing import as_one
from . import checks


def _why_outside(*args: Any, **kwargs: Any) -> str:
    looked_at = kwargs.get("error_if_nonfinite", args[3] if len(args) > 3 else False)
    return "clip_grad_norm_ looks at the norm (error_if_nonfinite)" if looked_at else ""


def _inside(*args: Any, **kwargs: Any) -> str:  # noqa: ARG001 - whatever the arguments are
    return ""


@as_one(inside=_why_outside)
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients so that their norm together is at most ``max_norm``; in place.

    The 2-norm is summed in float64, parameter after parameter, in an order that threads do not change. On a GPU it stays there:
    nothing waits for it, unless ``error_if_nonfinite`` is set.

    Args:
        parameters: those without a gradient are passed over.
        max_norm: the largest norm left alone.
        norm_type: p of the p-norm; ``inf`` for the largest absolute value.
        error_if_nonfinite: raise instead of scaling by a norm that is NaN or infinite.

    Returns:
        The norm before, a tensor without dimensions.

    Raises:
        NumericError: the norm is not finite and ``error_if_nonfinite`` is set; no gradient was changed.

    Example:
        >>> import nyala
        >>> p = nyala.nn.Parameter(nyala.zeros(2))
        >>> p.grad = nyala.tensor([3.0, 4.0])
        >>> clip_grad_norm_([p], 1.0).item()
        5.0
        >>> p.grad
        tensor([0.6000, 0.8000])
    """
    checks.number("max_norm", max_norm)
    grads = _gradients(parameters)
    total = get_total_norm(grads, norm_type, error_if_nonfinite)
    _scale(grads, max_norm, total)
    return total


def get_total_norm(tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Tensor:
    """The norm of all elements of all tensors together; 0 without any.

    Raises:
        NumericError: it is NaN or infinite and ``error_if_nonfinite`` is set.

    Example:
        >>> import nyala
        >>> get_total_norm([nyala.tensor([3.0]), nyala.tensor([0.0, 4.0])]).item()
        5.0
    """
    given = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    checks.number("norm_type", norm_type)
    value = norm_of([t.array for t in given], float(norm_type))
    if error_if_nonfinite and not math.isfinite(float(value)):
        bad = [i for i, t in enumerate(given) if not math.isfinite(float(norm_of([t.array], math.inf)))]
        raise NumericError(
            f"the norm of {len(given)} gradients is {value}; not finite are those numbered {bad[:10]}",
            why="scaling by it would make every weight NaN or leave it as it is",
            fix="lower the learning rate, or leave this step out",
        )
    if not given:
        return Tensor(np.zeros((), dtypes.default_dtype()))
    dtype = given[0].dtype if given[0].dtype.itemsize >= 4 else dtypes.float32
    return Tensor(devices.module_of(given[0].array).asarray(value, dtype=dtype))


@as_one(inside=_inside)
def clip_grads_with_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor) -> None:
    """Scale all gradients by ``max_norm / total_norm`` where that is below 1; in place.

    Args:
        parameters: those without a gradient are passed over.
        max_norm: the largest norm left alone.
        total_norm: what ``get_total_norm`` gave.

    Example:
        >>> import nyala
        >>> p = nyala.nn.Parameter(nyala.zeros(2))
        >>> p.grad = nyala.tensor([3.0, 4.0])
        >>> clip_grads_with_norm_([p], 1.0, nyala.tensor(10.0))
        >>> p.grad
        tensor([0.3000, 0.4000])
    """
    checks.number("max_norm", max_norm)
    _scale(_gradients(parameters), max_norm, total_norm)


@as_one(inside=_inside)
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Bring every element of every gradient into [-clip_value, clip_value]; in place.

    Example:
        >>> import nyala
        >>> p = nyala.nn.Parameter(nyala.zeros(2))
        >>> p.grad = nyala.tensor([3.0, -0.5])
        >>> clip_grad_value_([p], 1.0)
        >>> p.grad
        tensor([ 1.0000, -0.5000])
    """
    checks.number("clip_value", clip_value)
    for grad in _gradients(parameters):
        array = _writable(grad)
        array[...] = widened(array).clip(-clip_value, clip_value).astype(array.dtype, copy=False)
        grad._bump()


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    if not isinstance(parameters, Iterable):
        raise ArgumentError(f"clipping was given {kind_of(parameters)}, not parameters", fix="pass its .parameters()")
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in given if p.grad is not None]


def norm_of(arrays: list[Any], order: float) -> Any:
    """The p-norm of all elements of all arrays together: a Python number, or an array without dimensions on the first's GPU."""
    if not arrays:
        return 0.0
    if order == 2.0:
        total = _together([kernels.of(part[0]).sums_of_squares(part) for part in _by_device(arrays)], _added)
        return math.sqrt(total) if isinstance(total, float) else devices.module_of(total).sqrt(total)
    sizes = [abs(widened(a)) for a in arrays if a.size]
    if order == math.inf:
        return _together([s.max() for s in sizes], _largest)
    if order == 0.0:
        return _together([(s != 0).sum() for s in sizes], _added)
    return _together([(s.astype("float64") ** order).sum() for s in sizes], _added) ** (1 / order)


def _together(parts: list[Any], join: Callable[[Any], Any]) -> Any:
    """Numbers as one: Python's where they are the CPU's, else float64 on the first one's GPU."""
    if not parts or isinstance(parts[0], (float, np.generic, np.ndarray)):
        return float(join([float(p) for p in parts]))
    there = devices.of(parts[0])
    return join([devices.move(p, there).astype(np.float64) for p in parts])


def _added(numbers: list[Any]) -> Any:
    return functools.reduce(operator.add, numbers, *([] if numbers else [0.0]))


def _largest(numbers: list[Any]) -> Any:
    """The largest number, or NaN if there is one."""
    if not numbers or isinstance(numbers[0], float):
        return math.nan if any(map(math.isnan, numbers)) else max(numbers, default=0.0)
    return functools.reduce(devices.module_of(numbers[0]).maximum, numbers)


def _scale(grads: list[Tensor], max_norm: float, total: Tensor) -> None:
    parts = _by_device([_writable(grad) for grad in grads])
    for part in parts:
        if isinstance(part[0], np.ndarray):
            factor = max_norm / (float(total.item()) + 1e-6)
            if factor >= 1:
                continue
            with np.errstate(invalid="ignore"):  # infinity * 0 is the NaN that a norm of infinity asks for, as in torch
                kernels.of(part[0]).scale_steps(part, factor)
        else:
            kernels.of(part[0]).clip_held(part, max_norm, devices.move(total.array, devices.of(part[0])))
    for grad in grads:
        grad._bump()


def _by_device(arrays: list[Any]) -> list[list[Any]]:
    """The arrays in lists that a kernel can take at once."""
    found: dict[str, list[Any]] = {}
    for a in arrays:
        found.setdefault(devices.of(a), []).append(a)
    return list(found.values())


def _writable(grad: Tensor) -> Any:
    """The gradient's array; a copy takes its place first where it was spread over the shape and cannot be written."""
    if isinstance(grad.array, np.ndarray) and not grad.array.flags.writeable:
        grad.array = grad.array.copy()
    return grad.array
