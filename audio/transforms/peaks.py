"""True peaks: how far a sound goes between its samples, by annex 2 of ITU-R BS.1770-4.

A sound that is played is a curve through its samples, and the curve goes beyond them: what goes beyond full scale between two
samples is clipped by a converter or a codec, though every sample is below.

Example:
    >>> phase = np.arange(4_800) * np.pi / 2 + np.pi / 4  # a quarter of the rate: no sample meets the crest
    >>> tone = 0.5 * np.hanning(4_800) * np.sin(phase)
    >>> round(20 * math.log10(np.abs(tone).max()), 1), round(true_peak(tone), 1)  # dB of the samples, and dBTP
    (-9.0, -6.0)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .loudness import SILENT, checked_block

_PHASES = np.array(
    [
        [0.0017089843750, 0.0109863281250, -0.0196533203125, 0.0332031250000, -0.0594482421875, 0.1373291015625,
         0.9721679687500, -0.1022949218750, 0.0476074218750, -0.0266113281250, 0.0148925781250, -0.0083007812500],
        [-0.0291748046875, 0.0292968750000, -0.0517578125000, 0.0891113281250, -0.1665039062500, 0.4650878906250,
         0.7797851562500, -0.2003173828125, 0.1015625000000, -0.0582275390625, 0.0330810546875, -0.0189208984375],
    ]
)  # fmt: skip
_TABLE = np.concatenate([_PHASES, _PHASES[::-1, ::-1]]).T  # (12, 4): the annex's four phases, of which two mirror the others
_TAPS = len(_TABLE)
_BLOCK = 1 << 15  # samples that are looked at at once


class PeakMeter:
    """True peaks of a sound that comes in pieces: four values for each sample, whatever the rate.

    The annex asks for that up to 48 kHz, and for less above. The samples themselves count too.

    Args:
        channels: any number.

    Example:
        >>> meter = PeakMeter(channels=2)
        >>> for _ in range(3):
        ...     meter.push(np.stack([np.zeros(100), np.full(100, -0.5)]))
        >>> meter.peaks().round(2)  # the second: it starts at once, so the curve goes beyond it
        array([ -inf, -5.07])
    """

    def __init__(self, channels: int = 1) -> None:
        self.channels = channels
        self._largest = np.zeros(channels)
        self._before = np.zeros((channels, _TAPS - 1))
        self._taken = 0

    def push(self, samples: Any) -> None:
        """More samples: (channels, T), or (T,) of one channel; an array or a tensor.

        Raises:
            ArgumentError, DtypeError, ShapeError, DataError: as :meth:`LoudnessMeter.push`.
        """
        wave = checked_block("true_peak", samples, self.channels, self._taken)
        self._taken += wave.shape[1]
        for first in range(0, wave.shape[1], _BLOCK):
            self._hear(wave[:, first : first + _BLOCK])

    def peaks(self) -> np.ndarray[Any, Any]:
        """dBTP of each channel so far, that is decibels against full scale; minus infinity for silence.

        The last samples count as if silence came behind them.
        """
        ringing = self._between(np.concatenate([self._before, np.zeros((self.channels, _TAPS - 1))], 1))
        with np.errstate(divide="ignore"):
            return np.asarray(20 * np.log10(np.maximum(self._largest, ringing)))

    def peak(self) -> float:
        """dBTP of the loudest channel; minus infinity for silence."""
        return float(self.peaks().max(initial=SILENT))

    def _hear(self, wave: np.ndarray[Any, Any]) -> None:
        known = np.concatenate([self._before, wave], 1)
        self._before = known[:, -(_TAPS - 1) :]
        self._largest = np.maximum(self._largest, np.maximum(np.abs(wave).max(1), self._between(known)))

    @staticmethod
    def _between(known: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(channels, 11 + T) -> the largest of the 4 T values between them, (channels,)."""
        windows = np.lib.stride_tricks.sliding_window_view(known, _TAPS, axis=1)
        return np.asarray(np.abs(windows @ _TABLE[::-1]).max((1, 2)))


def true_peak(waveform: Any) -> float:
    """dBTP of a whole sound, its loudest channel; minus infinity for silence.

    Args:
        waveform: (T,) or (channels, T), about -1 to 1; an array or a tensor.

    Raises:
        ArgumentError, DtypeError, ShapeError, DataError: as :class:`PeakMeter`.
    """
    return measured_peaks([waveform]).peak()


def measured_peaks(blocks: Iterable[Any]) -> PeakMeter:
    """A meter that has heard all blocks, for instance those of ``io.SoundReader``."""
    meter: PeakMeter | None = None
    for block in blocks:
        if meter is None:
            meter = PeakMeter(block.shape[0] if getattr(block, "ndim", 1) == 2 else 1)
        meter.push(block)
    return meter or PeakMeter()


def limit_gain(peak: float, most: float) -> float:
    """What a sound of that true peak is multiplied by, so that it stays below ``most``, both in dBTP: at most 1.

    Example:
        >>> limit_gain(-3.0, -1.0), round(limit_gain(5.0, -1.0), 4)
        (1.0, 0.5012)
    """
    return min(1.0, 10 ** ((most - peak) / 20)) if math.isfinite(peak) else 1.0
