"""``nyala transcribe`` as it is typed."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest
from nyala.recipes.cli import main

PROMPTS = Path(__file__).parents[1] / "goldens" / "audio" / "prompts"
GOODBYE, SEVEN = str(PROMPTS / "vm-goodbye.flac"), str(PROMPTS / "7.flac")
pytestmark = pytest.mark.weights


def test_lines_and_times(capsys):
    assert main(["transcribe", GOODBYE, "--quiet"]) == 0
    assert capsys.readouterr().out == "Goodbye.\n"
    assert main(["transcribe", GOODBYE, "--timestamps", "--quiet"]) == 0
    assert capsys.readouterr().out == "[00:00:00.000 - 00:00:00.865] Goodbye.\n"


def test_several_files_and_one_that_fails(capsys, tmp_path):
    (tmp_path / "no.wav").write_text("no sound at all, but a text")
    assert main(["transcribe", GOODBYE, str(tmp_path / "no.wav"), SEVEN]) == 2
    told = capsys.readouterr()
    assert told.out == f"{GOODBYE}:\nGoodbye.\n{SEVEN}:\n7.\n"
    assert "no.wav cannot be read as sound" in told.err


def test_formats_and_folders(capsys, tmp_path):
    assert main(["transcribe", GOODBYE, SEVEN, "--format", "srt", "--output", str(tmp_path / "new"), "--quiet"]) == 0
    assert (tmp_path / "new" / "7.srt").read_text() == "1\n00:00:00,000 --> 00:00:00,820\n7.\n"
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["7.srt", "vm-goodbye.srt"]
    assert "wrote" in capsys.readouterr().err
    assert main(["transcribe", GOODBYE, "--format", "vtt", "--quiet"]) == 0
    assert capsys.readouterr().out == "WEBVTT\n\n00:00:00.000 --> 00:00:00.865\nGoodbye.\n"


def test_json_and_standard_input(capsys, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(Path(SEVEN).read_bytes()))
    monkeypatch.setattr(sys, "stdin", stream)
    assert main(["transcribe", "-", "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "whisper-tiny.en" and found["results"][0]["text"] == "7."


def test_two_inputs_to_one_file_are_refused(capsys, tmp_path):
    shutil.copy(SEVEN, tmp_path)
    assert main(["transcribe", SEVEN, str(tmp_path / "7.flac"), "--output", str(tmp_path)]) == 2
    assert "two inputs would be written to" in capsys.readouterr().err


def test_what_cannot_be_done_is_told(capsys):
    assert main(["transcribe", SEVEN, "--language", "de"]) == 2
    assert "knows English alone" in capsys.readouterr().err
    assert main(["transcribe", SEVEN, "--model", "all-MiniLM-L6-v2"]) == 2
    assert "does no speech recognition" in capsys.readouterr().err


def test_words_with_their_times_and_beams(capsys):
    assert main(["transcribe", str(PROMPTS / "queue-thankyou.flac"), "--word-times", "--beam", "3", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("] ")[1] for line in lines] == ["Thank", "you", "for", "your", "patience."]
    starts = [line[1:13] for line in lines]
    assert starts == sorted(starts) and starts[-1] < "00:00:02"
    assert main(["transcribe", GOODBYE, "--word-times", "--format", "srt", "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines()[2] == "Goodbye."


def test_live_samples_are_written_down(capsys, monkeypatch):
    from nyala.audio.pipelines.sounds import samples_of

    samples = (samples_of(PROMPTS / "demo-congrats.flac", 16_000) * 32_767).astype("<i2")[: 16 * 16_000]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(samples.tobytes())))
    assert main(["transcribe", "--live", "-", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Congratulations! You have successfully installed") and len(lines) >= 2
    assert main(["transcribe", "--live", GOODBYE]) == 2
    assert "standard input" in capsys.readouterr().err
