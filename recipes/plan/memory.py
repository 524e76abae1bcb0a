"""How much memory this process holds, held at most, and may have: read from the system."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def held() -> int:
    """Bytes of memory this process holds now; 0 where the system does not say."""
    return _status("VmRSS")


def most() -> int:
    """Bytes it held at most since ``forget_most``, or since it began; 0 where the system does not say."""
    return _status("VmHWM")


def _status(key: str) -> int:
    if not _STATUS.is_file():
        return 0
    lines = (line.split() for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith(f"{key}:"))
    return next((int(words[1]) * 1024 for words in lines), 0)


def forget_most() -> bool:
    """Gives what is free back to the system, and counts ``most`` from here; says whether the system can."""
    gc.collect()
    if not sys.platform.startswith("linux"):
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None or not _CLEAR.exists():
        return False
    trim(0)
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:  # a container may forbid it: the peak since the start is then all there is
        return False
    return True


def peak_of(work: Callable[[], object]) -> int:
    """The most memory this process holds while it does ``work``."""
    forget_most()
    work()
    return max(most(), held())


def available() -> int:
    """Bytes this process may still have: the system's free memory or the container's limit, whichever is less; 0 if unknown."""
    found = [free for free in (_free_of_system(), _free_of_container()) if free is not None]
    return min(found, default=0)


def _free_of_system() -> int | None:
    info = Path("/proc/meminfo")
    if info.is_file():
        lines = (line.split() for line in info.read_text(encoding="ascii").splitlines() if line.startswith("MemAvailable:"))
        return next((int(words[1]) * 1024 for words in lines), None)
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names or "SC_PAGE_SIZE" not in names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _free_of_container(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Of a control group of version 2 or 1; None where it has no limit."""
    for limit, used in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        if (root / limit).is_file() and (root / used).is_file():
            text = (root / limit).read_text(encoding="ascii").strip()
            if text.isdigit() and int(text) < 1 << 60:
                return max(0, int(text) - int((root / used).read_text(encoding="ascii")))
    return None
