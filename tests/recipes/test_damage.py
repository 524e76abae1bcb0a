"""Full disks, damaged checkpoints, moved folders, changed inputs: a run goes on with the same bytes, or is refused with names."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from nyala.core import atomic
from nyala.errors import IntegrityError, RecipeError, StorageError
from nyala.recipes import cli
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.progress import Progress
from nyala.recipes.training import trainer

Trained = Callable[..., runs.Run]


def results(folder: Path) -> dict[str, bytes]:
    names = ["metrics.jsonl", "predictions.jsonl", "model/model.safetensors", "model/config.json"]
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def computed() -> dict[str, dict[str, bytes]]:
    """Results of whole runs, which are the same in every test."""
    return {}


@pytest.fixture
def whole(computed: dict[str, dict[str, bytes]], trained: Trained) -> Callable[..., dict[str, bytes]]:
    """The results of a run that was never stopped, by its overrides."""

    def results_of(*overrides: str) -> dict[str, bytes]:
        key = " ".join(overrides)
        if key not in computed:
            computed[key] = results(trained("whole", *overrides).folder)
        return computed[key]

    return results_of


class Listening(Progress):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def stopped(recipe_file: Path, tmp_path: Path) -> runs.Run:
    """A run stopped after its ninth step, with the checkpoints of steps 4 and 8, and the best weights of step 6."""
    run = runs.create(config.load(recipe_file), tmp_path / "hurt")
    trainer.train(run, stop_after=9)
    return run


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


NEWEST = "checkpoints/step-00000008"


def empty_both(folder: Path) -> None:
    for file in (folder / NEWEST).iterdir():
        file.write_bytes(b"")


def other_step(folder: Path) -> None:
    path = folder / NEWEST / "state.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "position": record["position"] + 1}))  # still a table, and a plausible one


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit of the weights": lambda f: flip(f / NEWEST / "state.safetensors", -5),
    "a bit of the header": lambda f: flip(f / NEWEST / "state.safetensors", 20),
    "weights cut short": lambda f: os.truncate(f / NEWEST / "state.safetensors", 999),
    "no weights": lambda f: (f / NEWEST / "state.safetensors").unlink(),
    "no record": lambda f: (f / NEWEST / "state.json").unlink(),
    "a number in the record": other_step,
    "a record that is no table": lambda f: (f / NEWEST / "state.json").write_text("[]"),
    "a record that is no text": lambda f: (f / NEWEST / "state.json").write_bytes(b"\xff\xfe\x00"),
    "empty files": empty_both,
    "an empty folder": lambda f: (shutil.rmtree(f / NEWEST), (f / NEWEST).mkdir()),
    "metrics cut short": lambda f: os.truncate(f / "metrics.jsonl", (f / "metrics.jsonl").stat().st_size - 400),
    "a bit of a late metric": lambda f: flip(f / "metrics.jsonl", -350),
    "best weights": lambda f: flip(next((f / "checkpoints").glob("best-*")) / "state.safetensors", -1),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_newest_checkpoint_damaged_falls_back_says_so_and_ends_the_same(
    stopped: runs.Run, whole: Callable[..., dict[str, bytes]], damage: str
) -> None:
    DAMAGES[damage](stopped.folder)
    show = Listening()
    trainer.train(runs.open_run(stopped.folder), show)
    assert [text for text in show.said if text.startswith("checkpoint step-00000008") and "skipped" in text], show.said
    assert results(stopped.folder) == whole()
    assert list((stopped.folder / "checkpoints").glob("damaged-step-00000008"))


def test_all_checkpoints_damaged_begins_anew_and_ends_the_same(stopped: runs.Run, whole: Callable[..., dict[str, bytes]]) -> None:
    for file in (stopped.folder / "checkpoints").rglob("state.safetensors"):
        flip(file, -1)
    show = Listening()
    trainer.train(stopped, show)
    assert sum("skipped" in text for text in show.said) == 2
    assert results(stopped.folder) == whole()


@pytest.mark.parametrize("nth", [2, 5, 8, 11, 14, 17, 20])
def test_a_disk_that_fills_up_is_one_error_and_the_run_goes_on_afterwards(
    recipe_file: Path, tmp_path: Path, whole: Callable[..., dict[str, bytes]], monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    """From the ``nth`` flush on nothing can be written, until there is room again."""
    run = runs.create(config.load(recipe_file, ["train.checkpoint.every=2"]), tmp_path / "full")
    flushes, real = 0, os.fsync

    def full(handle: int) -> None:
        nonlocal flushes
        flushes += 1
        if flushes >= nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", full)
        with pytest.raises(StorageError, match=r"could not write.*No space left.*free some space"):
            trainer.train(run)
    assert not list((run.folder / "checkpoints").glob(".nyala-tmp-*"))
    trainer.train(run)
    assert results(run.folder) == whole("train.checkpoint.every=2")


def test_a_moved_run_goes_on(stopped: runs.Run, whole: Callable[..., dict[str, bytes]], tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    moved = shutil.move(stopped.folder, tmp_path / "far" / "away")
    trainer.train(runs.open_run(moved))
    assert results(Path(moved)) == whole()


def test_moved_data_and_weights_are_named_and_may_be_given_anew(
    recipe_file: Path, tmp_path: Path, tiny_data: Path, tiny_model: Path, trained: Trained
) -> None:
    whole = trained("whole")
    data, model = tmp_path / "data", tmp_path / "model"
    shutil.copytree(tiny_data, data)
    shutil.copytree(tiny_model, model)
    run = runs.create(config.load(recipe_file, [f"data.name={data}", f"model.name={model}"]), tmp_path / "run")
    trainer.train(run, stop_after=5)
    data.rename(tmp_path / "d")
    model.rename(tmp_path / "m")
    with pytest.raises(RecipeError, match=r"data\.name .*/data is not there, model\.name .*data\.name=PATH model\.name=PATH"):
        trainer.train(runs.open_run(run.folder))
    with pytest.raises(RecipeError, match=r"model\.name .*/model is not there"):
        trainer.train(runs.open_run(run.folder, [f"data.name={tmp_path / 'd'}"]))
    trainer.train(runs.open_run(run.folder, [f"data.name={tmp_path / 'd'}", f"model.name={tmp_path / 'm'}"]))
    assert run.manifest()["proof"] == whole.manifest()["proof"] and results(run.folder) == results(whole.folder)


def test_changed_data_and_weights_are_refused_by_name(
    recipe_file: Path, tmp_path: Path, tiny_data: Path, tiny_model: Path
) -> None:
    data, model = tmp_path / "data", tmp_path / "model"
    shutil.copytree(tiny_data, data)
    shutil.copytree(tiny_model, model)
    run = runs.create(config.load(recipe_file, [f"data.name={data}", f"model.name={model}"]), tmp_path / "run")
    trainer.train(run, stop_after=5)
    flip(model / "model.safetensors", -1)
    with pytest.raises(IntegrityError, match=r"the weights of .*/run changed since the run began: model\.safetensors: "):
        trainer.train(run)
    flip(model / "model.safetensors", -1)
    shutil.copy(data / "blue" / "00.png", data / "red" / "00.png")
    with pytest.raises(IntegrityError, match=r"the data of .* began: train \(red/00\.png changed\)"):
        trainer.train(run)
    (data / "red" / "00.png").rename(data / "red" / "zz.png")
    with pytest.raises(IntegrityError, match=r"train \(red/00\.png is gone, red/zz\.png is new\)"):
        trainer.train(run)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not here")
def test_the_list_of_data_files_is_one_that_sha256sum_reads(stopped: runs.Run, tiny_data: Path) -> None:
    lines = (stopped.folder / "data.sha256").read_text().splitlines()
    assert len(lines) == 60 and lines[0].endswith("  blue/00.png") and len(lines[0].split()[0]) == 64
    checked = subprocess.run(["sha256sum", "-c", "--quiet", stopped.folder / "data.sha256"], cwd=tiny_data, check=False)
    assert checked.returncode == 0


HOLDER = """
import sys
from pathlib import Path
from nyala.recipes.folder import lock
with lock.hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_on_one_run_is_one_clear_error(stopped: runs.Run, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [sys.executable, "-c", HOLDER, str(stopped.folder)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None and other.stdout is not None and other.stdout.readline() == "held\n"
        before = (stopped.folder / "metrics.jsonl").read_bytes()
        assert cli.main(["resume", str(stopped.folder), "--quiet"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"nyala resume: another process is writing to {stopped.folder}") and "Remedy: wait" in line
        assert (stopped.folder / "metrics.jsonl").read_bytes() == before
        other.stdin.close()


def test_what_a_killed_process_left_beside_the_files_is_removed(stopped: runs.Run) -> None:
    (stopped.folder / ".nyala-tmp-1-ab").write_text("half a manifest")
    trainer.train(stopped)
    assert not list(stopped.folder.rglob(".nyala-tmp-*"))


def test_going_on_in_another_environment_is_written_down(stopped: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from nyala.recipes.proof import environment, levels

    real = environment.describe
    monkeypatch.setattr(environment, "describe", lambda device: {**real(device), "vector_bits": 64})
    show = Listening()
    trainer.train(stopped, show)
    old = stopped.manifest()
    (resumed,) = old["resumed"]
    assert resumed["step"] == 8 and any("vector_bits" in line for line in resumed["differences"])
    assert any("vector_bits" in text for text in show.said)
    level, why = levels.expected(old, {**old, "resumed": []})
    assert level == "bounded" and "the run went on at step 8 with another environment, vector_bits" in why[0]
