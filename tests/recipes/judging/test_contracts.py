"""``nyala contracts`` on models by folder, on runs, and on one whose key map loses a tensor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nyala
import pytest
from nyala.core.keymap import Ignore, KeyMap
from nyala.errors import ArgumentError
from nyala.recipes import cli
from nyala.recipes.judging import contracts
from nyala.vision.models import resnet

GOLDENS = Path(__file__).parents[2] / "goldens"


FOLDERS = ("vision/resnet_basic", "vision/efficientnet_lite", "text/bert", "text/bert_classifier", "text/bert_masked_lm",
           "text/bert_tagger", "text/llama", "text/llama_3", "text/roberta_classifier", "text/distilbert_masked_lm", "text/mpnet",
           "text/modernbert_classifier", "text/deberta_tagger", "text/electra_answers", "text/albert",
           "audio/ast", "audio/whisper_classifier")  # fmt: skip


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_architecture_keeps_them(folder: str) -> None:
    found = contracts.check(nyala.load(str(GOLDENS / folder)))
    assert [v.name for v in found] == contracts.names()
    assert [str(v) for v in found if v.state == "fail"] == []
    assert [v.name for v in found if v.state == "not applicable"] == ([] if folder.startswith("text") else ["padding"])


def test_a_run_keeps_them_and_the_command_says_so(trained: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(trained("run").folder)
    assert cli.main(["contracts", folder, "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "keeps all that apply" in out and "not applicable" in out
    assert cli.main(["contracts", folder, "--quiet", "--json", "--only", "export, saving"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] and [c["name"] for c in found["contracts"]] == ["export", "saving"]


def test_a_broken_key_map_is_told_with_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = nyala.load(tiny_model)
    monkeypatch.setattr(resnet, "key_map", lambda *_: KeyMap(Ignore("bn1.bias")))
    monkeypatch.setattr(contracts, "load", lambda _: pipeline)
    assert cli.main(["contracts", str(tiny_model), "--quiet", "--only", "export"]) == 1
    out = capsys.readouterr().out
    assert "fail" in out and "bn1.bias is lost on the way out and back" in out and "1 of 1 contracts broken" in out


def test_unknown_contracts_are_told(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["contracts", str(tiny_model), "--only", "pading"]) == 2
    assert "did you mean 'padding'" in capsys.readouterr().err
    with pytest.raises(ArgumentError):
        contracts.check(tiny_model, only=["x"])
