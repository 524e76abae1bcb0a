"""``After`` as compiled code takes it: five numbers, four of them addresses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from ...reference.after import ACTIVATIONS, After
from ..running.compiled import EXACT, any_layout, njit
from ..running.parallel import parallel_for
from .gemm import finish

_ROWS = 64  # of a task
CODES = {name: code for code, name in enumerate(ACTIVATIONS)}
Ends = tuple[int, int, int, int, int]
PLAIN: Ends = (0, 0, 0, 0, 0)


def suits(bias: Any, after: After | None) -> bool:
    """Whether everything that follows the product is float32."""
    for x in (bias,) if after is None else (bias, after.scale, after.shift, after.residual):
        if x is not None and x.dtype != np.float32:
            return False
    return True


def ends(bias: Any, after: After | None) -> tuple[Ends, tuple[Any, ...]]:
    """(bias, scale, shift, residual, activation) with 0 for what is not there, and the arrays to keep alive meanwhile.

    The residual must lie in memory as the result will; its rows are then as far apart as the result's.
    """
    if after is None:
        if bias is None:
            return PLAIN, ()
        bias = _flat(bias)
        return (_address(bias), 0, 0, 0, 0), (bias,)
    held, places = [], [0, 0, 0, 0]
    for i, x in enumerate((bias, after.scale, _shift(after), after.residual)):
        if x is not None:
            held.append(_flat(x).reshape(-1))
            places[i] = _address(held[-1])
    return (*places, CODES[after.activation]), tuple(held)  # type: ignore[return-value]


def _shift(after: After) -> Any:
    """What is added to each channel; where only a scale is given it is -0.0, which changes no bit of a number."""
    return np.full(after.scale.size, -0.0, np.float32) if after.shift is None and after.scale is not None else after.shift


def _flat(x: Any) -> Any:
    return x if x.flags.c_contiguous and x.flags.aligned else np.ascontiguousarray(x).copy()


@njit(signatures=[types.int64(any_layout(1))], **EXACT)
def _address(x: Any) -> Any:
    """``x.ctypes.data``, in a fifth of the time."""
    return x.ctypes.data


@njit(**EXACT)
def _finish_part(i: Any, y: Any, rows: Any, columns: Any, given: Any) -> None:
    bias, scale, shift, residual, activation = given
    step = 4 * columns
    first = i * _ROWS
    beside = residual + first * step if residual else 0
    finish(y + first * step, step, min(_ROWS, rows - first), columns, 0, (bias, scale, shift, beside, activation), step)


@njit(**EXACT)
def _finish(y: Any, rows: Any, columns: Any, given: Any) -> None:
    parallel_for(_finish_part, (rows + _ROWS - 1) // _ROWS, (y, rows, columns, given))


def then(y: Any, bias: Any, after: After | None, axis: int) -> Any:
    """A bias and ``after`` on a float32 result that has been computed without them: the bits that ``gemm.block`` gives.

    The result is y's own memory where its channels, along ``axis``, lie side by side.
    """
    if after is None and bias is None:
        return y
    last = np.ascontiguousarray(np.moveaxis(y, axis, -1))
    if after is not None and after.residual is not None:
        after = after._replace(residual=np.ascontiguousarray(np.moveaxis(after.residual, axis, -1)))
    given, held = ends(bias, after)
    columns = last.shape[-1]
    _finish(last.ctypes.data, last.size // max(1, columns), columns, given)
    del held  # the addresses in ``given`` were good until here
    return np.moveaxis(last, -1, axis)
