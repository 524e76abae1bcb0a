"""``nyala classify``, and ``nyala embed`` on sounds."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.audio import io as sound
from nyala.recipes.cli import main

GOLDENS = Path(__file__).parents[1] / "goldens" / "audio"
MODELS = {"classify": str(GOLDENS / "hubert_classifier"), "embed": str(GOLDENS / "ge2e")}


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = [str(tmp_path / f"{name}.wav") for name in ("one", "two")]
    for i, path in enumerate(paths):
        sound.write(path, 0.1 * np.random.default_rng(i).standard_normal((1, 8_000)).astype(np.float32), 16_000)
    return paths


def run(command: str, *arguments: str) -> int:
    return main([command, *arguments, "--model", MODELS[command], "--quiet"])


def test_classes_are_printed_and_written(files: list[str], tmp_path: Path, capsys: Any) -> None:
    assert run("classify", *files, "--top", "2", "--output", str(tmp_path / "a.csv")) == 0
    assert "one.wav" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    said = nyala.load(MODELS["classify"])(files[0])
    assert [r["sound"] for r in rows] == [files[0]] * 2 + [files[1]] * 2 and rows[0]["label"] == said.label
    assert run("classify", files[0], "--output", str(tmp_path / "a.png")) == 0 and (tmp_path / "a.png").exists()


def test_vectors_are_printed_and_written(files: list[str], tmp_path: Path, capsys: Any) -> None:
    assert run("embed", *files) == 0 and "cosine" in capsys.readouterr().out
    assert run("embed", *files, "--output", str(tmp_path / "v.npy"), "--dtype", "float16") == 0
    expected = nyala.load(MODELS["embed"])(files).array
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), expected.astype(np.float16))


@pytest.mark.parametrize("command", ["classify", "embed"])
def test_json_is_one_object_and_a_bad_file_is_told_of(command: str, files: list[str], tmp_path: Path, capsys: Any) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound at all")
    assert run(command, files[0], str(broken), files[1], "--json") != 0
    out, err = capsys.readouterr()
    assert [Path(r["input"]).name for r in json.loads(out)["results"]] == ["one.wav", "two.wav"] and "broken.wav" in err


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("classify", ["--top", "0"], "--top 0"),
        ("classify", ["--output", "a.txt"], "nothing is written as '.txt'"),
        ("classify", ["--output", "none/a.csv"], "there is no folder none"),
        ("embed", ["--query", "hello"], "--query is for texts"),
        ("embed", ["letter.txt"], "letter.txt is no sound"),
    ],
)
def test_bad_use_is_named(command: str, arguments: list[str], message: str, files: list[str], capsys: Any) -> None:
    assert run(command, files[0], *arguments) == 2
    assert message in capsys.readouterr().err


def test_classes_are_given_as_words(files: list[str], tmp_path: Path, capsys: Any) -> None:
    clap, labels = str(GOLDENS / "clap"), ["a dog", "rain"]
    words = ["classify", *files, "--model", clap, "--quiet", "--labels", ",".join(labels)]
    assert main([*words, "--output", str(tmp_path / "a.csv"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["results"]
    expected = nyala.load(clap)(files, labels=labels)
    assert [r["labels"] for r in told] == [list(p.labels) for p in expected]
    assert np.allclose([r["scores"] for r in told], [p.scores for p in expected], rtol=1e-5)
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 5
    assert main([*words, "--template", "{}", "--top", "1"]) == 0 and capsys.readouterr().out.count("one.wav") == 1
    assert main(["predict", clap, files[0], "--labels", "a dog,rain", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["labels"] == told[0]["labels"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", "a dog"], "1 label(s)"),
        (["--labels", "a dog,a dog"], "given twice"),
        (["--labels", "a dog,rain", "--template", "a sound"], "template='a sound'"),
        (["--template", "{}"], "--template without --labels"),
        ([], "has no classes of its own"),
        (["--labels", "a,b", "--model", MODELS["classify"]], "compares no sounds with texts"),
    ],
)
def test_words_that_make_no_sense_are_named(arguments: list[str], message: str, files: list[str], capsys: Any) -> None:
    assert main(["classify", files[0], "--model", str(GOLDENS / "clap"), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_sounds_and_texts_are_embedded_side_by_side(files: list[str], tmp_path: Path, capsys: Any) -> None:
    clap, texts = str(GOLDENS / "clap"), ["--text", "a dog", "--text", "rain"]
    pipe = nyala.load(clap)
    heard, read = pipe.embed_sounds(files), pipe.embed_texts(["a dog", "rain"])
    assert main(["embed", *files, *texts, "--model", clap, "--quiet", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert np.allclose([r["embedding"] for r in told["results"]], heard, atol=1e-6)
    assert np.allclose([r["embedding"] for r in told["texts"]], read, atol=1e-6)
    assert main(["embed", *files, *texts, "--model", clap, "--quiet", "--top", "1"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 4 and ("a dog", "rain")[int((heard @ read.T)[0].argmax())] in shown[2]
    assert main(["embed", files[0], *texts, "--model", clap, "--quiet", "--output", str(tmp_path / "v.npy")]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), np.concatenate([heard[:1], read]), atol=1e-6)
    assert main(["embed", *files, "--model", clap, "--quiet", "--output", str(tmp_path / "v.npy")]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), heard, atol=1e-6)
    assert main(["embed", *files, *texts, "--model", MODELS["embed"]]) == 2
    assert "compares no sounds with texts" in capsys.readouterr().err


def test_texts_are_embedded_by_a_tower(tmp_path: Path, capsys: Any) -> None:
    clap, texts = str(GOLDENS / "clap"), ["a dog", "rain", "a hot day"]
    read = nyala.load(clap).embed_texts(texts)
    (tmp_path / "lines.txt").write_text("\n".join(texts) + "\n")
    lines = ["embed", str(tmp_path / "lines.txt"), "--model", clap, "--quiet"]
    assert main([*lines, "--output", str(tmp_path / "v.npy")]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), read, atol=1e-6)
    assert main([*lines, "--json"]) == 0
    assert [r["input"] for r in json.loads(capsys.readouterr().out)["results"]] == texts
    assert main([*lines, "--query", "rain", "--top", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["number"] == 2
    for option, told in ((["--too-long", "raise"], "--too-long raise"), (["--prompt-name", "query"], "query")):
        assert main([*lines, *option]) == 2 and told in capsys.readouterr().err


def test_another_kind_of_model_is_refused(files: list[str], capsys: Any) -> None:
    for command, other in (("classify", "embed"), ("embed", "classify")):
        assert main([command, files[0], "--model", MODELS[other]]) == 2
        assert "is for something else" in capsys.readouterr().err
