"""Hangs the operations on ``Tensor`` under torch's names: methods, operators, and the in-place forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import devices, dtypes, random
from .operation import Operation
from .ops import cast, derived, elementwise, index, linalg, pad, reduce, shape, softmax
from .tensor import Tensor

# Operations that are methods under their own name.
_METHODS: dict[Any, str] = {
    elementwise: (
        "add sub mul div floor_divide remainder pow maximum minimum exp expm1 log log1p log2 log10 sqrt rsqrt sin cos "
        "tan asin acos atan atan2 sinh cosh tanh sigmoid erf relu floor ceil round trunc neg sign reciprocal square clamp "
        "where eq ne lt le gt ge isnan isinf isfinite isclose logical_not logical_and logical_or logical_xor bitwise_not "
        "bitwise_and bitwise_or bitwise_xor"
    ),
    reduce: (
        "sum mean var std prod amax amin argmax argmin max min logsumexp cumsum cumprod norm any all count_nonzero "
        "argsort sort topk median unique bincount"
    ),
    shape: (
        "reshape view permute transpose t movedim expand expand_as broadcast_to squeeze unsqueeze flatten unflatten "
        "narrow split chunk unbind flip roll repeat repeat_interleave contiguous clone alias diagonal tril triu"
    ),
    index: "gather scatter_add scatter scatter_reduce index_select take_along_dim masked_fill masked_select index_put",
    derived: (
        "lerp addcmul addcdiv clamp_min clamp_max nonzero index_add index_fill index_copy trace diag tile swapaxes ravel view_as "
        "reshape_as"
    ),
    linalg: "matmul mm bmm mv dot outer addmm baddbmm",
    softmax: "softmax log_softmax",
}
_IN_PLACE = (
    "add sub mul div remainder pow exp log sqrt rsqrt tanh sigmoid relu floor ceil round neg reciprocal square clamp "
    "masked_fill scatter_add scatter index_put lerp addcmul addcdiv clamp_min clamp_max index_add index_fill index_copy"
)


def _reflected(function: Callable[..., Any]) -> Callable[[Tensor, Any], Tensor]:
    def operator(self: Tensor, other: Any) -> Tensor:
        return function(other, self)

    return operator


def _same(function: Callable[..., Any]) -> Callable[[Tensor, Any], Any]:
    """``==`` or ``!=``: with what is neither tensor, array nor number, Python's own answer."""

    def operator(self: Tensor, other: Any) -> Any:
        return NotImplemented if other is None or isinstance(other, str) else function(self, other)

    return operator


_OPERATORS: dict[str, Callable[..., Any]] = {
    "__add__": elementwise.add,
    "__sub__": elementwise.sub,
    "__mul__": elementwise.mul,
    "__truediv__": elementwise.div,
    "__floordiv__": elementwise.floor_divide,
    "__mod__": elementwise.remainder,
    "__pow__": elementwise.pow,
    "__matmul__": linalg.matmul,
    "__neg__": elementwise.neg,
    "__abs__": elementwise.abs_,
    "__and__": elementwise.bitwise_and,
    "__or__": elementwise.bitwise_or,
    "__xor__": elementwise.bitwise_xor,
    "__invert__": elementwise.bitwise_not,
    "__eq__": _same(elementwise.eq),
    "__ne__": _same(elementwise.ne),
    "__lt__": elementwise.lt,
    "__le__": elementwise.le,
    "__gt__": elementwise.gt,
    "__ge__": elementwise.ge,
    "__getitem__": index.getitem,
    "__setitem__": index.setitem,
}


