"""Griffin-Lim, phase vocoder and what is made of them, against torchaudio and librosa."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala import random
from nyala.audio.transforms.stretching import griffin_lim, phase_vocoder, pitch_shift, speed, time_stretch
from nyala.errors import ArgumentError, DtypeError, ShapeError

GOLDENS = nyala.checkpoint.load_file(Path(__file__).parents[2] / "goldens" / "audio" / "signal.safetensors")
WAVE = nyala.from_numpy(GOLDENS["wave"].astype(np.float64))
WINDOW = nyala.hann_window(256, dtype="float64")
BINS = nyala.stft(WAVE, 256, 64, window=WINDOW, return_complex=True)


def test_griffin_lim_equals_torchaudio():
    found = griffin_lim(BINS.abs(), 256, 64, n_iter=16, length=4000)
    np.testing.assert_allclose(found.numpy(), GOLDENS["griffin_lim"], atol=1e-5)
    alone = griffin_lim(BINS[1].abs(), 256, 64, n_iter=16, length=4000)
    np.testing.assert_array_equal(alone.numpy(), found.numpy()[1])


def test_griffin_lim_by_chance_repeats_itself_and_comes_close():
    drawn = [griffin_lim(BINS[0].abs(), 256, 64, n_iter=30, length=4000, key=random.key(s, "phases")) for s in (1, 1, 2)]
    np.testing.assert_array_equal(drawn[0].numpy(), drawn[1].numpy())
    assert not np.array_equal(drawn[0].numpy(), drawn[2].numpy())
    again = nyala.stft(drawn[0], 256, 64, window=WINDOW, return_complex=True).abs().numpy()
    wanted = BINS[0].abs().numpy()
    assert np.linalg.norm(again - wanted) < 0.15 * np.linalg.norm(wanted)


def test_phase_vocoder_equals_torchaudio():
    found = nyala.view_as_real(phase_vocoder(BINS, 1.3, 64)).numpy()
    np.testing.assert_allclose(found, GOLDENS["vocoder"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rate", [1.5, 0.7])
def test_time_stretch_equals_librosa(rate):
    np.testing.assert_allclose(time_stretch(WAVE, rate, n_fft=512).numpy(), GOLDENS[f"stretched.{rate}"], atol=1e-5)
    single = time_stretch(WAVE.float(), rate, n_fft=512)
    assert single.dtype == nyala.float32 and single.shape == (2, round(4000 / rate))


def _heard(wave: nyala.Tensor, rate: int) -> float:
    middle = wave.numpy()[len(wave) // 4 : 3 * len(wave) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 17))
    return float(np.argmax(spectrum) * rate / (1 << 17))


def test_a_tone_is_as_high_as_wanted():
    wave = nyala.sin(nyala.arange(16_000.0) * (2 * np.pi * 440 / 16_000))
    for steps in (-12, -3.5, 0, 7):
        made = pitch_shift(wave, 16_000, steps)
        assert made.shape == (16_000,)
        assert _heard(made, 16_000) == pytest.approx(440 * 2 ** (steps / 12), rel=2e-3)
    assert _heard(time_stretch(wave, 1.7), 16_000) == pytest.approx(440, rel=2e-3)
    faster = speed(wave, 1.25)
    assert faster.shape == (12_800,) and _heard(faster, 16_000) == pytest.approx(550, rel=1e-3)


def test_gradients_reach_the_samples_also_through_silence():
    start = np.concatenate([GOLDENS["wave"][0, :600].astype(np.float64), np.zeros(300)])
    weights = nyala.from_numpy(np.cos(np.arange(600.0)))

    def value(wave: nyala.Tensor) -> nyala.Tensor:
        return (time_stretch(wave, 1.5, n_fft=128) * weights).sum()

    wave = nyala.from_numpy(start.copy()).requires_grad_()
    value(wave).backward()
    assert np.isfinite(wave.grad.numpy()).all()
    ends = []
    for sign in (1, -1):
        moved = start.copy()
        moved[200] += sign * 1e-6
        ends.append(value(nyala.from_numpy(moved)).item())
    np.testing.assert_allclose(wave.grad.numpy()[200], (ends[0] - ends[1]) / 2e-6, rtol=1e-4)


def test_no_samples_and_bad_input():
    assert time_stretch(nyala.zeros(0), 2.0).shape == (0,)
    assert pitch_shift(nyala.zeros(0), 8_000, 3).shape == (0,)
    assert time_stretch(nyala.zeros(1000), 2.0).abs().max().item() == 0
    for rate in (0.0, -1.0, float("nan"), float("inf"), 1e7, 1e-4):
        for call in (lambda r=rate: time_stretch(WAVE, r), lambda r=rate: speed(WAVE, r)):
            with pytest.raises(ArgumentError, match="above 0"):
                call()
    with pytest.raises(DtypeError, match="32768"):
        time_stretch(nyala.zeros(9, dtype=nyala.int64), 2.0)
    with pytest.raises(ShapeError, match="stretch"):
        time_stretch(nyala.zeros(1, 1, 9), 2.0)
    with pytest.raises(DtypeError, match="stft returns"):
        phase_vocoder(BINS.abs(), 2.0, 64)
    with pytest.raises(DtypeError, match="abs"):
        griffin_lim(BINS, 256)
    with pytest.raises(DtypeError, match="float32 or float64"):
        griffin_lim(BINS.abs().half(), 256)
    with pytest.raises(ArgumentError, match="momentum"):
        griffin_lim(BINS.abs(), 256, momentum=1.0)
    with pytest.raises(ArgumentError, match="tensor"):
        griffin_lim(np.zeros((3, 3)), 4)
