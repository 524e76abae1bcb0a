"""Resampling: equal to SciPy's by SciPy's filter, clean by our own, the same in pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.audio.transforms import FINE, Filter, Resampler, resample
from nyala.errors import ArgumentError, DtypeError, ShapeError

GOLDENS = nyala.checkpoint.load_file(Path(__file__).parents[2] / "goldens" / "audio" / "resample.safetensors")
WAVE = nyala.from_numpy(np.array(GOLDENS["wave"]))
RATES = sorted(tuple(map(int, name.split("."))) for name in GOLDENS if name != "wave")


def decibels(found: np.ndarray, expected: np.ndarray) -> float:
    return float(20 * np.log10(np.abs(found - expected).max() / np.abs(expected).max()))


@pytest.mark.parametrize(("orig", "new"), RATES)
def test_equals_scipy(orig, new):
    found, golden = resample(WAVE, orig, new).numpy(), GOLDENS[f"{orig}.{new}"]
    assert found.shape == golden.shape
    assert decibels(found, golden) < -120


@pytest.mark.parametrize(
    ("orig", "new"), [(8_000, 16_000), (44_100, 16_000), (192_000, 16_000), (16_000, 44_100), (8_001, 16_000)]
)
def test_a_tone_stays_and_what_would_fold_back_goes(orig, new):
    time, low = np.arange(orig // 4) / orig, min(orig, new)
    tone = nyala.from_numpy(np.sin(2 * np.pi * 0.44 * low * time).astype(np.float32))
    inner = slice(new // 16, 3 * new // 16)
    expected = np.sin(2 * np.pi * 0.44 * low * np.arange(new // 4) / new)
    assert decibels(resample(tone, orig, new, filter=FINE).numpy()[inner], expected[inner]) < -100
    if orig > new:
        high = nyala.from_numpy(np.sin(2 * np.pi * 0.51 * new * time).astype(np.float32))
        assert 20 * np.log10(np.abs(resample(high, orig, new, filter=FINE).numpy()[inner]).max()) < -100


@pytest.mark.parametrize(("orig", "new"), [(44_100, 16_000), (8_000, 16_000), (48_000, 8_000), (8_001, 4_000)])
def test_pieces_give_the_whole(orig, new):
    whole = resample(WAVE, orig, new).numpy()
    stream, found = Resampler(orig, new), []
    for piece in (WAVE[:3], WAVE[3:3], WAVE[3:900], WAVE[900:]):
        found.append(stream.push(piece).numpy())
    found.append(stream.finish().numpy())
    np.testing.assert_allclose(np.concatenate(found), whole, atol=1e-6)
    again = [stream.push(WAVE[:100]), stream.finish()]  # the next sound begins anew
    np.testing.assert_allclose(nyala.cat(again).numpy(), resample(WAVE[:100], orig, new).numpy(), atol=1e-6)


def test_a_batch_and_no_samples_and_the_same_rate():
    both = nyala.stack([WAVE, -WAVE]).unsqueeze(0)
    found = resample(both, 44_100, 16_000)
    assert found.shape == (1, 2, 726)
    np.testing.assert_array_equal(found[0, 0].numpy(), -found[0, 1].numpy())
    assert resample(WAVE[:0], 8_000, 16_000).shape == (0,)
    assert resample(WAVE, 16_000, 16_000) is WAVE


def test_the_gradient_is_the_transpose():
    wave = nyala.from_numpy(GOLDENS["wave"][:50].astype(np.float64)).requires_grad_()
    out = resample(wave, 3, 2)
    weights = np.cos(np.arange(out.numel()))
    (out * nyala.from_numpy(weights)).sum().backward()
    one = np.zeros(50)
    one[20] = 1
    expected = (resample(nyala.from_numpy(one), 3, 2).numpy() * weights).sum()
    np.testing.assert_allclose(wave.grad.numpy()[20], expected, rtol=1e-9)


def test_bad_input_is_named():
    with pytest.raises(ArgumentError, match=r"nyala\.from_numpy"):
        resample(np.zeros(3, np.float32), 1, 2)
    with pytest.raises(DtypeError, match="32768"):
        resample(nyala.zeros(3, dtype=nyala.int64), 1, 2)
    with pytest.raises(ShapeError, match="single number"):
        resample(nyala.tensor(1.0), 1, 2)
    for rate in (0, -1, 2.5, True, "8000"):
        with pytest.raises(ArgumentError, match="orig_freq"):
            resample(WAVE, rate, 8_000)
    with pytest.raises(ArgumentError, match="zeros"):
        Filter(0)
    with pytest.raises(ArgumentError, match="before any push"):
        Resampler(2, 3).finish()
