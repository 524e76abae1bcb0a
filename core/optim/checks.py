"""What optimizers and schedules ask of their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from ..errors import ArgumentError


def number(
    name: str, value: Any, *, low: float = 0.0, above: float | None = None, high: float | None = None, below: float | None = None
) -> None:
    """Asks for a number of at least ``low`` (or over ``above``), and at most ``high`` (or under ``below``).

    Raises:
        ArgumentError: ``value`` is no number, or outside.

    Example:
        >>> number("lr", -1)
        Traceback (most recent call last):
        nyala.core.errors.ArgumentError: lr=-1 is out of range. Remedy: use a number that is at least 0. [E106]
    """
    fix = f"use a number that is {f'at least {low:g}' if above is None else f'over {above:g}'}"
    fix += f" and at most {high:g}" if high is not None else f" and below {below:g}" if below is not None else ""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ArgumentError(f"{name} is {value!r}, which is no number", fix=fix)
    given = float(value)
    inside = given >= low if above is None else given > above
    if not (inside and (high is None or given <= high) and (below is None or given < below)):
        raise ArgumentError(f"{name}={value} is out of range", fix=fix)


def whole(name: str, value: Any, *, low: int = 1) -> None:
    """Asks for a whole number of at least ``low``.

    Raises:
        ArgumentError: ``value`` is none.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < low:
        raise ArgumentError(f"{name}={value!r}", fix=f"use a whole number of at least {low}")


def betas(group: Mapping[str, Any]) -> None:
    """Asks for two decay rates in [0, 1).

    Raises:
        ArgumentError: other than two, or one outside.
    """
    pair = group["betas"]
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ArgumentError(f"betas is {pair!r}", fix="give two numbers, as (0.9, 0.999)")
    for i, beta in enumerate(pair):
        number(f"betas[{i}]", beta, below=1.0)
