"""``autocast``: matrix products and convolutions in half precision, what loses by it in float32.

Which operation goes which way is torch's list for GPUs (``ATen/autocast_mode.h``), here on every device: products are lowered,
sums, norms, softmax, powers and losses are computed in float32, a few take the widest dtype they are given, and all others
compute in the dtype that reaches them. An operation says which it is where it is defined, by one of the three decorators below.

On the CPU half precision is storage (products are rounded to it and summed in float32): the numbers of a GPU, without its speed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from contextlib import ContextDecorator
from typing import Any, TypeVar

import numpy as np

from . import dtypes
from .errors import ArgumentError, DtypeError
from .graph import state
from .tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])
DEFAULTS = {"cpu": dtypes.bfloat16, "cuda": dtypes.float16}
_HALF = (dtypes.bfloat16, dtypes.float16)


class Casting:
    """What is on in a thread: the lower dtype of each type of device, and the weights that have been lowered already."""

    def __init__(self, lower: Mapping[str, np.dtype[Any]], caches: bool) -> None:
        self.lower, self.caches = dict(lower), caches
        self._lowered: dict[tuple[int, bool], tuple[Tensor, int, Tensor]] = {}

    def fresh(self) -> Casting:
        """The same switches with nothing lowered yet: for a forward that runs a second time, with a graph of its own."""
        return Casting(self.lower, self.caches)

    def touches(self, t: Any) -> bool:
        """Whether ``t`` is a tensor that autocast converts: floating point up to 32 bits, on a device where it is on."""
        return (
            isinstance(t, Tensor)
            and t.dtype.itemsize in (2, 4)
            and t.dtype.kind in "fV"
            and t.device.partition(":")[0] in self.lower
        )

    def to_lower(self, t: Tensor) -> Tensor:
        """The tensor in the lower dtype; a weight's is kept for its next use."""
        dtype = self.lower[t.device.partition(":")[0]]
        if t.dtype == dtype:
            return t
        if not (self.caches and t.requires_grad and t.is_leaf and t.dtype == dtypes.float32):
            return _cast(t, dtype)
        key, writes = (id(t), state.grad), 0 if t._version is None else t._version.count
        known = self._lowered.get(key)
        if known is not None and known[0] is t and known[1] == writes and known[2].dtype == dtype:
            return known[2]
        lowered = _cast(t, dtype)
        self._lowered[key] = t, writes, lowered
        return lowered


def _cast(t: Tensor, dtype: np.dtype[Any]) -> Tensor:
    from .ops.cast import cast

    return cast(t, dtype)


def _in_float32(casting: Casting, tensors: list[Tensor]) -> Callable[[Tensor], Tensor]:  # noqa: ARG001 - one signature for all
    return lambda t: _cast(t, dtypes.float32)


def _lowered(casting: Casting, tensors: list[Tensor]) -> Callable[[Tensor], Tensor]:  # noqa: ARG001
    return casting.to_lower


def _widest(casting: Casting, tensors: list[Tensor]) -> Callable[[Tensor], Tensor]:  # noqa: ARG001
    dtype = functools.reduce(dtypes.promote, [t.dtype for t in tensors])
    return lambda t: _cast(t, dtype)


def _decorator(how: Callable[[Casting, list[Tensor]], Callable[[Tensor], Tensor]], doc: str) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        @functools.wraps(function)
        def casting_function(*args: Any, **kwargs: Any) -> Any:
            casting: Casting | None = state.autocast
            if casting is None:
                return function(*args, **kwargs)
            found = [t for t in _flat((*args, *kwargs.values())) if casting.touches(t)]
            convert = how(casting, found) if found else None
            state.autocast = None  # what the operation is made of runs as it is written
            try:
                if convert is None:
                    return function(*args, **kwargs)
                new = {id(t): convert(t) for t in found}
                return function(*[_replaced(a, new) for a in args], **{k: _replaced(v, new) for k, v in kwargs.items()})
            finally:
                state.autocast = casting

        return casting_function  # type: ignore[return-value]  # the same signature

    decorate.__doc__ = doc
    return decorate


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for v in values:
        if isinstance(v, (list, tuple)):
            yield from v
        else:
            yield v


