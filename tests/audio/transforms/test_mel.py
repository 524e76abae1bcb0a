"""Mel scales and filters against transformers' tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.audio.transforms import mel
from nyala.errors import ArgumentError

GOLDENS = Path(__file__).parents[2] / "goldens" / "audio.safetensors"


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_scale_and_its_inverse(scale):
    hz = np.array([0, 10, 440, 999, 1000, 1001, 8000, 22_050.0])
    mels = mel.from_hz(hz, scale)
    assert np.all(np.diff(mels) > 0)
    np.testing.assert_allclose(mel.to_hz(mels, scale), hz, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "bands", "options"),
    [
        ("slaney80", 80, {"n_fft": 400}),
        ("slaney128", 128, {"n_fft": 400}),
        ("htk40", 40, {"n_fft": 512, "f_min": 20.0, "f_max": 7600.0, "scale": "htk", "area": False}),
    ],
)
def test_filters_are_the_reference(name, bands, options):
    golden = nyala.checkpoint.load_file(GOLDENS)[f"mel.{name}"]
    found = mel.filters(bands, sample_rate=16_000, **options)
    assert found.shape == golden.shape
    np.testing.assert_allclose(found, golden, rtol=1e-5, atol=1e-8)


def test_filters_refuse_what_makes_no_sense():
    with pytest.raises(ArgumentError, match="from 9000 to 8000 Hz"):
        mel.filters(10, n_fft=400, sample_rate=16_000, f_min=9000.0)
    with pytest.raises(ArgumentError, match="mel band 0 of 200 has no bin"):
        mel.filters(200, n_fft=400, sample_rate=16_000)
    with pytest.raises(ArgumentError, match="'slaney' or 'htk'"):
        mel.filters(10, n_fft=400, sample_rate=16_000, scale="bark")
