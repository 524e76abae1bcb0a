"""How many threads kernels use."""

from __future__ import annotations

import math
import os
import sys

from ....errors import ArgumentError

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
