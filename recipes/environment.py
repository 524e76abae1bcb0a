"""What a run's bits depend on beside the recipe: interpreter, libraries, BLAS, CPU, operating system."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import sys
from typing import Any

import numpy as np

_PACKAGES = ("numpy", "ml-dtypes", "numba", "llvmlite", "pillow", "tokenizers", "huggingface-hub", "msgspec", "rich")
_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NPY_DISABLE_CPU_FEATURES",
)
# Differences in these change rounding; the rest of the environment only helps to explain one.
DECIDING = ("machine", "numpy", "blas", "cpu_features")


def describe() -> dict[str, Any]:
    """The environment as it goes into a manifest: plain JSON values.

    Example:
        >>> sorted(describe())
        ['blas', 'cpu', 'cpu_features', 'machine', 'numpy', 'os', 'packages', 'python', 'threads', 'variables']
    """
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas(),
        "threads": {"cpus": os.cpu_count(), "blas": blas_threads()},
        "cpu": _cpu_name(),
        "cpu_features": cpu_features(),
        "machine": platform.machine(),
        "os": f"{platform.system()} {platform.release()}",
        "packages": {name: _version(name) for name in _PACKAGES},
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Lines ``name: old -> new`` for whatever decides about bits and is not the same."""
    return [f"{name}: {_short(old.get(name))} -> {_short(new.get(name))}" for name in DECIDING if old.get(name) != new.get(name)]


def blas() -> str:
    """Name and version of the BLAS that NumPy was built with."""
    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[call-overload, index]
    return f"{found.get('name', 'unknown')} {found.get('version', '')}".strip()


def blas_threads() -> int | None:
    """Threads of NumPy's OpenBLAS, or None where it cannot be asked."""
    try:
        from numpy._core import _multiarray_umath  # type: ignore[import-not-found]  # its shared library is linked with the OpenBLAS of the wheel

        library = ctypes.CDLL(_multiarray_umath.__file__)
    except (ImportError, OSError):
        return None
    for name in ("scipy_openblas_get_num_threads64_", "openblas_get_num_threads64_", "openblas_get_num_threads"):
        if hasattr(library, name):
            return int(getattr(library, name)())
    return None


def cpu_features() -> list[str]:
    """The instruction sets that NumPy found and uses."""
    try:
        from numpy._core._multiarray_umath import __cpu_features__ as found  # type: ignore[import-not-found]
    except ImportError:
        return []
    return sorted(name for name, present in found.items() if present)


def _cpu_name() -> str:
    if sys.platform == "linux":
        try:
            with open("/proc/cpuinfo", encoding="utf-8") as file:
                names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        except OSError:
            names = []
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _short(value: Any) -> str:
    return f"{len(value)} features" if isinstance(value, list) else str(value)
