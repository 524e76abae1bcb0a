"""``stft`` and ``istft`` by SciPy's conventions, from its own results; torch's are in ``test_goldens_ops``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala import checkpoint

GOLDENS = checkpoint.load_file(Path(__file__).parents[1] / "goldens" / "audio" / "stft.safetensors")
WAVE = nyala.from_numpy(np.array(GOLDENS["wave"]))
CASES = {"hann": ("hann", 64, 16), "hamming": ("hamming", 64, 32), "blackman": ("blackman", 96, 24), "odd": ("hann", 63, 21)}


def window_of(case: str) -> nyala.Tensor:
    name, size, _ = CASES[case]
    return getattr(nyala, f"{name}_window")(size, dtype="float64")


def golden(name: str) -> np.ndarray:
    pairs = GOLDENS[name]
    return pairs[..., 0] + 1j * pairs[..., 1]


def near(found: nyala.Tensor, expected: np.ndarray) -> bool:
    return found.shape == expected.shape and bool(np.abs(found.numpy() - expected).max() < 1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("case", CASES)
def test_windows_are_scipys(case: str) -> None:
    np.testing.assert_allclose(window_of(case).numpy(), GOLDENS[f"window.{case}"], atol=1e-15)


@pytest.mark.parametrize("case", CASES)
def test_scipys_stft_and_its_inverse(case: str) -> None:
    """SciPy divides by the window's sum, and puts zeros around the sound, behind it up to a whole hop."""
    _, size, hop = CASES[case]
    window = window_of(case)
    half = size // 2
    wide = nyala.nn.functional.pad(WAVE, (half, half + -(WAVE.shape[-1] + 2 * half - size) % hop))
    bins = nyala.stft(wide, size, hop, window=window, center=False, return_complex=True) / window.sum()
    assert near(bins, golden(f"stft.{case}"))
    back = nyala.istft(bins * window.sum(), size, hop, window=window, length=WAVE.shape[-1])
    assert near(back, GOLDENS[f"istft.{case}"][:, : WAVE.shape[-1]])


@pytest.mark.parametrize("case", CASES)
def test_the_frames_of_short_time_fft(case: str) -> None:
    """With ``phase_shift=None``: phases count from a frame's first sample, as torch's do."""
    _, size, hop = CASES[case]
    first, count = (int(v) for v in GOLDENS[f"places.{case}"])
    bins = nyala.stft(WAVE[:, first:], size, hop, window=window_of(case), center=False, return_complex=True)[..., :count]
    assert near(bins, golden(f"short.{case}"))
