"""The constant-Q transform against librosa's at the full rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.audio.transforms.constant_q import cqt
from nyala.errors import ArgumentError, DtypeError, ShapeError

GOLDENS = nyala.checkpoint.load_file(Path(__file__).parents[2] / "goldens" / "audio" / "signal.safetensors")
WAVE = nyala.from_numpy(GOLDENS["wave"].astype(np.float64))
NOTES = {"f_min": 130.8127826502993, "n_bins": 36, "hop_length": 128}


def test_equals_librosa():
    found, golden = nyala.view_as_real(cqt(WAVE, 16_000, **NOTES)).numpy(), GOLDENS["cqt"]
    assert found.shape == golden.shape
    np.testing.assert_allclose(found, golden, atol=1e-5 * np.abs(golden).max())
    single = cqt(WAVE[1].float(), 16_000, **NOTES)
    assert single.dtype == np.complex64
    np.testing.assert_allclose(nyala.view_as_real(single).numpy(), golden[1], atol=1e-5 * np.abs(golden).max())


def test_the_gradient_is_the_transpose():
    wave = WAVE[0, :700].clone().requires_grad_()
    bins = nyala.view_as_real(cqt(wave, 16_000, f_min=500.0, n_bins=9, hop_length=100))
    weights = nyala.from_numpy(np.cos(np.arange(bins.numel())).reshape(bins.shape))
    (bins * weights).sum().backward()
    one = nyala.zeros(700, dtype=nyala.float64)
    one[333] = 1.0
    expected = (nyala.view_as_real(cqt(one, 16_000, f_min=500.0, n_bins=9, hop_length=100)) * weights).sum().item()
    assert wave.grad.numpy()[333] == pytest.approx(expected, rel=1e-9)


def test_no_samples_and_bad_input():
    assert cqt(nyala.zeros(0), 16_000, **NOTES).abs().numpy().tolist() == [[0.0]] * 36
    with pytest.raises(ArgumentError, match="half the sample rate, 4000 Hz"):
        cqt(WAVE, 8_000)
    with pytest.raises(ArgumentError, match="n_bins=0"):
        cqt(WAVE, 16_000, n_bins=0)
    with pytest.raises(ArgumentError, match="hop_length=0"):
        cqt(WAVE, 16_000, hop_length=0)
    with pytest.raises(ShapeError, match="one by one"):
        cqt(nyala.zeros(1, 1, 9), 16_000)
    with pytest.raises(DtypeError, match="32768"):
        cqt(nyala.zeros(9, dtype=nyala.int64), 16_000)
