"""New tensors from data, and filled ones.

Example:
    >>> import nyala
    >>> nyala.arange(3) + nyala.ones(3, dtype="int64")
    tensor([1, 2, 3])
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import devices, dtypes
from .errors import ArgumentError, DtypeError, ShapeError
from .ops.operands import shape_of
from .tensor import Tensor


def tensor(data: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of ``data``: numbers, nested lists, arrays, tensors.

    Python floats become the default dtype, whole numbers int64; arrays keep their dtype.

    Raises:
        ArgumentError: lists of different lengths.
        DtypeError: data that is not numbers.
    """
    kind = dtypes.parse(dtype) if dtype is not None else None
    place = devices.parse(device)
    if isinstance(data, Tensor):
        data, place = data.array, place if device is not None else data.device
    if hasattr(data, "__cuda_array_interface__"):
        devices.use(data)
        array = data.copy() if kind is None else data.astype(kind)
        return Tensor(devices.move(array, place if device is not None else devices.of(data)), requires_grad)
    return Tensor(devices.move(_from_python(data, kind), place), requires_grad)


def _from_python(data: Any, kind: np.dtype[Any] | None) -> np.ndarray[Any, Any]:
    if isinstance(data, (list, tuple)) and _holds_tensors(data):
        data = _unwrapped(data)
    try:
        array = np.array(data)
    except ValueError as error:
        why = "some inner lists are longer than others" if "inhomogeneous" in str(error) else str(error)
        raise ArgumentError("the data is not a regular array", why=why, fix="make the inner lists equally long") from None
    if kind is None and not isinstance(data, (np.ndarray, np.generic)):
        if array.dtype == np.float64:
            kind = dtypes.default_dtype()
        elif array.dtype == np.complex128:
            kind = dtypes.complex64
    if array.dtype.kind in "OUSMm":
        raise DtypeError(f"a tensor cannot hold {_first_stranger(data)}", fix="pass numbers; encode texts first")
    return array if kind is None or kind == array.dtype else array.astype(kind)


def _first_stranger(data: Any) -> str:
    """The first thing in nested lists that is no number, as an error names it."""
    if isinstance(data, (np.ndarray, np.generic)):
        return f"dtype {data.dtype}"
    if isinstance(data, (list, tuple)):
        return next((_first_stranger(d) for d in data if not isinstance(d, (bool, int, float, complex))), "too large a number")
    if data is None:
        return "None"
    shown = repr(data)
    return f"the {type(data).__name__} {shown if len(shown) <= 40 else shown[:37] + '...'}"


def _holds_tensors(data: Any) -> bool:
    return any(isinstance(d, Tensor) or (isinstance(d, (list, tuple)) and _holds_tensors(d)) for d in data)


def _unwrapped(data: Any) -> Any:
    if isinstance(data, Tensor):
        return data.detach().cpu().array.tolist() if data.ndim == 0 else data.detach().cpu().array
    return [_unwrapped(d) for d in data] if isinstance(data, (list, tuple)) else data


