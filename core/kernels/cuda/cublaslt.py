"""Products of matrices by cuBLASLt, through the bindings of nvmath-python, where it is installed.

What cuBLASLt is asked, and which of its algorithms answers, is kept as a plan for each kind of product: shapes, strides, dtypes,
what follows, precision, and how far the addresses are aligned. A plan is made once, and never while a graph is being captured,
when the library cannot be asked. The memory it works in is ours, one piece for each stream: a product gives the same bits again.
"""

from __future__ import annotations

import functools
import importlib
import threading
from typing import Any, NamedTuple

import numpy as np

from ...backends import cuda as precision
from ...devices import cupy
from .after import CODES, End
from .products import Product

_WORKSPACE = 32 << 20  # bytes: what NVIDIA recommends for Hopper
_ALIGNED = 256  # bytes: more makes no difference to it
_MOST_LOOPS = 4  # launches that one product may be cut into, where its batch lies in two dimensions

# cudaDataType_t, cublasComputeType_t and cublasOperation_t
_TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}
_COMPUTE_32F, _COMPUTE_64F, _COMPUTE_TF32 = 68, 70, 77
_PLAIN, _TURNED = 0, 1
# cublasLtMatmulDescAttributes_t, cublasLtMatrixLayoutAttribute_t and cublasLtMatmulPreferenceAttributes_t
_TRANSA, _TRANSB, _EPILOGUE, _BIAS_POINTER = 3, 4, 7, 8
_BATCH_COUNT, _BATCH_OFFSET = 5, 6
_NOT_SUPPORTED = 15  # cublasStatus_t
_MAX_WORKSPACE, _ALIGNMENTS = 1, (5, 6, 7, 8)  # of A, B, C and D
# cublasLtEpilogue_t; its gelu is the one by tanh
_EPILOGUES = {CODES["none"]: 1, CODES["relu"]: 2, CODES["gelu_tanh"]: 32}
_WITH_BIAS = {1: 4, 2: 6, 32: 36}


class Matrix(NamedTuple):
    """A matrix as BLAS has it: columns one after another, ``apart`` elements from each other; ``turned`` is read transposed."""

    rows: int
    columns: int
    apart: int
    turned: int
    step: int  # from one matrix of the batch to the next, in elements


class Kind(NamedTuple):
    """What a plan is made for."""

    device: int
    dtype: str
    a: Matrix
    b: Matrix
    d: Matrix
    batch: int
    compute: int
    epilogue: int
    alignments: tuple[int, ...]


class _Plan:
    """Descriptors of a product, which live as long as the process, and the algorithm for it."""

    def __init__(self, library: Any, handle: int, kind: Kind) -> None:
        wide = np.float64 if kind.dtype == "float64" else np.float32
        self.one, self.zero = np.ones(1, wide), np.zeros(1, wide)
        self.description = library.matmul_desc_create(kind.compute, _TYPES[self.one.dtype.name])
        self._describe(library, _TRANSA, np.int32(kind.a.turned))
        self._describe(library, _TRANSB, np.int32(kind.b.turned))
        self._describe(library, _EPILOGUE, np.uint32(kind.epilogue))
        self.layouts = [_layout(library, kind, matrix) for matrix in (kind.a, kind.b, kind.d)]
        self.found = _algorithm(library, handle, self, kind)

    def _describe(self, library: Any, attribute: int, value: Any) -> None:
        _set(library.matmul_desc_set_attribute, self.description, attribute, value)

    def run(self, library: Any, handle: int, places: tuple[int, int, int, int], bias: int, memory: Any, stream: int) -> None:
        """D = A B, or + C where its address is another; ``places``: of A, B, C and D."""
        if bias:
            self._describe(library, _BIAS_POINTER, np.int64(bias))
        a, b, c, d = places
        beta = self.zero if c == d else self.one
        first, second, result = self.layouts
        library.matmul(
            handle, self.description, self.one.ctypes.data, a, first, b, second, beta.ctypes.data, c, result, d, result,
            self.found.ptr, memory.data.ptr, _WORKSPACE, stream,
        )  # fmt: skip


_lock = threading.Lock()  # a plan's bias is set and used as one
_plans: dict[Kind, _Plan | None] = {}
_memory: dict[tuple[int, int], Any] = {}


@functools.lru_cache(maxsize=1)
def library() -> Any:
    """The bindings; None where nvmath-python is not installed."""
    try:
        return importlib.import_module("nvmath.bindings.cublasLt")
    except ImportError:
        return None


@functools.cache
def _handle(device: int) -> int | None:  # noqa: ARG001 - each device has its own, made while it is the current one
    """None where the library does not load."""
    try:
        return int(library().create())
    except (RuntimeError, library().cuBLASLtError):
        return None


def forget() -> None:
    """Ask anew what is installed, with no plan made."""
    library.cache_clear()
    _handle.cache_clear()
    _plans.clear()
    _memory.clear()


def follows(end: End) -> bool:
    """Whether cuBLASLt does what follows a product along with it."""
    return end.scale is None and end.activation in _EPILOGUES


