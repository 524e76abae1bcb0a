"""``assert_close``: whether numbers agree, and where they do not."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import devices
from ..tensor import Tensor

# (rtol, atol) by the less exact of the two dtypes, as torch.testing has them
_TOLERANCE = {"float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5), "float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7),
              "complex64": (1.3e-6, 1e-5), "complex128": (1e-7, 1e-7)}  # fmt: skip
_SHOWN = 5


def assert_close(
    actual: Any,
    expected: Any,
    rtol: float | None = None,
    atol: float | None = None,
    *,
    equal_nan: bool = False,
    check_dtype: bool = False,
    msg: str = "",
) -> None:
    """Fail unless ``|actual - expected| <= atol + rtol * |expected|`` everywhere.

    Args:
        actual, expected: tensors, arrays, numbers, or tuples, lists and dicts of them, of equal structure and shapes.
        rtol, atol: relative and absolute tolerance. Default: torch's, by the less exact dtype; 0 for integers and bools.
        equal_nan: whether NaN equals NaN.
        check_dtype: whether the dtypes must be equal too.
        msg: words to open the report with.

    Raises:
        AssertionError: with the count, the greatest differences, and the first elements that differ.

    Example:
        >>> assert_close([1.0, 2.0], [1.0, 2.5], rtol=0, atol=0.1)
        Traceback (most recent call last):
        ...
        AssertionError: 1 of 2 elements differ by more than atol 0.1 + rtol 0 * |expected|
          greatest absolute difference 0.5, greatest relative difference 0.2
          at (1,): 2.0, expected 2.5
    """
    options = {"rtol": rtol, "atol": atol, "equal_nan": equal_nan, "check_dtype": check_dtype}
    if isinstance(actual, dict) and isinstance(expected, dict):
        if actual.keys() != expected.keys():
            raise AssertionError(f"{_lead(msg)}keys {sorted(actual)} where {sorted(expected)} are expected")
        for key in expected:
            assert_close(actual[key], expected[key], msg=f"{msg} [{key!r}]".strip(), **options)  # type: ignore[arg-type]
    elif _is_row(actual) and _is_row(expected) and any(isinstance(v, (Tensor, np.ndarray, tuple, list, dict)) for v in expected):
        if len(actual) != len(expected):
            raise AssertionError(f"{_lead(msg)}{len(actual)} values where {len(expected)} are expected")
        for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
            assert_close(a, e, msg=f"{msg} [{i}]".strip(), **options)  # type: ignore[arg-type]
    else:
        _assert_arrays(_array(actual), _array(expected), rtol, atol, equal_nan, check_dtype, msg)


def _is_row(value: Any) -> bool:
    return isinstance(value, (tuple, list))


def _lead(msg: str) -> str:
    return f"{msg}: " if msg else ""


def _array(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, Tensor):
        return devices.move(value.array, "cpu")
    return np.asarray(devices.move(value, "cpu") if hasattr(value, "__cuda_array_interface__") else value)


def _tolerance(a: np.dtype[Any], b: np.dtype[Any], rtol: float | None, atol: float | None) -> tuple[float, float]:
    by_dtype = [_TOLERANCE.get(str(d), (0.0, 0.0)) for d in (a, b)]
    loosest = max(by_dtype)
    return loosest[0] if rtol is None else rtol, loosest[1] if atol is None else atol


def _assert_arrays(a: Any, e: Any, rtol: float | None, atol: float | None, equal_nan: bool, check_dtype: bool, msg: str) -> None:
    if a.shape != e.shape:
        raise AssertionError(f"{_lead(msg)}shape {a.shape} where {e.shape} is expected")
    if check_dtype and a.dtype != e.dtype:
        raise AssertionError(f"{_lead(msg)}dtype {a.dtype} where {e.dtype} is expected")
    rtol, atol = _tolerance(a.dtype, e.dtype, rtol, atol)
    wide_a, wide_e = _wide(a), _wide(e)
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(wide_a - wide_e)
        good = (wide_a == wide_e) | (difference <= atol + rtol * np.abs(wide_e))
        good &= np.isfinite(wide_e) | (wide_a == wide_e)
    if equal_nan:
        good |= np.isnan(wide_a) & np.isnan(wide_e)
    if not good.all():
        raise AssertionError(_lead(msg) + _report(wide_a, wide_e, good, difference, rtol, atol))


def _wide(x: Any) -> Any:
    """Values to compare: whole numbers exactly (Python's own beyond int64), all others as double precision."""
    if x.dtype.kind in "biu":
        return x.astype(object) if x.dtype == np.uint64 else x.astype(np.int64)
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def _report(a: Any, e: Any, good: Any, difference: Any, rtol: float, atol: float) -> str:
    bad = np.argwhere(~good)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.where(np.abs(e) > 0, difference / np.where(np.abs(e) > 0, np.abs(e), 1), np.inf)
    wrong, wrong_relative = difference[~good], relative[~good]
    lines = [
        f"{len(bad)} of {good.size} elements differ by more than atol {atol:g} + rtol {rtol:g} * |expected|",
        f"  greatest absolute difference {np.max(wrong):.6g}, greatest relative difference {np.max(wrong_relative):.6g}",
    ]
    lines += [f"  at {tuple(map(int, i))}: {a[tuple(i)]}, expected {e[tuple(i)]}" for i in bad[:_SHOWN]]
    return "\n".join(lines + ([f"  and {len(bad) - _SHOWN} more"] if len(bad) > _SHOWN else []))
