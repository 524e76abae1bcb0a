"""Comparisons and truth values: element by element, without gradient.

Example:
    >>> import nyala
    >>> nyala.tensor([1, 5]) > 2
    tensor([False,  True])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..devices import check_same
from ..errors import DtypeError
from ..tensor import Tensor
from .operands import broadcast_error, operands


def _comparison(name: str, symbol: str) -> Callable[[Any, Any], Tensor]:
    ufunc = {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}[name]

    def function(input: Any, other: Any) -> Tensor:
        a, b = operands(input, other, name)
        try:
            xp = a._module
            found = getattr(xp, ufunc)(a.array, b.array)
            return Tensor._made(found if a.is_cuda else xp.asarray(found), None, 0)
        except ValueError:
            raise broadcast_error(name, a.shape, b.shape) from None

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"``input {symbol} other``, element by element, as bools."
    return function


eq, ne = _comparison("eq", "=="), _comparison("ne", "!=")
lt, le = _comparison("lt", "<"), _comparison("le", "<=")
gt, ge = _comparison("gt", ">"), _comparison("ge", ">=")


def _plain(name: str, doc: str, function: Callable[..., Any]) -> Callable[..., Tensor]:
    def wrapped(input: Any, *others: Any) -> Tensor:
        tensors = [t for t in (input, *others) if isinstance(t, Tensor)]
        check_same(name, **{f"input {i}": t for i, t in enumerate(tensors)})
        xp = tensors[0]._module
        arrays = [t.array if isinstance(t, Tensor) else t for t in (input, *others)]
        try:
            return Tensor(xp.asarray(function(xp, *arrays)))
        except ValueError:
            raise broadcast_error(name, *[np.shape(a) for a in arrays]) from None
        except TypeError:
            given = " and ".join(str(getattr(a, "dtype", type(a).__name__)) for a in arrays)
            raise DtypeError(f"{name} of {given}", fix="use integers or bools") from None

    wrapped.__name__ = wrapped.__qualname__ = name
    wrapped.__doc__ = doc
    return wrapped


isnan = _plain("isnan", "Whether each element is NaN.", lambda xp, x: xp.isnan(x))
isinf = _plain("isinf", "Whether each element is infinite.", lambda xp, x: xp.isinf(x))
isfinite = _plain("isfinite", "Whether each element is a finite number.", lambda xp, x: xp.isfinite(x))
logical_not = _plain("logical_not", "Not.", lambda xp, x: xp.logical_not(x))
logical_and = _plain("logical_and", "And.", lambda xp, x, y: xp.logical_and(x, y))
logical_or = _plain("logical_or", "Or.", lambda xp, x, y: xp.logical_or(x, y))
logical_xor = _plain("logical_xor", "Either, not both.", lambda xp, x, y: xp.logical_xor(x, y))
bitwise_not = _plain("bitwise_not", "Each bit flipped; not for bools.", lambda xp, x: xp.bitwise_not(x))
bitwise_and = _plain("bitwise_and", "Bitwise and.", lambda xp, x, y: xp.bitwise_and(x, y))
bitwise_or = _plain("bitwise_or", "Bitwise or.", lambda xp, x, y: xp.bitwise_or(x, y))
bitwise_xor = _plain("bitwise_xor", "Bitwise exclusive or.", lambda xp, x, y: xp.bitwise_xor(x, y))


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether |input - other| <= atol + rtol * |other|."""
    a, b = operands(input, other, "isclose")
    try:
        return Tensor(a._module.asarray(a._module.isclose(a.array, b.array, rtol, atol, equal_nan)))
    except ValueError:
        raise broadcast_error("isclose", a.shape, b.shape) from None
