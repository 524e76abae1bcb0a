"""The part of ``nyala doctor`` that looks at GPUs: driver, CuPy, the compiler of kernels, and libraries that are optional."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_VERSION = Path("/proc/driver/nvidia/version")
_NEEDS = {12: 525, 13: 580}  # CUDA's major version -> the oldest driver that it runs on
_OPTIONAL = {
    "nvmath.bindings.cublasLt": ("cublaslt", "nvmath-python", "nyala's own kernels multiply matrices, which is slower"),
    "cudnn": ("cudnn", "nvidia-cudnn-frontend", "nyala's own kernels convolve, which is slower"),
}


@dataclass(frozen=True)
class Check:
    """One line of the examination; ``state`` is ``ok`` or ``warn``."""

    name: str
    state: str
    finding: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def examine() -> list[Check]:
    """What there is for ``device="cuda"``: a line for each part where all is well, else one that says what is amiss."""
    driver = _driver()
    installed = _distributions("cupy")
    if not installed:
        if driver is None:
            return [Check("gpu", "ok", "none: everything runs on the CPU")]
        extra = "cuda13" if driver >= _NEEDS[13] else "cuda12"
        return [Check("gpu", "warn", f"NVIDIA driver {driver} is here, CuPy is not", f'pip install "nyala[{extra}]"')]
    if len(installed) > 1:
        named = " and ".join(installed)
        return [
            Check("gpu", "warn", f"{named} lie over each other", f"pip uninstall {' '.join(installed)}, then install one anew")
        ]
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        said = " ".join(str(error).split())
        return [Check("gpu", "warn", f"{installed[0]} does not load: {said}", "install it anew")]
    found = _devices(cupy, driver)
    if found.state != "ok":
        return [found]
    return [found, _compiler(), *(_library(module) for module in _OPTIONAL)]


def _driver() -> int | None:
    """The major version of NVIDIA's driver, 0 where it does not say it, None where there is none."""
    if _VERSION.exists():
        match = re.search(r"(?:Kernel Module|for \S+)\s+(\d+)\.", _VERSION.read_text(encoding="utf-8", errors="replace"))
        return int(match[1]) if match else 0
    return 0 if shutil.which("nvidia-smi") else None


def _distributions(prefix: str) -> list[str]:
    """The installed packages that bring CuPy."""
    names = {d.metadata["Name"] for d in importlib.metadata.distributions()}
    return sorted(n for n in names if n and re.fullmatch(rf"{prefix}(-cuda\d+x)?", n))


def _devices(cupy: Any, driver: int | None) -> Check:
    runtime = cupy.cuda.runtime
    major = runtime.runtimeGetVersion() // 1000 if hasattr(runtime, "runtimeGetVersion") else 0
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        needs = _NEEDS.get(major)
        what = f"CuPy {cupy.__version__} (CUDA {major}) finds no device: {error}"
        if driver is None:
            return Check("gpu", "warn", what, "there is no NVIDIA driver here: install it, or leave CuPy out and use the CPU")
        if needs and 0 < driver < needs:
            older = [extra for extra, least in (("cuda12", _NEEDS[12]),) if driver >= least]
            other = f', or pip install "nyala[{older[0]}]" instead' if older else ""
            return Check("gpu", "warn", what, f"the driver is {driver}, CUDA {major} needs {needs}: update it{other}")
        return Check("gpu", "warn", what, "look at what nvidia-smi says")
    names = [runtime.getDeviceProperties(i)["name"].decode() for i in range(count)]
    return Check("gpu", "ok", f"{', '.join(names)}; CuPy {cupy.__version__}, CUDA {major}, driver {driver or 'unknown'}")


def _compiler() -> Check:
    try:
        nvrtc = importlib.import_module("cupy.cuda.nvrtc")
        major, minor = nvrtc.getVersion()
    except (ImportError, RuntimeError) as error:
        said = " ".join(str(error).split())
        return Check(
            "nvrtc", "warn", f"does not load: {said}", "pip install nvidia-cuda-nvrtc; kernels cannot be compiled without"
        )
    if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.pathfinder") is None:
        return Check(
            "nvrtc", "warn", f"{major}.{minor}, without CUDA's headers", "pip install nvidia-cuda-runtime cuda-pathfinder"
        )
    return Check("nvrtc", "ok", f"{major}.{minor}")


def _library(module: str) -> Check:
    name, package, without = _OPTIONAL[module]
    try:
        importlib.import_module(module)
    except ImportError as error:
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            return Check(name, "warn", f"{package} is not installed: {without}", f"pip install {package}")
        return Check(name, "warn", f"{package} does not load: {' '.join(str(error).split())}", f"install {package} anew")
    return Check(name, "ok", f"{package} {importlib.metadata.version(package)}")
