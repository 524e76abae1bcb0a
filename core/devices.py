"""Where an array lives: the CPU (NumPy) or a CUDA device (CuPy).

CuPy is looked for only when a CUDA device is named; without it, or without a GPU, one clear error says what is missing.
"""

from __future__ import annotations

import functools
import importlib
import re
from types import ModuleType
from typing import Any

import numpy as np

from . import faults
from .errors import DeviceError, DtypeError
from .tracing import here

_INSTALL = "`pip install 'nyala[cuda13]'` (driver 580 or newer) or `'nyala[cuda12]'`"


@functools.lru_cache(maxsize=1)
def cupy() -> ModuleType:
    """The CuPy module, with a working GPU behind it.

    Raises:
        DeviceError: CuPy is not installed or does not load, or no CUDA device answers.
    """
    try:
        module = importlib.import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name != "cupy":
            raise _unloadable(error) from error
        raise DeviceError(
            "device 'cuda' was asked for, but CuPy is not installed",
            why="nyala computes on NVIDIA GPUs through CuPy",
            fix=f"install it with {_INSTALL}, or use device='cpu'",
        ) from error
    except ImportError as error:
        raise _unloadable(error) from error
    if not module.is_available():
        raise DeviceError(
            "device 'cuda' was asked for, but CuPy finds no CUDA device",
            why="there is no NVIDIA GPU here, or its driver is missing or too old",
            fix="check what `nvidia-smi` says, or use device='cpu'",
        )
    return module


def _unloadable(error: ImportError) -> DeviceError:
    return DeviceError(
        "device 'cuda' was asked for, but CuPy does not load",
        why=" ".join(str(error).split()),
        fix=f"install it anew, and only one of its packages, with {_INSTALL}, or use device='cpu'",
    )


def cuda_is_available() -> bool:
    """Whether ``device="cuda"`` would work."""
    try:
        cupy()
    except DeviceError:
        return False
    return True


def parse(device: str | int | None) -> str:
    """The device's full name: ``"cpu"`` or ``"cuda:N"``; a number is that of a CUDA device, None the CPU.

    Raises:
        DeviceError: not the name of a device, or the device is not there.

    Example:
        >>> parse("cpu")
        'cpu'
    """
    if device is None or device == "cpu":
        return "cpu"
    match = re.fullmatch(r"cuda(?::(\d+))?", f"cuda:{device}" if type(device) is int else str(device))
    if match is None:
        raise DeviceError(f"unknown device {device!r}", fix="use 'cpu', 'cuda' or 'cuda:N'")
    number, count = int(match[1] or 0), cupy().cuda.runtime.getDeviceCount()
    if number >= count:
        raise DeviceError(f"device 'cuda:{number}' does not exist: {count} CUDA device(s) found", fix="use a smaller number")
    return f"cuda:{number}"


def is_name(value: Any) -> bool:
    """Whether what was passed to ``.to()`` is meant as a device, of ours or of another library, and not as a dtype.

    Example:
        >>> is_name("cuda"), is_name("mps"), is_name("float16")
        (True, True, False)
    """
    return type(value) is int or (isinstance(value, str) and re.match("cpu|cuda|gpu|mps|xpu|tpu|meta", value) is not None)


def of(array: Any) -> str:
    """The name of the device that holds ``array``."""
    return "cpu" if isinstance(array, (np.ndarray, np.generic)) else f"cuda:{array.device.id}"


def module_of(array: Any) -> Any:
    """NumPy for a NumPy array (or the number it computes from one without dimensions), CuPy for a CuPy array."""
    if isinstance(array, (np.ndarray, np.generic)):
        return here.module
    use(array)
    return cupy()


def use(array: Any) -> None:
    """Make the device of a CuPy array the current one, where CuPy computes and makes new arrays; it stays so afterwards."""
    if not isinstance(array, np.ndarray) and array.device.id != cupy().cuda.runtime.getDevice():
        array.device.use()


