"""Every transform of samples gives on a GPU's arrays what it gives on the processor's, and stays there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.audio import transforms
from nyala.audio.transforms import filters

RATE = 8_000
WAVE = np.cumsum(np.random.default_rng(8).standard_normal((2, 4_000)), -1) * 0.01
TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "sosfilt": lambda x: filters.sosfilt([filters.highpass(RATE, 50.0), filters.peaking(RATE, 900.0, 3.0)], x),
    "cqt": lambda x: transforms.cqt(x, RATE, f_min=200.0, n_bins=24).abs(),
    "mfcc": lambda x: transforms.mfcc(x, RATE, 13, n_fft=256, n_mels=20),
    "kaldi_mfcc": transforms.kaldi_mfcc,
    "inverse_mel": lambda x: transforms.inverse_mel(x.abs().reshape(2, 40, 100), RATE),
    "griffin_lim": lambda x: transforms.griffin_lim(x[:, : 33 * 50].abs().reshape(2, 33, 50), 64, n_iter=3),
    "time_stretch": lambda x: transforms.time_stretch(x, 1.3, n_fft=256),
    "pitch_shift": lambda x: transforms.pitch_shift(x, RATE, 2, n_fft=256),
    "speed": lambda x: transforms.speed(x, 1.1),
    "trim": lambda x: transforms.trim(x, top_db=10),
    "mix": lambda x: transforms.mix([x, x[:, :900]], decibels=[0.0, -6.0]),
    "normalize_loudness": lambda x: transforms.normalize_loudness(x, RATE),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_same_values_and_gradients(cuda: str, name: str) -> None:
    results = []
    for device in ("cpu", cuda):
        wave = nyala.tensor(WAVE, device=device, requires_grad=True)
        out = TRANSFORMS[name](wave)
        assert str(out.device) == device
        (out * out.detach().cos()).sum().backward()
        results.append((out.detach().cpu().numpy(), wave.grad.cpu().numpy()))
    for here, there in zip(*results, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-8, atol=1e-8 * np.abs(here).max())


def test_phases_by_chance_are_the_processors(cuda: str) -> None:
    magnitudes = np.abs(WAVE[0, : 33 * 50]).reshape(33, 50)
    drawn = [
        transforms.griffin_lim(nyala.tensor(magnitudes, device=d), 64, n_iter=2, key=nyala.random.key(3, "phases")).cpu().numpy()
        for d in ("cpu", cuda)
    ]
    np.testing.assert_allclose(drawn[1], drawn[0], atol=1e-9)
