"""Phases: made up for magnitudes (Griffin-Lim), kept going where time is stretched (phase vocoder); speed and pitch.

Example:
    >>> import nyala
    >>> sound = nyala.sin(nyala.arange(16_000.0) / 4)
    >>> time_stretch(sound, 2.0).shape, speed(sound, 2.0).shape, pitch_shift(sound, 16_000, 12).shape
    ((8000,), (8000,), (16000,))
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from ...core.create import from_numpy
from ...core.errors import ArgumentError, DtypeError, ShapeError, kind_of
from ...core.ops.elementwise import atan2, cos, sin
from ...core.ops.pad import pad
from ...core.ops.reduce import cumsum
from ...core.ops.shape import cat, reshape, stack
from ...core.ops.spectrogram import hann_window, istft, stft, view_as_complex
from ...core.random import Key
from ...core.tensor import Tensor
from .checks import check_waveform
from .resample import resample


def griffin_lim(
    magnitude: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    *,
    window: Tensor | None = None,
    n_iter: int = 32,
    momentum: float = 0.99,
    length: int | None = None,
    key: Key | None = None,
) -> Tensor:
    """The sound whose spectrogram comes closest (Griffin and Lim, 1984; with momentum: Perraudin et al., 2013).

    Equals ``torchaudio.functional.griffinlim(rand_init=False)`` where no key is given.

    Args:
        magnitude: (bins, F) or (B, bins, F): absolute values, not powers.
        n_fft, hop_length, window: with which it was made, centred; a Hann window unless given.
        n_iter: how often the phases are made better.
        momentum: how far each step goes beyond; 0 is the method of 1984.
        length: of the sound, in samples.
        key: random phases to begin with, drawn from it; without it all are 0.

    Returns:
        (T,) or (B, T).

    Raises:
        ShapeError: other dimensions, or bins that do not fit ``n_fft``.
        DtypeError: a complex spectrogram, or integers.
        ArgumentError: a momentum outside 0 to 1.
    """
    _check("griffin_lim", magnitude, magnitude=True)
    if not 0 <= momentum < 1 or n_iter < 0:
        raise ArgumentError(f"griffin_lim: momentum={momentum}, n_iter={n_iter}", fix="use 0 to below 1, and 0 or more")
    shape = hann_window(n_fft, dtype=magnitude.dtype, device=magnitude.device) if window is None else window
    whole = magnitude if magnitude.ndim == 3 else magnitude.unsqueeze(0)
    turns = whole * 0.0
    if key is not None:
        drawn = key.uniform(whole.shape).astype(whole.dtype)
        turns = from_numpy(2 * np.pi * drawn).to(whole.device)
    angles, before = _polar(turns * 0.0 + 1.0, turns), None
    for _ in range(n_iter):
        wave = istft(_times(whole, angles), n_fft, hop_length, window=shape, length=length)
        found = stft(wave, n_fft, hop_length, window=shape, return_complex=True)
        angles = found if before is None else found - (momentum / (1 + momentum)) * before
        angles, before = angles / (angles.abs() + 1e-16), found
    wave = istft(_times(whole, angles), n_fft, hop_length, window=shape, length=length)
    return wave if magnitude.ndim == 3 else reshape(wave, wave.shape[1:])


def phase_vocoder(spectrogram: Tensor, rate: float, hop_length: int) -> Tensor:
    """A complex spectrogram, faster by ``rate``: its phases go on as fast as they did (Flanagan and Golden, 1966).

    Equals torchaudio's and librosa's.

    Args:
        spectrogram: complex (bins, F) or (B, bins, F) with bins = n_fft / 2 + 1.
        rate: 2 for half as many frames.
        hop_length: samples between frames.

    Returns:
        (..., bins, ceil(F / rate)).

    Raises:
        ArgumentError: a rate that is not 0.001 to 1000.
        ShapeError, DtypeError: no complex spectrogram.
    """
    _check("phase_vocoder", spectrogram, magnitude=False)
    _check_rate("phase_vocoder", rate)
    bins, frames = spectrogram.shape[-2:]
    steps = np.arange(0, frames, rate)
    left = steps.astype(np.int64)
    share = from_numpy((steps - left).astype(spectrogram.real.dtype)).to(spectrogram.device)
    advance = from_numpy(np.linspace(0, math.pi * hop_length, bins)[:, None].astype(spectrogram.real.dtype))
    advance = advance.to(spectrogram.device)
    real, imaginary = pad(spectrogram.real, (0, 2)), pad(spectrogram.imag, (0, 2))
    before, after = ((real[..., i], imaginary[..., i]) for i in (left.tolist(), (left + 1).tolist()))
    turned = _angle(*after) - _angle(*before) - advance
    turned = turned - 2 * math.pi * (turned / (2 * math.pi)).detach().round() + advance
    phase = cumsum(cat([_angle(real[..., :1], imaginary[..., :1]), turned[..., :-1]], -1), -1)
    return _polar(share * _size(*after) + (1 - share) * _size(*before), phase)


def time_stretch(waveform: Tensor, rate: float, *, n_fft: int = 2048, hop_length: int | None = None) -> Tensor:
    """The sound played faster by ``rate``, at its own pitch. Equals librosa's.

    Args:
        waveform: (T,) or (B, T); float32 or float64.
        rate: 2 for half as long.
        n_fft, hop_length: of the spectrogram; a quarter of n_fft unless given.

    Returns:
        (..., round(T / rate)).

    Raises:
        ArgumentError: a rate that is not 0.001 to 1000, or something that is no tensor.
        DtypeError: integers or half precision.
        ShapeError: other dimensions.
    """
    check_waveform("time_stretch", waveform, 2, half=False)
    _check_rate("time_stretch", rate)
    hop, length = hop_length or n_fft // 4, round(waveform.shape[-1] / rate)
    if not length:
        return waveform[..., :0]
    shape = hann_window(n_fft, dtype=waveform.dtype, device=waveform.device)
    bins = stft(waveform, n_fft, hop, window=shape, pad_mode="constant", return_complex=True)
    return istft(phase_vocoder(bins, rate, hop), n_fft, hop, window=shape, length=length)


def speed(waveform: Tensor, factor: float) -> Tensor:
    """The sound played faster by ``factor``, and higher, as a tape would: (..., T) -> (..., ceil(T / factor)).

    Args:
        waveform: floating point.
        factor: 0.001 to 1000; taken as the nearest fraction with a denominator up to 1000.
    """
    _check_rate("speed", factor)
    share = Fraction(factor).limit_denominator(1000)
    return resample(waveform, share.numerator, share.denominator)


def pitch_shift(waveform: Tensor, sample_rate: int, n_steps: float, *, bins_per_octave: int = 12, n_fft: int = 2048) -> Tensor:
    """The sound higher by ``n_steps``, semitones unless an octave has others; it lasts as long as it did.

    Args:
        waveform: (T,) or (B, T); float32 or float64.
        sample_rate: in Hz.
        n_steps: negative for lower.
        bins_per_octave: steps in an octave.
        n_fft: of the spectrogram.

    Raises:
        ArgumentError, DtypeError, ShapeError: as :func:`time_stretch`.
    """
    rate = 2.0 ** (-n_steps / bins_per_octave)
    stretched = time_stretch(waveform, rate, n_fft=n_fft)
    length = waveform.shape[-1]
    if not length:
        return waveform
    made = resample(stretched, max(1, int(sample_rate / rate)), sample_rate)[..., :length]
    return pad(made, (0, length - made.shape[-1]))


def _angle(real: Tensor, imaginary: Tensor) -> Tensor:
    # nothing has no angle: it is given 0, whose gradient is finite
    nothing = (real.detach() == 0) & (imaginary.detach() == 0)
    return atan2(imaginary, real.masked_fill(nothing, 1.0))


def _size(real: Tensor, imaginary: Tensor) -> Tensor:
    return view_as_complex(stack([real, imaginary], -1)).abs()


def _polar(size: Tensor, angle: Tensor) -> Tensor:
    return view_as_complex(stack([size * cos(angle), size * sin(angle)], -1))


def _times(size: Tensor, angles: Tensor) -> Tensor:
    return view_as_complex(stack([size * angles.real, size * angles.imag], -1))


def _check_rate(what: str, rate: float) -> None:
    if not 1e-3 <= rate <= 1e3:
        raise ArgumentError(f"{what}: a rate of {rate}", fix="use a number above 0, 0.001 to 1000; 2 is twice as fast")


def _check(what: str, given: Tensor, magnitude: bool) -> None:
    if not isinstance(given, Tensor):
        raise ArgumentError(f"{what} was given {kind_of(given)}", fix="pass a tensor")
    fits = given.is_floating_point() and given.dtype.itemsize >= 4 if magnitude else given.is_complex()
    if not fits:
        kind, fix = (
            ("absolute values in float32 or float64", "use .abs(), or .float()")
            if magnitude
            else ("a complex spectrogram", "pass what stft returns")
        )
        raise DtypeError(f"{what} of a tensor of {given.dtype}", why=f"it takes {kind}", fix=fix)
    if given.ndim not in (2, 3):
        raise ShapeError(f"{what}: shape {given.shape}", why="it takes (bins, F) or (B, bins, F)", fix="reshape it")
