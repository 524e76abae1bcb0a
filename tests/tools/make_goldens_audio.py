"""Goldens of transformers' audio front ends: ``tests/goldens/audio.safetensors``.

wave            (2, 9600) float32 at 16 kHz: a rising tone that fades to a thousandth, and faint noise; a click in silence
whisper.N       (2, N, 60): the feature extractor's picture of each wave with N mel bands, without padding to 30 s
whisper.padded  (2, 80, 85): the same with 4000 samples of silence behind
mel.NAME        filter tables: slaney 80 and 128 bands, htk without norm
"""

from __future__ import annotations

import numpy as np
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision where it is installed
from golden_recorder import GOLDENS
from safetensors.numpy import save_file
from transformers import WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank


def waves() -> np.ndarray:
    time = np.arange(9_600) / 16_000
    tone = np.sin(2 * np.pi * (200 * time + 2500 * time**2)) * np.exp(-5.5 * time)
    click = np.zeros_like(time)
    click[5000:5004] = 0.5, -0.4, 0.3, -0.2
    noise = np.random.default_rng(5).standard_normal(time.shape)
    return np.stack([0.6 * tone + 1e-4 * noise, click]).astype(np.float32)


def pictures(extractor: WhisperFeatureExtractor, wave: np.ndarray) -> np.ndarray:
    return np.stack([extractor._np_extract_fbank_features(w[None], "cpu")[0] for w in wave]).astype(np.float32)


def main() -> None:
    wave = waves()
    small, large = WhisperFeatureExtractor(feature_size=80), WhisperFeatureExtractor(feature_size=128)
    padded = np.pad(wave, ((0, 0), (0, 4000)))
    htk = mel_filter_bank(257, 40, 20.0, 7600.0, 16_000, norm=None, mel_scale="htk")
    goldens = {
        "wave": wave,
        "whisper.80": pictures(small, wave),
        "whisper.128": pictures(large, wave),
        "whisper.padded": pictures(small, padded),
        "mel.slaney80": small.mel_filters.T,
        "mel.slaney128": large.mel_filters.T,
        "mel.htk40": htk.T,
    }
    save_file({k: np.ascontiguousarray(v, np.float32) for k, v in goldens.items()}, GOLDENS / "audio.safetensors")


if __name__ == "__main__":
    main()
