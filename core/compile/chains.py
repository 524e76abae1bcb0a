"""Kernels for chains of element-wise operations, written as text and compiled by Numba, kept on the disk as all kernels are.

A chain computes one array from several, an element after the other, with nothing between them in memory. Its bits are those of
the single kernels. Their functions may fuse a product and a sum *inside* themselves; here nothing may be fused *across* two of
them. So sums, differences, products and quotients are compiled without that licence, and two functions that have it are never
neighbours in a chain (``joins``).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ..kernels.cpu.elementwise import elementwise, gates, gelu
from ..kernels.cpu.lanes import vector_math
from ..kernels.cpu.lanes.spans import SPAN, flat
from ..kernels.cpu.running.compiled import njit
from ..kernels.cpu.running.parallel import parallel_for
from ..kernels.expressions import SIMPLE

_PLAIN: dict[str, Any] = {"fastmath": False, "error_model": "numpy", "nogil": True}

# Kernel -> the same of one element, as SIMPLE has it. The arrays are a, b in the kernel's own order, n0, n1 its numbers.
_LICENSED: dict[str, tuple[Any, str]] = {
    "exp": (vector_math.fexp_full, "a"), "expm1": (vector_math.fexpm1, "a"), "log": (vector_math.flog, "a"),
    "log1p": (vector_math.flog1p, "a"), "tanh": (vector_math.ftanh, "a"), "sigmoid": (vector_math.fsigmoid, "a"),
    "erf": (vector_math.ferf, "a"), "tanh_backward": (elementwise._tanh_slope, "b, a"),
    "sigmoid_backward": (elementwise._sigmoid_slope, "b, a"), "silu": (gelu._silu, "a"),
    "silu_backward": (gelu._silu_slope, "b, a"), "mish": (gelu._mish, "a"), "mish_backward": (gelu._mish_slope, "b, a"),
    "hardsigmoid": (gates._hardsigmoid, "a"), "hardsigmoid_backward": (gates._hardsigmoid_slope, "b, a"),
    "hardswish": (gates._hardswish, "a"), "hardswish_backward": (gates._hardswish_slope, "b, a"),
    "elu": (gates._elu, "a, n0"), "elu_backward": (gates._elu_slope, "b, a, n0"),
    "softplus": (gelu._softplus, "a, n0, n1"), "softplus_backward": (gelu._softplus_slope, "b, a, n0, n1"),
}  # fmt: skip
_GELU = {
    "none": (vector_math.fgelu, gelu._gelu_slope),
    "tanh": (vector_math.fgelu_tanh, gelu._gelu_tanh_slope),
    "quick": (gelu._gelu_quick, gelu._gelu_quick_slope),
}
for _kind, (_forward, _slope) in _GELU.items():
    _LICENSED[f"gelu {_kind}"], _LICENSED[f"gelu_backward {_kind}"] = (_forward, "a"), (_slope, "b, a")


class Step:
    """One operation of a chain.

    Attributes:
        name: of the operation, a key of the tables above.
        operands: numbers below 0 name inputs (-1 is the first), others earlier steps.
        numbers: its parameters.
    """

    def __init__(self, name: str, operands: tuple[int, ...], numbers: tuple[float, ...] = ()) -> None:
        self.name, self.operands, self.numbers = name, operands, numbers


def known(name: str) -> bool:
    """Whether a chain can hold the operation."""
    return name in SIMPLE or name in _LICENSED


def joins(first: str, second: str) -> bool:
    """Whether the second operation may work on the first one's result in one chain."""
    return not (first in _LICENSED and second in _LICENSED)


@functools.lru_cache(maxsize=256)
def _kernel(text: str, used: tuple[str, ...]) -> Callable[..., None]:
    """The compiled form of ``text``; its name is made of it, so that the disk holds one of each."""
    name = f"chain_{hashlib.sha256(text.encode()).hexdigest()[:20]}"
    functions = {f"f_{u.replace(' ', '_')}": _LICENSED[u][0] for u in used}
    names = {
        **functions, "parallel_for": parallel_for, "SPAN": SPAN, "sqrt": np.sqrt, "one": np.float32(1), "zero": np.float32(0),
        "__name__": __name__,
    }  # fmt: skip
    exec(compile(text.replace("CHAIN", name), __file__, "exec"), names)
    names[f"{name}_body"] = njit(**_PLAIN)(names[f"{name}_body"])
    parts = tuple(f.py_func for f in functions.values())
    return njit(**_PLAIN, cache=True, parts=parts)(names[name])  # type: ignore[no-any-return]