def module_for(device: str) -> Any:
    """The module that makes arrays on ``device`` (a full name), which becomes the current one."""
    if device == "cpu":
        return here.module
    number = int(device.partition(":")[2])
    if number != cupy().cuda.runtime.getDevice():
        cupy().cuda.Device(number).use()
    return cupy()


def move(array: Any, device: str) -> Any:
    """``array`` on ``device``: itself when it is there already, a copy otherwise."""
    here = of(array)
    if here == device:
        return array
    if device == "cpu":
        read = cupy().asnumpy(array)
        faults.tell()
        return read
    check_dtype(array.dtype)
    with cupy().cuda.Device(int(device.partition(":")[2])):
        return cupy().asarray(array)


def move_constant(array: np.ndarray[Any, Any], device: str) -> Any:
    """``move`` for what depends on shapes alone, as a table of distances: a call that is captured as a graph keeps it."""
    kept = None if device == "cpu" or here.tracer is None else here.tracer.constant(array)
    return move(array, device) if kept is None else kept


def is_pinned(array: Any) -> bool:
    """Whether a NumPy array lies in memory that a GPU reads by itself."""
    while isinstance(array, np.ndarray):
        array = array.base
    return type(array.obj if isinstance(array, memoryview) else array).__name__ == "PinnedMemoryPointer"


def pinned(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A copy in C order in memory that a GPU reads by itself; the array itself where it lies there already.

    Raises:
        DeviceError: there is no GPU.
    """
    if is_pinned(array):
        return array
    held = cupy().cuda.alloc_pinned_memory(max(1, array.nbytes))
    copy = np.frombuffer(held, np.uint8, array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def start_move(array: Any, device: str) -> Any:
    """``move`` that does not wait for the copy from pinned memory to a GPU; any other is as ``move``."""
    if not isinstance(array, np.ndarray) or device == "cpu" or not is_pinned(array) or not array.flags.c_contiguous:
        return move(array, device)
    check_dtype(array.dtype)
    with cupy().cuda.Device(int(device.partition(":")[2])):
        made = cupy().empty(array.shape, array.dtype)
        stream = cupy().cuda.get_current_stream()
        made.set(array, stream=stream)
        event = cupy().cuda.Event(disable_timing=True)
        event.record(stream)
    _copying[:] = [(copying, source) for copying, source in _copying if not copying.done]
    _copying.append((event, array))  # what is copied must stay where it is until it has been
    return made


_copying: list[tuple[Any, np.ndarray[Any, Any]]] = []


def check_same(what: str, **named: Any) -> None:
    """Raise a DeviceError where tensors (or arrays) that ``what`` needs together are on different devices; None is left out.

    Their device becomes the current one.
    """
    there = [(name, getattr(t, "array", t)) for name, t in named.items() if t is not None]
    if all(type(array) is np.ndarray for _, array in there):
        return
    module_of(there[0][1])
    for name, array in there[1:]:
        if isinstance(array, np.ndarray) != isinstance(there[0][1], np.ndarray) or of(array) != of(there[0][1]):
            raise mismatch(what, *there[0], name, array)


def mismatch(what: str, name: str, array: Any, other: str, its: Any) -> DeviceError:
    """The error for two arrays on different devices."""
    here, there = of(array), of(its)
    moved, home = (name, there) if here == "cpu" else (other, here)
    return DeviceError(
        f"{what}: {name} of shape {array.shape} is on {here}, {other} of shape {its.shape} on {there}",
        why="an operation needs all its tensors on one device",
        fix=f"move {moved} with .to({home!r}), or the model it meets with .to({'cpu' if home != 'cpu' else here!r})",
    )


def check_dtype(dtype: np.dtype[Any]) -> None:
    """Raise a DtypeError for a dtype that CuPy has no arrays of: the float8 family."""
    if dtype.kind in "fV" and dtype.itemsize == 1:
        raise DtypeError(
            f"a tensor of {dtype} on a CUDA device", why="CuPy has no such dtype", fix="convert it to bfloat16 first"
        )
