"""Streams and events of a GPU under torch's names: work in different streams may run at the same time.

Within a stream work runs in the order it was given. An event marks a place in one stream that another can wait for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import devices
from .errors import ArgumentError, DeviceError


def number_of(device: str | int | None) -> int:
    """The number of a CUDA device; of the current one for None.

    Raises:
        DeviceError: the CPU, or a device that is not there.
    """
    if device is None:
        return int(devices.cupy().cuda.runtime.getDevice())
    name = devices.parse(device)
    if name == "cpu":
        raise DeviceError("'cpu' is no CUDA device", fix="pass 'cuda', 'cuda:N' or a number")
    return int(name.partition(":")[2])


class Stream:
    """A queue of work on a GPU, beside the one that everything goes to by default.

    Args:
        device: its GPU; the current one where it is left out.
        priority: lower numbers go first, e.g. -1.

    Raises:
        DeviceError: there is no such GPU.
    """

    def __init__(self, device: str | int | None = None, priority: int = 0) -> None:
        number = number_of(device)
        with devices.cupy().cuda.Device(number):
            self._stream = devices.cupy().cuda.Stream(non_blocking=True, priority=priority)
        self.device, self.priority = f"cuda:{number}", priority

    @classmethod
    def _of(cls, stream: Any, device: str) -> Stream:
        made = cls.__new__(cls)
        made._stream, made.device, made.priority = stream, device, 0
        return made

    @property
    def cuda_stream(self) -> int:
        """Its address, for other libraries."""
        return int(self._stream.ptr)

    def synchronize(self) -> None:
        """Wait here until its work is done."""
        self._stream.synchronize()

    def query(self) -> bool:
        """Whether its work is done."""
        return bool(self._stream.done)

    def wait_event(self, event: Event) -> None:
        """What is given to it from now on runs after the event."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """What is given to it from now on runs after what the other has been given so far."""
        self.wait_event(stream.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        """An event at this place; a new one unless one is given."""
        event = event or Event()
        event.record(self)
        return event

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and (self.device, self.cuda_stream) == (other.device, other.cuda_stream)

    def __hash__(self) -> int:
        return hash((self.device, self.cuda_stream))

    def __repr__(self) -> str:
        return f"<nyala.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"


class Event:
    """A mark in a stream.

    Args:
        enable_timing: the time between two such can be asked for.
        blocking: ``synchronize`` lets other programs have the processor meanwhile.

    Raises:
        DeviceError: there is no GPU.
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False) -> None:
        self.enable_timing = enable_timing
        self._event = devices.cupy().cuda.Event(block=blocking, disable_timing=not enable_timing)
        self._recorded = False

    def record(self, stream: Stream | None = None) -> None:
        """Mark this place of the stream; of the current one where it is left out."""
        self._event.record((stream or current_stream())._stream)
        self._recorded = True

    def wait(self, stream: Stream | None = None) -> None:
        """What is given to the stream (or the current one) from now on runs after the event; nothing waits here."""
        if self._recorded:  # an event that was never recorded has happened, as torch has it
            (stream or current_stream())._stream.wait_event(self._event)

    def query(self) -> bool:
        """Whether all before it is done."""
        return not self._recorded or bool(self._event.done)

    def synchronize(self) -> None:
        """Wait here until all before it is done."""
        if self._recorded:
            self._event.synchronize()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds on the GPU from this event to the other.

        Raises:
            ArgumentError: one of them was made without ``enable_timing``, or not recorded.
        """
        for event in (self, end_event):
            if not event.enable_timing or not event._recorded:
                raise ArgumentError(
                    "elapsed_time of an event that was not recorded, or keeps no time",
                    fix="make both with enable_timing=True, and record them",
                )
        end_event.synchronize()
        return float(devices.cupy().cuda.get_elapsed_time(self._event, end_event._event))


def current_stream(device: str | int | None = None) -> Stream:
    """The stream that work of this thread goes to on a GPU."""
    number = number_of(device)
    with devices.cupy().cuda.Device(number):
        return Stream._of(devices.cupy().cuda.get_current_stream(), f"cuda:{number}")


@contextmanager
def stream(stream: Stream | None) -> Iterator[None]:
    """Work of this thread goes to the stream inside; None changes nothing."""
    if stream is None:
        yield
        return
    with devices.cupy().cuda.Device(int(stream.device.partition(":")[2])), stream._stream:
        yield