def as_tensor(data: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """As ``tensor``, without copying what is an array or tensor of that dtype and device already."""
    if isinstance(data, Tensor):
        return data.to(dtype=dtype, device=device)
    if isinstance(data, np.ndarray) or hasattr(data, "__cuda_array_interface__"):
        t = Tensor(data)
        return t.to(dtype=dtype, device=device)
    return tensor(data, dtype, device)


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor on the memory of ``array``: a write to one is seen by the other."""
    if not isinstance(array, np.ndarray):
        raise DtypeError(f"from_numpy needs an array, not {type(array).__name__}", fix="use nyala.tensor")
    dtypes.category(array.dtype)
    return Tensor(array)


def from_dlpack(source: Any) -> Tensor:
    """A tensor on the memory of any array that speaks DLPack (torch, CuPy, JAX, ...)."""
    kind = source.__dlpack_device__()[0]
    return Tensor(np.from_dlpack(source) if int(kind) == 1 else devices.cupy().from_dlpack(source))


def _filled(how: str, size: tuple[Any, ...], dtype: Any, device: str | None, requires_grad: bool, *value: Any) -> Tensor:
    xp = devices.module_for(devices.parse(device))
    shape = shape_of(size, how)
    if shape and min(shape) < 0:
        raise ShapeError(f"{how}: a shape {shape} with a negative length", fix="use lengths from 0")
    array = getattr(xp, how)(shape, *value, dtype=dtypes.parse(dtype) if dtype is not None else dtypes.default_dtype())
    return Tensor(array, requires_grad)


def zeros(*size: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros."""
    return _filled("zeros", size, dtype, device, requires_grad)


def ones(*size: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones."""
    return _filled("ones", size, dtype, device, requires_grad)


def empty(*size: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor whose values are whatever the memory held."""
    return _filled("empty", size, dtype, device, requires_grad)


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of one value."""
    shape = (size,) if isinstance(size, int) else tuple(size)
    return _filled("full", shape, dtype or dtypes.of_scalar(fill_value), device, requires_grad, fill_value)


def _like(input: Tensor, kwargs: dict[str, Any]) -> dict[str, Any]:
    return {"dtype": input.dtype, "device": input.device, **{k: v for k, v in kwargs.items() if v is not None}}


def zeros_like(input: Tensor, **kwargs: Any) -> Tensor:
    """Zeros in the shape, dtype and device of ``input``."""
    return zeros(input.shape, **_like(input, kwargs))


def ones_like(input: Tensor, **kwargs: Any) -> Tensor:
    """Ones in the shape, dtype and device of ``input``."""
    return ones(input.shape, **_like(input, kwargs))


def empty_like(input: Tensor, **kwargs: Any) -> Tensor:
    """Memory for a tensor like ``input``."""
    return empty(input.shape, **_like(input, kwargs))


def full_like(input: Tensor, fill_value: Any, **kwargs: Any) -> Tensor:
    """One value in the shape, dtype and device of ``input``."""
    return full(input.shape, fill_value, **_like(input, kwargs))


def arange(
    start: float,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... below ``end``; with one argument from 0 below it."""
    first, last = (0, start) if end is None else (start, end)
    if step == 0 or (last - first) / step < 0:
        raise ArgumentError(f"arange from {first} to {last} in steps of {step}", fix="choose a step that leads to the end")
    whole = all(isinstance(n, int) for n in (first, last, step))
    kind = dtypes.parse(dtype) if dtype is not None else dtypes.int64 if whole else dtypes.default_dtype()
    count = math.ceil((last - first) / step)
    array = (first + step * devices.module_for(devices.parse(device)).arange(count)).astype(kind)
    return Tensor(array, requires_grad)


def linspace(start: float, end: float, steps: int, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """``steps`` numbers from ``start`` to ``end``, both included."""
    array = np.linspace(start, end, steps).astype(dtypes.parse(dtype) if dtype is not None else dtypes.default_dtype())
    return Tensor(devices.move(array, devices.parse(device)))


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """The identity matrix, (n, n) or (n, m)."""
    array = np.eye(n, m, dtype=dtypes.parse(dtype) if dtype is not None else dtypes.default_dtype())
    return Tensor(devices.move(array, devices.parse(device)))


def meshgrid(*tensors: Tensor, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid: one tensor a vector, each in the shape of the grid."""
    if indexing not in ("ij", "xy"):
        raise ArgumentError(f"meshgrid: indexing={indexing!r}", fix="use 'ij' or 'xy'")
    order = list(range(len(tensors)))
    if indexing == "xy" and len(order) > 1:
        order[0], order[1] = 1, 0
    shape = [tensors[i].numel() for i in order]
    out = []
    for i, t in enumerate(tensors):
        place = order.index(i)
        out.append(t.reshape([-1 if j == place else 1 for j in range(len(order))]).expand(shape))
    return tuple(out)
