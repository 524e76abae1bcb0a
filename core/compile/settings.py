"""Numbers that differ from launch to launch, in device memory that a CUDA graph's kernels read: sent by one copy a launch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import devices

_SIZE = 1024  # numbers a block; one block serves nearly every graph
_AHEAD = 4  # launches whose numbers may be on their way: the host waits for the first before it writes the fifth


class Settings:
    """The numbers of one graph. Places are taken while it is captured; then ``send`` writes all of them before each launch."""

    def __init__(self) -> None:
        self._blocks: list[Any] = []
        self._used = 0
        self._turns: list[tuple[Any, np.ndarray[Any, Any]]] = []  # an event behind the copy, and the pinned memory copied from
        self._sent = 0

    def place(self, count: int) -> tuple[int, Any]:
        """Room for ``count`` numbers of float64, a few of them: its number, and the array that kernels read."""
        if self._used + count > len(self._blocks) * _SIZE:
            self._used = len(self._blocks) * _SIZE
            self._blocks.append(devices.cupy().empty(_SIZE, np.float64))
        number, self._used = self._used, self._used + count
        first = number - (len(self._blocks) - 1) * _SIZE
        return number, self._blocks[-1][first : first + count]

    def words(self) -> tuple[int, Any]:
        """Room for a key's two words of uint32."""
        number, array = self.place(1)
        return number, array.view(np.uint32)

    def send(self, stream: Any, values: Sequence[tuple[int, Any]]) -> None:
        """Copy values, with their places' numbers, to the device."""
        if not self._blocks:
            return
        event, host = self._turn()
        for number, value in values:
            if isinstance(value, np.ndarray):
                host[number : number + 1].view(np.uint32)[:] = value
            else:
                host[number : number + len(value)] = value
        for i, block in enumerate(self._blocks):
            block.set(host[i * _SIZE : (i + 1) * _SIZE], stream=stream)
        event.record(stream)
        self._sent += 1

    def _turn(self) -> tuple[Any, np.ndarray[Any, Any]]:
        """The memory whose turn it is, once the GPU has read what it held."""
        if len(self._turns) < _AHEAD:
            size = _SIZE * len(self._blocks)
            turn = devices.cupy().cuda.Event(disable_timing=True), devices.pinned(np.zeros(size))
            self._turns.append(turn)
            return turn
        turn = self._turns[self._sent % _AHEAD]
        turn[0].synchronize()
        return turn
