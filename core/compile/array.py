"""``TracedArray``: an ndarray that tells its tracer what is done with it.

It holds its numbers, so a recorded call is also a computed one. NumPy's functions, ufuncs and methods on it are recorded as
nodes; whoever turns it into a Python number makes a guard, for the program may go another way with another number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..tracing import here

# Methods that give numbers to Python, where nothing can follow them: each becomes a guard on what they gave.
_READS = ("item", "tolist", "__bool__", "__int__", "__float__", "__complex__", "__index__")
_LEAVING = ("tobytes", "tofile", "dump", "dumps", "__dlpack__")
_WRITES = frozenset({"__setitem__", "fill", "sort", "partition", "put", "itemset", "resize", "byteswap", "setfield"})


class TracedArray(np.ndarray):
    """An array of a recording. Made by ``traced``; afterwards, when the recording is over, it acts as its plain array does.

    Attributes:
        plain: the same memory as an ordinary array.
        slot: the number by which the recording knows it.
        root: the traced array whose memory it is a view of, or None.
    """

    plain: Any = None
    slot: int = -1
    root: Any = None
    tracer: Any = None

    @property
    def base(self) -> Any:  # type: ignore[override]  # as if the recording had made the arrays itself
        return self.root

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.get("out")
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        written = inputs[:1] if method == "at" else tuple(o for o in out if o is not None) if out is not None else ()
        return recorded(self, function, inputs, kwargs, written)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        written = [kwargs["out"]] if kwargs.get("out") is not None else []
        return recorded(self, func, args, kwargs, args[:1] if func in (np.copyto, np.put, np.place, np.putmask) else written)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array


def _follows(tracer: Any) -> bool:
    """Whether the tracer records this very thread now: another thread may use the same weights meanwhile."""
    return tracer is not None and here.tracer is tracer and tracer.active


def recorded(source: TracedArray, function: Any, args: Any, kwargs: Any, written: Any = ()) -> Any:
    """The call, through the tracer that records; after the recording on plain arrays."""
    tracer = source.tracer
    if _follows(tracer):
        return tracer.call(function, args, kwargs, written)
    from .tracer import unwrapped

    return function(*unwrapped(args), **unwrapped(kwargs))


def _method(name: str) -> Callable[..., Any]:
    plain = getattr(np.ndarray, name)

    def method(self: TracedArray, *args: Any, **kwargs: Any) -> Any:
        return recorded(self, plain, (self, *args), kwargs, (self,) if name in _WRITES else ())

    return method


def _read(name: str) -> Callable[..., Any]:
    plain = getattr(np.ndarray, name)

    def method(self: TracedArray, *args: Any) -> Any:
        value = plain(self.plain, *args)
        if _follows(self.tracer):
            self.tracer.guard(plain, (self, *args), value)
        return value

    return method


def _leaves(name: str) -> Callable[..., Any]:
    plain = getattr(np.ndarray, name)

    def method(self: TracedArray, *args: Any, **kwargs: Any) -> Any:
        if _follows(self.tracer):
            self.tracer.refuse(f"an array's memory is handed to code that cannot be followed ({name})")
        return plain(self.plain, *args, **kwargs)

    return method


def _attribute(name: str) -> property:
    return property(lambda self: recorded(self, _GETTERS[name], (self,), {}))


_GETTERS: dict[str, Callable[[Any], Any]] = {
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "real": lambda x: x.real,
    "imag": lambda x: x.imag,
}


def _install() -> None:
    for name in dir(np.ndarray):
        public = not name.startswith("_") and callable(getattr(np.ndarray, name))
        if (public or name in ("__getitem__", "__setitem__", "__copy__", "__deepcopy__")) and name not in _READS + _LEAVING:
            setattr(TracedArray, name, _method(name))
    for name in _READS:
        setattr(TracedArray, name, _read(name))
    for name in _LEAVING:
        setattr(TracedArray, name, _leaves(name))
    for name in _GETTERS:
        setattr(TracedArray, name, _attribute(name))


_install()
