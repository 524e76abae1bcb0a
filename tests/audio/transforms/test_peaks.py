"""True peaks by the test signals 15 to 23 of EBU Tech 3341, in pieces and against a long interpolation."""

from __future__ import annotations

import numpy as np
import nyala
import pytest
from nyala.audio.transforms import PeakMeter, normalize_loudness, true_peak
from nyala.audio.transforms.loudness import SILENT
from nyala.audio.transforms.peaks import measured_peaks
from nyala.errors import ArgumentError, DataError, DtypeError, ShapeError


def sine(part: float, amplitude: float, degrees: float, count: int = 9_600) -> np.ndarray:
    """A sine of ``1 / part`` of the rate, faded at both ends, which would ring otherwise."""
    fade = np.minimum(1, np.minimum(np.arange(count), np.arange(count)[::-1]) / 480)
    return amplitude * fade * np.sin(2 * np.pi * np.arange(count) / part + np.radians(degrees))


@pytest.mark.parametrize(
    ("part", "amplitude", "degrees", "expected"),
    [(4, 0.5, 0, -6.0), (4, 0.5, 45, -6.0), (6, 0.5, 60, -6.0), (8, 0.5, 67.5, -6.0), (4, 1.41, 45, 3.0)],
)
def test_the_sines_of_tech_3341(part: float, amplitude: float, degrees: float, expected: float) -> None:
    found = true_peak(np.stack([sine(part, amplitude, degrees)] * 2))
    assert expected - 0.4 <= found <= expected + 0.2


@pytest.mark.parametrize("shift", [0, 1, 2, 3])
def test_a_click_between_samples_as_in_tests_20_to_23(shift: int) -> None:
    time = np.arange(-2_000, 2_001) / 4
    loud = np.sinc(time / 2) * np.kaiser(len(time), 8)  # a band-limited click of height 1, four times too fine
    tone = loud[shift::4]
    assert true_peak(tone) == pytest.approx(0.0, abs=0.4) and true_peak(tone) >= 20 * np.log10(np.abs(tone).max())


def test_it_is_near_what_a_long_filter_finds() -> None:
    wave = np.random.default_rng(1).standard_normal(2_000)
    smooth = np.convolve(wave, np.kaiser(9, 6) / 5, "same")
    bins = np.fft.rfft(smooth)
    fine = np.fft.irfft(np.pad(bins, (0, 16_001 - len(bins))), 32_000) * 16
    expected = 20 * np.log10(np.abs(fine[1_000:-1_000]).max())
    assert true_peak(smooth[50:-50]) == pytest.approx(expected, abs=0.3)


def test_pieces_give_the_whole_and_channels_stay_apart() -> None:
    wave = np.random.default_rng(2).uniform(-1, 1, (3, 70_000)) * np.array([[1.0], [0.1], [0.0]])
    whole, pieces = PeakMeter(3), measured_peaks(np.split(wave, [1, 5, 40_000], axis=1))
    whole.push(wave)
    np.testing.assert_allclose(whole.peaks(), pieces.peaks(), atol=1e-12)
    assert whole.peaks()[2] == SILENT and whole.peak() == whole.peaks()[0] > 0 > whole.peaks()[1]
    assert true_peak(wave[0]) == pytest.approx(whole.peak(), abs=1e-12)


def test_the_last_samples_are_heard_out() -> None:
    end = np.append(np.zeros(50), sine(4, 0.5, 45, 60)[:30])
    assert true_peak(end) == pytest.approx(true_peak(np.append(end, np.zeros(40))), abs=1e-12)


def test_loudness_keeps_below_a_true_peak() -> None:
    click = np.zeros(16_000, np.float32)
    click[::1_000] = 0.5
    sound = nyala.from_numpy(click)
    loud = normalize_loudness(sound, 16_000, -16.0)
    kept = normalize_loudness(sound, 16_000, -16.0, true_peak=-1.0)
    assert true_peak(loud) > 0 and true_peak(kept) == pytest.approx(-1.0, abs=1e-5)
    soft = normalize_loudness(sound, 16_000, -60.0, true_peak=-1.0)
    assert np.array_equal(soft.numpy(), normalize_loudness(sound, 16_000, -60.0).numpy())


def test_silence_nothing_and_bad_input() -> None:
    assert true_peak(np.zeros(100)) == true_peak(np.zeros(0)) == measured_peaks([]).peak() == SILENT
    meter = PeakMeter(2)
    with pytest.raises(ShapeError, match="2 channel"):
        meter.push(np.zeros(10))
    with pytest.raises(DtypeError, match="32768"):
        meter.push(np.zeros((2, 10), np.int16))
    with pytest.raises(ArgumentError, match="true_peak was given a list"):
        true_peak([0.0])
    meter.push(np.zeros((2, 7)))
    with pytest.raises(DataError, match="sample 8 of channel 1 is inf"):
        meter.push(np.array([[0.0, 0.0], [0.0, np.inf]]))
