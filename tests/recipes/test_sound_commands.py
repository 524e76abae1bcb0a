"""``nyala vad`` and ``nyala pitch``: files in, tables, pictures, CSV and JSON out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala.audio import io as sound
from nyala.recipes.cli import main
from PIL import Image

GOLDENS = Path(__file__).parents[1] / "goldens" / "audio"
MODELS = {"vad": "silero_vad", "pitch": "crepe"}


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = []
    for i, name in enumerate(("one", "two")):
        path = tmp_path / f"{name}.wav"
        sound.write(path, 0.1 * np.random.default_rng(i).standard_normal((1, 8_000)).astype(np.float32), 16_000)
        paths.append(str(path))
    return paths


def run(command: str, *arguments: str) -> int:
    return main([command, *arguments, "--model", str(GOLDENS / MODELS[command]), "--quiet"])


@pytest.mark.parametrize(("command", "head"), [("vad", "start,end,probability"), ("pitch", "time,hz,confidence")])
def test_results_are_printed_and_written(command: str, head: str, files: list[str], tmp_path: Path, capsys: Any) -> None:
    assert run(command, files[0], "--output", str(tmp_path / "a.png"), "--threshold", "0.3") == 0
    assert Image.open(tmp_path / "a.png").size[0] == 1200
    assert "one.wav" in capsys.readouterr().out
    assert run(command, files[0], "--output", str(tmp_path / "a.csv"), "--threshold", "0.3") == 0
    assert (tmp_path / "a.csv").read_text().splitlines()[0] == head
    assert run(command, *files, "--output", str(tmp_path / "both")) == 0
    assert sorted(p.name for p in (tmp_path / "both").iterdir()) == ["one.png", "two.png"]


@pytest.mark.parametrize("command", ["vad", "pitch"])
def test_json_is_one_object_and_a_bad_file_is_told_of(command: str, files: list[str], tmp_path: Path, capsys: Any) -> None:
    assert run(command, files[0], str(tmp_path / "none.wav"), files[1], "--json") != 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert [Path(r["input"]).name for r in told["results"]] == ["one.wav", "two.wav"] and "none.wav" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "a.txt"], "nothing is written as .txt"),
        (["--output", "none/a.png"], "there is no folder none"),
        (["--threshold", "7"], "threshold=7.0"),
    ],
)
@pytest.mark.parametrize("command", ["vad", "pitch"])
def test_bad_use_is_named(command: str, arguments: list[str], message: str, files: list[str], capsys: Any) -> None:
    assert run(command, files[0], *arguments) == 2
    assert message in capsys.readouterr().err


def test_one_file_for_two_sounds_and_another_kind_of_model(files: list[str], tmp_path: Path, capsys: Any) -> None:
    assert run("vad", *files, "--output", "a.png") == 2 and "for 2 sounds" in capsys.readouterr().err
    assert main(["vad", files[0], "--model", str(GOLDENS / "crepe")]) == 2
    assert "--task voice-activity-detection" in capsys.readouterr().err
    again = tmp_path / "again" / "one.wav"
    again.parent.mkdir()
    again.write_bytes(Path(files[0]).read_bytes())
    assert run("vad", files[0], str(again), "--output", str(tmp_path / "out")) == 2
    assert "two inputs would be written" in capsys.readouterr().err


def test_a_model_that_spells_searches_by_words(files: list[str], tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((GOLDENS / "wav2vec2_ctc" / name).read_bytes())
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONI"]
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    (folder / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 1_000}))
    (tmp_path / "words.txt").write_text("note\nneon i")
    (tmp_path / "words.arpa").write_text("\\data\\\nngram 1=2\n\n\\1-grams:\n-1\tnote\n-2\tneon\n\n\\end\\\n")
    ask = ["transcribe", files[0], "--model", str(folder), "--quiet", "--json"]
    options = [*ask, "--words", str(tmp_path / "words.txt"), "--language-model", str(tmp_path / "words.arpa"), "--beam", "8"]
    assert main(options) == 0
    said = json.loads(capsys.readouterr().out)["results"][0]
    assert said["text"] and set(said["text"].split()) <= {"NOTE", "NEON", "I"}
    assert [word["text"] for s in said["segments"] for word in s["words"]] == said["text"].split()
    assert main([*ask, "--beam", "0"]) == 2 and "width 0" in capsys.readouterr().err
