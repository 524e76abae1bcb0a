"""Goldens of SciPy's short-time transforms: ``tests/goldens/audio/stft.safetensors``, float64, complex numbers as pairs.

wave                     (2, 300) float64
stft.CASE, istft.CASE    scipy.signal.stft of wave (as a spectrum), and istft of that; CASES says how
short.CASE               scipy.signal.ShortTimeFFT of wave with the same window, its whole frames alone
window.CASE, places.CASE the window; the sample at which the first whole frame begins, and how many there are
"""

from __future__ import annotations

import numpy as np
import scipy.signal
from golden_recorder import GOLDENS
from safetensors.numpy import save_file

CASES = {"hann": ("hann", 64, 16), "hamming": ("hamming", 64, 32), "blackman": ("blackman", 96, 24), "odd": ("hann", 63, 21)}


def pairs(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.stack([array.real, array.imag], -1))


def main() -> None:
    wave = np.random.default_rng(4).standard_normal((2, 300))
    goldens = {"wave": wave}
    for case, (name, size, hop) in CASES.items():
        window = scipy.signal.get_window(name, size)
        told = {"window": window, "nperseg": size, "noverlap": size - hop}
        bins = scipy.signal.stft(wave, **told)[2]
        short = scipy.signal.ShortTimeFFT(window, hop, 1.0, phase_shift=None)
        first, last = short.lower_border_end[1], short.upper_border_begin(wave.shape[1])[1]
        goldens[f"window.{case}"] = window
        goldens[f"stft.{case}"] = pairs(bins)
        goldens[f"istft.{case}"] = scipy.signal.istft(bins, **told)[1]
        goldens[f"short.{case}"] = pairs(short.stft(wave, p0=first, p1=last))
        goldens[f"places.{case}"] = np.array([first * hop - size // 2, last - first])
    save_file({k: np.ascontiguousarray(v) for k, v in goldens.items()}, GOLDENS / "audio" / "stft.safetensors")


if __name__ == "__main__":
    main()
