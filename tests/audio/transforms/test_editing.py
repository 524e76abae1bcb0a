"""Trimming against librosa's, and mixing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.audio.transforms.editing import mix, sounding, trim
from nyala.errors import ArgumentError, DataError, DtypeError, ShapeError

GOLDENS = nyala.checkpoint.load_file(Path(__file__).parents[2] / "goldens" / "audio" / "signal.safetensors")
WAVE = nyala.from_numpy(np.array(GOLDENS["wave"]))
SIZES = {"top_db": 40.0, "frame_length": 512, "hop_length": 128}


def test_equals_librosa():
    start, end = GOLDENS["trim"].tolist()
    np.testing.assert_array_equal(trim(WAVE[1], **SIZES).numpy(), WAVE[1, start:end].numpy())
    assert sounding(WAVE[1], **SIZES) == [tuple(part) for part in GOLDENS["split"].tolist()]
    assert len(GOLDENS["split"]) == 2


def test_of_several_channels_the_loudest_counts():
    quiet = nyala.stack([WAVE[1] * 0.0, WAVE[1]])
    assert sounding(quiet, **SIZES) == sounding(WAVE[1], **SIZES)
    assert trim(quiet, **SIZES).shape == (2, trim(WAVE[1], **SIZES).shape[0])


def test_short_silent_and_empty_sounds():
    assert sounding(nyala.zeros(0)) == [] and trim(nyala.zeros(2, 0)).shape == (2, 0)
    assert sounding(nyala.zeros(3)) == [(0, 3)]
    assert trim(nyala.ones(5)).shape == (5,)


def test_mix():
    sounds = [nyala.tensor([[1.0, 1.0], [2.0, 2.0]]), nyala.tensor([1.0, 1.0, 1.0])]
    np.testing.assert_allclose(mix(sounds, decibels=[0.0, 20.0]).numpy(), [[11, 11, 10], [12, 12, 10]])
    np.testing.assert_array_equal(mix(sounds[1:]).numpy(), sounds[1].numpy())


def test_bad_input_is_named():
    with pytest.raises(ArgumentError, match="1 decibels"):
        mix([WAVE, WAVE], decibels=[0.0])
    with pytest.raises(ArgumentError, match="0 sound"):
        mix([])
    with pytest.raises(DtypeError, match="32768"):
        mix([nyala.zeros(3, dtype=nyala.int64)])
    with pytest.raises(ShapeError, match="single number"):
        sounding(nyala.tensor(1.0))
    with pytest.raises(ShapeError, match="one by one"):
        trim(nyala.zeros(1, 2, 3))
    with pytest.raises(ArgumentError, match="tensor"):
        trim(np.zeros(3))
    with pytest.raises(DataError, match="not finite, from about 2"):
        trim(nyala.tensor([0.0] * 3000 + [float("nan")] + [0.0] * 3000))
    for wrong in ({"top_db": 0.0}, {"hop_length": 0}, {"top_db": float("nan")}):
        with pytest.raises(ArgumentError, match="positive"):
            sounding(WAVE, **wrong)
