"""Texts to speech, through the pipelines of tiny random models."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.audio import io as sound
from nyala.audio.pipelines.speaking import Speech, TextToSpeech
from nyala.errors import ArgumentError, DataError, IndexRangeError, MissingFileError

GOLDENS = Path(__file__).parents[2] / "goldens" / "audio"


@pytest.fixture(scope="module")
def pipe() -> Any:
    return nyala.load(GOLDENS / "vits")


def test_a_text_and_a_seed_give_the_same_speech(pipe: Any) -> None:
    said, again, other = pipe("Hello world"), pipe("Hello world"), pipe("Hello world", seed=1)
    assert type(pipe) is TextToSpeech and isinstance(said, Speech)
    assert said.waveform.dtype == np.float32 and said.waveform.ndim == 1 and np.abs(said.waveform).max() <= 1
    assert np.array_equal(said.waveform, again.waveform) and not np.array_equal(said.waveform, other.waveform)
    assert str(said).endswith("at 16,000 Hz: Hello world") and said.to_dict()["duration"] == said.duration


def test_sentences_are_spoken_one_after_the_other(pipe: Any) -> None:
    parts = list(pipe.stream("hello. bath", pause=0.1))
    assert [len(p) == 1_600 and not p.any() for p in parts] == [False, True, False]
    assert np.array_equal(parts[0], pipe("hello").waveform)
    assert np.array_equal(np.concatenate(parts), pipe("hello. bath", pause=0.1).waveform)
    assert len(list(pipe.stream("hello. bath", pause=0))) == 2
    assert [s.text for s in pipe(["hello", "bath"])] == ["hello", "bath"]


def test_the_rate_and_the_voice_are_heard(pipe: Any) -> None:
    assert len(pipe("hello world hello", rate=0.25).waveform) > 2 * len(pipe("hello world hello").waveform)
    voices = nyala.load(GOLDENS / "vits_voices")
    first, second = voices("hello").waveform, voices("hello", speaker=1).waveform
    assert np.array_equal(first, voices("hello", speaker=0).waveform)
    assert first.shape != second.shape or not np.array_equal(first, second)
    with pytest.raises(IndexRangeError, match="speaker 3"):
        voices("hello", speaker=3)


def test_speech_is_written_and_drawn(pipe: Any, tmp_path: Path) -> None:
    said = pipe("hello world")
    said.save(tmp_path / "a.wav")
    samples, rate = sound.read(tmp_path / "a.wav")[:2]
    assert rate == 16_000 and np.abs(np.asarray(samples)[0] - said.waveform).max() < 1e-4
    said.save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1_000


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "it is empty"),
        ("?!", {}, "no letter"),
        ("hello", {"phonemes": True}, "reads letters"),
        (3, {}, "a text is"),
        ([], {}, "no text"),
    ],
)
def test_what_cannot_be_said_is_named(pipe: Any, text: Any, options: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        pipe(text, **options)


@pytest.mark.parametrize("options", [{"rate": 0}, {"rate": float("nan")}, {"pause": -1}])
def test_bad_options_are_named(pipe: Any, options: Any) -> None:
    with pytest.raises(ArgumentError, match="rate="):
        pipe("hello", **options)


def test_a_model_without_its_alphabet_says_so(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(GOLDENS / "vits" / name, tmp_path)
    with pytest.raises(MissingFileError, match=r"vocab\.json"):
        nyala.load(tmp_path)("hello")
