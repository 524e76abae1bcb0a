"""Filters against SciPy's and torchaudio's, and their gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.audio.transforms import filters
from nyala.errors import ArgumentError, DtypeError, ShapeError

GOLDENS = nyala.checkpoint.load_file(Path(__file__).parents[2] / "goldens" / "audio" / "signal.safetensors")
WAVE = nyala.from_numpy(GOLDENS["wave"].astype(np.float64))
DESIGNS = {
    "lowpass": (0.9,), "highpass": (0.9,), "bandpass": (0.9,), "notch": (0.9,), "allpass": (0.9,), "peaking": (5.0, 0.9),
    "low_shelf": (-7.0, 0.9), "high_shelf": (5.0, 0.9),
}  # fmt: skip


def test_equals_scipy():
    np.testing.assert_allclose(filters.sosfilt(GOLDENS["sos"], WAVE).numpy(), GOLDENS["sosfilt"], atol=1e-7)
    found = filters.lfilter([0.2, 0.3, -0.1], [2.0, -1.1, 0.6, -0.1], WAVE)
    np.testing.assert_allclose(found.numpy(), GOLDENS["lfilter"], atol=1e-7)


@pytest.mark.parametrize("name", DESIGNS)
def test_designs_are_those_of_torchaudio(name):
    section = getattr(filters, name)(16_000, 1000.0, *DESIGNS[name])
    np.testing.assert_allclose(filters.sosfilt(section, WAVE[0, :800]).numpy(), GOLDENS[f"biquad.{name}"], atol=2e-7)


def test_any_length_is_the_recursion_written_out():
    b, a = [0.5, 0.2], [1.0, -1.6, 0.8]
    for length in (0, 1, 2, 3, 5, 17, 64, 65, 300):
        x = np.cos(np.arange(length) ** 1.3)
        expected = np.zeros(length + 2)
        for n in range(length):
            fed = b[0] * x[n] + (b[1] * x[n - 1] if n else 0.0)
            expected[n] = fed - a[1] * expected[n - 1] - a[2] * expected[n - 2]  # the two places behind the end are 0 still
        np.testing.assert_allclose(filters.lfilter(b, a, nyala.from_numpy(x)).numpy(), expected[:length], atol=1e-12)


def test_rows_alone_and_float32():
    section = filters.highpass(16_000, 40.0)
    both = filters.sosfilt(section, WAVE)
    np.testing.assert_array_equal(filters.sosfilt(section, WAVE[1]).numpy(), both.numpy()[1])
    single = filters.sosfilt(section, WAVE.float())
    assert single.dtype == nyala.float32
    np.testing.assert_allclose(single.numpy(), both.numpy(), atol=1e-7)
    assert filters.lfilter([0.0, 0.0], [1.0, 0.5], WAVE).abs().max().item() == 0


def test_the_gradient_is_the_transpose():
    wave = WAVE[0, :90].clone().requires_grad_()
    sections = [filters.lowpass(16_000, 900.0), filters.peaking(16_000, 3000.0, 6.0)]
    weights = nyala.from_numpy(np.cos(np.arange(90.0)))
    (filters.sosfilt(sections, wave) * weights).sum().backward()
    one = nyala.zeros(90, dtype=nyala.float64)
    one[20] = 1.0
    np.testing.assert_allclose(wave.grad.numpy()[20], (filters.sosfilt(sections, one) * weights).sum().item(), rtol=1e-10)


def test_bad_input_is_named():
    with pytest.raises(ArgumentError, match=r"nyala\.from_numpy"):
        filters.lfilter([1.0], [1.0], np.zeros(3))
    with pytest.raises(DtypeError, match="32768"):
        filters.sosfilt(filters.notch(8_000, 50.0), nyala.zeros(3, dtype=nyala.int64))
    with pytest.raises(ShapeError, match="single number"):
        filters.lfilter([1.0], [1.0], nyala.tensor(1.0))
    with pytest.raises(ShapeError, match=r"\(n, 6\)"):
        filters.sosfilt([[1.0, 2.0, 3.0]], WAVE)
    for b, a in (([], [1.0]), ([1.0], [0.0, 1.0]), ([1.0], [1.0, float("nan")])):
        with pytest.raises(ArgumentError, match="lfilter"):
            filters.lfilter(b, a, WAVE)
    for frequency, q in ((0.0, 1.0), (8000.0, 1.0), (100.0, 0.0)):
        with pytest.raises(ArgumentError, match="half the sample rate"):
            filters.lowpass(16_000, frequency, q)
