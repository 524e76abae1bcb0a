"""Goldens of signal processing: ``tests/goldens/audio/signal.safetensors``, from SciPy, librosa, torchaudio and pyloudnorm.

wave                    (2, 4000) float32 at 16 kHz: a rising tone that fades, with faint noise; two tones between silences
sosfilt, lfilter        SciPy, float64: an elliptic filter of order 6; b = (0.2, 0.3, -0.1), a = (2, -1.1, 0.6, -0.1)
biquad.NAME             torchaudio's biquads on wave[0, :800]
griffin_lim             torchaudio, from zero phases, 16 iterations, n_fft 256
vocoder                 torchaudio's phase_vocoder of stft(256, 64) at 1.3, as pairs
stretched.1.5, .0.7     librosa's time_stretch, n_fft 512
mfcc.torchaudio, .librosa, .kaldi; mel.htk, mel.slaney; inverse_mel; decibels
cqt                     librosa's response at the full rate, as pairs: 36 bins from 130.8 Hz, hop 128
trim                    librosa's effects.trim of wave[1] at 40 dB: start, end; split: intervals
loudness                pyloudnorm of 3 s of noise at 48 kHz that grows, seed 3: LUFS, and LRA is by definition in the tests
"""

from __future__ import annotations

import librosa
import numpy as np
import pyloudnorm
import scipy.signal
import torch
import torchaudio
from golden_recorder import GOLDENS
from librosa.core import constantq
from safetensors.numpy import save_file

RATE, N_FFT, HOP = 16_000, 256, 64
BIQUADS = {
    "lowpass": ("lowpass_biquad", (1000.0, 0.9)),
    "highpass": ("highpass_biquad", (1000.0, 0.9)),
    "bandpass": ("bandpass_biquad", (1000.0, 0.9)),
    "notch": ("bandreject_biquad", (1000.0, 0.9)),
    "allpass": ("allpass_biquad", (1000.0, 0.9)),
    "peaking": ("equalizer_biquad", (1000.0, 5.0, 0.9)),
    "low_shelf": ("bass_biquad", (-7.0, 1000.0, 0.9)),
    "high_shelf": ("treble_biquad", (5.0, 1000.0, 0.9)),
}


def waves() -> np.ndarray:
    time = np.arange(4_000) / RATE
    tone = np.sin(2 * np.pi * (200 * time + 4000 * time**2)) * np.exp(-5.5 * time)
    parts = np.zeros_like(time)
    parts[900:1700], parts[2500:3300] = 0.4 * np.sin(2 * np.pi * 500 * time[:800]), 0.2 * np.sin(2 * np.pi * 1500 * time[:800])
    noise = np.random.default_rng(5).standard_normal((2, len(time)))
    return (np.stack([0.6 * tone, parts]) + 1e-4 * noise).astype(np.float32)


def filters(wave: np.ndarray) -> dict[str, np.ndarray]:
    sos = scipy.signal.ellip(6, 1, 60, 0.2, output="sos")
    found = {"sos": sos, "sosfilt": scipy.signal.sosfilt(sos, wave)}
    found["lfilter"] = scipy.signal.lfilter([0.2, 0.3, -0.1], [2.0, -1.1, 0.6, -0.1], wave)
    first = torch.from_numpy(wave[0, :800].astype(np.float64))
    for name, (function, arguments) in BIQUADS.items():
        ours = torchaudio.functional.__dict__[function](0.2 * first, RATE, *arguments)  # quiet: it clamps to -1 to 1
        found[f"biquad.{name}"] = 5 * ours.numpy()
    return found


def spectra(wave: np.ndarray) -> dict[str, np.ndarray]:
    signal, window = torch.from_numpy(wave.astype(np.float64)), torch.hann_window(N_FFT, dtype=torch.float64)
    bins = torch.stft(signal, N_FFT, HOP, window=window, return_complex=True)
    advance = torch.linspace(0, torch.pi * HOP, N_FFT // 2 + 1, dtype=torch.float64)[:, None]
    sounded = torchaudio.functional.griffinlim(bins.abs(), window, N_FFT, HOP, N_FFT, 1.0, 16, 0.99, 4000, False)
    found = {
        "griffin_lim": sounded.numpy(),
        "vocoder": torch.view_as_real(torchaudio.functional.phase_vocoder(bins, 1.3, advance)).numpy(),
    }
    for rate in (1.5, 0.7):
        found[f"stretched.{rate}"] = librosa.effects.time_stretch(wave.astype(np.float64), rate=rate, n_fft=512)
    return found


def mels(wave: np.ndarray) -> dict[str, np.ndarray]:
    signal = torch.from_numpy(wave.astype(np.float64))
    options = {"n_fft": N_FFT, "hop_length": HOP, "n_mels": 24}
    htk = torchaudio.transforms.MelSpectrogram(RATE, **options).double()(signal)
    slaney = librosa.feature.melspectrogram(y=wave.astype(np.float64), sr=RATE, pad_mode="reflect", **options)
    inverse = torchaudio.transforms.InverseMelScale(N_FFT // 2 + 1, 24, RATE).double()(htk)
    made = torch.stack([torchaudio.transforms.MFCC(RATE, 13, melkwargs=options).double()(row) for row in signal])
    kaldi = [torchaudio.compliance.kaldi.mfcc(s[None], sample_frequency=RATE) for s in signal]
    return {
        "mel.htk": htk.numpy(),
        "mel.slaney": slaney,
        "inverse_mel": inverse.numpy(),
        "mfcc.torchaudio": made.numpy(),
        "mfcc.librosa": np.stack([librosa.feature.mfcc(S=librosa.power_to_db(s), n_mfcc=13) for s in slaney]),
        "mfcc.kaldi": torch.stack(kaldi).numpy(),
    }


def constant_q(wave: np.ndarray) -> np.ndarray:
    frequencies = librosa.cqt_frequencies(36, fmin=librosa.note_to_hz("C3"))
    basis, n_fft, lengths = constantq.__dict__["__vqt_filter_fft"](
        RATE, frequencies, 1, 1, 0, hop_length=128, window="hann", dtype=np.complex128
    )
    response = constantq.__dict__["__cqt_response"](
        wave.astype(np.float64), n_fft, 128, basis, "constant", window="ones", dtype=np.complex128
    )
    return response / np.sqrt(lengths)[:, None]


def growing_noise() -> np.ndarray:
    noise = np.random.default_rng(3).standard_normal((2, 3 * 48_000))
    return 0.05 * noise * np.linspace(0, 1, noise.shape[1]) ** 2


def main() -> None:
    wave = waves()
    cqt = constant_q(wave)
    goldens = {"wave": wave, **filters(wave), **spectra(wave), **mels(wave), "cqt": np.stack([cqt.real, cqt.imag], -1)}
    goldens["trim"] = np.asarray(librosa.effects.trim(wave[1], top_db=40, frame_length=512, hop_length=128)[1])
    goldens["split"] = librosa.effects.split(wave[1], top_db=40, frame_length=512, hop_length=128)
    meter = pyloudnorm.Meter(48_000, filter_class="DeMan")
    goldens["loudness"] = np.asarray([meter.integrated_loudness(growing_noise().T)])
    save_file({k: np.ascontiguousarray(_narrow(v)) for k, v in goldens.items()}, GOLDENS / "audio" / "signal.safetensors")


def _narrow(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float64 and array.size > 100 else array


if __name__ == "__main__":
    main()
