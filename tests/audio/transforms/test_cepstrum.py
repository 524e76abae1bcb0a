"""Mel spectrograms and cepstra against torchaudio, librosa and torchaudio's Kaldi."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.audio.transforms import mel
from nyala.audio.transforms.cepstrum import inverse_mel, kaldi_mfcc, mel_spectrogram, mfcc, to_decibels
from nyala.errors import ArgumentError, DtypeError, ShapeError

GOLDENS = nyala.checkpoint.load_file(Path(__file__).parents[2] / "goldens" / "audio" / "signal.safetensors")
WAVE = nyala.from_numpy(GOLDENS["wave"].astype(np.float64))
SIZES = {"n_fft": 256, "hop_length": 64, "n_mels": 24}
HTK = {**SIZES, "scale": "htk", "area": False}


def close(found: nyala.Tensor, name: str) -> None:
    golden = GOLDENS[name]
    assert found.shape == golden.shape
    np.testing.assert_allclose(found.numpy(), golden, rtol=1e-5, atol=1e-5 * np.abs(golden).max())


def test_equals_torchaudio():
    bands = mel_spectrogram(WAVE, 16_000, **HTK)
    close(bands, "mel.htk")
    close(mfcc(WAVE, 16_000, 13, **HTK), "mfcc.torchaudio")
    close(inverse_mel(bands, 16_000, n_fft=256, scale="htk", area=False), "inverse_mel")


def test_equals_librosa():
    close(mel_spectrogram(WAVE, 16_000, **SIZES), "mel.slaney")
    close(mfcc(WAVE, 16_000, 13, **SIZES), "mfcc.librosa")


def test_equals_kaldi():
    close(kaldi_mfcc(WAVE), "mfcc.kaldi")


def test_a_row_alone_has_the_same_values_and_float32_stays():
    for found, alone in ((mfcc(WAVE, 16_000), mfcc(WAVE[1], 16_000)), (kaldi_mfcc(WAVE), kaldi_mfcc(WAVE[1]))):
        np.testing.assert_allclose(found.numpy()[1], alone.numpy(), rtol=1e-12, atol=1e-10)
    single = mfcc(WAVE.float(), 16_000, 13, **SIZES)
    assert single.dtype == nyala.float32
    np.testing.assert_allclose(single.numpy(), GOLDENS["mfcc.librosa"], atol=2e-3)


def test_bands_of_what_bands_were_taken_back_to_are_the_same():
    power = np.random.default_rng(0).random((129, 3)) + 1.0
    table = mel.filters(24, n_fft=256, sample_rate=16_000).astype(np.float64)
    back = inverse_mel(nyala.from_numpy(table @ power), 16_000, n_fft=256).numpy()
    assert back.shape == power.shape and back.min() >= 0
    np.testing.assert_allclose(table @ back, table @ power, rtol=1e-9)


def test_gradients_reach_the_samples():
    def value(wave: nyala.Tensor) -> nyala.Tensor:
        return mfcc(wave, 16_000, 13, **SIZES).sum() + kaldi_mfcc(wave).sum()

    start = GOLDENS["wave"][0, :800].astype(np.float64)
    wave = nyala.from_numpy(start.copy()).requires_grad_()
    value(wave).backward()
    ends = []
    for sign in (1, -1):
        moved = start.copy()
        moved[300] += sign * 1e-7
        ends.append(value(nyala.from_numpy(moved)).item())
    np.testing.assert_allclose(wave.grad.numpy()[300], (ends[0] - ends[1]) / 2e-7, rtol=1e-4)


def test_silence_and_bad_input():
    np.testing.assert_allclose(to_decibels(nyala.zeros(2, 3)).numpy(), np.full((2, 3), -100.0), rtol=1e-6)
    assert to_decibels(nyala.zeros(0)).shape == (0,)
    assert np.isfinite(mfcc(nyala.zeros(800), 16_000).numpy()).all()
    with pytest.raises(ArgumentError, match="use 1 to 24"):
        mfcc(WAVE, 16_000, 25, **SIZES)
    with pytest.raises(ArgumentError, match="0 cepstral"):
        kaldi_mfcc(WAVE, 0)
    with pytest.raises(ShapeError, match="n_mels, F"):
        inverse_mel(WAVE[0], 16_000)
    with pytest.raises(DtypeError):
        mel_spectrogram(nyala.zeros(800, dtype=nyala.int64), 16_000)
    with pytest.raises(ArgumentError, match="tensor"):
        mel_spectrogram(np.zeros(800), 16_000)
