"""Speech recognition by letters: windows, words and their times, through the pipeline of a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.audio.ctc.beam import Beam, search
from nyala.audio.pipelines.spelling import CTCRecognition
from nyala.audio.transforms.waves import Waves
from nyala.errors import ArgumentError, DataError, MissingFileError

GOLDEN = Path(__file__).parents[2] / "goldens" / "audio" / "wav2vec2_ctc"
BASE = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "E": 5, "T": 6, "A": 7, "O": 8, "N": 9, "I": 10}
RATE = 1_000  # samples a second: few are many seconds


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(GOLDEN / name, tmp_path / name)
    (tmp_path / "vocab.json").write_text(json.dumps(BASE))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": RATE}))
    return tmp_path


class Scripted(nyala.nn.Module):
    """Hears a letter in each sample: its number, of frames of one sample."""

    def __init__(self) -> None:
        super().__init__()
        self.config: Any = type("Settings", (), {"hop": 1, "vocab_size": len(BASE), "frames": staticmethod(lambda n: n)})()
        self.weight = nyala.nn.Parameter(nyala.zeros(1))
        self.longest = 0

    def forward(self, input_values: Any) -> Any:
        numbers = input_values.numpy()[0].round().astype(int)
        self.longest = max(self.longest, len(numbers))
        return nyala.from_numpy(20 * np.eye(len(BASE), dtype=np.float32)[numbers][None])


def scripted(text: str, gap: int = 1) -> tuple[CTCRecognition, np.ndarray]:
    from nyala.audio.ctc.letters import Letters

    pipeline = CTCRecognition(Scripted(), Waves(RATE, normalize=False, least=1), None, letters=Letters.of(BASE, 0))
    numbers = [n for letter in text for n in (pipeline.letters.encode(letter)[0] if letter != " " else 4, *[0] * gap)]
    return pipeline, np.array(numbers, np.float32)


def test_a_folder_is_a_pipeline(folder: Path) -> None:
    pipe = nyala.load(folder)
    assert type(pipe) is CTCRecognition and pipe.step == 0.02
    said = pipe((sound(2), RATE))
    assert said.duration == 2.0 and all(0 <= w.start < w.end <= 2.0 and w.text for s in said.segments for w in s.words)
    rows = pipe.log_probs(sound(2))
    assert rows.shape == (pipe.model.config.frames(2 * RATE), 11)
    np.testing.assert_allclose(np.exp(rows).sum(1), 1, rtol=1e-5)


def test_long_sounds_are_joined_without_a_seam() -> None:
    text = " ".join("TEA" if i % 3 else "NOTE" for i in range(9_000))
    pipe, samples = scripted(text)
    said = pipe(samples)
    assert said.text == text and pipe.model.longest == pipe.window < len(samples)


def test_words_have_their_times_and_pauses_part_segments() -> None:
    pipe, samples = scripted("NO TEA ", gap=3)
    both = np.concatenate([samples, np.zeros(900, np.float32), samples])
    said = pipe(both)
    assert [s.text for s in said.segments] == ["NO TEA", "NO TEA"]
    first = said.segments[0].words
    assert [(w.text, w.start, w.end) for w in first] == [("NO", 0.0, 0.005), ("TEA", 0.012, 0.021)]
    assert said.segments[1].start == pytest.approx(0.928) and first[0].score > 0.99
    told = said.to_dict()["segments"][0]
    assert told["words"][1] == {"start": 0.012, "end": 0.021, "text": "TEA", "score": first[1].score}


def test_a_beam_finds_words_of_a_list(folder: Path) -> None:
    pipe, samples = scripted("NO TEA ", gap=2)
    assert pipe(samples, beam=Beam()).text == "NO TEA"
    assert set(pipe(samples, beam=Beam(words=["no", "toe"], least=-99.0)).text.split()) <= {"NO", "TOE"}
    random = nyala.load(folder)
    said = random(sound(1), beam=Beam(width=5))
    best = search(random.log_probs(sound(1)), random.letters, Beam(width=5))[0]
    assert said.text == best.text and all(w.end <= 1.0 for s in said.segments for w in s.words)


def test_a_known_text_is_laid_over_the_sound() -> None:
    pipe, samples = scripted("NO TEA ", gap=3)
    assert [(w.text, w.start, w.end) for w in pipe.align(samples, "no tea")] == [("NO", 0.0, 0.005), ("TEA", 0.012, 0.021)]
    with pytest.raises(DataError, match="letters in 2 frames"):
        pipe.align(samples[:2], "no tea")


def test_nothing_is_nothing(folder: Path) -> None:
    pipe = nyala.load(folder)
    assert pipe(np.zeros(0, np.float32)).text == "" and pipe(sound(0.02)).segments == ()
    assert [said.text for said in pipe([sound(0.01)])] == [""]


def test_a_new_alphabet(folder: Path) -> None:
    pipe = nyala.load(folder, num_classes=7)
    assert type(pipe) is CTCRecognition and pipe.model.config.vocab_size == 7
    assert pipe.model(nyala.zeros(1, 330)).shape == (1, 16, 7)


def test_bad_use_is_named(folder: Path) -> None:
    pipe = nyala.load(folder)
    with pytest.raises(ArgumentError, match="use a Whisper"):
        pipe(sound(1), task="translate")
    with pytest.raises(DataError, match="no sound"):
        pipe([])
    with pytest.raises(DataError, match="not all finite"):
        pipe(np.full(1000, np.nan, np.float32))
    (folder / "vocab.json").unlink()
    with pytest.raises(MissingFileError, match=r"without vocab\.json"):
        nyala.load(folder)(sound(1))
