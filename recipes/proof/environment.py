"""What a run's bits depend on beside the recipe: libraries, BLAS, CPU and its vectors, device, operating system."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import sys
from typing import Any

import numpy as np

from ...core import cuda
from ...core.kernels.cpu.running.threads import thread_count

_PACKAGES = ("numpy", "ml-dtypes", "numba", "llvmlite", "pillow", "tokenizers", "huggingface-hub", "msgspec", "rich")
_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES",
    "NPY_DISABLE_CPU_FEATURES",
    "NYALA_NUM_THREADS",
)
# Differences in these may change rounding: two machines that agree in them are of one class, and give the same bits. The rest
# of the environment only helps to explain a difference. A dotted name is a key within a table.
DECIDING = (
    *("device", "machine", "numpy", "blas", "blas_core", "cpu_features", "kernel_target", "vector_bits", "libc"),
    *("packages.numba", "packages.llvmlite", "packages.pillow", "packages.tokenizers"),
)


def describe(device: str = "cpu") -> dict[str, Any]:
    """The environment as it goes into a manifest: plain JSON values. ``device`` is where the run computes.

    Example:
        >>> found = describe()
        >>> found["device"], found["vector_bits"] in (128, 256, 512)
        ('cpu', True)
    """
    target = kernel_target()
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numpy_config": numpy_config(),
        "blas": blas(),
        "blas_core": blas_core(),
        "threads": {"cpus": os.cpu_count(), "blas": blas_threads(), "kernels": thread_count()},
        "device": device if device == "cpu" else cuda.get_device_name(device),
        "cpu": _cpu_name(),
        "cpu_features": cpu_features(),
        "kernel_target": target[0],
        "vector_bits": target[1],
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip(),
        "os": f"{platform.system()} {platform.release()}",
        "packages": {name: _version(name) for name in _PACKAGES},
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Lines ``name: old -> new`` for whatever decides about bits and is not the same. What one of them does not say is left out:
    older manifests say less.

    Example:
        >>> differences({"machine": "x86_64", "vector_bits": 512}, {"machine": "aarch64", "blas": "some 1"})
        ['machine: x86_64 -> aarch64']
    """
    pairs = ((name, _value(old, name), _value(new, name)) for name in DECIDING)
    return [f"{name}: {_change(a, b)}" for name, a, b in pairs if a is not None and b is not None and a != b]


def _value(tree: dict[str, Any], name: str) -> Any:
    table, _, key = name.rpartition(".")
    return (tree.get(table) or {}).get(key) if table else tree.get(name)


def _change(old: Any, new: Any) -> str:
    if isinstance(old, list) and isinstance(new, list):
        gone, come = ([x for x in a if x not in b] for a, b in ((old, new), (new, old)))
        said = [f"{x} is gone" for x in gone] + [f"{x} is new" for x in come]
        return ", ".join(said[:6]) + (f" and {len(said) - 6} more" if len(said) > 6 else "")
    return f"{old} -> {new}"


def numpy_config() -> dict[str, Any]:
    """How NumPy was built and what it uses here: the compiler, and the instruction sets of its own loops."""
    found: dict[str, Any] = dict(np.show_config(mode="dicts"))  # type: ignore[call-overload]
    compiler = found.get("Compilers", {}).get("c", {})
    return {
        "compiler": f"{compiler.get('name', 'unknown')} {compiler.get('version', '')}".strip(),
        "simd": {name: list(sets) for name, sets in found.get("SIMD Extensions", {}).items()},
    }


def kernel_target() -> tuple[str | None, int]:
    """The processor that the kernels are compiled for (``NUMBA_CPU_NAME`` or this one), and the bits of its widest vectors."""
    try:
        from numba.core.registry import cpu_target
    except ImportError:
        return None, 128
    _, name, features = cpu_target.target_context.codegen().magic_tuple()
    has = set(features.split(","))
    return str(name), 512 if "+avx512f" in has else 256 if "+avx2" in has or "+avx" in has else 128


def blas() -> str:
    """Name and version of the BLAS that NumPy was built with."""
    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[call-overload, index]
    return f"{found.get('name', 'unknown')} {found.get('version', '')}".strip()


def blas_threads() -> int | None:
    """Threads of NumPy's OpenBLAS, or None where it cannot be asked."""
    ask = _of_openblas("get_num_threads")
    return None if ask is None else int(ask())


def blas_core() -> str | None:
    """The family of processors whose kernels NumPy's OpenBLAS has chosen, or None where it cannot be asked."""
    ask = _of_openblas("get_corename")
    if ask is None:
        return None
    ask.restype = ctypes.c_char_p
    return str(ask().decode())


def _of_openblas(function: str) -> Any:
    try:
        from numpy._core import _multiarray_umath  # type: ignore[import-not-found]  # its shared library is linked with the OpenBLAS of the wheel

        library = ctypes.CDLL(_multiarray_umath.__file__)
    except (ImportError, OSError):
        return None
    names = (f"scipy_openblas_{function}64_", f"openblas_{function}64_", f"openblas_{function}")
    return next((getattr(library, name) for name in names if hasattr(library, name)), None)


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
