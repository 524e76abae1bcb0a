"""Which tensors take up memory, on the CPU or on a GPU, and what an operation that found none left can say.

The tensors are those that live: Python's own list of objects is asked, so nothing is counted while nobody asks.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from . import devices
from .errors import OutOfMemoryError
from .tensor import Tensor


class Use(NamedTuple):
    """Tensors of one kind: how many, of what, and the bytes of all together."""

    nbytes: int
    number: int
    what: str


def live(device: str) -> Iterator[Tensor]:
    """A tensor for each piece of memory on ``device`` that tensors lie in: the largest on it."""
    largest: dict[int, Tensor] = {}
    for t in gc.get_objects():
        if not issubclass(type(t), Tensor):  # isinstance() would wake dead weak references
            continue
        array = t.__dict__.get("array")  # not there: it waits to be computed
        if array is None or devices.of(array) != device:
            continue
        key = _memory_of(array)
        if key not in largest or largest[key].nbytes < t.nbytes:
            largest[key] = t
    yield from largest.values()


def _memory_of(array: Any) -> int:
    if not isinstance(array, np.ndarray):
        return int(array.data.mem.ptr) if hasattr(array.data.mem, "ptr") else id(array.data.mem)
    while isinstance(array.base, np.ndarray):
        array = array.base
    return id(array)


def consumers(device: str = "cpu", count: int = 5) -> list[Use]:
    """What takes most memory on a device: tensors by kind, shape and dtype, the largest together first.

    Example:
        >>> import nyala
        >>> kept = nyala.zeros(12345, 3)
        >>> [use.number for use in consumers(count=10**6) if "(12345, 3)" in use.what]
        [1]
    """
    kinds: dict[str, list[int]] = defaultdict(list)
    for t in live(devices.parse(device)):
        role = "parameter" if type(t).__name__ == "Parameter" else "result in a graph" if t.grad_fn is not None else "tensor"
        kinds[f"{role} {t.shape} {t.dtype}"].append(t.nbytes)
    found = [Use(sum(sizes), len(sizes), what) for what, sizes in kinds.items()]
    return sorted(found, key=lambda use: (-use.nbytes, use.what))[:count]


def allocated(device: str = "cpu") -> int:
    """Bytes of memory that tensors on a device lie in."""
    return sum(t.nbytes for t in live(devices.parse(device)))


def size(nbytes: float) -> str:
    """Bytes for people.

    Example:
        >>> size(1536), size(3 * 2**30)
        ('1.5 KiB', '3.0 GiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if nbytes < 1024:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:.1f} TiB"


def lines(device: str = "cpu", count: int = 5) -> list[str]:
    """``consumers`` as lines of text."""
    return [f"{size(use.nbytes):>10}  {use.number:>5} x {use.what}" for use in consumers(device, count)]


def out_of_memory(what: str, device: str, error: MemoryError, fix: str = "") -> OutOfMemoryError:
    """The error for an operation that found no memory: who holds how much, and what to do."""
    held = "\n".join(f"  {line}" for line in lines(device))
    said = " ".join(str(error).split()).rstrip(".")
    return OutOfMemoryError(
        f"{what} ran out of memory on {device}{f': {said}' if said else ''}\n"
        + (f"what holds most of it now ({size(allocated(device))} in tensors):\n{held}\n" if held else ""),
        fix=fix or "use a smaller batch, compute under no_grad() what needs no gradient, or checkpoint the model's blocks",
    )
