"""``nyala embed``: files of texts in, vectors out; and classes that are named on the command line."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.recipes.cli import main

LINES = ["the sun is warm", "", "rain of grief on the dark", "a bright joy"] * 3


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(LINES) + "\n")
    return path


def vectors(tiny_bert: Path, texts: list[str]) -> np.ndarray:
    found: np.ndarray = nyala.load(str(tiny_bert), task="sentence-embedding")(texts).array
    return found


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_row_for_each_line_of_a_file(
    lines: Path, tiny_bert: Path, tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nyala.recipes.commands.embed._CHUNK", 5)
    out = tmp_path / "v.npy"
    assert main(["embed", str(lines), "--model", str(tiny_bert), "--output", str(out), "--dtype", dtype, "--json"]) == 0
    found = np.load(out)
    assert found.dtype == dtype and np.abs(found - vectors(tiny_bert, LINES)).max() < (1e-5 if dtype == "float32" else 2e-3)
    said = capsys.readouterr()
    assert json.loads(said.out)["texts"] == 12 and "12 vectors of 16 numbers" in said.err


def test_tables_and_standard_input(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.csv").write_text("id,body\n1,the sun\n2,dark rain\n")
    (tmp_path / "m.jsonl").write_text('{"text": "the sun"}\n{"text": "cold"}\n')
    given = [str(tmp_path / "m.csv"), str(tmp_path / "m.jsonl")]
    assert main(["embed", *given, "--model", str(tiny_bert), "--json"]) == 0
    assert [r["input"] for r in json.loads(capsys.readouterr().out)["results"]] == ["the sun", "dark rain", "the sun", "cold"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfthe sun\nkind\n")))
    assert main(["embed", "-", "--model", str(tiny_bert), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["results"]
    assert (first["input"], second["input"]) == ("the sun", "kind")
    assert np.allclose(first["embedding"], vectors(tiny_bert, ["the sun"])[0], atol=1e-5)


def test_the_nearest_lines_to_a_query(
    lines: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nyala.recipes.commands.embed._CHUNK", 5)
    assert main(["embed", str(lines), "--model", str(tiny_bert), "--query", "rain of grief", "--top", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["results"]
    unit = vectors(tiny_bert, [*LINES, "rain of grief"])
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = unit[:-1] @ unit[-1]
    assert [f["cosine"] for f in found] == pytest.approx(np.sort(cosines)[::-1][:4], abs=1e-5)
    assert all(LINES[f["number"] - 1] == f["text"] for f in found)
    assert main(["embed", str(lines), "--model", str(tiny_bert), "--query", "sun"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["line", "cosine", "text"]


def test_a_few_texts_are_shown(tiny_bert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", "--text", "the sun", "--text", "the joy", "--model", str(tiny_bert)]) == 0
    assert "nearest" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no text to work on"),
        (["LINES", "--text", "a"], "both files and --text are given"),
        (["none.txt"], "there is no file none.txt"),
        (["LINES", "--output", "v.txt"], "is no .npy file"),
        (["LINES", "--output", "no/such/v.npy"], "there is no such folder"),
        (["LINES", "--output", "v.npy", "--query", "a"], "--output and --query are both given"),
        (["LINES", "--top", "0"], "--top 0"),
        (["LINES", "--column", "a"], "has no columns"),
        (["TABLE", "--column", "b"], "has no column b: the texts must stand in one. Remedy: name one by --column: x, y"),
        (["MANY"], "60 texts are too many to show"),
        (["BAD", "--output", "OUT"], "bad.txt:2 is not UTF-8"),
        (["LINES", "--too-long", "raise", "--text-is-no-option"], None),
    ],
)
def test_bad_arguments(
    tmp_path: Path, lines: Path, tiny_bert: Path, arguments: list[str], said: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    (tmp_path / "many.txt").write_text("sun\n" * 60)
    (tmp_path / "bad.txt").write_bytes(b"sun\n\xff\n")
    places = {"LINES": lines, "TABLE": tmp_path / "t.csv", "MANY": tmp_path / "many.txt", "BAD": tmp_path / "bad.txt"}
    given = [str({**places, "OUT": tmp_path / "o.npy"}.get(a, a)) for a in arguments]
    if said is None:
        with pytest.raises(SystemExit):
            main(["embed", *given])
        return
    assert main(["embed", *given, "--model", str(tiny_bert)]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "o.npy").exists(), "a failed write leaves nothing"


def test_texts_that_are_too_long(tiny_bert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long: list[Any] = ["--text", "the sun " * 40, "--model", str(tiny_bert)]
    assert main(["embed", *long]) == 0 and "note: the text is longer than 24 tokens" in capsys.readouterr().err
    assert main(["embed", *long, "--too-long", "cut"]) == 0 and "note" not in capsys.readouterr().err
    assert main(["embed", *long, "--too-long", "raise"]) == 2 and "the limit is 24" in capsys.readouterr().err


def test_classes_that_are_named(tiny_bert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(tiny_bert), "the sun", "dark rain", "--labels", "joy, grief", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["results"]
    assert [sorted(one["labels"]) for one in found] == [["grief", "joy"]] * 2
    assert main(["predict", str(tiny_bert), "the sun", "--labels", "joy"]) == 2
    assert "nothing to choose from" in capsys.readouterr().err
