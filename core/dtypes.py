"""Dtypes by torch's names, and the rules by which they mix.

A dtype is a NumPy dtype; ``bfloat16`` and the float8 family come from ``ml_dtypes``.
Promotion follows torch: categories (bool < integer < floating < complex) first, then size; a tensor without
dimensions yields to one with dimensions of the same category, and a Python number yields to both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

from .errors import DtypeError, did_you_mean

bool_ = np.dtype(np.bool_)
uint8 = np.dtype(np.uint8)
int8 = np.dtype(np.int8)
int16 = np.dtype(np.int16)
int32 = np.dtype(np.int32)
int64 = np.dtype(np.int64)
float16 = np.dtype(np.float16)
bfloat16 = np.dtype(ml_dtypes.bfloat16)
float32 = np.dtype(np.float32)
float64 = np.dtype(np.float64)
complex64 = np.dtype(np.complex64)
complex128 = np.dtype(np.complex128)

ALL: dict[str, np.dtype[Any]] = {
    "bool": bool_,
    "uint8": uint8,
    "int8": int8,
    "int16": int16,
    "int32": int32,
    "int64": int64,
    "float16": float16,
    "bfloat16": bfloat16,
    "float32": float32,
    "float64": float64,
    "complex64": complex64,
    "complex128": complex128,
    "uint16": np.dtype(np.uint16),
    "uint32": np.dtype(np.uint32),
    "uint64": np.dtype(np.uint64),
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
}
_SHORT: dict[str, np.dtype[Any]] = {
    "float": float32, "double": float64, "half": float16, "long": int64, "int": int32, "short": int16,
}  # fmt: skip
_EXTENDED = {bfloat16, ALL["float8_e4m3fn"], ALL["float8_e5m2"]}
_BOOL, _INT, _FLOAT, _COMPLEX = range(4)
_default = float32


@cache
def category(dtype: np.dtype[Any]) -> int:
    """0 for bool, 1 for integers, 2 for floating point (bfloat16 and float8 too), 3 for complex."""
    if dtype in _EXTENDED:
        return _FLOAT
    kinds = {"b": _BOOL, "i": _INT, "u": _INT, "f": _FLOAT, "c": _COMPLEX}
    if dtype.kind not in kinds:
        raise DtypeError(f"dtype {dtype} cannot be held by a tensor", fix=f"use one of {', '.join(ALL)}")
    return kinds[dtype.kind]


def is_floating_point(dtype: np.dtype[Any]) -> bool:
    return category(dtype) == _FLOAT


def is_differentiable(dtype: np.dtype[Any]) -> bool:
    """Whether a tensor of this dtype can carry a gradient: floating point and complex."""
    return category(dtype) >= _FLOAT


def parse(dtype: Any) -> np.dtype[Any]:
    """A dtype from anything that names one: ``"float32"``, ``np.float32``, ``float``, ``nyala.float32``.

    Raises:
        DtypeError: nothing known by that name.

    Example:
        >>> parse("bfloat16").itemsize
        2
    """
    if isinstance(dtype, np.dtype):
        category(dtype)  # raises where no tensor can hold it
        return dtype
    if isinstance(dtype, str):
        found: np.dtype[Any] | None = ALL.get(dtype) or _SHORT.get(dtype)
        if found is None:
            raise DtypeError(f"unknown dtype {dtype!r}", fix=did_you_mean(dtype, ALL) or f"use one of {', '.join(ALL)}")
        return found
    python_types: dict[Any, np.dtype[Any]] = {float: _default, int: int64, bool: bool_, complex: complex64}
    try:
        named = python_types.get(dtype) or np.dtype(dtype)
    except TypeError:
        raise DtypeError(f"{dtype!r} names no dtype", fix=f"use one of {', '.join(ALL)}") from None
    category(named)
    return named


@cache
def promote(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that holds both, as torch's table has it.

    Example:
        >>> promote(int64, float32)
        dtype('float32')
    """
    if a == b:
        return a
    ca, cb = category(a), category(b)
    if ca != cb and (max(ca, cb) != _COMPLEX or min(ca, cb) != _FLOAT):
        return a if ca > cb else b
    if ca != cb:
        return complex128 if complex128 in (a, b) or float64 in (a, b) else complex64
    if a in _EXTENDED or b in _EXTENDED:
        small = {2: float16, 1: bfloat16}
        if a.itemsize != b.itemsize and max(a.itemsize, b.itemsize) > 2:
            return a if a.itemsize > b.itemsize else b
        return float32 if a.itemsize == b.itemsize == 2 else small[2] if float16 in (a, b) else bfloat16
    return np.promote_types(a, b)


def default_dtype() -> np.dtype[Any]:
    """The dtype of new floating-point tensors; float32 unless set."""
    return _default


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype of new floating-point tensors.

    Raises:
        DtypeError: ``dtype`` is not a floating-point dtype.
    """
    global _default
    parsed = parse(dtype)
    if not is_floating_point(parsed):
        raise DtypeError(f"the default dtype cannot be {parsed}", fix="choose float32, float64, float16 or bfloat16")
    _default = parsed


@contextlib.contextmanager
def using_default_dtype(dtype: Any) -> Iterator[None]:
    """``set_default_dtype`` for the length of a ``with`` block."""
    before = _default
    set_default_dtype(dtype)
    try:
        yield
    finally:
        set_default_dtype(before)


def name(dtype: np.dtype[Any]) -> str:
    """The dtype's name as torch prints it, without the package: ``float32``."""
    return str(dtype)


def of_scalar(value: Any) -> np.dtype[Any]:
    """The dtype a Python number becomes when it is a tensor of its own."""
    if isinstance(value, bool):
        return bool_
    if isinstance(value, int):
        return int64
    return complex64 if isinstance(value, complex) else _default


def result_with_scalar(dtype: np.dtype[Any], value: Any) -> np.dtype[Any]:
    """What a tensor of ``dtype`` and a Python number give: the tensor's own dtype unless the number's kind is higher."""
    return result_with_zero_dim(dtype, of_scalar(value))


def result_with_zero_dim(dtype: np.dtype[Any], other: np.dtype[Any]) -> np.dtype[Any]:
    """What a tensor of ``dtype`` with dimensions and one of ``other`` without give: the first unless the second's kind is higher.

    Example:
        >>> result_with_zero_dim(float16, float64)
        dtype('float16')
    """
    mine, others = category(dtype), category(other)
    if mine >= others:
        return dtype
    if mine == _FLOAT:  # complex numbers of the size that the floating-point dtype has
        return complex128 if dtype == float64 else complex64
    return other if mine == _BOOL or others == _INT else promote(dtype, other)
