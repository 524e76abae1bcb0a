"""Kernels for chains of element-wise operations, written as text, compiled by NVRTC and kept on the disk as all kernels are.

A chain computes one array from several: each is read once and the result written once, 16 bytes at a time, with nothing
between them in memory. Its bits are those of the single operations: every step is rounded to the arrays' dtype, and no product is
made one step with a sum of the next operation. What an operation is says ``../expressions.py``.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...devices import cupy
from ..expressions import COMPOSED, SIMPLE
from .running.launching import SUFFIX, blocks_for, contiguous, launch_text

_THREADS = 256
_TYPES = {"f32": "float", "f16": "__half", "bf16": "__nv_bfloat16", "f64": "double"}
_CALLS = {
    "exp": "exponential", "expm1": "exponential_less_one", "log": "logarithm", "log1p": "logarithm_of_one_more", "sqrt": "root",
    "abs": "magnitude", "tanh": "hyperbolic_tangent", "erf": "error_function", "sigmoid": "logistic", "mish_tanh": "mish_tanh",
    "between": "between",
}  # fmt: skip
_NAMES = {"one": "(W)1", "zero": "(W)0", "sixth": f"(W){1 / 6}"}
_SIGNS: dict[type, str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.BitOr: "||", ast.BitAnd: "&&", ast.Gt: ">", ast.Lt: "<",
    ast.LtE: "<=", ast.GtE: ">=", ast.NotEq: "!=", ast.Eq: "==",
}  # fmt: skip
_LOADS = {
    "full": "read_some<K>(a{0} + i)", "one": "filled<K>(read(a{0}[0]))", "row": "of_row<K>(a{0}, i, width)",
    "column": "of_column<K>(a{0}, i, width)",
}  # fmt: skip
_HEAD = """#include "functions.cuh"
#include "held.cuh"
typedef TYPE T;
typedef Wide<T> W;
// numbers i to i + K of an array that has one row for all, or one number a row
template <int K> __device__ __forceinline__ Some<W, K> of_row(const T* from, int64 i, int64 width) {
  Some<W, K> out;
#pragma unroll
  for (int k = 0; k < K; k++) out.at[k] = read(from[(i + k) % width]);
  return out;
}
template <int K> __device__ __forceinline__ Some<W, K> of_column(const T* from, int64 i, int64 width) {
  Some<W, K> out;
#pragma unroll
  for (int k = 0; k < K; k++) out.at[k] = read(from[(i + k) / width]);
  return out;
}
"""


class Step(NamedTuple):
    """One operation of a chain.

    Attributes:
        name: of the operation, a row of ``../expressions.py``.
        operands: numbers below 0 name inputs (-1 is the first), others earlier steps.
        numbers: its parameters.
    """

    name: str
    operands: tuple[int, ...]
    numbers: tuple[float, ...] = ()


def known(name: str) -> bool:
    """Whether a chain can hold the operation."""
    return name in SIMPLE or name in COMPOSED


def run(steps: Sequence[Step], arrays: Sequence[Any], kinds: Sequence[str], width: int = 1) -> Any:
    """The last step's result, of the shape of the first array that is "full".

    Args:
        arrays: of one floating dtype, in C order (others are copied), at least one of them full.
        kinds: for each array "full" as the result, "one" number, a "row" for all rows, or a "column", a number a row.
        width: numbers in a row.
    """
    arrays = [contiguous(a) for a in arrays]
    whole = arrays[list(kinds).index("full")]
    out = cupy().empty(whole.shape, whole.dtype)
    compute(steps, arrays, kinds, out, width)
    return out


def compute(steps: Sequence[Step], arrays: Sequence[Any], kinds: Sequence[str], out: Any, width: int = 1) -> None:
    """As ``run``, into ``out``, which lies in memory as the full arrays do."""
    dtype = SUFFIX[out.dtype.name]
    shape = tuple((s.name, s.operands, len(s.numbers)) for s in steps)
    numbers = [float(n) for s in steps for n in s.numbers]
    each = max(1, 16 // out.dtype.itemsize) * _THREADS
    given = (*arrays, out, np.int64(out.size), np.int64(width), *numbers)
    name = f"{_name(*shape[0][::2])}_{dtype}" if len(shape) == 1 and set(kinds) == {"full"} else f"chain_{dtype}"
    text = singles(dtype) if name != f"chain_{dtype}" else text_of(shape, tuple(kinds), dtype)
    launch_text(text, name, blocks_for(out.size, each), _THREADS, *given)


Shape = tuple[tuple[str, tuple[int, ...], int], ...]  # of each step its name, its operands, and how many numbers it takes


@functools.lru_cache(maxsize=1024)
def text_of(shape: Shape, kinds: tuple[str, ...], dtype: str) -> str:
    """The source of a chain of such steps and inputs."""
    return _HEAD.replace("TYPE", _TYPES[dtype]) + _kernel("chain", shape, kinds, dtype)


@functools.lru_cache(maxsize=4)
def singles(dtype: str) -> str:
    """The source of every operation alone, on full arrays: compiled once for all of them."""
    kernels = []
    for name, expression in (SIMPLE | COMPOSED).items():
        words = {node.id for node in ast.walk(ast.parse(expression)) if isinstance(node, ast.Name)}
        arrays, numbers = 2 if "b" in words else 1, len(words & {"n0", "n1"})
        step = name, tuple(range(-1, -1 - arrays, -1)), numbers
        kernels.append(_kernel(_name(name, numbers), (step,), ("full",) * arrays, dtype))
    return _HEAD.replace("TYPE", _TYPES[dtype]) + "\n".join(kernels)


def _name(step: str, numbers: int) -> str:
    """What the kernel of one step alone is called."""
    return f"{step.replace(' ', '_')}_{numbers}"


def _kernel(title: str, shape: Shape, kinds: tuple[str, ...], dtype: str) -> str:
    """The kernel ``TITLE_DTYPE`` of a chain, and what it calls."""
    inputs = [f"a{i}" for i in range(len(kinds))]
    numbers = [f"n{k}_{j}" for k, (_, _, count) in enumerate(shape) for j in range(count)]
    taken = "".join(f"const T* {a}, " for a in inputs) + "T* out, int64 width" + "".join(f", W {n}" for n in numbers)
    passed = ", ".join([*inputs, "out", "width", *(f"(W){n}" for n in numbers)])
    kind = _TYPES[dtype]
    given = "".join(f"const {kind}* {a}, " for a in inputs) + f"{kind}* out, int64 count, int64 width"
    given += "".join(f", double {n}" for n in numbers)
    body = []
    for k, (name, operands, count) in enumerate(shape):
        values = {letter: f"x{-1 - o}.at[k]" if o < 0 else f"t{o}" for letter, o in zip("ab", operands, strict=False)}
        values |= {f"n{j}": f"n{k}_{j}" for j in range(count)}
        body.append(f"    W t{k} = read(write<T>(rounded({_translated(name, values)})));")
    aligned = " && ".join(f"packs({a}, 0)" for a, kind in zip((*inputs, "out"), (*kinds, "full"), strict=True) if kind == "full")
    lines = [
        f"template <int K> __device__ __forceinline__ void some_{title}(int64 i, {taken}) {{",
        *(f"  Some<W, K> x{i} = {_LOADS[kind].format(i)};" for i, kind in enumerate(kinds)),
        "  Some<W, K> y;", "#pragma unroll", "  for (int k = 0; k < K; k++) {", *body, f"    y.at[k] = t{len(shape) - 1};", "  }",
        "  write_some(out + i, y);", "}",
        f'extern "C" __global__ void {title}_{dtype}({given}) {{',
        "  const int K = Pack<T>::COUNT;",
        "  int64 i = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * K;",
        f"  if (i + K <= count && {aligned})",
        f"    some_{title}<K>(i, {passed});",
        "  else",
        f"    for (int64 end = i + K < count ? i + K : count; i < end; i++) some_{title}<1>(i, {passed});",
        "}", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _translated(name: str, values: dict[str, str]) -> str:
    return _written(ast.parse(SIMPLE.get(name) or COMPOSED[name], mode="eval").body, values)


def _written(tree: ast.expr, values: dict[str, str]) -> str:
    """An expression of Python in CUDA C++; numbers in it are of the width that is computed with."""
    write = functools.partial(_written, values=values)
    if isinstance(tree, ast.Name):
        return values.get(tree.id) or _NAMES[tree.id]
    if isinstance(tree, ast.Constant):
        return f"(W){tree.value!r}"
    if isinstance(tree, ast.UnaryOp):
        return f"(-{write(tree.operand)})"
    if isinstance(tree, ast.BinOp):
        return f"({write(tree.left)} {_SIGNS[type(tree.op)]} {write(tree.right)})"
    if isinstance(tree, ast.Compare):
        return f"({write(tree.left)} {_SIGNS[type(tree.ops[0])]} {write(tree.comparators[0])})"
    if isinstance(tree, ast.IfExp):
        return f"({write(tree.test)} ? {write(tree.body)} : {write(tree.orelse)})"
    assert isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name), f"no word for {ast.dump(tree)}"
    return f"{_CALLS[tree.func.id]}({', '.join(map(write, tree.args))})"
