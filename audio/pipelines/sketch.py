"""What a sound looks like, gathered while it is read: a few hundred bytes a second, whatever its length."""

from __future__ import annotations

from typing import Any

import numpy as np

CELL = 512  # samples of a spectrum at 16 kHz
FINE = 8  # pairs of extremes to each
BANDS = 96
_LOW = 50.0  # Hz


class Sketch:
    """The spectrum of every 32 ms of a sound, and the extremes of every 4 ms.

    Args:
        sample_rate: of the samples to come.

    Example:
        >>> sketch = Sketch(16_000)
        >>> sketch.add(np.zeros(1000, np.float32))
        >>> sketch.extremes.shape, sketch.spectrum.shape, sketch.duration
        ((16, 2), (2, 96), 0.0625)
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate, self.cell = sample_rate, max(8, sample_rate * CELL // 16_000 // FINE) * FINE
        self.edges = np.geomspace(_LOW, sample_rate / 2, BANDS + 1)
        self._extremes: list[np.ndarray[Any, Any]] = []
        self._spectrum: list[np.ndarray[Any, Any]] = []
        self._rest = np.zeros(0, np.float32)
        self._count = 0

    @property
    def duration(self) -> float:
        """Seconds so far."""
        return self._count / self.sample_rate

    def add(self, samples: np.ndarray[Any, Any]) -> None:
        """The next samples, (T,)."""
        self._count += len(samples)
        held = np.concatenate([self._rest, samples])
        whole = len(held) - len(held) % self.cell
        if whole:
            self._put(held[:whole].reshape(-1, self.cell))
        self._rest = held[whole:]

    def _put(self, cells: np.ndarray[Any, Any]) -> None:
        fine = cells.reshape(-1, self.cell // FINE)
        self._extremes.append(np.stack([fine.min(1), fine.max(1)], 1).astype(np.float32))
        power = np.abs(np.fft.rfft(cells * np.hanning(self.cell), 4 * self.cell)) ** 2
        places = np.searchsorted(np.fft.rfftfreq(4 * self.cell, 1 / self.sample_rate), self.edges)
        places[1:] = np.maximum(places[1:], places[:-1] + 1)
        loudest = np.maximum.reduceat(power, np.minimum(places[:-1], power.shape[1] - 1), axis=1)
        level = 10 * np.log10(loudest / (self.cell / 4) ** 2 + 1e-10)  # dB below a full tone
        self._spectrum.append(np.clip((level + 90) * (255 / 90), 0, 255).astype(np.uint8))

    def _ended(self) -> None:
        if len(self._rest):
            self._put(np.pad(self._rest, (0, self.cell - len(self._rest)))[None])
            self._rest = np.zeros(0, np.float32)

    @property
    def extremes(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """(8 * cells, 2): the lowest and the highest sample of each 4 ms."""
        self._ended()
        return np.concatenate([np.zeros((0, 2), np.float32), *self._extremes])

    @property
    def spectrum(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """(cells, 96): how loud each band is, 0 for -90 dB and 255 for a full tone; bands are even on a logarithmic scale."""
        self._ended()
        return np.concatenate([np.zeros((0, BANDS), np.uint8), *self._spectrum])
