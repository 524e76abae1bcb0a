"""What a script asks about the GPUs, under torch's names.

Example:
    >>> import nyala
    >>> device = "cuda" if nyala.cuda.is_available() else "cpu"
"""

from __future__ import annotations

import functools
from typing import Any

from . import devices, faults, memory
from .streams import Event, Stream, current_stream, number_of, stream

__all__ = [
    "Event", "Stream", "current_device", "current_stream", "device_count", "empty_cache", "get_device_name", "is_available",
    "max_memory_allocated", "mem_get_info", "memory_allocated", "memory_reserved", "memory_stats", "memory_summary",
    "reset_peak_memory_stats", "stream", "synchronize",
]  # fmt: skip


def is_available() -> bool:
    """Whether ``device="cuda"`` works: CuPy is installed and finds a GPU."""
    return devices.cuda_is_available()


def device_count() -> int:
    """How many GPUs there are; 0 where ``device="cuda"`` does not work."""
    return int(devices.cupy().cuda.runtime.getDeviceCount()) if is_available() else 0


def current_device() -> int:
    """The number of the GPU that was computed on last in this thread, at first 0.

    Raises:
        DeviceError: there is no GPU, as for all the functions below.
    """
    return int(devices.cupy().cuda.runtime.getDevice())


def get_device_name(device: str | int = "cuda") -> str:
    """What the maker calls it."""
    name = devices.cupy().cuda.runtime.getDeviceProperties(number_of(device))["name"]
    return name.decode() if isinstance(name, bytes) else str(name)


def synchronize(device: str | int = "cuda") -> None:
    """Wait until the GPU has finished what it was given: before a clock is read.

    Raises:
        IndexRangeError, ArgumentError: what a launched graph of ``nyala.compile`` has found wrong with its input.
    """
    with devices.cupy().cuda.Device(number_of(device)):
        devices.cupy().cuda.runtime.deviceSynchronize()
    faults.tell()


# ---- memory


def memory_allocated(device: str | int = "cuda") -> int:
    """Bytes that arrays occupy now."""
    return int(_pool(device, "used_bytes"))


def memory_reserved(device: str | int = "cuda") -> int:
    """Bytes that are held for arrays, those that none occupies now included."""
    return int(_pool(device, "total_bytes"))


def mem_get_info(device: str | int = "cuda") -> tuple[int, int]:
    """Bytes that are free on the GPU, whoever holds the rest, and all that it has."""
    with devices.cupy().cuda.Device(number_of(device)):
        free, total = devices.cupy().cuda.runtime.memGetInfo()
    return int(free), int(total)


def reset_peak_memory_stats(device: str | int = "cuda") -> None:
    """Begin anew to look for the most that arrays occupy.

    From here on, or from the first question for a peak, allocations of the thread that asks are counted.
    """
    _peaks().begin(number_of(device), memory_allocated(device))


def max_memory_allocated(device: str | int = "cuda") -> int:
    """The most bytes that arrays occupied at once since ``reset_peak_memory_stats``, or since somebody first asked."""
    return _peaks().most(number_of(device), memory_allocated(device))


def memory_stats(device: str | int = "cuda") -> dict[str, int]:
    """torch's names for the above: what is allocated now and was at most, and what is reserved."""
    return {
        "allocated_bytes.all.current": memory_allocated(device),
        "allocated_bytes.all.peak": max_memory_allocated(device),
        "reserved_bytes.all.current": memory_reserved(device),
    }


def memory_summary(device: str | int = "cuda", count: int = 10) -> str:
    """The statistics for people, with the ``count`` kinds of tensors that take most of it."""
    stats, (free, total) = memory_stats(device), mem_get_info(device)
    rows = {
        "allocated": stats["allocated_bytes.all.current"],
        "at most": stats["allocated_bytes.all.peak"],
        "reserved": stats["reserved_bytes.all.current"],
        "free on the GPU": free,
        "of": total,
    }
    name = f"cuda:{number_of(device)}"
    head = [f"{name}, {get_device_name(device)}", *(f"{what:16} {memory.size(n):>10}" for what, n in rows.items())]
    return "\n".join([*head, "", "tensors that take most of it:", *memory.lines(name, count)])


def empty_cache(device: str | int = "cuda") -> None:
    """Give memory that no array occupies back to the system, for other programs."""
    _pool(device, "free_all_blocks")


def _pool(device: str | int, method: str) -> Any:
    with devices.cupy().cuda.Device(number_of(device)):
        return getattr(devices.cupy().get_default_memory_pool(), method)()


@functools.lru_cache(maxsize=1)
def _peaks() -> Any:
    """Counts what CuPy hands out, from now on."""

    class Peaks(devices.cupy().cuda.MemoryHook):  # type: ignore[misc]  # CuPy may not be there
        name = "nyala"

        def __init__(self) -> None:
            self.now: dict[int, int] = {}
            self.peak: dict[int, int] = {}

        def begin(self, number: int, used: int) -> None:
            self.now[number] = self.peak[number] = used

        def most(self, number: int, used: int) -> int:
            if number not in self.now:
                self.begin(number, used)
            return self.peak[number]

        def malloc_postprocess(self, **kwargs: Any) -> None:
            number = kwargs["device_id"]
            if number in self.now:
                self.now[number] += kwargs["mem_size"]
                self.peak[number] = max(self.peak[number], self.now[number])

        def free_postprocess(self, **kwargs: Any) -> None:
            if kwargs["device_id"] in self.now:
                self.now[kwargs["device_id"]] -= kwargs["mem_size"]

    made = Peaks()
    made.__enter__()  # stays for the life of the thread
    return made
