"""Mel scales and the filters that turn a power spectrum into mel bands, as librosa and torchaudio define them.

Example:
    >>> from nyala.audio.transforms import mel
    >>> mel.filters(80, n_fft=400, sample_rate=16_000).shape  # (bands, bins)
    (80, 201)
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np

from ...core.errors import ArgumentError

Scale = Literal["slaney", "htk"]

# Slaney's Auditory Toolbox (1998): linear up to 1000 Hz, 15 mels there, then logarithmic, 27 mels to a factor of 6.4
_LINEAR, _KNEE = 200 / 3, 1000.0
_KNEE_MEL, _LOG_STEP = _KNEE / _LINEAR, np.log(6.4) / 27


def from_hz(hz: Any, scale: Scale = "slaney") -> Any:
    """Frequencies in Hz as mels.

    Args:
        hz: a number or an array, 0 or more.
        scale: ``"slaney"`` (librosa's default, Whisper's) or ``"htk"`` (2595 log10(1 + hz / 700)).

    Raises:
        ArgumentError: a scale of another name.

    Example:
        >>> round(float(from_hz(1000.0)), 6), round(float(from_hz(1000.0, "htk")), 2)
        (15.0, 999.99)
    """
    hz = np.asarray(hz, np.float64)
    if _checked(scale) == "htk":
        return 2595 * np.log10(1 + hz / 700)
    return np.where(hz < _KNEE, hz / _LINEAR, _KNEE_MEL + np.log(np.maximum(hz, _KNEE) / _KNEE) / _LOG_STEP)


def to_hz(mels: Any, scale: Scale = "slaney") -> Any:
    """Mels as frequencies in Hz: the inverse of :func:`from_hz`."""
    mels = np.asarray(mels, np.float64)
    if _checked(scale) == "htk":
        return 700 * (10 ** (mels / 2595) - 1)
    return np.where(mels < _KNEE_MEL, mels * _LINEAR, _KNEE * np.exp(_LOG_STEP * (np.maximum(mels, _KNEE_MEL) - _KNEE_MEL)))


def _checked(scale: str) -> str:
    if scale not in ("slaney", "htk"):
        raise ArgumentError(f"a mel scale called {scale!r}", fix="use 'slaney' or 'htk'")
    return scale


def filters(
    n_mels: int,
    *,
    n_fft: int,
    sample_rate: int,
    f_min: float = 0.0,
    f_max: float | None = None,
    scale: Scale = "slaney",
    area: bool = True,
) -> np.ndarray:
    """Triangles over the bins of a power spectrum, evenly spaced in mels: (n_mels, n_fft // 2 + 1), float32.

    Args:
        n_mels: how many bands.
        n_fft: samples of the transform; bin k lies at k * sample_rate / n_fft Hz.
        sample_rate: in Hz.
        f_min, f_max: the ends of the lowest and of the highest triangle, in Hz; half the sample rate unless given.
        scale: of the mels.
        area: give each triangle the same area (Slaney's norm), instead of the height 1.

    Raises:
        ArgumentError: limits that are no range, or a band so narrow that no bin lies in it.
    """
    top = sample_rate / 2 if f_max is None else f_max
    return _filters(n_mels, n_fft, sample_rate, float(f_min), float(top), scale, area)


@lru_cache(maxsize=32)
def _filters(n_mels: int, n_fft: int, rate: int, low: float, high: float, scale: Scale, area: bool) -> np.ndarray:
    if n_mels < 1 or n_fft < 2 or not 0 <= low < high <= rate / 2:
        raise ArgumentError(
            f"{n_mels} mel bands from {low:g} to {high:g} Hz, n_fft={n_fft}, at {rate} Hz",
            why=f"frequencies go from 0 to half the sample rate, {rate / 2:g} Hz",
            fix="check f_min, f_max and sample_rate",
        )
    bins = np.arange(n_fft // 2 + 1) * rate / n_fft
    edges = to_hz(np.linspace(from_hz(low, scale), from_hz(high, scale), n_mels + 2), scale)
    left, middle, right = (edges[i : n_mels + i, None] for i in range(3))
    table = np.maximum(0, np.minimum((bins - left) / (middle - left), (right - bins) / (right - middle)))
    empty = np.flatnonzero(table.max(1) == 0)
    if empty.size:
        raise ArgumentError(
            f"mel band {empty[0]} of {n_mels} has no bin in it, n_fft={n_fft} at {rate} Hz",
            why=f"bins are {rate / n_fft:g} Hz apart and the band is {float(right[empty[0], 0] - left[empty[0], 0]):.3g} Hz wide",
            fix="use fewer bands or a larger n_fft",
        )
    if area:
        table = table * (2 / (right - left))
    found = table.astype(np.float32)
    found.flags.writeable = False
    return found
