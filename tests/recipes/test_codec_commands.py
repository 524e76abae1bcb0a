"""``nyala encode`` and ``nyala decode``: sounds in, codes in files, sounds out."""

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


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = []
    for i, name in enumerate(("one", "two")):
        path = tmp_path / f"{name}.wav"
        sound.write(path, 0.1 * np.random.default_rng(i).standard_normal((1, 8_000)).astype(np.float32), 16_000)
        paths.append(str(path))
    return paths


def run(command: str, *arguments: str, model: str = "encodec") -> int:
    return main([command, *arguments, "--model", str(GOLDENS / model), "--quiet"])


@pytest.mark.parametrize("model", ["encodec", "encodec_stereo", "dac"])
def test_there_and_back(model: str, files: list[str], tmp_path: Path, capsys: Any) -> None:
    codes = str(tmp_path / "a.safetensors")
    assert run("encode", files[0], "-o", codes, "--quantizers", "2", model=model) == 0
    assert "of 2 codes" in capsys.readouterr().out
    for ending in (".wav", ".flac", ".ogg", ".aiff"):
        heard = tmp_path / f"heard{ending}"
        assert run("decode", codes, "-o", str(heard), model=model) == 0, ending
        assert (sound.info(heard).frames, sound.info(heard).sample_rate) == (400, 800)
    assert run("decode", codes, "-o", str(tmp_path / "heard.mp3"), model=model) == 2
    assert "800 Hz cannot be written as MP3" in capsys.readouterr().err and not (tmp_path / "heard.mp3").exists()


def test_folders_pictures_and_json(files: list[str], tmp_path: Path, capsys: Any) -> None:
    assert run("encode", *files, str(tmp_path / "none.wav"), "-o", str(tmp_path / "codes"), "--json") != 0
    out, err = capsys.readouterr()
    assert [Path(r["input"]).name for r in json.loads(out)["results"]] == ["one.wav", "two.wav"] and "none.wav" in err
    written = sorted(str(p) for p in (tmp_path / "codes").iterdir())
    assert run("decode", *written, "-o", str(tmp_path / "heard"), "--json") == 0
    assert [r["duration"] for r in json.loads(capsys.readouterr().out)["results"]] == [0.5, 0.5]
    assert sorted(p.name for p in (tmp_path / "heard").iterdir()) == ["one.wav", "two.wav"]
    assert run("encode", files[0], "-o", str(tmp_path / "a.png")) == 0
    assert Image.open(tmp_path / "a.png").size[0] == 1200


def test_bad_use_is_named(files: list[str], tmp_path: Path, capsys: Any) -> None:
    for arguments, message in (
        (["encode", files[0], "-o", "a.txt"], "nothing is written as .txt"),
        (["encode", files[0], "-o", "none/a.safetensors"], "there is no folder none"),
        (["encode", files[0], "-o", str(tmp_path / "a.safetensors"), "--bandwidth", "7"], "use 0.16, 0.64"),
        (["encode", *files, "-o", "a.safetensors"], "for 2 sounds"),
        (["decode", files[0], "-o", str(tmp_path / "b.wav")], "one.wav"),
        (["decode", str(tmp_path / "none.safetensors"), "-o", str(tmp_path / "b.wav")], "none.safetensors"),
    ):
        assert run(*arguments) != 0
        assert message in capsys.readouterr().err
    assert run("encode", files[0], "-o", str(tmp_path / "a.safetensors"), model="crepe") == 2
    assert "--task audio-codec" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.safetensors"))
