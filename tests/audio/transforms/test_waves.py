"""Samples as wav2vec 2.0 takes them, against transformers' feature extractor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nyala import checkpoint
from nyala.audio.models.shared.speech_encoder import SpeechConfig
from nyala.audio.transforms.waves import Waves
from nyala.errors import DataError

GOLDENS = Path(__file__).parents[2] / "goldens" / "audio" / "waves.safetensors"


def test_they_equal_transformers() -> None:
    frozen = checkpoint.load_file(GOLDENS)
    sounds = [frozen["wave.0"], frozen["wave.1"]]
    batch = Waves(mask=True)(sounds)
    np.testing.assert_allclose(batch["input_values"].numpy(), frozen["input_values"], rtol=1e-5, atol=1e-6)
    assert np.array_equal(batch["attention_mask"].numpy(), frozen["attention_mask"])


def test_a_group_norm_sees_no_mask() -> None:
    sounds = [np.ones(500, np.float32), np.zeros(400, np.float32)]
    batch = Waves.from_config({}, SpeechConfig())(sounds)
    assert list(batch) == ["input_values"] and not batch["input_values"].any()
    layer = Waves.from_config({}, SpeechConfig(feat_extract_norm="layer"))
    assert layer.mask and list(layer(sounds)) == ["input_values", "attention_mask"]


def test_it_is_written_as_it_was_read() -> None:
    described = {"do_normalize": False, "sampling_rate": 8_000, "return_attention_mask": True}
    waves = Waves.from_config(described, SpeechConfig())
    assert Waves.from_config(waves.to_preprocessor(), SpeechConfig()) == waves == Waves(8_000, False, True, 400)


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match="sound 1 has 399 sample"):
        Waves()([np.zeros(400, np.float32), np.zeros(399, np.float32)])
    with pytest.raises(DataError, match="sampling_rate=0"):
        Waves.from_config({"sampling_rate": 0}, SpeechConfig())
