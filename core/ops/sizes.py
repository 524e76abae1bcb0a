"""Arguments of the spatial operations: one number or one for each dimension, and shapes by the names of their dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor
from .shape import unsqueeze

NAMES = {1: "L", 2: "HW", 3: "DHW"}


def each(value: Any, n: int, what: str, least: int = 0) -> tuple[int, ...]:
    """``n`` whole numbers from one number, or from a sequence of 1 or ``n``.

    Raises:
        ArgumentError: another count, no whole number, or one below ``least``.
    """
    if type(value) is int and value >= least:  # the usual cases first: this runs several times for each layer
        return (value,) * n
    if type(value) is tuple and len(value) == n and set(map(type, value)) == {int} and min(value) >= least:
        return value
    given = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    if len(given) == 1:
        given = given * n
    try:
        numbers = tuple(int(v.__index__()) for v in given)
    except AttributeError:
        raise ArgumentError(f"{what}={value!r}", fix=f"pass a whole number, or {n} of them") from None
    if len(numbers) != n:
        raise ArgumentError(
            f"{what}={value!r} has {len(numbers)} numbers", fix=f"pass one number, or {n}: one for each dimension"
        )
    if min(numbers) < least:
        raise ArgumentError(f"{what}={value!r}", fix=f"use numbers from {least}")
    return numbers


def dimensions(n: int, batched: bool = True) -> str:
    """The names of an input's dimensions: ``(N, C, H, W)`` for two spatial ones."""
    return f"({', '.join([*(['N'] if batched else []), 'C', *NAMES[n]])})"


def named(shape: Sequence[int], n: int) -> str:
    """A shape with its names, e.g. ``(N=2, C=3, H=8, W=8)``."""
    names = ["N", "C", *NAMES[n]][-len(shape) :] if len(shape) <= n + 2 else [f"dim{i}" for i in range(len(shape))]
    return f"({', '.join(f'{k}={v}' for k, v in zip(names, shape, strict=True))})"


def batched(input: Tensor, n: int, what: str) -> tuple[Tensor, bool]:
    """The input with a batch dimension, and whether it had one.

    Raises:
        ShapeError: the input has neither n + 2 nor n + 1 dimensions.
    """
    if input.ndim == n + 2:
        return input, True
    if input.ndim == n + 1:
        return unsqueeze(input, 0), False
    raise ShapeError(
        f"{what}: an input of shape {input.shape}",
        why=f"it takes {dimensions(n)} or {dimensions(n, batched=False)}",
        fix="add or remove a dimension with unsqueeze or squeeze",
    )
