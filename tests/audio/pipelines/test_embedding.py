"""Vectors of sounds, through the pipeline of a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.audio.pipelines.classification import SoundClassification
from nyala.audio.pipelines.embedding import SoundEmbedding, SoundVectors
from nyala.errors import DataError

GOLDENS = Path(__file__).parents[2] / "goldens" / "audio"
SOUNDS = [0.1 * np.random.default_rng(i).standard_normal(700 + 90 * i).astype(np.float32) for i in range(3)]


def test_an_encoder_gives_the_mean_over_its_frames() -> None:
    pipe = nyala.load(GOLDENS / "wav2vec2")
    assert type(pipe) is SoundEmbedding
    found = pipe(SOUNDS)
    assert isinstance(found, SoundVectors) and found.array.shape == (3, 16) and found.array.dtype == np.float32
    with nyala.no_grad():
        hidden = pipe.model(pipe.preprocess(SOUNDS[1])["input_values"]).last_hidden_state
    np.testing.assert_allclose(found[1], hidden.numpy()[0].mean(0), rtol=1e-5, atol=1e-6)
    assert np.array_equal(pipe(SOUNDS[2]), found[2])  # neighbours count for nothing
    assert "cosine" in repr(found) and found.to_dict()[0]["input"] == "sound 0" and found.draw().size[0] > 100


def test_a_head_for_voices_gives_its_vector() -> None:
    pipe = nyala.load(GOLDENS / "wav2vec2_xvector")
    assert pipe([SOUNDS[0]]).array.shape == (1, 7) and "7 numbers" in repr(pipe([SOUNDS[0]]))


def test_the_vector_of_a_voice_is_the_mean_of_its_pieces() -> None:
    pipe, sound = nyala.load(GOLDENS / "ge2e"), np.random.default_rng(5).standard_normal(40_000).astype(np.float32)
    pieces = pipe.preprocess(sound)
    with nyala.no_grad():
        mean = pipe.model(pieces).embeddings.numpy().mean(0)
    assert type(pipe) is SoundEmbedding and len(pieces) == 2
    np.testing.assert_allclose(pipe(sound), mean / np.linalg.norm(mean), rtol=1e-5, atol=1e-7)
    again = pipe([sound, np.zeros(16_000, np.float32)])
    assert np.array_equal(again[0], pipe(sound)) and np.isfinite(again.array).all()


def test_classes_of_sounds_do_not_depend_on_neighbours() -> None:
    pipe = nyala.load(GOLDENS / "hubert_classifier")
    assert type(pipe) is SoundClassification and pipe(SOUNDS[0]).label.startswith("LABEL_")
    together = pipe.logits(SOUNDS)
    assert np.array_equal(together[2], pipe.logits(SOUNDS[2:])[0])


def test_bad_use_is_named() -> None:
    with pytest.raises(DataError, match="no sound"):
        nyala.load(GOLDENS / "wavlm")([])
    with pytest.raises(DataError, match="has 20 sample"):
        nyala.load(GOLDENS / "wavlm")(np.zeros(20, np.float32))
    with pytest.raises(DataError, match="has no vectors"):
        nyala.load(GOLDENS / "wav2vec2_frames")(SOUNDS[0])
