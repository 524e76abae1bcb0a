"""What a script asks about the GPUs, under torch's names.

Example:
    >>> import nyala
    >>> device = "cuda" if nyala.cuda.is_available() else "cpu"
"""

from __future__ import annotations

from typing import Any

from . import devices

__all__ = ["current_device", "device_count", "empty_cache", "get_device_name", "is_available", "memory_allocated", "synchronize"]


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
    name = devices.cupy().cuda.runtime.getDeviceProperties(_number(device))["name"]
    return name.decode() if isinstance(name, bytes) else str(name)


def synchronize(device: str | int = "cuda") -> None:
    """Wait until the GPU has finished what it was given: before a clock is read."""
    with devices.cupy().cuda.Device(_number(device)):
        devices.cupy().cuda.runtime.deviceSynchronize()


def memory_allocated(device: str | int = "cuda") -> int:
    """Bytes that arrays occupy now."""
    return int(_pool(device, "used_bytes"))


def empty_cache(device: str | int = "cuda") -> None:
    """Give memory that no array occupies back to the system, for other programs."""
    _pool(device, "free_all_blocks")


def _pool(device: str | int, method: str) -> Any:
    with devices.cupy().cuda.Device(_number(device)):
        return getattr(devices.cupy().get_default_memory_pool(), method)()


def _number(device: str | int) -> int:
    name = devices.parse(device)
    if name == "cpu":
        raise devices.DeviceError("'cpu' is no CUDA device", fix="pass 'cuda', 'cuda:N' or a number")
    return int(name.partition(":")[2])
