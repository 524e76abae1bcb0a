"""Element-wise kernels from functions of one element: arrays are walked in memory order, in spans that threads take one by one.

``over(f)`` makes a compiled kernel that calls ``f(a[i], b[i], *numbers)``; ``mapped`` feeds it with arrays. An element's bits
are a function of the element alone: not of the size, the layout or the place of the array it stands in.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for

SPAN = 1 << 15  # elements that one thread takes at a time
FLOAT32 = np.dtype(np.float32)
INLINE = EXACT | {"cache": False, "forceinline": True}
"""For functions of one element: cached with the kernels made of them, and inlined however long, or loops are not vectorised."""

_function: Any = None  # each kernel has its own: see ``_with``
_body: Any = None


def _one(t: Any, numbers: Any, x: Any, out: Any) -> None:
    a, y = x[t * SPAN : (t + 1) * SPAN], out[t * SPAN : (t + 1) * SPAN]
    for i in range(y.size):
        y[i] = _function(a[i], *numbers)


def _two(t: Any, numbers: Any, x: Any, z: Any, out: Any) -> None:
    a, y = x[t * SPAN : (t + 1) * SPAN], out[t * SPAN : (t + 1) * SPAN]
    if z.size == out.size:
        b = z[t * SPAN : (t + 1) * SPAN]
        for i in range(y.size):
            y[i] = _function(a[i], b[i], *numbers)
    else:
        s = z[0]
        for i in range(y.size):
            y[i] = _function(a[i], s, *numbers)


def _all_of_one(x: Any, out: Any, *numbers: Any) -> None:
    parallel_for(_body, (out.size + SPAN - 1) // SPAN, (numbers, x, out))


def _all_of_two(x: Any, z: Any, out: Any, *numbers: Any) -> None:
    parallel_for(_body, (out.size + SPAN - 1) // SPAN, (numbers, x, z, out))


_TEMPLATES = {1: (_one, _all_of_one), 2: (_two, _all_of_two)}


def _with(template: Any, name: str, **names: Any) -> Any:
    """The template under a name of its own, with global names of its own: code that Numba can cache, as closures are not."""
    made = FunctionType(template.__code__, {**template.__globals__, **names}, name)
    made.__qualname__, made.__module__ = name, template.__module__
    return made


def over(function: Any, arrays: int = 1) -> Any:
    """A kernel ``(*flat arrays, flat out, *numbers)`` that calls a compiled function of ``arrays`` elements and the numbers."""
    return made_of(function, *_TEMPLATES[arrays])


def made_of(function: Any, body: Any, whole: Any) -> Any:
    """The compiled form of ``whole``, which runs ``_body`` in parallel: that is ``body``, which calls ``_function``."""
    name = f"{function.__module__.rpartition('.')[2]}_{function.__name__}"
    inner = njit(**{**EXACT, "cache": False})(_with(body, f"{name}_span", _function=function))
    return njit(**EXACT, parts=(function.py_func,))(_with(whole, name, _body=inner))


def mapped(kernel: Callable[..., None], x: Any, other: Any = None, numbers: tuple[Any, ...] = (), dtype: Any = FLOAT32) -> Any:
    """``kernel`` over x, and over another array of its shape; the result in the shape and memory order of x.

    Dense arrays, such as channels-last ones, are not copied, nor is another array that is one number over and over.
    """
    if not x.flags.carray:
        return _in_order(kernel, x, other, numbers, dtype)
    out = np.empty(x.shape, dtype)
    if other is None:
        kernel(x.ravel(), out.ravel(), *numbers)
    else:
        kernel(x.ravel(), _flat_or_one(other), out.ravel(), *numbers)
    return out


def flat(x: Any) -> Any:
    """The elements in C order, aligned and writable, as the kernels are compiled for; what is not is copied."""
    return x.ravel() if x.flags.carray else np.array(x, order="C").ravel()


def one_number(x: Any) -> bool:
    """Whether the array is a single number in memory, over and over: as the gradient of a sum is."""
    return x.size > 1 and not any(x.strides)


def _flat_or_one(x: Any) -> Any:
    return x.ravel() if x.flags.carray else np.array(x.flat[0]).reshape(1) if one_number(x) else np.array(x, order="C").ravel()


def _in_order(kernel: Callable[..., None], x: Any, other: Any, numbers: Any, dtype: Any) -> Any:
    order = memory_order(x)
    out = np.empty([x.shape[i] for i in order], dtype)
    others = [] if other is None else [_flat_or_one(other.transpose(order))]
    kernel(flat(x.transpose(order)), *others, out.ravel(), *numbers)
    return out.transpose(np.argsort(order))


def memory_order(x: Any) -> list[int]:
    """Dimensions from the outermost in memory to the innermost; as they are where there are gaps or repeats."""
    order = sorted(range(x.ndim), key=lambda i: -x.strides[i])
    return order if x.transpose(order).flags.c_contiguous else list(range(x.ndim))
