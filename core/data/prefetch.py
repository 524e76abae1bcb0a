"""Batches on a GPU before they are asked for: while the model works on one, the next is copied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from .. import devices
from ..streams import Stream, current_stream, stream
from ..tensor import Tensor


def to_device(batch: Any, device: str, non_blocking: bool = False) -> Any:
    """The tensors of a batch on a device: alone, or in dicts, lists, tuples and dataclasses; all else stays as it is.

    Example:
        >>> import nyala
        >>> to_device({"x": nyala.ones(1), "names": ["a"]}, "cpu")
        {'x': tensor([1.]), 'names': ['a']}
    """
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=non_blocking)
    if isinstance(batch, dict):
        return {name: to_device(value, device, non_blocking) for name, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(v, device, non_blocking) for v in batch))
    if type(batch) in (list, tuple):
        return type(batch)(to_device(v, device, non_blocking) for v in batch)
    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(
            batch, **{f.name: to_device(getattr(batch, f.name), device, non_blocking) for f in fields(batch) if f.init}
        )
    return batch


def pinned(batch: Any) -> Any:
    """The tensors of a batch in memory that a GPU can read by itself, in the same structures as ``to_device``."""
    if isinstance(batch, Tensor):
        return batch if batch.is_cuda else batch.pin_memory()
    if isinstance(batch, dict):
        return {name: pinned(value) for name, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*map(pinned, batch))
    if type(batch) in (list, tuple):
        return type(batch)(map(pinned, batch))
    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(batch, **{f.name: pinned(getattr(batch, f.name)) for f in fields(batch) if f.init})
    return batch


def prefetched(batches: Iterable[Any], device: str) -> Iterator[Any]:
    """Batches on ``device``, in their order; on a GPU each is copied on a stream of its own while the one before is in use.

    Two batches are on the GPU at a time. On the CPU they are passed on as they are.

    Raises:
        DeviceError: the device is not there.

    Example:
        >>> import nyala
        >>> loader = nyala.data.DataLoader(nyala.arange(4), batch_size=2)
        >>> [batch.tolist() for batch in prefetched(loader, "cpu")]
        [[0, 1], [2, 3]]
    """
    place = devices.parse(device)
    if place == "cpu":
        yield from batches
        return
    side = Stream(place)
    waiting: tuple[Any, Any, Any] | None = None  # the host's batch (kept until its copy is done), the copy, its event
    for batch in batches:
        host = pinned(batch)
        side.wait_stream(current_stream(place))  # the copy may be put where a batch was that is still being read
        with stream(side):
            there = to_device(host, place, non_blocking=True)
            done = side.record_event()
        if waiting is not None:
            yield _arrived(waiting, place)
        waiting = host, there, done
    if waiting is not None:
        yield _arrived(waiting, place)


def _arrived(waiting: tuple[Any, Any, Any], device: str) -> Any:
    """The copied batch, once the current stream is told to wait for it."""
    host, there, done = waiting
    done.wait(current_stream(device))
    done.synchronize()  # the pinned memory goes back for the next batch: its copy began a whole batch ago
    del host
    return there