def multiplied(given: Product, out: Any, end: End) -> bool:
    """Compute ``out``; False where cuBLASLt cannot: nothing is written then."""
    device = int(cupy().cuda.runtime.getDevice())
    if library() is None or _handle(device) is None:
        return False
    loops, batch, matrices = _matrices(given)
    if loops > _MOST_LOOPS or any(matrix.apart < matrix.rows for matrix in matrices):
        return False
    epilogue = _EPILOGUES[end.activation] if end.bias is None else _WITH_BIAS[_EPILOGUES[end.activation]]
    residual = out if end.residual is None else end.residual
    size, starts = out.itemsize, _starts(given, loops)
    places = [
        (given.b.data.ptr + b * size, given.a.data.ptr + a * size, residual.data.ptr + d * size, out.data.ptr + d * size)
        for a, b, d in starts
    ]
    alignments = tuple(min(_alignment(place[i]) for place in places) for i in range(4))
    kind = Kind(device, out.dtype.name, *matrices, batch, _compute(out.dtype), epilogue, alignments)
    stream = int(cupy().cuda.get_current_stream().ptr)
    with _lock:
        plan = _plan(kind, stream)
        if plan is None:
            return False
        for place in places:
            bias = 0 if end.bias is None else end.bias.data.ptr
            plan.run(library(), _handle(device), place, bias, _workspace(device, stream), stream)  # type: ignore[arg-type]
    return True


def _matrices(given: Product) -> tuple[int, int, tuple[Matrix, Matrix, Matrix]]:
    """(launches, products in each, operands): C row by row is its transpose column by column, B^T A^T."""
    axis, one = _batch_axis(given), given.m * given.n
    loops, batch = (given.outer, given.inner) if axis else (given.inner, given.outer)
    first = _lying(given.n, given.k, given.b_strides[2:], given.b_strides[axis])
    second = _lying(given.m, given.k, given.a_strides[2:], given.a_strides[axis])
    second = second._replace(turned=_TURNED - second.turned)  # (k, m) is wanted of it
    return loops, batch, (first, second, Matrix(given.n, given.m, given.n, _PLAIN, one if axis else one * given.inner))


def _batch_axis(given: Product) -> int:
    """The dimension of the batch that one launch computes: the longer one."""
    return 1 if given.inner >= given.outer else 0


def _lying(x: int, k: int, strides: tuple[int, int], step: int) -> Matrix:
    """An operand whose rows or columns are counted by x, as BLAS reads (x, k) from it."""
    by_x, by_k = strides
    if by_x == 1 and (by_k != 1 or k == 1):
        return Matrix(x, k, x if k == 1 else by_k, _PLAIN, step)
    return Matrix(k, x, k if x == 1 else by_x, _TURNED, step)


def _starts(given: Product, loops: int) -> list[tuple[int, int, int]]:
    """Where A, B and the result of each launch begin, in elements."""
    axis, one = _batch_axis(given), given.m * given.n
    a, b = given.a_strides[1 - axis], given.b_strides[1 - axis]
    return [(i * a, i * b, i * (one * given.inner if axis else one)) for i in range(loops)]


def _alignment(address: int) -> int:
    """The largest power of two up to ``_ALIGNED`` that divides an address.

    Example:
        >>> _alignment(4096), _alignment(4112)
        (256, 16)
    """
    return min(address & -address, _ALIGNED)


def _compute(dtype: Any) -> int:
    if dtype == np.float64:
        return _COMPUTE_64F
    return _COMPUTE_TF32 if dtype == np.float32 and precision.matmul.allow_tf32 else _COMPUTE_32F


def _plan(kind: Kind, stream: int) -> _Plan | None:
    """The plan for a kind of product, made if it is the first; None where there is no algorithm, or a graph is being captured."""
    if kind in _plans:
        return _plans[kind]
    if cupy().cuda.runtime.streamIsCapturing(stream):
        return None
    try:
        plan = _Plan(library(), _handle(kind.device), kind)  # type: ignore[arg-type]
    except library().cuBLASLtError:
        plan = None
    return _plans.setdefault(kind, plan)


def _layout(bindings: Any, kind: Kind, matrix: Matrix) -> int:
    made = int(bindings.matrix_layout_create(_TYPES[kind.dtype], matrix.rows, matrix.columns, matrix.apart))
    if kind.batch > 1:
        _set(bindings.matrix_layout_set_attribute, made, _BATCH_COUNT, np.int32(kind.batch))
        _set(bindings.matrix_layout_set_attribute, made, _BATCH_OFFSET, np.int64(matrix.step))
    return made


def _algorithm(bindings: Any, handle: int, plan: _Plan, kind: Kind) -> Any:
    """What cuBLASLt thinks quickest within our workspace: its result, whose first member is the algorithm."""
    preference = bindings.matmul_preference_create()
    limits = zip((_MAX_WORKSPACE, *_ALIGNMENTS), (np.uint64(_WORKSPACE), *map(np.uint32, kind.alignments)), strict=True)
    for attribute, value in limits:
        _set(bindings.matmul_preference_set_attribute, preference, attribute, value)
    found, count = bindings.MatmulHeuristicResult(), np.zeros(1, np.int32)
    first, second, result = plan.layouts
    try:
        bindings.matmul_algo_get_heuristic(
            handle, plan.description, first, second, result, result, preference, 1, found.ptr, count.ctypes.data
        )
    finally:
        bindings.matmul_preference_destroy(preference)
    if not count[0]:
        raise bindings.cuBLASLtError(_NOT_SUPPORTED)
    return found


def _set(function: Any, target: int, attribute: int, value: Any) -> None:
    """Give a descriptor one number of the width the library expects."""
    held = np.asarray(value)
    function(target, attribute, held.ctypes.data, held.nbytes)


def _workspace(device: int, stream: int) -> Any:
    if (device, stream) not in _memory:
        _memory[device, stream] = cupy().empty(_WORKSPACE, np.uint8)
    return _memory[device, stream]
