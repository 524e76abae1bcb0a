"""Every command on sounds, on every kind of sound that is not what it should be: a clear error, or a defined result."""

from __future__ import annotations

import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala.audio import io as sound
from nyala.audio.pipelines.windows import Windows
from nyala.recipes.cli import main

GOLDENS = Path(__file__).parents[1] / "goldens" / "audio"
NOISE = 0.1 * np.random.default_rng(0).standard_normal(8_000).astype(np.float32)
COMMANDS = {
    "vad": "silero_vad", "pitch": "crepe", "classify": "hubert_classifier", "embed": "ge2e", "encode": "encodec",
    "transcribe": "wav2vec2_ctc",
}  # fmt: skip
NAMED = ("not a number", "cut off", "no sound")
TOO_SHORT = ("classify", "embed")  # these need a frame
DAY = 24 * 60 * 60


def cut(path: Path) -> None:
    sound.write(path, NOISE, 16_000)
    path.write_bytes(path.read_bytes()[:3_000])


def not_a_number(path: Path) -> None:
    sound.write(path, NOISE, 16_000, floating=True)
    raw = bytearray(path.read_bytes())
    raw[-400:-396] = struct.pack("<f", float("nan"))
    path.write_bytes(raw)


def day_long(path: Path) -> None:
    """Silence of 24 hours, of which nothing but the head lies on the disk."""
    rate, size = 8_000, 2 * 8_000 * DAY
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", size + 36, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", size)
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(size + len(head))


KINDS: dict[str, Callable[[Path], None]] = {
    "of no length": lambda path: sound.write(path, np.zeros((1, 0), np.float32), 16_000),
    "one sample": lambda path: sound.write(path, NOISE[:1], 16_000),
    "silent": lambda path: sound.write(path, np.zeros(8_000), 16_000),
    "clipped": lambda path: sound.write(path, np.sign(NOISE), 16_000),
    "8 bits": lambda path: sound.write(path, NOISE, 16_000, bits=8),
    "192 kHz": lambda path: sound.write(path, np.tile(NOISE, (2, 6)), 192_000),
    "cut off": cut,
    "no sound": lambda path: path.write_bytes(b"a text, and no sound at all"),
    "not a number": not_a_number,
}


@pytest.fixture(scope="module")
def speller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that spells, with an alphabet."""
    folder = tmp_path_factory.mktemp("speller")
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((GOLDENS / "wav2vec2_ctc" / name).read_bytes())
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONI"]
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    (folder / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 1_000}))
    return folder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_clear_error_or_a_defined_result(command: str, kind: str, speller: Path, tmp_path: Path, capsys: Any) -> None:
    path, codes = tmp_path / "given.wav", tmp_path / "codes.safetensors"
    KINDS[kind](path)
    model = speller if command == "transcribe" else GOLDENS / COMMANDS[command]
    output = ["-o", str(codes)] if command == "encode" else []
    code = main([command, str(path), "--model", str(model), "--quiet", "--json", *output])
    told = capsys.readouterr()
    if kind in NAMED or (kind in ("of no length", "one sample") and command in TOO_SHORT):
        assert code == 2 and "given.wav" in told.err and "Remedy: " in told.err and not told.out and not codes.exists()
        return
    assert code == 0, told.err
    result = json.loads(told.out)["results"]
    assert len(result) == 1 and "NaN" not in told.out and "Infinity" not in told.out
    assert codes.exists() == (command == "encode")


def test_what_is_said_of_each(tmp_path: Path, capsys: Any) -> None:
    texts = {"not a number": "sample 7900 (0.494 s) is not", "cut off": "holds 2956", "no sound": "cannot be read as sound"}
    for kind, text in texts.items():
        KINDS[kind](tmp_path / "given.wav")
        assert main(["vad", str(tmp_path / "given.wav"), "--model", str(GOLDENS / "silero_vad")]) == 2
        assert text in capsys.readouterr().err


@pytest.fixture(scope="module")
def slow_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of samples, a thousand a second: as many frames a second as in the published sizes."""
    folder = tmp_path_factory.mktemp("classifier")
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((GOLDENS / "hubert_classifier" / name).read_bytes())
    (folder / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 1_000}))
    return folder


@pytest.mark.parametrize(("command", "model"), [("classify", "slow_classifier"), ("classify", "ast"), ("embed", "ge2e")])
def test_of_a_day_no_more_is_read_than_is_heard(command: str, model: str, tmp_path: Path, capsys: Any, request: Any) -> None:
    path = tmp_path / "day.wav"
    day_long(path)
    place = request.getfixturevalue(model) if model == "slow_classifier" else GOLDENS / model
    tracemalloc.start()
    code = main([command, str(path), "--model", str(place), "--quiet", "--json"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert code == 0 and json.loads(capsys.readouterr().out)["results"] and peak < 200 << 20  # as float32 a day is 2.8 GB


def test_windows_of_a_day_are_held_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "day.wav"
    day_long(path)
    with Windows(str(path), 30 * 16_000, 16_000) as heard:
        assert heard.total == DAY * 16_000
        tracemalloc.start()
        for second in range(0, 600, 30):
            assert len(heard.at(second * 16_000)) == 30 * 16_000
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 32 << 20
