"""The kernel table: every backend's kernels have the reference's parameters, and fall back on it."""

from __future__ import annotations

import importlib
import inspect

import numpy as np
import pytest
from nyala.core import kernels
from nyala.core.kernels import cpu, cuda, interface, reference

OWN = {name: place for name, place in cpu.KERNELS.items() if place.startswith(".")}


@pytest.mark.parametrize("name", sorted(OWN))
def test_a_cpu_kernel_has_the_references_parameters(name: str) -> None:
    module, _, attribute = OWN[name].partition(":")
    function = getattr(importlib.import_module(module, cpu.__name__), attribute)
    assert interface.parameters(function) == interface.parameters(reference.KERNELS[name])


def test_backends_list_only_kernels_that_exist() -> None:
    assert set(cpu.KERNELS) <= set(reference.KERNELS)
    assert set(cuda.KERNELS) <= set(reference.KERNELS)
    assert tuple(sorted(reference.KERNELS)) == interface.NAMES


@pytest.mark.parametrize("name", sorted(reference.KERNELS))
def test_every_kernel_says_what_it_promises(name: str) -> None:
    function = reference.KERNELS[name]
    assert function.__doc__, f"{name} has no docstring: it is the contract for every backend"
    assert inspect.getmodule(function) is not None


def test_kernels_are_looked_up_once() -> None:
    table = interface.Kernels("cpu")
    assert "relu" not in vars(table)
    first = table.relu
    assert vars(table)["relu"] is first
    assert kernels.of(np.zeros(1)) is kernels.CPU


def test_unknown_kernels() -> None:
    with pytest.raises(AttributeError, match="there is no kernel 'relux'"):
        _ = kernels.CPU.relux


def gates(dtype: type) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((7, 33)).astype(dtype), rng.uniform(-2, 8, (7, 33)).clip(0, 6).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gates_equal_the_reference(dtype: type) -> None:
    grad, y = gates(dtype)
    for name, ends in (("relu_backward", ()), ("hardtanh_backward", (0.0, 6.0))):
        for g, v in ((grad, y), (grad.T, y.T), (grad[::2], y[::2])):
            ours = getattr(kernels.CPU, name)(g, v, *ends)
            assert np.array_equal(ours, reference.KERNELS[name](g, v, *ends)) and ours.dtype == dtype
