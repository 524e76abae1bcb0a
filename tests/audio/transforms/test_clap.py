"""What CLAP looks at: equal to transformers' feature extractor, of samples and of files, in bounded memory."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala import checkpoint
from nyala.audio import io as sounds
from nyala.audio.transforms.clap import ClapMel
from nyala.errors import ArgumentError, DataError, MissingFileError

GOLDENS = Path(__file__).parents[2] / "goldens" / "audio"
TINY = {"sample_rate": 8_000, "seconds": 2, "hop": 80, "f_max": 4_000.0}


def described(name: str) -> dict[str, Any]:
    return dict(json.loads((GOLDENS / name / "preprocessor_config.json").read_text()))


@pytest.mark.parametrize(("name", "bands"), [("clap", 16), ("clap_fused", 64)])
def test_pictures_equal_transformers(name: str, bands: int) -> None:
    frozen = checkpoint.load_file(GOLDENS / name / "use.safetensors")
    front = ClapMel.from_config(described(name), bands, fusion=name == "clap_fused")
    for k in range(4):
        found, expected = front.one(np.array(frozen[f"sound.{k}"])), frozen[f"prepared.{k}"]
        assert found.dtype == np.float32 and found.shape == (4 if name == "clap_fused" else 1, 201, bands)
        assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    every = {k: v for k, v in described(name).items() if v is not None}
    assert {k: v for k, v in front.to_preprocessor().items() if v is not None} == every


@pytest.mark.parametrize("padding", ["repeatpad", "repeat", "pad"])
def test_shorter_sounds_are_filled_up(padding: str) -> None:
    front = ClapMel(**TINY, truncation="rand_trunc", padding=padding)
    sound = np.random.default_rng(0).standard_normal(7_000).astype(np.float32)
    silence = np.zeros(16_000, np.float32)
    whole = {"repeatpad": [sound, sound, silence], "repeat": [sound] * 3, "pad": [sound, silence]}[padding]
    assert np.array_equal(front.one(sound), front.one(np.concatenate(whole)[:16_000]))


@pytest.mark.parametrize("truncation", ["rand_trunc", "fusion"])
def test_a_file_is_heard_as_its_samples_are(truncation: str) -> None:
    random = np.random.default_rng(3)
    front = ClapMel(**TINY, truncation=truncation)
    for length in (900, 16_000, 16_050, 200_000):  # the longest comes in several pieces
        sound = 0.3 * random.standard_normal(length).astype(np.float32)
        file = io.BytesIO()
        sounds.write(file, sound, 8_000, format="WAV", floating=True, bits=32)
        file.seek(0)
        assert np.array_equal(front.one(file), front.one(sound))


def test_fusion_mirrors_both_ends() -> None:
    front = ClapMel(**TINY)
    sound = np.random.default_rng(5).standard_normal(40_017).astype(np.float32)
    last = sound.size // 80
    found = front._decibels([sound], sound.size, np.array([0, 1, last]))
    mirrored = np.pad(sound, 512, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    for row, frame in zip(found, (0, 1, last), strict=True):
        power = np.abs(np.fft.rfft(mirrored[frame * 80 : frame * 80 + 1024] * window)) ** 2
        assert np.allclose(row, 10 * np.log10(np.maximum(front.filters() @ power, 1e-10)), atol=1e-4)


def test_an_hour_takes_the_memory_of_a_few_pictures(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    second = 0.1 * np.random.default_rng(1).standard_normal((1, 8_000)).astype(np.float32)
    sounds.write_blocks(path, (second for _ in range(1800)), 8_000, 1)
    front = ClapMel(**TINY)
    front.one(second[0])
    tracemalloc.start()
    found = front.one(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.shape == (4, 201, 64) and np.isfinite(found).all()
    assert peak < 40e6  # its samples alone are 58 MB


def test_silence_and_extremes_give_a_picture() -> None:
    front = ClapMel(**TINY)
    assert (front.one(np.zeros(3, np.float32)) == -100).all()
    assert np.isfinite(front.one(np.array([1.0], np.float32))).all()


def test_bad_sounds_are_named(tmp_path: Path) -> None:
    for truncation in ("rand_trunc", "fusion"):
        front = ClapMel(**TINY, truncation=truncation)
        with pytest.raises(DataError, match="sound 0 has no samples"):
            front.one(np.zeros(0, np.float32))
        with pytest.raises(DataError, match="not all finite"):
            front.one(np.array([0.0, np.nan], np.float32))
        with pytest.raises(MissingFileError):
            front.one(tmp_path / "none.wav")
        (tmp_path / "letter.wav").write_bytes(b"Dear Ann")
        with pytest.raises(DataError, match=r"letter\.wav"):
            front.one(tmp_path / "letter.wav")


@pytest.mark.parametrize(
    ("given", "fusion", "told"),
    [
        ({"truncation": "end"}, False, "truncation='end'"),
        ({"padding": "mirror"}, False, "padding='mirror'"),
        ({"truncation": "fusion"}, False, "the model takes 64 bands, and one picture"),
        ({"feature_size": 80}, True, "80 bands"),
        ({"hop_length": 0}, False, "not positive"),
        ({"frequency_max": 30_000}, False, "0 to 30000 Hz"),
        ({"fft_window_size": "wide"}, False, "fft_window_size"),
    ],
)
def test_preprocessing_that_makes_no_sense_is_named(given: dict[str, Any], fusion: bool, told: str) -> None:
    with pytest.raises((DataError, ArgumentError), match=told):
        ClapMel.from_config(given, 64, fusion)
