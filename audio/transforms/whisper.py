"""Whisper's front end: log-mel pictures of 16 kHz sound (Radford et al., 2022, section 2.2).

Example:
    >>> import nyala
    >>> whisper_mel(nyala.zeros(16_000)).shape  # a second is 100 frames
    (80, 100)
"""

from __future__ import annotations

from ...core.create import from_numpy
from ...core.errors import ArgumentError, DtypeError, ShapeError, kind_of
from ...core.ops.elementwise import maximum
from ...core.ops.pad import pad
from ...core.ops.spectrogram import hann_window, power_spectrogram
from ...core.tensor import Tensor
from . import mel

SAMPLE_RATE = 16_000  # Hz
N_FFT, HOP = 400, 160  # samples: 25 ms and 10 ms
WINDOW_SECONDS = 30  # what the encoder looks at


def whisper_mel(waveform: Tensor, n_mels: int = 80, *, padding: int = 0) -> Tensor:
    """The log-mel picture of a sound, as Whisper's encoder takes it.

    log10 of the mel bands' power, cut off 8 below the loudest, then (x + 4) / 4. Equals transformers'
    ``WhisperFeatureExtractor`` within 1e-5; the transforms are computed in float64, so quiet bands are as exact as loud ones.

    Args:
        waveform: samples at 16 kHz, about -1 to 1, (T,) or (B, T); float32 or float64, more than 200 samples.
        n_mels: 80, or 128 for large-v3 and turbo.
        padding: samples of silence to add behind, for instance to a whole window of 480,000.

    Returns:
        (n_mels, F) or (B, n_mels, F) with F = (T + padding) // 160.

    Raises:
        ShapeError: a waveform of other dimensions, or too short for one transform.
        DtypeError: integers: samples must be scaled to -1 to 1 first.
        ArgumentError: a negative padding, or something that is no tensor.
    """
    _check(waveform, padding)
    waveform = pad(waveform, (0, padding)) if padding else waveform
    window = hann_window(N_FFT, dtype=waveform.dtype, device=waveform.device)
    power = power_spectrogram(waveform, window, HOP)[..., :-1]
    table = from_numpy(mel.filters(n_mels, n_fft=N_FFT, sample_rate=SAMPLE_RATE)).to(waveform.device, waveform.dtype)
    logs = (table @ power).clamp(min=1e-10).log10()
    loudest = logs.amax(dim=(-2, -1), keepdim=True)
    return (maximum(logs, loudest - 8.0) + 4.0) / 4.0


def _check(waveform: Tensor, padding: int) -> None:
    if not isinstance(waveform, Tensor):
        raise ArgumentError(f"whisper_mel was given {kind_of(waveform)}", fix="pass a tensor: nyala.from_numpy(samples)")
    if not waveform.is_floating_point():
        raise DtypeError(
            f"whisper_mel of a tensor of {waveform.dtype}",
            why="samples are numbers between -1 and 1",
            fix="for 16-bit samples: waveform.float() / 32768",
        )
    if waveform.ndim not in (1, 2):
        raise ShapeError(
            f"whisper_mel: waveform of shape {waveform.shape}", why="it takes (T,) or (B, T)", fix="mix the channels first"
        )
    if padding < 0:
        raise ArgumentError(f"whisper_mel: padding={padding}", fix="use 0 or more samples")
    if waveform.shape[-1] + padding <= N_FFT // 2:
        raise ShapeError(
            f"whisper_mel: {waveform.shape[-1]} sample(s)",
            why=f"a transform needs more than {N_FFT // 2}",
            fix="pad the sound: padding=480000 - T",
        )
