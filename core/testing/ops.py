"""The harness that checks one differentiable operation from all sides; a test table has one ``OpCase`` a row.

Example:
    >>> import numpy as np, nyala
    >>> check_op(OpCase("exp", nyala.exp, lambda s: (s.normal(2, 3),), np.exp))  # silence says that all is well
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd import grad, inference_mode, no_grad
from ..tensor import Tensor
from .compare import assert_close
from .gradcheck import gradcheck, gradgradcheck
from .sampler import Sampler

# rtol and atol of the result, relative to the greatest element, against a float64 reference on the same (rounded) inputs
_FORWARD = {"float64": 1e-12, "float32": 2e-6, "float16": 4e-3, "bfloat16": 3e-2}
_GRADIENT = {"float32": 1e-4}


@dataclass(frozen=True)
class Bad:
    """An erroneous call: what it must raise, and words its message must contain."""

    call: Callable[[], Any]
    error: type[Exception]
    text: str


@dataclass(frozen=True)
class OpCase:
    """One row of an operation table.

    Attributes:
        name: names the row, and its random stream.
        op: called as ``op(*tensors, **kwargs)``; gives a tensor or a tuple of tensors.
        inputs: given a ``Sampler``, the input arrays, float64 where they are floating point (the harness converts them).
        reference: the same computation in NumPy, in float64, on the arrays; gives an array or a tuple. None: no forward check.
        kwargs: keyword arguments of both ``op`` and ``reference``.
        differentiable: whether floating-point inputs get gradients; or positions of those that do.
        second: whether second derivatives are checked.
        dtypes: what else than float64 the op is run in.
        also: more inputs (0-d, zero-size, ...), checked forward and for gradients of the right shape.
        layouts: whether non-contiguous inputs are tried.
        errors: erroneous calls.
        rtol: multiplies the forward tolerances.
    """

    name: str
    op: Callable[..., Any]
    inputs: Callable[[Sampler], Sequence[Any]]
    reference: Callable[..., Any] | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    differentiable: bool | Sequence[int] = True
    second: bool = True
    dtypes: Sequence[str] = ("float32", "float16", "bfloat16")
    also: Sequence[Callable[[Sampler], Sequence[Any]]] = ()
    layouts: bool = True
    errors: Sequence[Bad] = ()
    rtol: float = 1.0

    def wants(self, position: int, array: Any) -> bool:
        """Whether the input at ``position`` gets a gradient."""
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fcV":
            return False
        return self.differentiable if isinstance(self.differentiable, bool) else position in self.differentiable


def check_op(case: OpCase) -> None:
    """Run every check of the harness on one operation.

    Raises:
        AssertionError: naming the operation, the check that failed and the first differing elements.
    """
    arrays = list(case.inputs(Sampler(case.name)))
    for dtype in ("float64", *case.dtypes):
        _check_forward(case, arrays, dtype, "")
    if case.layouts:
        for how, change in _LAYOUTS.items():
            changed = [change(a) if isinstance(a, np.ndarray) else a for a in arrays]
            _check_forward(case, changed, "float64", f"{how} inputs")
            if how != "broadcast":
                _check_same_gradient(case, arrays, changed, how)
    for number, sample in enumerate(case.also):
        _check_also(case, list(sample(Sampler(f"{case.name} {number}"))), number)
    if _wanted(case, arrays):
        _check_gradients(case, arrays)
        _check_switches(case, arrays)
    _check_errors(case)


def _where(case: OpCase, what: str) -> str:
    return f"{case.name}: {what}".rstrip(": ")


def _wanted(case: OpCase, arrays: Sequence[Any]) -> list[int]:
    return [i for i, a in enumerate(arrays) if case.wants(i, a)]


def _converted(arrays: Sequence[Any], dtype: str) -> list[Any]:
    kind = dtypes.parse(dtype)
    complex_kind = np.complex64 if kind.itemsize < 8 else np.complex128
    out = []
    for a in arrays:
        if isinstance(a, np.ndarray) and a.dtype.kind in "fc":
            wide = complex_kind if a.dtype.kind == "c" else kind
            a = a if a.dtype == wide else a.astype(wide)  # keeps the strides where there is nothing to convert
        out.append(a)
    return out


def _run(case: OpCase, arrays: Sequence[Any], grad_at: Sequence[int] = ()) -> tuple[list[Any], list[Tensor]]:
    inputs = [Tensor(a, requires_grad=i in grad_at) if isinstance(a, np.ndarray) else a for i, a in enumerate(arrays)]
    return inputs, _as_list(case.op(*inputs, **case.kwargs))


def _as_list(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def _expected(case: OpCase, arrays: Sequence[Any]) -> list[Any]:
    assert case.reference is not None
    wide = [_widened(a) if isinstance(a, np.ndarray) else a for a in arrays]
    with np.errstate(all="ignore"):
        return [np.asarray(r) for r in _as_list(case.reference(*wide, **case.kwargs))]


def _widened(a: Any) -> Any:
    return a.astype(np.complex128 if a.dtype.kind == "c" else np.float64) if a.dtype.kind in "fcV" else a


def _check_forward(case: OpCase, arrays: Sequence[Any], dtype: str, what: str) -> None:
    arrays = _converted(arrays, dtype)
    _, outputs = _run(case, arrays)
    if case.reference is None:
        return
    expected = _expected(case, arrays)
    assert len(outputs) == len(expected), _where(case, f"{len(outputs)} results, the reference gives {len(expected)}")
    floats = [a.dtype for a in arrays if isinstance(a, np.ndarray) and a.dtype.kind in "fV"]
    for number, (out, e) in enumerate(zip(outputs, expected, strict=True)):
        msg = _where(case, f"{dtype} {what} result {number}".replace("  ", " "))
        if e.dtype.kind not in "fc":
            assert_close(out, e, msg=msg, check_dtype=e.dtype.kind in "bi")
            continue
        if floats and e.dtype.kind == "f":
            assert out.dtype == floats[0], f"{msg}: dtype {out.dtype} from inputs of {floats[0]}"
        finite = np.abs(e[np.isfinite(e)])
        tolerance = _FORWARD[dtype] * case.rtol
        assert_close(out, e, tolerance, tolerance * max(float(finite.max(initial=0.0)), 1e-3), equal_nan=True, msg=msg)


def _check_same_gradient(case: OpCase, arrays: Sequence[Any], changed: Sequence[Any], how: str) -> None:
    """The gradient must not depend on how the inputs lie in memory."""
    wanted = _wanted(case, arrays)
    if not wanted:
        return
    for number, (a, b) in enumerate(zip(_gradients(case, arrays, wanted), _gradients(case, changed, wanted), strict=True)):
        assert_close(b, a, 1e-10, 1e-10, msg=_where(case, f"gradient {number} with {how} inputs"))


def _gradients(case: OpCase, arrays: Sequence[Any], wanted: Sequence[int], create_graph: bool = False) -> list[Any]:
    inputs, outputs = _run(case, arrays, wanted)
    roots = [out for out in outputs if isinstance(out, Tensor) and out.requires_grad]
    assert roots, _where(case, "no result requires a gradient though an input does")
    seeds = [Tensor(_cotangent(out, k)) for k, out in enumerate(roots)]
    leaves = [inputs[i] for i in wanted]
    found = [g for g in grad(roots, leaves, seeds, create_graph=create_graph, materialize_grads=True) if g is not None]
    for i, g in zip(wanted, found, strict=True):
        assert g.shape == inputs[i].shape, _where(case, f"gradient of input {i} has shape {g.shape}, the input {inputs[i].shape}")
        assert g.dtype == inputs[i].dtype, _where(case, f"gradient of input {i} is {g.dtype}, the input {inputs[i].dtype}")
    return [g.array for g in found]


def _cotangent(out: Tensor, number: int) -> Any:
    return np.cos(0.7 * np.arange(out.numel()) + 0.3 + number).reshape(out.shape).astype(out.dtype)


def _check_gradients(case: OpCase, arrays: Sequence[Any]) -> None:
    wanted = _wanted(case, arrays)

    def leaves() -> list[Any]:
        return [Tensor(a.copy(), requires_grad=i in wanted) if isinstance(a, np.ndarray) else a for i, a in enumerate(arrays)]

    def call(*tensors: Any) -> Any:
        return case.op(*tensors, **case.kwargs)

    try:
        gradcheck(call, leaves(), eps=1e-6, atol=1e-6, rtol=1e-5)
        for i in wanted if len(wanted) > 1 else ():  # one input at a time: backward may not count on wanting all of them
            alone = [t.detach() if isinstance(t, Tensor) and j != i else t for j, t in enumerate(leaves())]
            gradcheck(call, alone, eps=1e-6, atol=1e-6, rtol=1e-5)
        if case.second:
            gradgradcheck(call, leaves(), eps=1e-6, atol=1e-5, rtol=1e-4)
    except AssertionError as error:
        raise AssertionError(_where(case, str(error))) from None
    if case.second:  # what a fused kernel gives, and what is differentiated again in its place
        both = [_gradients(case, arrays, wanted, create_graph) for create_graph in (False, True)]
        for i, plain, recorded in zip(wanted, *both, strict=True):
            assert_close(recorded, plain, 1e-9, 1e-9, msg=_where(case, f"recorded gradient of input {i}"))
    for dtype in case.dtypes:
        got = _gradients(case, _converted(arrays, dtype), wanted)
        if dtype in _GRADIENT:
            wide = _gradients(case, arrays, wanted)
            for i, (a, e) in enumerate(zip(got, wide, strict=True)):
                size = float(np.abs(e).max(initial=0.0))
                tolerance = _GRADIENT[dtype]
                assert_close(a, e, tolerance, tolerance * max(size, 1e-3), msg=_where(case, f"{dtype} gradient {i}"))


def _check_switches(case: OpCase, arrays: Sequence[Any]) -> None:
    """Nothing is recorded under no_grad and inference_mode, and results are the same with and without a graph."""
    wanted = _wanted(case, arrays)
    recorded = [out.detach() for out in _run(case, arrays, wanted)[1]]
    for switch in (no_grad, inference_mode):
        with switch():
            plain = _run(case, arrays, wanted)[1]
        for a, b in zip(plain, recorded, strict=True):
            assert a.grad_fn is None, _where(case, f"recorded under {switch.__name__}")
            assert_close(a.detach(), b, 0, 0, equal_nan=True, msg=_where(case, f"result under {switch.__name__}"))


def _check_also(case: OpCase, arrays: Sequence[Any], number: int) -> None:
    for dtype in ("float64", *[d for d in case.dtypes if d == "float32"]):
        _check_forward(case, arrays, dtype, f"sample {number}")
    wanted = _wanted(case, arrays)
    if wanted:
        _gradients(case, arrays, wanted)


def _check_errors(case: OpCase) -> None:
    for number, bad in enumerate(case.errors):
        try:
            bad.call()
        except bad.error as error:
            assert re.search(bad.text, str(error)), _where(case, f"error {number} says {str(error)!r}, not {bad.text!r}")
        else:
            raise AssertionError(_where(case, f"erroneous call {number} raised nothing, {bad.error.__name__} is expected"))


def _transposed(a: Any) -> Any:
    return np.asfortranarray(a) if a.ndim > 1 else a.copy()


def _strided(a: Any) -> Any:
    """The same values, every second element of a larger array."""
    wide = np.zeros(tuple(2 * n + 1 for n in a.shape), a.dtype)
    odd: tuple[Any, ...] = tuple(slice(1, None, 2) for _ in a.shape)
    view = wide[(*odd, ...)]
    view[...] = a
    return view


def _broadcast(a: Any) -> Any:
    """The first slice repeated without memory of its own."""
    return np.broadcast_to(a[:1], a.shape) if a.ndim and a.shape[0] else a


_LAYOUTS: dict[str, Callable[[Any], Any]] = {"transposed": _transposed, "strided": _strided, "broadcast": _broadcast}
