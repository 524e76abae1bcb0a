"""The command line: help everywhere, exit codes, one clear message and no traceback, JSON that a program can read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from nyala.errors import NetworkError, RecipeError
from nyala.recipes import cli, commands
from nyala.recipes.commands import COMMANDS
from nyala.recipes.commands.shared import console


def run(*argv: str) -> int:
    """``main`` in this process; argparse's own exits become codes."""
    try:
        return cli.main(argv)
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.NAME)
def test_every_command_explains_itself(command: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command.NAME, "--help") == 0  # type: ignore[attr-defined]
    text = capsys.readouterr().out
    assert f"nyala {command.NAME}" in text and "examples:" in text and "--json" in text  # type: ignore[attr-defined]


def test_every_command_module_is_offered() -> None:
    files = {path.stem for path in Path(commands.__file__).parent.glob("*.py")} - {"__init__"}
    assert {c.__name__.rpartition(".")[2] for c in COMMANDS} == files
    assert {"list", "show", "pull", "predict", "recipes", "run", "resume", "verify", "doctor"} <= {c.NAME for c in COMMANDS}
    assert len({c.NAME for c in COMMANDS}) == len(COMMANDS)


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0 and "nyala run vision/fashion-lite0" in capsys.readouterr().out
    assert run("--version") == 0 and capsys.readouterr().out.startswith("nyala ")


def test_no_command_or_an_unknown_one_is_the_users_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert (run(), run("rum")) == (2, 2)
    err = capsys.readouterr().err
    assert "usage: nyala" in err and "no command is called 'rum'; did you mean 'run' or 'resume'?" in err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["run", "vision/fashion-lit"], "did you mean 'vision/fashion-lite0'"),
        (["run", "vision/fashion-lite0", "optim.lrr=1", "train.epochs=-1", "model.name=tf_eficientnet"], "has 3 mistakes"),
        (["show", "resnet81"], "did you mean 'resnet18"),
        (["resume", "nowhere"], "there is no such folder"),
        (["verify", "."], "it has no recipe.resolved.toml"),
    ],
)
def test_the_users_mistakes_are_told_in_one_message(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*argv) == 2
    out = capsys.readouterr()
    assert message in out.err and out.err.startswith(f"nyala {argv[0]}: ") and "Traceback" not in out.err and out.out == ""
    assert list(tmp_path.iterdir()) == []


def test_exit_codes_tell_the_user_from_the_world(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(error: BaseException) -> int:
        def execute(_: object) -> int:
            raise error

        monkeypatch.setattr(COMMANDS[0], "execute", execute)
        return run("list")

    assert fail(NetworkError("no network")) == 1
    assert fail(RecipeError("bad recipe")) == 2
    assert fail(KeyboardInterrupt()) == 130
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("NYALA_TRACEBACK", "1")
    with pytest.raises(NetworkError):
        fail(NetworkError("no network"))


def test_after_an_interruption_the_way_on_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def execute(_: object) -> int:
        console.running(Path("runs/my run-1"))
        raise KeyboardInterrupt

    monkeypatch.setattr(console, "_running", [])
    monkeypatch.setattr(COMMANDS[0], "execute", execute)
    assert run("list") == 130
    assert "Go on with: nyala resume 'runs/my run-1'" in capsys.readouterr().err


def test_list_as_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    text = capsys.readouterr().out
    assert "tf_efficientnet_lite0" in text and "vision/fashion-lite0" in text
    assert run("list", "*lite0", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [m["name"] for m in found["models"]] == ["tf_efficientnet_lite0"]
    assert [r["name"] for r in found["recipes"]] == ["vision/fashion-lite0"]
    assert run("list", "--domain", "text", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {m["domain"] for m in found["models"]} == {"text"} and all(r["name"].startswith("text/") for r in found["recipes"])


def test_show_a_recipe_with_origins_and_a_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "vision/fashion-lite0", "optim.lr=0.5") == 0
    assert "lr = 0.5  # override" in capsys.readouterr().out
    assert run("show", "vision/fashion-lite0", "optim.lr=0.5", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["recipe"]["optim"]["lr"] == 0.5 and shown["origins"]["optim.lr"] == "override"
    assert run("show", "tf_efficientnet_lite0") == 0
    assert "Apache-2.0" in capsys.readouterr().out
    assert run("show", "tf_efficientnet_lite0", "--json") == 0
    assert json.loads(capsys.readouterr().out)["license"] == "Apache-2.0"


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor") == 0 and "blas" in capsys.readouterr().out
    assert run("doctor", "--json") == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert {"python", "numpy", "blas", "threads", "numba", "cache", "disk", "gpu", "network"} <= {c["name"] for c in checks}
    assert all(c["remedy"] for c in checks if c["state"] == "warn")


def test_the_frame_is_quick_to_start() -> None:
    """No engine, no image or hub library is loaded before a command asks for it."""
    heavy = "numba, PIL, huggingface_hub, tokenizers, rich, msgspec"
    code = f"import nyala.recipes.cli, sys; print([m for m in {heavy.split(', ')} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m nyala.recipes list | true"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=dict(os.environ))
    assert result.stderr == ""


def test_options_may_stand_between_overrides(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "vision/fashion-lite0", "seed=5", "--json", "optim.lr=0.5") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["recipe"]["seed"], shown["recipe"]["optim"]["lr"]) == (5, 0.5)
    assert run("show", "vision/fashion-lite0", "--jsn") == 2 and run("doctor", "extra") == 2
    assert "unrecognized arguments: extra" in capsys.readouterr().err
