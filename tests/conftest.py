"""What tests of every folder share: ``device="cuda"`` on a stand-in for CuPy, and on a real GPU where there is one."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cuda_on_cpu import building
from nyala.core import devices, kernels
from nyala.core.kernels.cuda import cublaslt, cudnn_plans
from nyala.core.kernels.cuda.running import compiler, launching, sources

HERE = Path(__file__).parent


def load_module(path: Path) -> ModuleType:
    """A Python file as a module, by its place: test folders are no packages."""
    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


STAND_IN = load_module(HERE / "cupy_stand_in.py")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for ``cuda`` runs on the stand-in; where there is a GPU, once more on it, marked ``gpu``."""
    if "cuda" in metafunc.fixturenames:
        real = [pytest.param("cupy", marks=pytest.mark.gpu)] if devices.cuda_is_available() else []
        metafunc.parametrize("cuda", ["stand-in", *real], indirect=True)


@pytest.fixture
def cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Makes ``device="cuda"`` work, without a GPU too; gives the device's full name."""
    if request.param == "stand-in":
        monkeypatch.setitem(sys.modules, "cupy", STAND_IN.module())
        for library in ("nvmath.bindings.cublasLt", "cudnn"):  # which compute on real GPUs alone
            monkeypatch.setitem(sys.modules, library, None)
        _build_kernels_for_the_cpu(monkeypatch)
    _forget()
    devices.module_for("cuda:0")  # the current device, whatever a test before left
    yield "cuda:0"
    monkeypatch.undo()
    _forget()


def _build_kernels_for_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels in CUDA C++ run too, where g++ and CUDA's headers are; the reference kernels elsewhere."""
    if not building.available():
        monkeypatch.setattr(importlib.import_module("nyala.core.kernels.cuda"), "KERNELS", {})
        return

    def code_of(text: str, title: str, architecture: str) -> bytes:
        assert architecture == "sm_90"  # what the stand-in calls itself
        return building.compiled(text, title, sources.headers())

    monkeypatch.setattr(compiler, "code_of", code_of)


def _forget() -> None:
    devices.cupy.cache_clear()
    kernels._cuda.cache_clear()
    launching._function.cache_clear()
    launching._module.cache_clear()
    cublaslt.forget()
    cudnn_plans.forget()


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What bad input is made of and works on: see ``bad_input.py``."""
    return load_module(HERE / "bad_input.py").Environment(tmp_path_factory.mktemp("bad-input"))
