"""Whisper's log-mel pictures against transformers' feature extractor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.audio.transforms import whisper_mel
from nyala.errors import ArgumentError, DtypeError, ShapeError

GOLDENS = nyala.checkpoint.load_file(Path(__file__).parents[2] / "goldens" / "audio.safetensors")
WAVE = nyala.from_numpy(np.array(GOLDENS["wave"]))


@pytest.mark.parametrize(("name", "options"), [("80", {}), ("128", {"n_mels": 128}), ("padded", {"padding": 4000})])
def test_equals_the_reference(name, options):
    found = whisper_mel(WAVE, **options).numpy()
    golden = GOLDENS[f"whisper.{name}"]
    assert found.shape == golden.shape and found.dtype == np.float32
    np.testing.assert_allclose(found, golden, rtol=0, atol=1e-5)


def test_a_batch_gives_the_rows_bits():
    both = whisper_mel(WAVE).numpy()
    for row, wave in zip(both, WAVE, strict=True):
        assert np.array_equal(row, whisper_mel(wave).numpy())


def test_silence_is_flat():
    picture = whisper_mel(nyala.zeros(16_000)).numpy()
    assert picture.shape == (80, 100)
    assert np.ptp(picture) == 0
    np.testing.assert_allclose(picture[0, 0], -1.5, rtol=1e-6)


def test_gradient_reaches_the_samples():
    wave = nyala.from_numpy(GOLDENS["wave"][:1, :800].astype(np.float64)).requires_grad_()
    (whisper_mel(wave, padding=100) ** 2).sum().backward()
    step, place = 1e-7, 300
    ends = []
    for sign in (1, -1):
        moved = wave.detach().numpy().copy()
        moved[0, place] += sign * step
        ends.append(float((whisper_mel(nyala.from_numpy(moved), padding=100) ** 2).sum().item()))
    np.testing.assert_allclose(wave.grad.numpy()[0, place], (ends[0] - ends[1]) / (2 * step), rtol=1e-4)


def test_bad_input_is_named():
    with pytest.raises(ArgumentError, match=r"nyala\.from_numpy"):
        whisper_mel(np.zeros(1000, np.float32))
    with pytest.raises(DtypeError, match="32768"):
        whisper_mel(nyala.zeros(1000, dtype=nyala.int32))
    with pytest.raises(ShapeError, match="mix the channels"):
        whisper_mel(nyala.zeros(1, 2, 1000))
    with pytest.raises(ShapeError, match="more than 200"):
        whisper_mel(nyala.zeros(200))
    with pytest.raises(ArgumentError, match="padding=-1"):
        whisper_mel(nyala.zeros(1000), padding=-1)
