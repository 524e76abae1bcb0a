"""``--device``: the commands compute there, and say at once where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nyala
import pytest
from nyala.recipes import cli

Trained = Callable[..., Any]


def test_a_run_is_trained_judged_and_asked_on_a_gpu(
    cuda: str, recipe_file: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert cli.main(["run", str(recipe_file), "train.epochs=1", "--folder", str(folder), "--device", cuda, "--quiet"]) == 0
    assert f'device = "{cuda}"' in (folder / "recipe.resolved.toml").read_text()
    capsys.readouterr()
    picture = str(next((tiny_data / "red").iterdir()))
    answers = {}
    for device in ("cpu", "cuda"):
        assert cli.main(["predict", str(folder), picture, "--device", device, "--json"]) == 0
        predicted = json.loads(capsys.readouterr().out)["results"]
        assert cli.main(["evaluate", str(folder), "--data", str(tiny_data), "--device", device, "--json", "--quiet"]) == 0
        answers[device] = predicted, json.loads(capsys.readouterr().out)
    assert str(answers["cpu"][0])[:40] == str(answers["cuda"][0])[:40]
    assert answers["cpu"][1]["accuracy"] == answers["cuda"][1]["accuracy"]


@pytest.mark.skipif(nyala.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize(
    "command",
    [["run", "{recipe}"], ["lr", "{recipe}"], ["plan", "{recipe}"], ["predict", "tf_efficientnet_lite0", "x.png"],
     ["evaluate", "tf_efficientnet_lite0", "--data", "{data}"], ["finetune", "tf_efficientnet_lite0", "--data", "{data}"]],
    ids=lambda c: c[0],
)  # fmt: skip
def test_without_one_every_command_says_so_at_once(
    command: list[str], recipe_file: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.format(recipe=recipe_file, data=tiny_data) for word in command]
    assert cli.main([*given, "--device", "cuda"]) == 2
    assert "device 'cuda' was asked for" in capsys.readouterr().err
