"""Every row of every operation table on ``device="cuda"``: values and derivatives are the CPU's."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.core import devices, dtypes
from nyala.core.testing.sampler import Sampler
from nyala.testing import OpCase, assert_close

HERE = Path(__file__).parent
# relative to the greatest element; the CPU has kernels of its own, so its last digits differ
TOLERANCE = {"float64": 1e-11, "float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}


def tables() -> list[Any]:
    """Every ``OpCase`` of the test files beside this one, once, under file and row."""
    found: dict[str, OpCase] = {}
    for path in sorted(HERE.glob("test_*.py")):
        if path == Path(__file__) or "OpCase(" not in path.read_text():
            continue
        spec = importlib.util.spec_from_file_location(f"table_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for rows in vars(module).values():
            if isinstance(rows, list):
                found.update({f"{path.stem[5:]}: {case.name}": case for case in rows if isinstance(case, OpCase)})
    return [pytest.param(case, id=name) for name, case in found.items()]


ROWS = tables()


def converted(arrays: Sequence[Any], dtype: str) -> list[Any]:
    kind = dtypes.parse(dtype)
    complex_kind = np.complex64 if kind.itemsize < 8 else np.complex128
    return [
        a.astype(complex_kind if a.dtype.kind == "c" else kind) if isinstance(a, np.ndarray) and a.dtype.kind in "fc" else a
        for a in arrays
    ]


def run(case: OpCase, arrays: Sequence[Any], device: str, order: int) -> list[Any]:
    """Results, gradients, and (order 2) gradients of the gradients, as NumPy arrays."""
    wanted = [i for i, a in enumerate(arrays) if case.wants(i, a)]
    inputs = [
        nyala.Tensor(devices.move(a, device), requires_grad=order > 0 and i in wanted) if isinstance(a, np.ndarray) else a
        for i, a in enumerate(arrays)
    ]
    results = case.op(*inputs, **case.kwargs)
    outputs = list(results) if isinstance(results, (tuple, list)) else [results]
    for out in outputs:
        assert out.device == device, f"a result on {out.device} from inputs on {device}"
    found = outputs
    leaves = [inputs[i] for i in wanted]
    roots = [out for out in outputs if out.requires_grad]
    if order and roots:
        gradients = nyala.autograd.grad(roots, leaves, seeds(roots), create_graph=order > 1, materialize_grads=True)
        found = [*outputs, *gradients]
        again = [g for g in gradients if g.requires_grad]
        if order > 1 and again:
            found += nyala.autograd.grad(again, leaves, seeds(again), materialize_grads=True)
    return [devices.move(t.detach().array, "cpu") for t in found]


def seeds(roots: Sequence[nyala.Tensor]) -> list[nyala.Tensor]:
    waves = [np.cos(0.7 * np.arange(r.numel()) + 0.3 + k).reshape(r.shape).astype(r.dtype) for k, r in enumerate(roots)]
    return [nyala.Tensor(devices.move(w, r.device)) for w, r in zip(waves, roots, strict=True)]


def compare(case: OpCase, arrays: Sequence[Any], device: str, order: int, dtype: str, what: str) -> None:
    expected, got = run(case, arrays, "cpu", order), run(case, arrays, device, order)
    assert len(expected) == len(got)
    for number, (e, g) in enumerate(zip(expected, got, strict=True)):
        assert e.dtype == g.dtype, f"{what}: value {number} is {g.dtype}, on the CPU {e.dtype}"
        finite = np.abs(e[np.isfinite(e)]) if e.dtype.kind in "fc" else np.abs(e.astype(np.float64)) if e.dtype.kind == "V" else e
        size = float(finite.max(initial=0.0)) if finite.dtype.kind in "fc" else 0.0
        tolerance = TOLERANCE[dtype] * case.rtol if e.dtype.kind in "fcV" else 0.0
        assert_close(g, e, tolerance, tolerance * max(size, 1e-3), equal_nan=True, msg=f"{what}: value {number}")


@pytest.mark.parametrize("case", ROWS)
def test_an_operation_computes_on_cuda_what_it_computes_on_the_cpu(case: OpCase, cuda: str) -> None:
    if devices.cupy().cuda.runtime.getDeviceCount() > 1:
        cuda = "cuda:1"  # not the current one: CuPy computes there only if it is told to
    arrays = list(case.inputs(Sampler(case.name)))
    compare(case, arrays, cuda, 1 + case.second, "float64", "float64")
    if case.layouts:
        turned = [np.asfortranarray(a) if isinstance(a, np.ndarray) and a.ndim > 1 else a for a in arrays]
        compare(case, turned, cuda, 1, "float64", "transposed inputs")
    for dtype in case.dtypes:
        compare(case, converted(arrays, dtype), cuda, 1, dtype, dtype)
    for number, sample in enumerate(case.also):
        compare(case, list(sample(Sampler(f"{case.name} {number}"))), cuda, 1, "float64", f"sample {number}")
