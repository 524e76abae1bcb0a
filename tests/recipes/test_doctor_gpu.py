"""What ``nyala doctor`` says of GPUs: on machines that are made up, for here there is one kind at most."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from nyala.recipes import doctor_gpu


class CUDARuntimeError(RuntimeError):
    """As CuPy's."""


def machine(
    monkeypatch: pytest.MonkeyPatch, driver: int | None, cupys: list[str], cuda: int = 13, gpus: int = 1, **modules: Any
) -> list[doctor_gpu.Check]:
    def count() -> int:
        if not gpus:
            raise CUDARuntimeError("cudaErrorInsufficientDriver")
        return gpus

    runtime = types.SimpleNamespace(
        getDeviceCount=count,
        CUDARuntimeError=CUDARuntimeError,
        runtimeGetVersion=lambda: cuda * 1000,
        getDeviceProperties=lambda i: {"name": f"GPU {i}".encode()},
    )
    fake = types.ModuleType("cupy")
    fake.__version__, fake.cuda = "14.2.0", types.SimpleNamespace(runtime=runtime)  # type: ignore[attr-defined]
    nvrtc = types.ModuleType("cupy.cuda.nvrtc")
    nvrtc.getVersion = lambda: (13, 0)  # type: ignore[attr-defined]
    given = {"cupy": fake, "cupy.cuda.nvrtc": nvrtc, "nvmath.bindings.cublasLt": None, "cudnn": None, **modules}
    for name, module in given.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(doctor_gpu, "_driver", lambda: driver)
    monkeypatch.setattr(doctor_gpu, "_distributions", lambda _prefix: cupys)
    return doctor_gpu.examine()


@pytest.mark.parametrize(
    ("driver", "cupys", "more", "said", "remedy"),
    [
        (None, [], {}, "everything runs on the CPU", ""),
        (590, [], {}, "driver 590 is here, CuPy is not", "nyala[cuda13]"),
        (550, [], {}, "CuPy is not", "nyala[cuda12]"),
        (580, ["cupy-cuda12x", "cupy-cuda13x"], {}, "cupy-cuda12x and cupy-cuda13x lie over each other", "pip uninstall"),
        (580, ["cupy-cuda13x"], {"cupy": None}, "cupy-cuda13x does not load", "install it anew"),
        (None, ["cupy-cuda13x"], {"gpus": 0}, "CUDA 13) finds no device: cudaErrorInsufficientDriver", "no NVIDIA driver here"),
        (550, ["cupy-cuda13x"], {"gpus": 0}, "finds no device", 'CUDA 13 needs 580: update it, or pip install "nyala[cuda12]"'),
        (590, ["cupy-cuda13x"], {"gpus": 0}, "finds no device", "nvidia-smi"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, driver: int | None, cupys: list[str], more: dict[str, Any], said: str, remedy: str
) -> None:
    found = machine(monkeypatch, driver, cupys, **more)
    assert [check.name for check in found] == ["gpu"]
    assert said in found[0].finding and remedy in found[0].remedy
    assert found[0].state == ("warn" if remedy else "ok")


def test_where_there_is_a_gpu_each_part_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {check.name: check for check in machine(monkeypatch, 590, ["cupy-cuda13x"], gpus=2)}
    assert list(found) == ["gpu", "nvrtc", "cublaslt", "cudnn"]
    assert found["gpu"].finding == "GPU 0, GPU 1; CuPy 14.2.0, CUDA 13, driver 590"
    for name, package in (("cublaslt", "nvmath-python"), ("cudnn", "nvidia-cudnn-frontend")):
        assert found[name].state == "warn" and package in found[name].finding and package in found[name].remedy


def test_a_compiler_that_does_not_load_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {c.name: c for c in machine(monkeypatch, 590, ["cupy-cuda13x"], **{"cupy.cuda.nvrtc": None})}
    assert found["nvrtc"].state == "warn" and "nvidia-cuda-nvrtc" in found["nvrtc"].remedy


def test_the_driver_is_read_from_the_kernel_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = tmp_path / "version"
    monkeypatch.setattr(doctor_gpu, "_VERSION", told)
    monkeypatch.setattr(doctor_gpu.shutil, "which", lambda _name: None)
    assert doctor_gpu._driver() is None
    told.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\nGCC version: gcc 12\n")
    assert doctor_gpu._driver() == 580
    told.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build\n")
    assert doctor_gpu._driver() == 570
    told.write_text("?")
    assert doctor_gpu._driver() == 0
