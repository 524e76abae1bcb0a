"""Loudness by the test tones that EBU Tech 3341 and 3342 define, and against pyloudnorm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.audio.transforms.loudness import SILENT, LoudnessMeter, k_weighting, loudness, measured, normalize_loudness
from nyala.errors import ArgumentError, DataError, DtypeError, ShapeError

GOLDENS = nyala.checkpoint.load_file(Path(__file__).parents[2] / "goldens" / "audio" / "signal.safetensors")
RATE = 16_000


def tone(*parts: tuple[float, float], rate: int = RATE) -> np.ndarray:
    """Parts (decibels of the peak, seconds) of a sine of 1000 Hz."""
    waves = [10 ** (db / 20) * np.sin(2 * np.pi * 1000 * np.arange(round(s * rate)) / rate) for db, s in parts]
    return np.concatenate(waves)


def test_weighting_is_the_table_of_the_standard():
    shelf, high = (np.array(section) / section[3] for section in k_weighting(48_000))
    expected = [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585]
    np.testing.assert_allclose(shelf, expected, atol=1e-11)
    np.testing.assert_allclose(high, [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621], atol=1e-11)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(-23.0, 20.0)], -23.0),
        ([(-33.0, 20.0)], -33.0),
        ([(-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0)], -23.0),
        ([(-72.0, 10.0), (-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0), (-72.0, 10.0)], -23.0),
        ([(-26.0, 20.0), (-20.0, 20.1), (-26.0, 20.0)], -23.0),
    ],
)
def test_integrated_loudness_of_the_tones_of_tech_3341(parts, expected):
    assert loudness(np.stack([tone(*parts)] * 2), RATE) == pytest.approx(expected, abs=0.1)


def test_surrounds_count_more():
    five = np.stack([tone((db, 20.0)) for db in (-28.0, -28.0, -24.0, -30.0, -30.0)])
    assert loudness(five, RATE) == pytest.approx(-23.0, abs=0.1)
    six = np.insert(five, 3, tone((0.0, 20.0)), 0)  # low frequencies count for nothing
    assert loudness(six, RATE) == pytest.approx(loudness(five, RATE), abs=1e-9)


@pytest.mark.parametrize(
    ("levels", "expected"), [((-20, -30), 10), ((-20, -15), 5), ((-40, -20), 20), ((-50, -35, -20, -35, -50), 15)]
)
def test_range_of_the_tones_of_tech_3342(levels, expected):
    meter = measured([np.stack([tone(*((float(db), 20.0) for db in levels))] * 2)], RATE)
    assert meter.range() == pytest.approx(expected, abs=1)


def test_equals_pyloudnorm_and_pieces_give_the_whole():
    noise = np.random.default_rng(3).standard_normal((2, 3 * 48_000))
    sound = 0.05 * noise * np.linspace(0, 1, noise.shape[1]) ** 2
    whole = loudness(sound, 48_000)
    assert whole == pytest.approx(float(GOLDENS["loudness"][0]), abs=1e-6)
    pieces = measured(np.split(sound, [0, 7, 30_000, 99_991], axis=1), 48_000)
    assert pieces.integrated() == pytest.approx(whole, abs=1e-9)
    assert len(pieces.momentary()) == 27 and len(pieces.short_term()) == 1


def test_made_as_loud_as_wanted():
    wave = nyala.from_numpy(tone((-40.0, 2.0)).astype(np.float32))
    made = normalize_loudness(wave, RATE, -16.0)
    assert made.dtype == nyala.float32
    assert loudness(made, RATE) == pytest.approx(-16.0, abs=1e-4)


def test_silence_and_bad_input():
    assert loudness(np.zeros((2, 8_000)), RATE) == SILENT
    assert measured([np.zeros(8_000)], RATE).range() == 0
    with pytest.raises(DataError, match="silence"):
        normalize_loudness(nyala.zeros(8_000), RATE)
    with pytest.raises(DataError, match=r"0\.3 s"):
        loudness(np.zeros(5_000), RATE)
    with pytest.raises(DataError, match="less than"):
        measured([], RATE).integrated()
    meter = LoudnessMeter(RATE)
    meter.push(np.zeros(100))
    with pytest.raises(DataError, match="sample 103 of channel 0 is nan"):
        meter.push(np.array([0.0, 0.0, 0.0, np.nan]))
    with pytest.raises(ShapeError, match="1 channel"):
        meter.push(np.zeros((2, 10)))
    with pytest.raises(DtypeError, match="32768"):
        loudness(np.zeros(8_000, np.int16), RATE)
    with pytest.raises(ArgumentError, match="samples"):
        meter.push([0.0])
    with pytest.raises(ArgumentError, match="7 channels"):
        loudness(np.zeros((7, 8_000)), RATE)
    for rate in (2_000, 44_100.5):
        with pytest.raises(ArgumentError, match="4000 Hz"):
            loudness(np.zeros(8_000), rate)
