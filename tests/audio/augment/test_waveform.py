"""Changes of samples: what each promises, measured, and that a key decides everything."""

from __future__ import annotations

import numpy as np
import pytest
from nyala.audio.augment import add_noise, gain, room, speed, time_shift
from nyala.core import random
from nyala.errors import ArgumentError

RATE = 8_000
TIME = np.arange(RATE) / RATE
TONE = (0.3 * np.sin(2 * np.pi * 440 * TIME)).astype(np.float32)


def key(seed: int = 1):
    return random.key(seed, "test")


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(np.square(a, dtype=np.float64).mean() / np.square(b, dtype=np.float64).mean()))


def spectrum(x: np.ndarray) -> np.ndarray:
    return np.abs(np.fft.rfft(x.astype(np.float64))) ** 2


CHANGES = {
    "gain": lambda x, k: gain(x, (-20.0, -1.0), k),
    "white": lambda x, k: add_noise(x, (0.0, 30.0), k),
    "pink": lambda x, k: add_noise(x, (0.0, 30.0), k, "pink"),
    "shift": lambda x, k: time_shift(x, RATE, 0.2, k),
    "speed": lambda x, k: speed(x, tuple(np.arange(80, 120) / 100), k),
    "room": lambda x, k: room(x, RATE, (0.1, 0.5), (0.0, 6.0), k),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_key_decides_all_and_the_input_stays(change) -> None:
    before = TONE.copy()
    first, again, *others = (change(TONE, key(seed)) for seed in (1, 1, 2, 3, 4, 5))
    assert first.dtype == np.float32 and first.ndim == 1 and np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)
    assert not all(np.array_equal(first, other) for other in others)
    np.testing.assert_array_equal(TONE, before)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), np.zeros(1, np.float32), np.zeros(500, np.float32)])
def test_nothing_and_silence_stay_so(change, samples) -> None:
    found = change(samples, key())
    assert not found.any() and (len(found) == 0) == (len(samples) == 0)


def test_gain_is_of_the_decibels_and_clips() -> None:
    np.testing.assert_allclose(decibels(gain(TONE, (-6.0, -6.0), key()), TONE), -6.0, atol=1e-4)
    assert np.abs(gain(TONE, (40.0, 40.0), key())).max() == 1.0
    drawn = [decibels(gain(TONE, (-9.0, -3.0), key(i)), TONE) for i in range(40)]
    assert -9 <= min(drawn) < -8 and -4 < max(drawn) <= -3


@pytest.mark.parametrize("colour", ["white", "pink"])
@pytest.mark.parametrize("snr", [-5.0, 20.0])
def test_noise_has_the_ratio_that_was_asked_for(colour: str, snr: float) -> None:
    noisy = add_noise(TONE, (snr, snr), key(), colour)
    np.testing.assert_allclose(decibels(TONE, noisy - TONE), snr, atol=0.01)


def test_noise_has_its_colour() -> None:
    def slope(colour: str) -> float:
        power = spectrum(add_noise(TONE, (0.0, 0.0), key(), colour) - TONE)
        return float(10 * np.log10(power[1000:2000].mean() / power[2000:4000].mean()))

    assert abs(slope("white")) < 0.4 and abs(slope("pink") - 3) < 0.5
    with pytest.raises(ArgumentError, match="colour 'brown'"):
        add_noise(TONE, (0.0, 0.0), key(), "brown")


def test_a_shift_moves_and_fills_with_silence() -> None:
    seen = set()
    for seed in range(30):
        moved = time_shift(TONE, RATE, 0.01, key(seed))
        by = next(
            n for n in range(-80, 81) if np.array_equal(moved[max(0, n) : RATE + min(0, n)], TONE[max(0, -n) : RATE - max(0, n)])
        )
        assert not moved[: max(0, by)].any() and not moved[RATE + min(0, by) :].any()
        seen.add(by)
    assert min(seen) < -30 and max(seen) > 30


def test_speed_changes_length_and_pitch() -> None:
    found = speed(TONE, (1.25,), key())
    assert len(found) == RATE * 100 // 125
    peak = spectrum(found).argmax() * RATE / len(found)
    assert abs(peak - 440 * 1.25) < 2
    assert speed(TONE, (1.0,), key()) is TONE


def test_a_room_rings_as_long_as_it_says_and_is_as_loud() -> None:
    click = np.zeros(RATE, np.float32)
    click[0] = 0.9
    heard = room(click, RATE, (0.4, 0.4), (3.0, 3.0), key())
    np.testing.assert_allclose(decibels(heard, click), 0.0, atol=0.01)
    direct, echoes = heard[:1], heard[1:]
    np.testing.assert_allclose(10 * np.log10(direct[0] ** 2 / np.square(echoes).sum()), 3.0, atol=0.01)
    assert not np.abs(heard[1:16]).max() > 1e-6  # 2 ms
    left = [np.square(echoes[i : i + 400]).mean() for i in (100, 1_700)]  # half of rt60 apart
    assert abs(10 * np.log10(left[0] / left[1]) - 30) < 2
    assert np.abs(heard[3_300:]).max() < 1e-6
