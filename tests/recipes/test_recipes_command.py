"""``nyala recipes``: what a user sees, and what a program can read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nyala.recipes import catalog, cli
from nyala.recipes.language import config

BAD = """schema = 1
[data]
batch_size = 2.5
delimiter = ";;"
augment = [
  { type = "flip" },
]
[model]
name = "tf_eficientnet_lite0"
[optim]
lrr = 1
[train]
epochs = 1
checkpoint = { every = 0 }
"""


def run(*argv: str) -> int:
    """``main`` in this process; argparse's own exits become codes."""
    try:
        return cli.main(["recipes", *argv])
    except SystemExit as stop:
        return int(stop.code or 0)


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    text = capsys.readouterr().out
    assert all(name in text for name in catalog.names())
    assert run("list", "--json") == 0
    found = json.loads(capsys.readouterr().out)["recipes"]
    assert [r["name"] for r in found] == catalog.names() and all(r["description"] for r in found)


def test_show_prints_origins(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "text/spam-minilm", "seed=3") == 0
    text = capsys.readouterr().out
    assert "seed = 3  # override" in text and "workers = 2  # default" in text and "# spam-minilm.toml:" in text
    assert run("show", "text/spam-minilm", "seed=3", "--json") == 0
    assert json.loads(capsys.readouterr().out)["origins"]["seed"] == "override"


def test_a_copy_can_be_edited_and_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("copy", "vision/fashion-lite0", "mine.toml", "seed=9") == 0
    assert "nyala run mine.toml" in capsys.readouterr().out
    assert config.load("mine.toml").recipe == config.load("vision/fashion-lite0", ["seed=9"]).recipe
    assert run("copy", "vision/fashion-lite0", "mine.toml") == 2
    assert "is there already" in capsys.readouterr().err
    assert run("copy", "mine.toml", "mine.toml", "--force", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"copied": "mine", "file": "mine.toml"}
    assert run("copy", "mine.toml", "other.txt") == 2 and "no .toml file" in capsys.readouterr().err


def test_validate_reports_every_mistake_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(BAD)
    assert run("validate", "text/spam-minilm", str(path)) == 2
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "text/spam-minilm: no mistake" and lines[1] == f"{path}: 8 mistakes"
    assert lines[2:] == [
        "bad.toml:3: data.batch_size: expected a whole number, got the number 2.5",
        "bad.toml:4: data.delimiter: ';;' has 2 characters (must have 1 character)",
        lines[4],
        "bad.toml:2: data.name: missing (add this key)",
        lines[6],
        "bad.toml:11: optim.lrr: unknown key (did you mean 'lr'?)",
        "bad.toml:14: train.checkpoint.every: 0 is out of range (must be at least 1)",
        lines[9],
    ]
    assert lines[4].startswith("bad.toml:5: data.augment[0].type: unknown type 'flip'")
    assert lines[6].startswith("bad.toml:10: optim.type: missing")
    assert lines[9].startswith(
        "bad.toml:9: model.name: unknown name 'tf_eficientnet_lite0' (did you mean 'tf_efficientnet_lite0'"
    )


def test_validate_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("schema = 1\nseed = -1\n")
    assert run("validate", str(path), "--json") == 2
    (found,) = json.loads(capsys.readouterr().out)["files"]
    assert found["problems"][0] == {
        "key": "seed",
        "cause": "-1 is out of range",
        "hint": found["problems"][0]["hint"],
        "file": "bad.toml",
        "line": 2,
    }
    assert {p["key"] for p in found["problems"]} == {"seed", "data", "model", "train"}
    path.write_text("seed = = 1\n")
    assert run("validate", str(path)) == 2 and "at line 1" in capsys.readouterr().out
    assert run("validate", str(tmp_path / "gone.toml")) == 2 and "there is no file" in capsys.readouterr().out
    assert run("validate", *catalog.names()) == 0


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("schema", "train.checkpoint") == 0
    assert "keep = 2   whole number, at least 1" in capsys.readouterr().out
    assert run("schema", "--json") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "nyala recipe"
    assert run("schema", "trane") == 2 and "did you mean 'train'" in capsys.readouterr().err


def test_an_unknown_recipe_gets_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "vision/fashion-lit") == 2
    assert "did you mean 'vision/fashion-lite0'" in capsys.readouterr().err
