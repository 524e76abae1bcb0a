"""What a sound looks like, gathered while it is read, in memory that does not depend on its length."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

CELL = 512  # samples of a spectrum at 16 kHz
FINE = 8  # pairs of extremes to each
BANDS = 96
MOST = 1 << 14  # cells from which on two become one: a picture has a thousand columns
_LOW = 50.0  # Hz


class Sketch:
    """The spectrum of every 32 ms of a sound, and the extremes of every 4 ms.

    Of sounds of many minutes cells become longer: each two are one, with the louder bands and the outer extremes.

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
        self._kept = _Rows(np.zeros((0, 2), np.float32), np.zeros((0, BANDS), np.uint8))
        self._fresh, self._each = self._kept, 1
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
        extremes = np.stack([fine.min(1), fine.max(1)], 1).astype(np.float32)
        power = np.abs(np.fft.rfft(cells * np.hanning(self.cell), 4 * self.cell)) ** 2
        places = np.searchsorted(np.fft.rfftfreq(4 * self.cell, 1 / self.sample_rate), self.edges)
        places[1:] = np.maximum(places[1:], places[:-1] + 1)
        loudest = np.maximum.reduceat(power, np.minimum(places[:-1], power.shape[1] - 1), axis=1)
        level = 10 * np.log10(loudest / (self.cell / 4) ** 2 + 1e-10)  # dB below a full tone
        spectrum = np.clip((level + 90) * (255 / 90), 0, 255).astype(np.uint8)
        self._fresh = self._fresh.and_then(_Rows(extremes, spectrum))
        while len(self._fresh.spectrum) >= MOST:
            self._kept = self._kept.and_then(self._fresh.between(0, MOST).coarser(self._each))
            self._fresh = self._fresh.between(MOST, None)
            if len(self._kept.spectrum) == 2 * MOST:
                self._kept, self._each = self._kept.coarser(2), 2 * self._each

    def _ended(self) -> None:
        if len(self._rest):
            self._put(np.pad(self._rest, (0, self.cell - len(self._rest)))[None])
            self._rest = np.zeros(0, np.float32)

    @property
    def _all(self) -> _Rows:
        self._ended()
        return self._kept.and_then(self._fresh.coarser(self._each))

    @property
    def extremes(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """(8 * cells, 2): the lowest and the highest sample of each 4 ms, or of longer."""
        return self._all.extremes

    @property
    def spectrum(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """(cells, 96): how loud each band is, 0 for -90 dB and 255 for a full tone; bands are even on a logarithmic scale."""
        return self._all.spectrum


class _Rows(NamedTuple):
    """Cells one after the other: extremes (8 * cells, 2) and spectra (cells, 96)."""

    extremes: np.ndarray[Any, np.dtype[np.float32]]
    spectrum: np.ndarray[Any, np.dtype[np.uint8]]

    def and_then(self, more: _Rows) -> _Rows:
        return _Rows(np.concatenate([self.extremes, more.extremes]), np.concatenate([self.spectrum, more.spectrum]))

    def between(self, first: int, last: int | None) -> _Rows:
        return _Rows(self.extremes[FINE * first : None if last is None else FINE * last], self.spectrum[first:last])

    def coarser(self, count: int) -> _Rows:
        """Each ``count`` cells as one; the last is said again where some are missing."""
        if count == 1 or not len(self.spectrum):
            return self
        missing = -len(self.spectrum) % count
        spectrum = np.pad(self.spectrum, ((0, missing), (0, 0)), "edge").reshape(-1, count, BANDS)
        fine = np.pad(self.extremes, ((0, FINE * missing), (0, 0)), "edge").reshape(-1, count, 2)
        return _Rows(np.stack([fine[..., 0].min(1), fine[..., 1].max(1)], 1), spectrum.max(1))
