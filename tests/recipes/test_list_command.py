"""``nyala list``: filters on the command line, the table, JSON, and what is said where nothing fits."""

from __future__ import annotations

import json

import pytest
from nyala.recipes.cli import main

FOUR = {"resnet18.a1_in1k", "resnet50.a1_in1k", "tf_efficientnet_lite0", "all-MiniLM-L6-v2"}


def listed(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    """The names that fit, of four models: a new card breaks no test."""
    assert main(["list", *argv, "--json"]) == 0
    found = [model["name"] for model in json.loads(capsys.readouterr().out)["models"]]
    return [name for name in found if name in FOUR]


def test_filters_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(capsys, "--max-size", "20MB", "--domain", "vision") == ["tf_efficientnet_lite0"]
    assert listed(capsys, "--max-params", "12M") == ["resnet18.a1_in1k", "tf_efficientnet_lite0"]
    assert listed(capsys, "--licence", "apache-2.0", "--task", "sentence-embedding") == ["all-MiniLM-L6-v2"]
    assert listed(capsys, "--license", "GPL-3.0") == []
    assert listed(capsys, "--architecture", "transformers:bert") == ["all-MiniLM-L6-v2"]
    assert listed(capsys, "resnet*", "--metric", "imagenet_top1") == ["resnet50.a1_in1k", "resnet18.a1_in1k"]


def test_the_table_shows_size_licence_metric_and_whether_it_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "*lite0*", "--metric", "imagenet_top1"]) == 0
    header, _, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["model", "task", "parameters", "to", "fetch", "licence", "here", "imagenet_top1"]
    assert row.split()[4:7] == ["18.8", "MB", "Apache-2.0"] and row.split()[-1] == "74.846"
    assert row.split()[-2] in ("yes", "no")


def test_a_filter_of_models_leaves_recipes_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--max-size", "1TB", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["models"] and not found["recipes"]
    assert all(model["bytes"] is None or model["bytes"] > 0 for model in found["models"])
    assert all(isinstance(model["cached"], bool) for model in found["models"])


def test_nothing_fits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "resnt18"]) == 0
    assert "did you mean 'resnet18'" in capsys.readouterr().err
    assert main(["list", "--max-size", "1kB"]) == 0
    assert "take a filter away" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--licence", "apache"], "did you mean 'Apache-2.0'"),
        (["--metric", "accuracy"], "no metric is called 'accuracy'"),
        (["--max-params", "many"], "--max-params 'many' is no size"),
        (["--at-least", "3"], "says nothing without a metric"),
    ],
)
def test_slips_of_the_pen(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", *argv]) == 2
    out, err = capsys.readouterr()
    assert words in err and out == ""
