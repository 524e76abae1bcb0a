"""Constant-Q transform: bins as far apart as notes, each heard through a window of as many periods (Brown, 1991).

Example:
    >>> import nyala
    >>> sound = nyala.sin(nyala.arange(16_000.0) * (2 * 3.141592653589793 * 440 / 16_000))
    >>> bins = cqt(sound, 16_000, f_min=110.0, n_bins=36)
    >>> bins.shape, bins.abs()[:, 16].argmax().item()  # two octaves above the lowest
    ((36, 32), 24)
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from ...core.create import from_numpy
from ...core.errors import ArgumentError
from ...core.ops.pad import pad
from ...core.ops.shape import stack, transpose
from ...core.ops.spectrogram import Frame, view_as_complex
from ...core.tensor import Tensor
from .checks import check_waveform

C1 = 32.70319566257483  # Hz


def cqt(
    waveform: Tensor,
    sample_rate: int,
    *,
    hop_length: int = 512,
    f_min: float = C1,
    n_bins: int = 84,
    bins_per_octave: int = 12,
) -> Tensor:
    """Complex amplitudes of notes: (T,) or (B, T) -> (..., n_bins, 1 + T // hop_length).

    The definition, at the full rate: librosa's ``cqt`` takes lower octaves from resampled sounds, and differs there by what its
    resampler loses. Scaled as librosa does (``scale=True``); frames are centred, with silence around the sound.

    Args:
        waveform: float32 or float64.
        sample_rate: in Hz.
        hop_length: samples between frames.
        f_min: of the lowest bin, in Hz.
        n_bins: how many.
        bins_per_octave: how many to a factor of two.

    Raises:
        ArgumentError: a highest bin that reaches beyond half the rate, or numbers that are none.
        ShapeError: other dimensions.
        DtypeError: integers or half precision.
    """
    check_waveform("cqt", waveform, 2, half=False)
    if hop_length < 1:
        raise ArgumentError(f"cqt: hop_length={hop_length}", fix="use 1 or more")
    waves = _wavelets(sample_rate, float(f_min), n_bins, bins_per_octave)
    signal = waveform if waveform.ndim == 2 else waveform.unsqueeze(0)
    frames = 1 + signal.shape[1] // hop_length
    rows: list[Tensor] = []
    for size, first, last in _groups([len(w) for w in waves]):  # short ones are not multiplied with the zeros around them
        table = _table(waves[first:last], size)
        padded = pad(signal, (size // 2, size // 2))
        pieces = Frame(size, hop_length).apply(padded)[:, :frames]
        real, imaginary = (
            pieces @ from_numpy(part).to(signal.device, signal.dtype) for part in (table.real.copy(), table.imag.copy())
        )
        rows.extend(transpose(view_as_complex(stack([real, imaginary], -1)), 1, 2).unbind(1))
    out = stack(rows, 1)
    return out if waveform.ndim == 2 else out.squeeze(0)


def _table(waves: tuple[np.ndarray[Any, Any], ...], size: int) -> np.ndarray[Any, Any]:
    """(size, bins): what frames are multiplied with. What little of a wavelet turns backwards is taken away, as librosa does."""
    table = np.zeros((size, len(waves)), np.complex128)
    for i, wave in enumerate(waves):
        start = size - (size - len(wave)) // 2 - len(wave) + 1  # turned round, about the middle of the frame
        table[start : start + len(wave), i] = wave[::-1]
    spectrum = np.fft.ifft(table, axis=0)
    spectrum[size // 2 + 1 :] = 0
    return np.fft.fft(spectrum, axis=0)


def _groups(lengths: list[int]) -> list[tuple[int, int, int]]:
    """(size, first, last): bins in a row whose wavelets go into frames of the same size."""
    powers = [1 << math.ceil(math.log2(n)) for n in lengths]
    sizes = [min(2 * p, max(powers)) for p in powers]  # room for what rings beyond a wavelet that lost what turns backwards
    starts = [i for i in range(len(sizes)) if not i or sizes[i] != sizes[i - 1]]
    return [(sizes[a], a, b) for a, b in zip(starts, [*starts[1:], len(sizes)], strict=True)]


@lru_cache(maxsize=4)
def _wavelets(sample_rate: int, f_min: float, n_bins: int, bins_per_octave: int) -> tuple[np.ndarray[Any, Any], ...]:
    if n_bins < 1 or bins_per_octave < 1 or not f_min > 0:
        raise ArgumentError(f"cqt: f_min={f_min}, n_bins={n_bins}, bins_per_octave={bins_per_octave}", fix="use positive numbers")
    step = 2 ** (2 / bins_per_octave)
    bandwidth = (step - 1) / (step + 1)  # over the frequency
    frequencies = f_min * 2.0 ** (np.arange(n_bins) / bins_per_octave)
    if frequencies[-1] * (1 + bandwidth * 0.75) > sample_rate / 2:  # 1.5 bins of a Hann window
        raise ArgumentError(
            f"cqt: the highest of {n_bins} bins is at {frequencies[-1]:.0f} Hz, of sounds at {sample_rate} Hz",
            why=f"it reaches beyond half the sample rate, {sample_rate / 2:g} Hz",
            fix="use fewer bins or a lower f_min",
        )
    found = []
    for frequency in frequencies:
        length = sample_rate / bandwidth / frequency
        times = np.arange(-length // 2, length // 2)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(len(times)) / len(times))
        wave = np.exp(2j * np.pi * frequency * times / sample_rate) * window
        found.append(wave / np.abs(wave).sum() * np.sqrt(length))
    return tuple(found)
