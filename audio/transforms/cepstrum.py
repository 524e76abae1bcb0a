"""Mel spectrograms, decibels and cepstra (MFCC) as librosa, torchaudio and Kaldi make them, and mel bands back to bins.

Example:
    >>> import nyala
    >>> sound = nyala.sin(nyala.arange(16_000.0) / 4)
    >>> mel_spectrogram(sound, 16_000, n_mels=40).shape, mfcc(sound, 16_000).shape, kaldi_mfcc(sound).shape
    ((40, 81), (40, 81), (98, 13))
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ...core.create import from_numpy
from ...core.errors import ArgumentError, ShapeError
from ...core.ops.elementwise import maximum
from ...core.ops.spectrogram import hann_window, power_spectrogram
from ...core.tensor import Tensor
from . import mel
from .checks import check_waveform
from .kaldi import kaldi_fbank

Array = np.ndarray[Any, Any]


def mel_spectrogram(
    waveform: Tensor,
    sample_rate: int,
    *,
    n_fft: int = 400,
    hop_length: int | None = None,
    n_mels: int = 128,
    f_min: float = 0.0,
    f_max: float | None = None,
    scale: mel.Scale = "slaney",
    area: bool = True,
    pad_mode: str = "reflect",
) -> Tensor:
    """Power in mel bands of centred frames under a Hann window.

    As it stands librosa's ``melspectrogram`` (whose pad_mode is "constant"); with ``scale="htk", area=False`` torchaudio's.

    Args:
        waveform: (T,) or (B, T); float32 or float64.
        sample_rate: in Hz.
        n_fft, hop_length: samples of a frame, and between frames: half of n_fft unless given.
        n_mels, f_min, f_max, scale, area: as in ``mel.filters``.
        pad_mode: what lies before and behind the sound.

    Returns:
        (..., n_mels, 1 + T // hop_length).

    Raises:
        ShapeError, DtypeError: as ``power_spectrogram``.
        ArgumentError: as ``mel.filters``.
    """
    check_waveform("mel_spectrogram", waveform, 2, half=False)
    hop = n_fft // 2 if hop_length is None else hop_length
    window = hann_window(n_fft, dtype=waveform.dtype, device=waveform.device)
    power = power_spectrogram(waveform, window, hop, pad_mode=pad_mode)
    table = mel.filters(n_mels, n_fft=n_fft, sample_rate=sample_rate, f_min=f_min, f_max=f_max, scale=scale, area=area)
    return from_numpy(table).to(waveform.device, waveform.dtype) @ power


def inverse_mel(
    bands: Tensor,
    sample_rate: int,
    *,
    n_fft: int = 400,
    f_min: float = 0.0,
    f_max: float | None = None,
    scale: mel.Scale = "slaney",
    area: bool = True,
) -> Tensor:
    """The power spectrogram that has these mel bands: of all, the one of least squares; what is below 0 becomes 0.

    Equals torchaudio's ``InverseMelScale``. With ``.sqrt()`` behind it ``griffin_lim`` makes a sound of it.

    Args:
        bands: (..., n_mels, F).
        sample_rate, n_fft, f_min, f_max, scale, area: with which they were made.

    Returns:
        (..., n_fft // 2 + 1, F).

    Raises:
        ShapeError: fewer than two dimensions.
    """
    if bands.ndim < 2:
        raise ShapeError(f"inverse_mel: bands of shape {bands.shape}", why="they are (..., n_mels, F)", fix="reshape them")
    top = sample_rate / 2 if f_max is None else float(f_max)
    table = _inverse(bands.shape[-2], n_fft, sample_rate, float(f_min), top, scale, area)
    return (from_numpy(table).to(bands.device, bands.dtype) @ bands).clamp(min=0)


@lru_cache(maxsize=8)
def _inverse(n_mels: int, n_fft: int, rate: int, low: float, high: float, scale: mel.Scale, area: bool) -> Array:
    table = mel.filters(n_mels, n_fft=n_fft, sample_rate=rate, f_min=low, f_max=high, scale=scale, area=area)
    found = np.linalg.pinv(table.astype(np.float64))
    found.flags.writeable = False
    return found


def to_decibels(power: Tensor, *, least: float = 1e-10, top_db: float | None = 80.0) -> Tensor:
    """10 log10 of powers, cut off ``top_db`` below the largest of the whole tensor, batch and all, as torchaudio and librosa do.

    Args:
        power: 0 or more; for amplitudes pass their squares.
        least: what smaller powers are taken for.
        top_db: None cuts off nothing.

    Example:
        >>> import nyala
        >>> to_decibels(nyala.tensor([1.0, 0.1, 0.0]))
        tensor([  0., -10., -80.])
    """
    logs = 10.0 * power.clamp(min=least).log10()
    return logs if top_db is None or not logs.numel() else maximum(logs, logs.amax() - top_db)


def mfcc(waveform: Tensor, sample_rate: int, n_mfcc: int = 40, *, top_db: float | None = 80.0, **mel_options: Any) -> Tensor:
    """Cepstra: the cosine transform (type 2, orthonormal) of mel bands in decibels.

    As it stands librosa's conventions (``pad_mode="constant"`` for all of them); with ``scale="htk", area=False`` torchaudio's.

    Args:
        waveform: (T,) or (B, T); the decibels of each row are cut off by itself.
        sample_rate: in Hz.
        n_mfcc: coefficients, at most as many as bands.
        top_db: see :func:`to_decibels`.
        mel_options: of :func:`mel_spectrogram`.

    Returns:
        (..., n_mfcc, F).

    Raises:
        ArgumentError: more coefficients than bands.
    """
    bands = mel_spectrogram(waveform, sample_rate, **mel_options)
    logs = to_decibels(bands, top_db=None)
    if top_db is not None:
        logs = maximum(logs, logs.amax(dim=(-2, -1), keepdim=True) - top_db)
    return from_numpy(_cosines(n_mfcc, bands.shape[-2])).to(logs.device, logs.dtype) @ logs


def kaldi_mfcc(
    waveform: Tensor, num_ceps: int = 13, n_mels: int = 23, *, sample_rate: int = 16_000, lifter: float = 22.0
) -> Tensor:
    """Kaldi's cepstra (dither off, no energy): equal to torchaudio's ``compliance.kaldi.mfcc`` on samples from -1 to 1.

    Args:
        waveform: (T,) or (B, T), 400 samples or more; see :func:`~nyala.audio.transforms.kaldi_fbank`.
        num_ceps: coefficients, at most as many as bands.
        n_mels: bands from 20 Hz to half the rate.
        sample_rate: in Hz.
        lifter: lifts coefficient k by 1 + lifter / 2 sin(pi k / lifter); 0 for as they are.

    Returns:
        (..., F, num_ceps).

    Raises:
        ArgumentError: more coefficients than bands.
        ShapeError, DtypeError: as ``kaldi_fbank``.
    """
    bands = kaldi_fbank(waveform, n_mels, sample_rate=sample_rate, window="povey")
    table = _cosines(num_ceps, n_mels).T
    if lifter:
        table = table * (1 + lifter / 2 * np.sin(np.pi * np.arange(num_ceps) / lifter))
    return bands @ from_numpy(np.ascontiguousarray(table)).to(bands.device, bands.dtype)


def _cosines(count: int, bands: int) -> Array:
    if not 1 <= count <= bands:
        raise ArgumentError(f"{count} cepstral coefficient(s) of {bands} mel bands", fix=f"use 1 to {bands}")
    table = np.cos(np.pi / bands * (np.arange(bands) + 0.5) * np.arange(count)[:, None]) * np.sqrt(2 / bands)
    table[0] /= np.sqrt(2)
    return np.asarray(table)
