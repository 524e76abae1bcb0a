"""Launches: from a kernel's name and its arguments to the GPU."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ....devices import cupy
from . import compiler, sources

_DEFAULT_SHARED = 48 << 10  # bytes of shared memory a block may have without asking for more
_MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
_NULL = np.uint64(0)

SUFFIX = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "float64": "f64"}


def launch(
    source: str, name: str, grid: int | tuple[int, ...], block: int | tuple[int, ...], *args: Any, shared: int = 0
) -> None:
    """Run kernel ``name`` of ``source.cu`` on the current device and stream.

    Args:
        grid, block: blocks, and threads of each, up to three numbers. An empty grid launches nothing.
        args: arrays (their address is passed: they must be contiguous, or the kernel told of their strides), None for a null
            pointer, NumPy numbers as they are; a Python int is passed as ``int``, a float as ``double``, a bool as ``int``.
        shared: bytes of dynamic shared memory.
    """
    grid = (grid,) if isinstance(grid, int) else grid
    block = (block,) if isinstance(block, int) else block
    if 0 in grid:
        return
    function = _function(source, name, cupy().cuda.runtime.getDevice())
    if shared > _DEFAULT_SHARED:
        _allow_shared(function, shared)
    function(grid, block, tuple([_argument(a) for a in args]), shared_mem=shared)


def launch_text(text: str, name: str, grid: int, block: int, *args: Any) -> None:
    """As ``launch``, of kernel ``name`` of a source that a program has written."""
    if grid:
        function = _function_of(text, name, cupy().cuda.runtime.getDevice())
        function((grid,), (block,), tuple([_argument(a) for a in args]))


def contiguous(array: Any) -> Any:
    """The array itself where its elements lie one after another in C order, a copy otherwise; None stays None."""
    return array if array is None or array.flags.c_contiguous else cupy().ascontiguousarray(array)


def suffix(*arrays: Any) -> str | None:
    """What the names of kernels for this floating dtype end with; None where the arrays' dtypes differ or are no floats.

    Example:
        >>> suffix(np.ones(2, "float32"), None, np.ones(3, "float32"))
        'f32'
    """
    names = {array.dtype.name for array in arrays if array is not None}
    return SUFFIX.get(names.pop()) if len(names) == 1 else None


def blocks_for(count: int, each: int) -> int:
    """How many blocks cover ``count`` elements, ``each`` a block.

    Example:
        >>> blocks_for(1000, 256)
        4
    """
    return -(-count // each)


def _argument(value: Any) -> Any:
    if value is None:
        return _NULL
    kind = type(value)
    if kind is int or kind is bool:
        return np.int32(value)
    return np.float64(value) if kind is float else value


@functools.cache
def _function(source: str, name: str, device: int) -> Any:
    dtype = name.rpartition("_")[2]
    return _module(source, dtype if dtype in SUFFIX.values() else "", device).get_function(name)


@functools.cache
def _module(source: str, dtype: str, device: int) -> Any:
    """``source.cu``, its entry points for ``dtype`` alone where one is named, loaded on ``device``, which is the current one."""
    return _loaded(sources.read(source, dtype), f"{source}.{dtype}" if dtype else source, device)


@functools.cache
def _function_of(text: str, name: str, device: int) -> Any:
    return _loaded(text, f"written.{name.rpartition('_')[2]}", device).get_function(name)


@functools.cache
def _loaded(text: str, title: str, device: int) -> Any:
    """The code of ``text`` on ``device``, which is the current one."""
    module = cupy().cuda.function.Module()
    module.load(compiler.code_of(text, title, f"sm_{cupy().cuda.Device(device).compute_capability}"))
    return module


def _allow_shared(function: Any, size: int) -> None:
    cupy().cuda.driver.funcSetAttribute(function.ptr, _MAX_DYNAMIC_SHARED, size)
