"""How many threads kernels use, and NumPy's BLAS kept to one where a kernel calls it."""

from __future__ import annotations

import ctypes
import functools
import math
import os
import re
import sys

from ....errors import ArgumentError

_SETTERS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
    "MKL_Set_Num_Threads",
    "bli_thread_set_num_threads",
)

_CONTAINER = "/sys/fs/cgroup/"
_QUOTAS = (("cpu.max", "cpu.max"), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))  # versions 2 and 1


def thread_count() -> int:
    """How many threads kernels use: ``NYALA_NUM_THREADS``, or the cores this process may run on and has the time of.

    Raises:
        ArgumentError: the variable holds no whole number from 1.
    """
    given = os.environ.get("NYALA_NUM_THREADS", "")
    if given:
        if not given.isdecimal() or int(given) < 1:
            raise ArgumentError(f"NYALA_NUM_THREADS={given}", fix="set it to a whole number from 1, or unset it to use all cores")
        return int(given)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _cores_of_container()))


def _cores_of_container() -> int:
    """How many cores' time a container has: more threads would be stopped in the middle of their work."""
    for quota, period in _QUOTAS:
        try:
            with open(_CONTAINER + quota) as first, open(_CONTAINER + period) as second:
                granted, each = first.read().split()[0], second.read().split()[-1]
        except OSError:
            continue  # another version of control groups, or none
        if granted not in ("max", "-1"):
            return math.ceil(int(granted) / int(each))
    return sys.maxsize


@functools.lru_cache(maxsize=1)
def single_threaded_blas() -> str | None:
    """Keep NumPy's BLAS to one thread from now on; gives the name of the setter found, or None.

    Where no setter is found the environment's own setting stays, and equal bits then need the same thread count.
    """
    for path in _loaded_libraries():
        try:
            library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD if hasattr(os, "RTLD_NOLOAD") else 0)
        except OSError:
            continue  # listed by the system, but not a library that can be asked
        for name in _SETTERS:
            setter = getattr(library, name, None)
            if setter is not None:
                setter(1)
                return name
    return None


def _loaded_libraries() -> list[str]:
    """Shared libraries of this process that look like a BLAS."""
    try:
        with open("/proc/self/maps") as maps:
            paths = {line.split(maxsplit=5)[5].strip() for line in maps if line.count(" ") >= 5 and "/" in line}
    except OSError:
        import numpy as np

        folder = os.path.join(os.path.dirname(np.__file__), os.pardir, "numpy.libs")
        paths = {os.path.join(folder, f) for f in os.listdir(folder)} if os.path.isdir(folder) else set()
    return sorted(p for p in paths if re.search(r"blas|mkl_rt|blis", os.path.basename(p), re.IGNORECASE))
