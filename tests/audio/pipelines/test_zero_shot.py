"""Sounds into classes given as words: equal to transformers, from samples to scores."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.audio import io as sound_files
from nyala.errors import ArgumentError, DataError, MissingFileError

GOLDENS = Path(__file__).parents[2] / "goldens" / "audio"
LABELS = ["a dog", "rain on a roof", "the sound of an old church bell that is rung twice in the morning"]


@pytest.fixture(scope="module", params=["clap", "clap_fused"])
def pipe(request: pytest.FixtureRequest) -> Any:
    return nyala.load(str(GOLDENS / request.param))


@pytest.fixture
def frozen(pipe: Any) -> dict[str, np.ndarray]:
    return checkpoint.load_file(Path(pipe.files["config.json"]).parent / "use.safetensors")


def sounds(frozen: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [np.array(frozen[f"sound.{k}"]) for k in range(4)]


@pytest.mark.filterwarnings("ignore:text 2 has 72 tokens")
def test_scores_equal_transformers(pipe: Any, frozen: dict[str, np.ndarray]) -> None:
    found = pipe(sounds(frozen), labels=LABELS)
    expected = np.exp(frozen["scores"].astype(np.float64))
    expected /= expected.sum(axis=1, keepdims=True)
    for prediction, row in zip(found, expected, strict=True):
        assert prediction.indices == tuple(np.argsort(-row))
        assert np.allclose(prediction.scores, np.sort(row)[::-1], rtol=1e-4)
    one = pipe(sounds(frozen)[3], labels=LABELS, top_k=1)
    assert one.labels == found[3].labels[:1] and one.score == pytest.approx(found[3].score, rel=1e-5)
    assert "sound 3" in repr(found) and "rain on a roof" in repr(found)


@pytest.mark.filterwarnings("ignore:text 2 has 72 tokens")
def test_texts_are_encoded_as_transformers_does(pipe: Any, frozen: dict[str, np.ndarray]) -> None:
    found = pipe.captions([f"This is a sound of {label}." for label in LABELS])
    assert np.array_equal(found["input_ids"].numpy(), frozen["caption_ids"])
    assert np.array_equal(found["attention_mask"].numpy(), frozen["caption_mask"])


def test_vectors_of_sounds_and_texts_compare(pipe: Any, frozen: dict[str, np.ndarray]) -> None:
    heard, read = pipe.embed_sounds(sounds(frozen)), pipe.embed_texts([f"This is a sound of {label}." for label in LABELS[:2]])
    assert heard.shape == (4, 12) and np.allclose(np.linalg.norm(heard, axis=1), 1, rtol=1e-5)
    scale = float(pipe.model.logit_scale_a.exp().item())
    assert np.abs(scale * heard @ read.T - frozen["scores"][:, :2]).max() < 1e-5 * np.abs(frozen["scores"]).max()
    alone = nyala.load(pipe.files.origin.removeprefix("folder "), task="sound-embedding")(sounds(frozen))
    assert np.allclose(alone.array, heard, rtol=1e-4, atol=1e-6)


def test_a_sound_is_a_file_samples_or_samples_with_their_rate(pipe: Any, frozen: dict[str, np.ndarray], tmp_path: Path) -> None:
    sound = sounds(frozen)[1]
    sound_files.write(tmp_path / "a.wav", sound, 8_000, bits=32, floating=True)
    expected = pipe(sound, labels=LABELS[:2]).scores
    assert pipe(str(tmp_path / "a.wav"), labels=LABELS[:2]).scores == expected
    assert pipe((sound, 8_000), labels=LABELS[:2]).scores == expected
    assert pipe(np.repeat(sound[None], 2, axis=0), labels=LABELS[:2]).scores == expected
    assert len(pipe([], labels=LABELS[:2])) == 0


def test_wrong_labels_and_models_are_named(pipe: Any, tmp_path: Path) -> None:
    for labels, template, told in [
        (None, None, "0 label"),
        (["a dog"], None, "1 label"),
        (["a dog", "a dog"], None, "given twice"),
        (["a dog", "rain"], "a sound", "template='a sound'"),
    ]:
        with pytest.raises(ArgumentError, match=told):
            pipe(np.zeros(800, np.float32), labels=labels, template=template)
    with pytest.raises(ArgumentError, match="compares no sounds with texts"):
        nyala.load(str(GOLDENS / "hubert"), task="zero-shot-classification")
    with pytest.raises(DataError, match="a sound is"):
        pipe([3], labels=["a dog", "rain"])
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        shutil.copy(GOLDENS / "clap" / name, tmp_path / name)
    bare = nyala.load(str(tmp_path))
    assert bare.embed_sounds(np.zeros(800, np.float32)).shape == (1, 12)
    with pytest.raises(MissingFileError, match=r"tokenizer\.json"):
        bare.embed_texts("a dog")


def test_a_model_without_a_description_hears_as_published(tmp_path: Path) -> None:
    for name in ("clap", "clap_fused"):
        shutil.copy(GOLDENS / name / "config.json", tmp_path / "config.json")
        made = nyala.load(str(tmp_path), random_init=True, audio_config={"num_mel_bins": 64, "spec_size": 256}).preprocess
        assert (made.n_mels, made.sample_rate, made.seconds) == (64, 48_000, 10)
        assert made.truncation == ("fusion" if name == "clap_fused" else "rand_trunc")
