"""Every operation against torch: results and gradients frozen in ``goldens/ops_*.safetensors`` (see ``golden_recorder.py``)."""

from __future__ import annotations

import json
import math
from functools import cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import nyala.nn.functional
import pytest
from safetensors import safe_open

GOLDENS = Path(__file__).parents[1] / "goldens"
FILES = sorted(path.name for path in GOLDENS.glob("ops_*.safetensors"))
# dtype -> (of the results, of the gradients), relative to the largest element; the goldens themselves are rounded to float32
TOLERANCE = {"float32": (1e-5, 1e-4), "float64": (1e-6, 1e-6)}


def cases_of(file: str) -> list[dict[str, Any]]:
    with safe_open(GOLDENS / file, "numpy") as content:
        return json.loads(content.metadata()["cases"])


@cache
def stored(file: str) -> dict[str, np.ndarray]:
    with safe_open(GOLDENS / file, "numpy") as content:
        return {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118 - it is no mapping


def find(path: str) -> Any:
    return reduce(getattr, path.split("."), nyala)


def cotangent(shape: tuple[int, ...], k: int) -> np.ndarray:
    return np.cos(0.7 * np.arange(math.prod(shape)) + 0.3 + k).reshape(shape)


def pairs(array: np.ndarray) -> np.ndarray:
    """(...) complex -> (..., 2) real"""
    return np.stack([array.real, array.imag], -1) if array.dtype.kind == "c" else array


def unpaired(array: np.ndarray) -> np.ndarray:
    """(..., 2) real -> (...) complex"""
    return array[..., 0] + 1j * array[..., 1]


def assert_close(got: np.ndarray, expected: np.ndarray, tolerance: float, what: str) -> None:
    assert got.shape == expected.shape, what
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(got[~finite], expected[~finite], err_msg=what)
    error = np.abs(got[finite].astype(np.float64) - expected[finite]).max(initial=0.0)
    scale = np.abs(expected[finite].astype(np.float64)).max(initial=0.0)
    assert error <= tolerance * max(scale, 1e-3), f"{what}: differs by {error / max(scale, 1e-3):.1e} of the largest element"


class Case:
    """One golden: its inputs as tensors of ``dtype``, what the operation returns, and what it should return."""

    def __init__(self, file: str, case: dict[str, Any], dtype: str) -> None:
        self.case, self.dtype = case, dtype
        prefix = case["name"] + "/"
        self.arrays = {key.removeprefix(prefix): value for key, value in stored(file).items() if key.startswith(prefix)}
        self.leaves: dict[str, nyala.Tensor] = {}

    def tensor(self, key: str) -> nyala.Tensor:
        array = self.arrays[key]
        if array.dtype.kind == "f":
            array = array.astype(self.dtype)
        if key in self.case.get("complex", ()):
            array = unpaired(array)
        self.leaves[key] = leaf = nyala.from_numpy(array.copy()).requires_grad_(key in self.case["grads"])
        if key in self.case.get("through", {}):
            op, kwargs = self.case["through"][key]
            return find(op)(leaf, **kwargs)
        return leaf

    def value(self, given: Any) -> Any:
        if isinstance(given, str) and given.startswith("$"):
            return self.tensor(given[1:])
        return [self.value(item) for item in given] if isinstance(given, list) else given

    def run(self) -> list[nyala.Tensor]:
        args = [self.value(given) for given in self.case["args"]]
        kwargs = {key: self.value(given) for key, given in self.case["kwargs"].items()}
        result = find(self.case["op"])(*args, **kwargs)
        return [result] if isinstance(result, nyala.Tensor) else list(result)


def backward(outputs: list[nyala.Tensor]) -> None:
    """From the sum of every output against its cotangent, complex outputs taken as real pairs."""
    total = nyala.tensor(0.0, dtype=nyala.float64)
    for k, out in enumerate(outputs):
        if out.dtype.kind == "c":
            weights = cotangent((*out.shape, 2), k)
            for part, weight in ((out.real, weights[..., 0]), (out.imag, weights[..., 1])):
                total = total + (part * nyala.tensor(weight, dtype=part.dtype)).sum()
        elif out.dtype.kind == "f":
            total = total + (out * nyala.tensor(cotangent(out.shape, k), dtype=out.dtype)).sum()
    total.backward()


CASES = [pytest.param(file, case, id=f"{file[4:-12]}-{case['name']}") for file in FILES for case in cases_of(file)]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("file", "case"), CASES)
def test_operation_equals_torch(file: str, case: dict[str, Any], dtype: str) -> None:
    golden = Case(file, case, dtype)
    outputs = golden.run()
    assert len(outputs) == len(case["outputs"])
    forward, gradient = TOLERANCE[dtype]
    for out, key in zip(outputs, case["outputs"], strict=True):
        expected = golden.arrays[key]
        if expected.dtype.kind == "f":
            assert np.zeros(0, out.dtype).real.dtype == dtype, f"{key} has dtype {out.dtype}"
            assert_close(pairs(out.detach().numpy()), expected, forward, key)
        else:
            np.testing.assert_array_equal(out.numpy(), expected)
    if not case["grads"]:
        return
    backward(outputs)
    for key in case["grads"]:
        grad = golden.leaves[key].grad
        assert grad is not None, f"{key} got no gradient"
        assert_close(pairs(grad.numpy()), golden.arrays[f"grad.{key}"], gradient, f"gradient of {key}")


def test_the_goldens_cover_what_they_should() -> None:
    ops = {case["op"] for file in FILES for case in cases_of(file)}
    assert len(CASES) > 450
    assert {"nn.functional.conv2d", "nn.functional.interpolate", "istft", "nn.functional.ctc_loss", "einsum"} <= ops
