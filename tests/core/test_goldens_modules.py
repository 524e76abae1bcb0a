"""Modules with a state against torch's, frozen in ``goldens/modules.safetensors`` (schema: ``tools/golden_recorder.py``)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import nyala.nn
import pytest
from safetensors import safe_open

GOLDENS = Path(__file__).parents[1] / "goldens"
TOLERANCE = {"float32": (1e-5, 1e-4), "float64": (1e-6, 1e-6)}

with safe_open(GOLDENS / "modules.safetensors", "numpy") as content:
    CASES = json.loads(content.metadata()["cases"])
    STORED = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118 - it is no mapping


def assert_close(got: np.ndarray, expected: np.ndarray, tolerance: float, what: str) -> None:
    assert got.shape == expected.shape, what
    scale = max(np.abs(expected).max(initial=0.0), 1e-3)
    error = np.abs(got.astype(np.float64) - expected).max(initial=0.0) / scale
    assert error <= tolerance, f"{what}: differs by {error:.1e} of the largest element"


def flatten(result: Any) -> list[nyala.Tensor]:
    if isinstance(result, nyala.Tensor):
        return [result]
    return [] if result is None else [tensor for part in result for tensor in flatten(part)]


class Golden:
    """One case: the module with the golden's state, and its inputs."""

    def __init__(self, case: dict[str, Any], dtype: str) -> None:
        prefix = case["name"] + "/"
        arrays = {key.removeprefix(prefix): value for key, value in STORED.items() if key.startswith(prefix)}
        self.case = case
        self.arrays = {key: value.astype(dtype) if value.dtype.kind == "f" else value for key, value in arrays.items()}
        self.module = getattr(nyala.nn, case["module"])(**self.settings()).to(getattr(nyala, dtype)).train(case["train"])
        state = {key[6:]: nyala.from_numpy(value.copy()) for key, value in self.arrays.items() if key.startswith("state.")}
        self.module.load_state_dict(state, strict=True)
        self.leaves: dict[str, nyala.Tensor] = {f"state.{key}": value for key, value in self.module.named_parameters()}

    def settings(self) -> dict[str, Any]:
        return {key: tuple(value) if isinstance(value, list) else value for key, value in self.case["init"].items()}

    def value(self, given: Any) -> Any:
        if isinstance(given, str) and given.startswith("$"):
            key = given[1:]
            self.leaves[key] = nyala.from_numpy(self.arrays[key].copy()).requires_grad_(key in self.case["grads"])
            return self.leaves[key]
        return tuple(self.value(item) for item in given) if isinstance(given, list) else given

    def run(self) -> tuple[list[nyala.Tensor], dict[str, np.ndarray]]:
        """(outputs of all calls, buffers after each call)"""
        args = [self.value(given) for given in self.case["args"]]
        kwargs = {key: self.value(given) for key, given in self.case["kwargs"].items()}
        outputs, buffers = [], {}
        for k, call in enumerate([[x] for x in args] if self.case["steps"] else [args]):
            outputs += flatten(self.module(*call, **kwargs))
            buffers |= {f"after{k}.{key}": value.numpy().copy() for key, value in self.module.named_buffers()}
        return outputs, buffers


def objective(outputs: list[nyala.Tensor]) -> nyala.Tensor:
    total = nyala.tensor(0.0, dtype=nyala.float64)
    for k, out in enumerate(outputs):
        weights = np.cos(0.7 * np.arange(math.prod(out.shape)) + 0.3 + k).reshape(out.shape)
        total = total + (out * nyala.tensor(weights, dtype=out.dtype)).sum()
    return total


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_module_equals_torch(case: dict[str, Any], dtype: str) -> None:
    golden = Golden(case, dtype)
    outputs, buffers = golden.run()
    forward, gradient = TOLERANCE[dtype]
    assert len(outputs) == len(case["outputs"])
    for out, key in zip(outputs, case["outputs"], strict=True):
        assert out.dtype == dtype
        assert_close(out.detach().numpy(), golden.arrays[key], forward, key)
    assert {key.partition(".")[2] for key in buffers} == set(case["buffers"])
    for key, value in buffers.items():
        assert_close(value, golden.arrays[key], forward, key)
    objective(outputs).backward()
    assert {key for key, leaf in golden.leaves.items() if leaf.requires_grad} == set(case["grads"])
    for key in case["grads"]:
        grad = golden.leaves[key].grad
        assert grad is not None, f"{key} got no gradient"
        assert_close(grad.numpy(), golden.arrays[f"grad.{key}"], gradient, f"gradient of {key}")
