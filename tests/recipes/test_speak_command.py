"""``nyala speak``: a text in, a sound file out."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.audio import io as sound
from nyala.recipes.cli import main

MODEL = str(Path(__file__).parents[1] / "goldens" / "audio" / "vits")


def test_a_text_becomes_a_file(tmp_path: Path, capsys: Any) -> None:
    target = tmp_path / "said.wav"
    assert main(["speak", "Hello. Bath", "-o", str(target), "--model", MODEL, "--seed", "5"]) == 0
    out, err = capsys.readouterr()
    assert "at 16,000 Hz: Hello. Bath" in out and "said.wav" in err
    expected = nyala.load(MODEL)("Hello. Bath", seed=5).waveform
    assert np.abs(np.asarray(sound.read(target)[0])[0] - expected).max() < 1e-4


def test_standard_input_and_json(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"hello\nworld\n")))
    assert main(["speak", "-", "-o", str(tmp_path / "said.png"), "--model", MODEL, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["input"] == "hello\nworld\n" and told["duration"] > 0.25 and (tmp_path / "said.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hello", "-o", "none/a.wav"], "there is no folder none"),
        (["hello", "-o", "a.xyz"], "xyz"),
        (["  ", "-o", "a.wav"], "no text to say"),
        (["?!", "-o", "a.wav"], "no letter"),
        (["hello", "-o", "a.wav", "--rate", "0"], "rate=0.0"),
        (["hello", "-o", "a.wav", "--speaker", "4"], "speaker 4"),
    ],
)
def test_bad_use_is_named(arguments: list[str], message: str, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["speak", *arguments, "--model", MODEL]) != 0
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_model_that_does_not_speak_is_refused(tmp_path: Path, capsys: Any) -> None:
    assert main(["speak", "hello", "-o", str(tmp_path / "a.wav"), "--model", str(Path(MODEL).parent / "crepe")]) == 2
    assert "text-to-speech" in capsys.readouterr().err
