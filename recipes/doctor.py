"""What ``nyala doctor`` looks at. Each check is a name, a state, a finding and, where something is amiss, a remedy."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable

from ..core.errors import ArgumentError
from ..hub.storage import cache_folder, is_offline
from . import doctor_gpu
from .doctor_gpu import Check
from .proof import environment


def examine() -> list[Check]:
    """Every check, in the order shown. Nothing is downloaded and no address is contacted.

    Example:
        >>> {check.state for check in examine()} <= {"ok", "warn"}
        True
    """
    checks: list[Callable[[], Check]] = [_python, _numpy, _blas, _threads, _numba, _cpu, _cache, _disk]
    return [*(check() for check in checks), *doctor_gpu.examine(), _network()]


def _python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} at {sys.executable}")


def _numpy() -> Check:
    import numpy as np

    return Check("numpy", "ok", np.__version__)


def _blas() -> Check:
    name = environment.blas()
    if "openblas" in name or "mkl" in name or "accelerate" in name.lower():
        return Check("blas", "ok", name)
    return Check(
        "blas", "warn", name, "matrix products will be slow: install NumPy's own wheel with `pip install --force-reinstall numpy`"
    )


def _threads() -> Check:
    from ..core.kernels.cpu.running.threads import thread_count

    cpus = _usable_cpus()
    try:
        threads = thread_count()
    except ArgumentError as error:
        return Check("threads", "warn", error.what, error.fix)
    finding = f"{cpus} CPUs usable, kernels use {threads}, BLAS one inside each"
    if threads > cpus:
        return Check("threads", "warn", finding, f"set NYALA_NUM_THREADS={cpus}: more threads than CPUs slow each other down")
    return Check("threads", "ok", finding)


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _numba() -> Check:
    if importlib.util.find_spec("numba") is None:
        return Check("numba", "warn", "not installed", "pip install numba; without it the kernels are plain NumPy")
    return Check("numba", "ok", importlib.metadata.version("numba"))


def _cpu() -> Check:
    wide = [name for name in ("AVX512F", "AVX2", "ASIMD", "SVE") if name in environment.cpu_features()]
    return Check("cpu", "ok", f"{platform.machine()}, vector units: {', '.join(wide) or 'baseline'}")


def _cache() -> Check:
    folder = cache_folder()
    parent = next(p for p in (folder, *folder.parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=parent):  # permissions alone do not tell: root, read-only mounts, quotas
            pass
    except OSError:
        return Check(
            "cache", "warn", f"{folder} cannot be written to", "set NYALA_CACHE to a folder of yours, or mend its permissions"
        )
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink()) if folder.exists() else 0
    return Check("cache", "ok", f"{folder} ({size / 1e6:.0f} MB)")


def _disk() -> Check:
    folder = cache_folder()
    free = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free
    state = "warn" if free < 1e9 else "ok"
    return Check("disk", state, f"{free / 1e9:.1f} GB free", "less than 1 GB: weights may not fit" if state == "warn" else "")


def _network() -> Check:
    if is_offline():
        finding = "NYALA_OFFLINE or HF_HUB_OFFLINE is set: only cached weights load"
        return Check("network", "warn", finding, "unset it to download")
    proxies = [name for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY") if os.environ.get(name)]
    endpoint = os.environ.get("HF_ENDPOINT", "the default model hub")
    return Check("network", "ok", f"not tried; downloads use {endpoint}" + (f" through {proxies[0]}" if proxies else ""))
