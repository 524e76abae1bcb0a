"""How tensors print: as torch prints them, element for element.

Whole floats show as ``1.``, others with four decimals; where sizes differ a thousandfold all show with an exponent. All
elements of a tensor take the same width. Large tensors show their edges.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import devices, dtypes

if TYPE_CHECKING:
    from .tensor import Tensor

_PRECISION, _THRESHOLD, _EDGE, _LINE = 4, 1000, 3, 80
_PREFIX = "tensor("


def format_tensor(t: Tensor) -> str:
    """The tensor's values, and whatever of dtype, device and graph is not the default."""
    array = devices.move(t.array, "cpu")
    if array.dtype.kind == "V":
        array = array.astype(np.float32)
    body = "[]" if not array.size else _format_array(array, len(_PREFIX))
    return _with_suffixes(_PREFIX + body, _suffixes(t))


def _suffixes(t: Tensor) -> list[str]:
    parts = []
    if t.device != "cpu":
        parts.append(f"device={t.device!r}")
    if t.numel() == 0 and t.ndim != 1:
        parts.append(f"size={t.shape}")
    default = dtypes.default_dtype()
    usual = {default} if t.numel() == 0 else {default, dtypes.int64, dtypes.bool_}
    usual.add(dtypes.complex128 if default == dtypes.float64 else dtypes.complex64)
    if t.dtype not in usual:
        parts.append(f"dtype={dtypes.name(t.dtype)}")
    if t.grad_fn is not None:
        parts.append(f"grad_fn={t.grad_fn!r}")
    elif t.requires_grad:
        parts.append("requires_grad=True")
    return parts


def _with_suffixes(text: str, suffixes: list[str]) -> str:
    length = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if length + len(suffix) + 2 > _LINE:
            text += ",\n" + " " * len(_PREFIX) + suffix
            length = len(_PREFIX) + len(suffix)
        else:
            text += ", " + suffix
            length += len(suffix) + 2
    return text + ")"


def _format_array(array: Any, indent: int) -> str:
    summarize = array.size > _THRESHOLD
    shown = _edges(array) if summarize else array
    if array.dtype.kind != "c":
        show, width = _formatter(shown)
        return _nested(array, indent, summarize, show, width)
    real, real_width = _formatter(shown.real)
    imaginary, imaginary_width = _formatter(shown.imag)

    def both(value: Any) -> str:
        imag = imaginary(value.imag).lstrip() + "j"
        return real(value.real) + (imag if imag[0] == "-" else "+" + imag)

    return _nested(array, indent, summarize, both, real_width + imaginary_width + 1)


def _edges(array: Any) -> Any:
    """The elements that a summary shows."""
    for axis, n in enumerate(array.shape):
        if n > 2 * _EDGE:
            array = np.concatenate([array.take(range(_EDGE), axis), array.take(range(n - _EDGE, n), axis)], axis)
    return array


def _formatter(array: Any) -> tuple[Callable[[Any], str], int]:
    """How to write one element, and how wide they all are."""
    if array.dtype.kind != "f":
        width = max(len(str(v)) for v in array.reshape(-1).tolist())
        return lambda value: str(value.item()).rjust(width), width
    values = array.astype(np.float64).reshape(-1)
    values = values[np.isfinite(values) & (values != 0)]
    whole = bool((values == np.ceil(values)).all())
    write = _float_writer(values, whole)
    width = max([1, *(len(write(v)) for v in values.tolist())])
    return lambda value: write(float(value)).rjust(width), width


def _float_writer(values: Any, whole: bool) -> Callable[[float], str]:
    if values.size:
        sizes = np.abs(values)
        spread = sizes.max() / sizes.min() > 1000 or sizes.max() > 1e8
        if spread or (not whole and sizes.min() < 1e-4):
            return lambda v: f"{v:.{_PRECISION}e}"
    if whole:
        return lambda v: f"{v:.0f}." if math.isfinite(v) else f"{v:.0f}"
    return lambda v: f"{v:.{_PRECISION}f}"


def _nested(array: Any, indent: int, summarize: bool, show: Callable[[Any], str], width: int) -> str:
    if array.ndim == 0:
        return show(array[()])
    short = summarize and array.shape[0] > 2 * _EDGE
    places: list[int | None] = [*range(_EDGE), None, *range(-_EDGE, 0)] if short else [*range(array.shape[0])]
    if array.ndim == 1:
        items = [" ..." if i is None else show(array[i]) for i in places]
        a_line = max(1, (_LINE - indent) // (width + 2))
        lines = [", ".join(items[i : i + a_line]) for i in range(0, len(items), a_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    rows = ["..." if i is None else _nested(array[i], indent + 1, summarize, show, width) for i in places]
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(rows) + "]"
