"""Kaldi's front end: log mel filter banks, as AST and many speaker models take them (dither off).

Example:
    >>> import nyala
    >>> kaldi_fbank(nyala.zeros(16_000)).shape  # a second is 98 frames
    (98, 128)
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ...core.create import from_numpy
from ...core.errors import ArgumentError, DtypeError, ShapeError, kind_of
from ...core.ops.fft import rfft
from ...core.ops.shape import cat
from ...core.ops.spectrogram import Frame, hann_window
from ...core.tensor import Tensor

FRAME, HOP, N_FFT = 400, 160, 512  # samples at 16 kHz: 25 ms and 10 ms
PREEMPHASIS = 0.97
WINDOWS = {"hanning": 1.0, "povey": 0.85}  # powers of a Hann window
_FLOOR = float(np.finfo(np.float32).eps)


def kaldi_fbank(
    waveform: Tensor, n_mels: int = 128, *, sample_rate: int = 16_000, f_min: float = 20.0, window: str = "hanning"
) -> Tensor:
    """Logarithms of the power in mel bands: natural ones, of frames that lie wholly in the sound.

    From each frame its mean is taken, then high frequencies are raised (x[i] - 0.97 x[i - 1]) and a window is laid over it.
    Equals transformers' ``ASTFeatureExtractor`` before its normalisation, which equals torchaudio's ``compliance.kaldi.fbank``.

    Args:
        waveform: samples, about -1 to 1, (T,) or (B, T); float32 or float64, 400 samples at least.
        n_mels: bands.
        sample_rate: in Hz; frames are 400 samples and 160 apart whatever it is.
        f_min: where the lowest band begins, in Hz; the highest ends at half the rate.
        window: "hanning", or Kaldi's own, "povey": that to the power of 0.85.

    Returns:
        (F, n_mels) or (B, F, n_mels) with F = 1 + (T - 400) // 160.

    Raises:
        ShapeError: a waveform of other dimensions, or shorter than a frame.
        DtypeError: integers: samples must be scaled to -1 to 1 first.
        ArgumentError: something that is no tensor, bands that are none, or another window.
    """
    _check(waveform)
    if window not in WINDOWS:
        raise ArgumentError(f"kaldi_fbank: a window called {window!r}", fix=f"use {' or '.join(map(repr, WINDOWS))}")
    frames = Frame(FRAME, HOP).apply(waveform.to("float64"))
    frames = frames - frames.mean(-1, keepdim=True)
    raised = frames[..., 1:] - PREEMPHASIS * frames[..., :-1]
    frames = cat([frames[..., :1] * (1 - PREEMPHASIS), raised], -1)
    shape = hann_window(FRAME, periodic=False, dtype="float64", device=waveform.device) ** WINDOWS[window]
    spectrum = rfft(frames * shape, N_FFT)
    power = spectrum.real**2 + spectrum.imag**2
    table = from_numpy(mel_filters(n_mels, sample_rate, float(f_min))).to(waveform.device)
    return (power @ table).clamp(min=_FLOOR).log().to(waveform.dtype)


@lru_cache(maxsize=8)
def mel_filters(n_mels: int, sample_rate: int, f_min: float) -> np.ndarray[Any, Any]:
    """Triangles on Kaldi's mel scale, 1127 ln(1 + hz / 700), straight there and not in Hz: (bins, n_mels), float64.

    Narrow bands at low frequencies may have no bin in them: they are 0, as in Kaldi.

    Raises:
        ArgumentError: fewer than one band, or limits that are no range.
    """
    if n_mels < 1 or not 0 <= f_min < sample_rate / 2:
        raise ArgumentError(
            f"{n_mels} mel bands from {f_min:g} Hz at {sample_rate} Hz", fix="check n_mels, f_min and sample_rate"
        )

    def mels(hz: Any) -> Any:
        return 1127.0 * np.log1p(np.asarray(hz) / 700.0)

    edges = np.linspace(mels(f_min), mels(sample_rate / 2), n_mels + 2)
    bins = mels(np.arange(N_FFT // 2 + 1) * sample_rate / N_FFT)[:, None]
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    table = np.maximum(0, np.minimum((bins - left) / (middle - left), (right - bins) / (right - middle)))
    table.flags.writeable = False
    return table


def _check(waveform: Tensor) -> None:
    if not isinstance(waveform, Tensor):
        raise ArgumentError(f"kaldi_fbank was given {kind_of(waveform)}", fix="pass a tensor: nyala.from_numpy(samples)")
    if not waveform.is_floating_point():
        raise DtypeError(f"kaldi_fbank of a tensor of {waveform.dtype}", fix="for 16-bit samples: waveform.float() / 32768")
    if waveform.ndim not in (1, 2):
        raise ShapeError(
            f"kaldi_fbank: waveform of shape {waveform.shape}", why="it takes (T,) or (B, T)", fix="mix the channels first"
        )
    if waveform.shape[-1] < FRAME:
        raise ShapeError(f"kaldi_fbank: {waveform.shape[-1]} sample(s)", why=f"a frame needs {FRAME}", fix="pad the sound")