def _text(steps: list[Step], kinds: tuple[str, ...]) -> str:
    """The source: a body that computes one tile of rows, and the kernel that runs it over all of them."""
    inputs = [f"a{i}" for i in range(len(kinds))]
    numbers = [f"n{k}_{j}" for k, s in enumerate(steps) for j in range(len(s.numbers))]
    loads = {"full": "a{0}[base + left : base + right]", "row": "a{0}[left:right]", "column": "a{0}[r]", "one": "a{0}[0]"}
    lines = [f"x{i} = {loads[k].format(i)}" for i, k in enumerate(kinds)]
    value = [f"x{i}[j]" if k in ("full", "row") else f"x{i}" for i, k in enumerate(kinds)]
    inner = []
    for k, step in enumerate(steps):
        operands = [value[-1 - o] if o < 0 else f"t{o}" for o in step.operands]
        inner += [f"p{k}_{i} = {o}" for i, o in enumerate(operands)]
        inner.append(f"t{k} = {_expression(step, k)}")
    signature = ", ".join(["width", "rows", *inputs, "out", *numbers])
    body = ("        " + line for line in [*lines, "y = out[base + left : base + right]", "for j in range(y.size):"])
    return "\n".join(
        [
            f"def CHAIN_body(t, {signature}):",
            "    across = (width + SPAN - 1) // SPAN",
            "    deep = max(1, SPAN // width)",
            "    top, left = t // across * deep, t % across * SPAN",
            "    right = min(width, left + SPAN)",
            "    for r in range(top, min(top + deep, rows)):",
            "        base = r * width",
            *body,
            *("            " + line for line in [*inner, f"y[j] = t{len(steps) - 1}"]),
            "",
            f"def CHAIN({signature}):",
            "    across = (width + SPAN - 1) // SPAN",
            "    deep = max(1, SPAN // width)",
            f"    parallel_for(CHAIN_body, across * ((rows + deep - 1) // deep), ({signature},))",
            "",
        ]
    )


def _expression(step: Step, number: int) -> str:
    names = {letter: f"p{number}_{i}" for i, letter in enumerate("abc")}
    names |= {f"n{j}": f"n{number}_{j}" for j in range(len(step.numbers))}
    words = (_LICENSED[step.name][1] if step.name in _LICENSED else SIMPLE[step.name]).replace(",", " , ")
    for mark in "()-|":
        words = words.replace(mark, f" {mark} ")
    written = " ".join(names.get(word, word) for word in words.split())
    return f"f_{step.name.replace(' ', '_')}({written})" if step.name in _LICENSED else written


class Chain:
    """A chain over arrays of one shape and memory order.

    Args:
        steps: the operations; the last one's result is the chain's.
        inputs: for each input its kind: "full" as the result, "one" number, a "row" for all rows, or a "column", a number a row.
        shape, order: the result's shape, and its dimensions from the outermost in memory to the innermost.
        rows, width: how the result is cut for rows and columns.
    """

    def __init__(
        self, steps: list[Step], inputs: tuple[str, ...], shape: tuple[int, ...], order: tuple[int, ...], rows: int, width: int
    ) -> None:
        self.steps, self.inputs, self.shape, self.order = steps, inputs, shape, order
        self.numbers = tuple(np.float32(n) for s in steps for n in s.numbers)
        self.used = tuple(sorted({s.name for s in steps if s.name in _LICENSED}))
        self.text = _text(steps, inputs)
        self._size = width, rows
        self.in_memory = tuple(shape[i] for i in order)
        self._back = None if order == tuple(range(len(order))) else tuple(int(i) for i in np.argsort(order))
        self._turn = [self._back is not None and k == "full" for k in inputs]
        self.kernel = _kernel(self.text, self.used)
        self.__name__ = " ".join(s.name.split()[0] for s in steps)

    def __call__(self, *arrays: Any, out: Any = None) -> Any:
        if out is None:
            out = np.empty(self.in_memory, np.float32)
        taken = [self._flat(a, turn) for a, turn in zip(arrays, self._turn, strict=True)]
        self.kernel(*self._size, *taken, out.reshape(-1), *self.numbers)
        return out if self._back is None else out.transpose(self._back)

    def _flat(self, array: Any, turn: bool) -> Any:
        if turn:
            array = array.transpose(self.order)
        return array.reshape(-1) if array.flags.carray else flat(np.asarray(array))