def _replaced(value: Any, new: Mapping[int, Tensor]) -> Any:
    if isinstance(value, (list, tuple)) and any(id(v) in new for v in value):
        return [new.get(id(v), v) for v in value]
    return new.get(id(value), value)


in_low_precision = _decorator(_lowered, "Marks an operation that autocast gives tensors of its lower dtype.")
in_full_precision = _decorator(_in_float32, "Marks an operation that autocast gives float32.")
in_widest_precision = _decorator(_widest, "Marks an operation that autocast gives tensors of the widest dtype among them.")


class autocast(ContextDecorator):  # noqa: N801 - torch's name
    """Inside, matrix products and convolutions run in half precision, and what would lose by it in float32.

    Works as ``with nyala.autocast("cuda", nyala.bfloat16):`` and as a decorator, for the thread that enters it. Parameters stay
    as they are: each is converted when a product uses it, once for as long as the outermost block lasts, and gets its
    gradient in its own dtype. Put the forward pass and the loss inside, ``backward`` outside. Blocks nest; float64, integers
    and tensors on other devices are never touched. With float16 a ``GradScaler`` belongs to it.

    Args:
        device_type: "cuda" or "cpu" (or a device's name).
        dtype: bfloat16 or float16; bfloat16 on the CPU and float16 on a GPU where it is left out.
        enabled: False switches it off inside.
        cache_enabled: keep converted weights until the outermost block ends.

    Raises:
        ArgumentError: another kind of device.
        DtypeError: another dtype.

    Example:
        >>> import nyala
        >>> net = nyala.nn.Linear(4, 4)
        >>> with nyala.autocast("cpu", nyala.bfloat16):
        ...     y = net(nyala.ones(1, 4))
        ...     z = y.softmax(-1)
        >>> y.dtype, z.dtype, net.weight.dtype
        (dtype(bfloat16), dtype('float32'), dtype('float32'))
    """

    def __init__(self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: bool = True) -> None:
        self.device_type = _device_type(device_type)
        self.dtype = DEFAULTS[self.device_type] if dtype is None else dtypes.parse(dtype)
        if self.dtype not in _HALF:
            raise DtypeError(f"autocast to {self.dtype}", why="it lowers to half precision", fix="use bfloat16 or float16")
        self.enabled, self.cache_enabled = bool(enabled), bool(cache_enabled)
        self._before: list[Casting | None] = []

    def _recreate_cm(self) -> autocast:
        return autocast(self.device_type, self.dtype, self.enabled, self.cache_enabled)

    def __enter__(self) -> autocast:
        before: Casting | None = state.autocast
        self._before.append(before)
        lower = {k: v for k, v in (before.lower if before else {}).items() if k != self.device_type}
        if self.enabled:
            lower[self.device_type] = self.dtype
        inside = Casting(lower, self.cache_enabled) if lower else None
        if before is not None and inside is not None and self.cache_enabled:
            inside._lowered = before._lowered
        state.autocast = inside
        return self

    def __exit__(self, *error: object) -> None:
        state.autocast = self._before.pop()


def _device_type(device_type: str) -> str:
    name = str(device_type).partition(":")[0]
    if name not in DEFAULTS:
        raise ArgumentError(f"autocast for device {device_type!r}", fix="use 'cpu' or 'cuda'")
    return name


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether autocast is on in this thread for such devices."""
    casting: Casting | None = state.autocast
    return casting is not None and _device_type(device_type) in casting.lower


def get_autocast_dtype(device_type: str) -> np.dtype[Any]:
    """What autocast lowers to on such devices, or would if it were on."""
    casting: Casting | None = state.autocast
    name = _device_type(device_type)
    return casting.lower.get(name, DEFAULTS[name]) if casting is not None else DEFAULTS[name]
