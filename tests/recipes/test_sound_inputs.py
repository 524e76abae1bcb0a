"""What the commands on sounds look at before they fetch a model: their inputs, and where results are to be written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala.audio import io as sound
from nyala.recipes.cli import main

COMMANDS = ("vad", "pitch", "classify", "embed", "transcribe", "encode", "decode")
NOTHING = "nobody/such-a-model"  # what would be fetched


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(*_: Any, **__: Any) -> Any:
        raise AssertionError("a model was asked for")

    monkeypatch.setattr("nyala.hub.load.load", load)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def good(tmp_path: Path) -> str:
    sound.write(tmp_path / "good.wav", np.zeros((1, 800), np.float32), 8_000)
    return "good.wav"


def run(command: str, *arguments: str, output: str = "out") -> int:
    ending = {"encode": ".safetensors", "decode": ".wav", "classify": ".csv", "embed": ".npy", "transcribe": ""}.get(
        command, ".png"
    )
    return main([command, *arguments, "--model", NOTHING, "--output", output + ending])


@pytest.mark.parametrize("command", COMMANDS)
def test_inputs_are_looked_at_before_a_model_is_fetched(command: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "text.wav").write_text("no sound at all")
    (tmp_path / "empty.wav").touch()
    there = sorted(tmp_path.iterdir())
    assert run(command, "none.wav") != 0 and "none.wav" in capsys.readouterr().err
    for name in ("text.wav", "empty.wav"):
        assert run(command, name) != 0 and name in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == there  # no folder is left behind for results that never come


@pytest.mark.parametrize("command", ["vad", "transcribe", "decode"])
def test_all_that_are_wrong_are_told_of(command: str, capsys: Any) -> None:
    out = {"vad": "pictures", "transcribe": "texts", "decode": "sounds"}[command]
    assert main([command, "one.wav", "two.wav", "--model", NOTHING, "--output", out]) != 0
    told = capsys.readouterr().err
    assert f"nyala {command}: " in told and "one.wav" in told and "two.wav" in told


@pytest.mark.parametrize("command", ["vad", "pitch", "classify", "embed", "encode"])
def test_where_results_go_is_looked_at_too(command: str, good: str, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(command, good, output="none/out") == 2 and "there is no" in capsys.readouterr().err
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert run(command, good) == 1 and "could not write to" in capsys.readouterr().err


def test_a_folder_that_takes_no_files(good: str, capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    assert main(["vad", good, "--output", "a.png"]) == 2 and "is a folder" in capsys.readouterr().err
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert main(["transcribe", good, "--output", "texts"]) == 1 and "could not write to texts" in capsys.readouterr().err
    assert main(["speak", "Hello.", "-o", "hello.wav"]) == 1 and "could not write to" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_one_good_input_is_enough_to_go_on(command: str, good: str, tmp_path: Path) -> None:
    if command == "decode":
        from nyala.audio.pipelines.codec import Codes, Facts

        facts = Facts("encodec", "m", 8_000, 1, 16, 800, 1.0)
        Codes(np.zeros((1, 1, 2), np.int16), None, facts, "a").save(tmp_path / "good.wav.safetensors")
        good = "good.wav.safetensors"
    out = {"classify": "out.csv", "embed": "out.npy"}.get(command, "out")
    with pytest.raises(AssertionError, match="a model was asked for"):
        main([command, "none.wav", good, "--model", NOTHING, "--output", out])