def _in_place(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        others = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        return self._write(f"{name}_", lambda t: function(t, *args, **kwargs), others)

    method.__name__ = f"{name}_"
    method.__doc__ = f"``{name}`` written into this tensor's own memory."
    return method


def _copy_(self: Tensor, source: Any) -> Tensor:
    """Write ``source`` into this tensor, converted to its dtype and device."""
    from .create import as_tensor

    value = as_tensor(source).to(device=self.device, dtype=self.dtype)
    return self._write("copy_", lambda t: value.expand(t.shape).clone(), (value,))


def _fill_(self: Tensor, value: Any) -> Tensor:
    """Write one value everywhere."""
    return self._write("fill_", lambda t: t._like(t._module.full(t.shape, value, t.dtype)))


def _zero_(self: Tensor) -> Tensor:
    """Write zeros everywhere."""
    return _fill_(self, 0)


def _normal_(self: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill with normal numbers from the ambient random stream."""
    return self._write("normal_", lambda t: random.randn(t.shape, dtype=t.dtype, device=t.device) * std + mean)


def _uniform_(self: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Fill with uniform numbers from the ambient random stream."""
    return self._write("uniform_", lambda t: random.rand(t.shape, dtype=t.dtype, device=t.device) * (high - low) + low)


class _Move(Operation):
    def __init__(self, device: str, waits: bool = True) -> None:
        self.device, self.waits = device, waits

    def forward(self, x: Any) -> Any:
        self.source = devices.of(x)
        return devices.move(x, self.device) if self.waits else devices.start_move(x, self.device)

    def backward(self, g: Tensor) -> Tensor:
        return g.to(self.source)


def _to(
    self: Tensor, *args: Any, dtype: Any = None, device: Any = None, copy: bool = False, non_blocking: bool = False
) -> Tensor:
    """The tensor with another dtype and/or on another device: ``x.to("cuda")``, ``x.to(nyala.float16)``, ``x.to(other)``.

    ``non_blocking``: a copy from pinned memory (``pin_memory()``) to a GPU is not waited for; do not write to ``x`` meanwhile.
    """
    for a in args:
        if isinstance(a, Tensor):
            dtype, device = a.dtype, a.device
        elif devices.is_name(a):
            device = a
        elif a is not None:
            dtype = a
    out = self
    if device is not None and (place := devices.parse(device)) != self.device:
        out = _Move(place, not non_blocking).apply(out)
    if dtype is not None:
        out = cast.cast(out, dtype)
    return out.clone() if copy and out is self else out


def _pin_memory(self: Tensor) -> Tensor:
    """A copy on the CPU in memory that a GPU reads by itself, for quick copies there; itself where it lies there already.

    Raises:
        DeviceError: the tensor is on a GPU, or there is none.
    """
    if self.is_cuda:
        raise devices.DeviceError(f"pin_memory of a tensor on {self.device}", fix="pin what is on the CPU")
    array = devices.pinned(self.array)
    return self if array is self.array else Tensor(array)


def _is_pinned(self: Tensor) -> bool:
    """Whether it lies in memory that a GPU reads by itself."""
    return not self.is_cuda and devices.is_pinned(self.array)


def _type_as(self: Tensor, other: Tensor) -> Tensor:
    """This tensor with the dtype of ``other``."""
    return cast.cast(self, other.dtype)


class _Complex(Operation):
    """conj, real and imag: linear maps over the reals, named by the array attribute that computes them."""

    def __init__(self, part: str) -> None:
        self.part = part

    def forward(self, x: Any) -> Any:
        self.dtype = x.dtype
        return x.conj() if self.part == "conj" else getattr(x, self.part).copy()

    def backward(self, g: Tensor) -> Tensor:
        if self.part == "conj":
            return _Complex("conj").apply(g)
        return _Embed(self.part, self.dtype).apply(g)


class _Embed(Operation):
    """A real tensor as the real or imaginary part of a complex one."""

    def __init__(self, part: str, dtype: Any) -> None:
        self.part, self.dtype = part, dtype

    def forward(self, x: Any) -> Any:
        return x.astype(self.dtype) * (1 if self.part == "real" else 1j)

    def backward(self, g: Tensor) -> Tensor:
        return _Complex(self.part).apply(g)


def _part(name: str) -> Callable[[Tensor], Tensor]:
    def get(self: Tensor) -> Tensor:
        return _Complex(name).apply(self) if self.is_complex() else self

    return get


def _allclose(self: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether |self - other| <= atol + rtol * |other| everywhere."""
    return bool(self._module.allclose(self.array, other.array, rtol, atol, equal_nan))


def _equal(self: Tensor, other: Tensor) -> bool:
    """Whether both have one shape and the same values."""
    return self.shape == other.shape and bool((self.array == other.array).all())


def _install() -> None:
    for module, names in _METHODS.items():
        for name in names.split():
            setattr(Tensor, name, getattr(module, name))
    for name, function in _OPERATORS.items():
        setattr(Tensor, name, function)
    for name in ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"]:
        setattr(Tensor, f"__r{name}__", _reflected(_OPERATORS[f"__{name}__"]))
    for name in _IN_PLACE.split():
        setattr(Tensor, f"{name}_", _in_place(name, getattr(Tensor, name)))
    for name in ["add", "sub", "mul", "truediv", "pow"]:
        setattr(Tensor, f"__i{name}__", _in_place(name, _OPERATORS[f"__{name}__"]))
    for name, dtype in (
        ("float", dtypes.float32), ("double", dtypes.float64), ("half", dtypes.float16), ("bfloat16", dtypes.bfloat16),
        ("long", dtypes.int64), ("int", dtypes.int32), ("bool", dtypes.bool_), ("byte", dtypes.uint8),
    ):  # fmt: skip
        setattr(Tensor, name, _converter(name, dtype))
    extra: dict[str, Any] = {
        "unfold": pad.unfold_dimension,
        "abs": elementwise.abs_,
        "clip": elementwise.clamp,
        "to": _to,
        "type_as": _type_as,
        "pin_memory": _pin_memory,
        "is_pinned": _is_pinned,
        "copy_": _copy_,
        "fill_": _fill_,
        "zero_": _zero_,
        "normal_": _normal_,
        "uniform_": _uniform_,
        "conj": _part("conj"),
        "real": property(_part("real")),
        "imag": property(_part("imag")),
        "T": property(lambda t: t.permute(*range(t.ndim)[::-1])),
        "mT": property(lambda t: t.transpose(-2, -1)),
        "cpu": lambda t: _to(t, "cpu"),
        "cuda": lambda t, device="cuda": _to(t, device),
        "new_zeros": lambda t, *size, dtype=None: _new(t, "zeros", size, dtype),
        "new_ones": lambda t, *size, dtype=None: _new(t, "ones", size, dtype),
        "new_empty": lambda t, *size, dtype=None: _new(t, "empty", size, dtype),
        "new_full": _new_full,
        "new_tensor": _new_tensor,
        "allclose": _allclose,
        "equal": _equal,
        "take": lambda t, index: t.reshape(-1)[index],
    }
    for name, value in extra.items():
        setattr(Tensor, name, value)


def _converter(name: str, dtype: np.dtype[Any]) -> Callable[[Tensor], Tensor]:
    def method(self: Tensor) -> Tensor:
        return cast.cast(self, dtype)

    method.__name__ = name
    method.__doc__ = f"The tensor as {dtype}."
    return method


def _new(t: Tensor, how: str, size: tuple[Any, ...], dtype: Any) -> Tensor:
    from .ops.operands import shape_of

    return t._like(getattr(t._module, how)(shape_of(size, how), dtypes.parse(dtype) if dtype is not None else t.dtype))


def _new_full(self: Tensor, size: Any, fill_value: Any, *, dtype: Any = None) -> Tensor:
    """A tensor of one value, with this one's dtype and device."""
    return _new(self, "empty", (size,) if isinstance(size, int) else tuple(size), dtype).fill_(fill_value)


def _new_tensor(self: Tensor, data: Any, dtype: Any = None) -> Tensor:
    """A tensor of ``data``, with this one's dtype and device."""
    from .create import tensor

    return tensor(data, dtype if dtype is not None else self.dtype, self.device)


_install()
