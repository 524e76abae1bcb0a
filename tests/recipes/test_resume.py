"""Kill it at any moment: the resumed run ends with the bytes of the uninterrupted one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from nyala.errors import IntegrityError, RecipeError, StorageError
from nyala.recipes.folder import lock
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.training import trainer

Trained = Callable[..., runs.Run]

# Runs the command line, and kills itself as SIGKILL does when it flushes a file for the n-th time: before a
# checkpoint is whole, between its parts, or while the results are written.
DRIVER = """
import os, signal, sys
moment, real, count = int(sys.argv[1]), os.fsync, 0
def fsync(handle):
    global count
    count += 1
    if count == moment:
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)
os.fsync = fsync
from nyala.recipes import cli
code = cli.main(sys.argv[2:])
print(count, file=sys.stderr)
sys.exit(code)
"""


def nyala(moment: int, *argv: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", DRIVER, str(moment), *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, OPENBLAS_NUM_THREADS="1"), check=False)


def results(folder: Path) -> dict[str, bytes]:
    names = ["metrics.jsonl", "predictions.jsonl", "model/model.safetensors", "model/config.json"]
    return {name: (folder / name).read_bytes() for name in names}


def test_killed_again_and_again_it_ends_with_the_same_bytes(recipe_file: Path, tmp_path: Path) -> None:
    """Each process dies a few flushes after its start, so every kind of write is cut at some point."""
    whole = nyala(0, "run", recipe_file, "--folder", tmp_path / "whole", "--quiet")
    assert whole.returncode == 0, whole.stderr
    flushes = int(whole.stderr.split()[-1])
    killed = tmp_path / "killed"
    first = nyala(2, "run", recipe_file, "--folder", killed, "--quiet")
    deaths, moment, ended = [first.returncode], 5, False
    while not ended:
        again = nyala(
            moment,
            "run" if not (killed / "recipe.resolved.toml").exists() else "resume",
            *([recipe_file, "--folder", killed] if not (killed / "recipe.resolved.toml").exists() else [killed]),
            "--quiet",
        )
        ended = again.returncode == 0
        deaths += [] if ended else [again.returncode]
        moment += 3
    assert set(deaths) == {-signal.SIGKILL} and len(deaths) >= 4 and flushes > 10
    assert results(killed) == results(tmp_path / "whole")
    leftovers = [p.name for p in killed.rglob(".nyala-tmp-*")]
    assert [name for name in leftovers if (killed / "checkpoints" / name).exists()] == []


@pytest.mark.parametrize("step", [1, 4, 7])
def test_stopped_at_a_step_it_goes_on(recipe_file: Path, tmp_path: Path, trained: Trained, step: int) -> None:
    whole = trained("whole")
    run = runs.create(config.load(recipe_file), tmp_path / "stopped")
    trainer.train(run, stop_after=step)
    trainer.train(runs.open_run(tmp_path / "stopped", ["data.workers=2"]))
    assert results(tmp_path / "stopped") == results(whole.folder)


def test_the_newest_checkpoint_damaged(recipe_file: Path, tmp_path: Path, trained: Trained) -> None:
    whole = trained("whole")
    run = runs.create(config.load(recipe_file), tmp_path / "hurt")
    trainer.train(run, stop_after=9)
    newest = tmp_path / "hurt" / "checkpoints" / "step-00000008" / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:-7])
    notes: list[str] = []
    from nyala.recipes.progress import Progress

    show = Progress()
    show.note = notes.append  # type: ignore[method-assign]
    trainer.train(run, show)
    assert any("step-00000008" in note and "skipped" in note for note in notes)
    assert results(tmp_path / "hurt") == results(whole.folder)


def test_metrics_of_steps_behind_the_checkpoint_are_not_doubled(recipe_file: Path, tmp_path: Path) -> None:
    run = runs.create(config.load(recipe_file), tmp_path / "run")
    trainer.train(run, stop_after=7)
    trainer.train(run)
    steps = [
        json.loads(line)["step"] for line in (run.folder / "metrics.jsonl").read_text().splitlines() if '"kind":"step"' in line
    ]
    assert steps == sorted(set(steps))


def test_a_finished_run_is_left_as_it_is(trained: Trained) -> None:
    run = trained("run")
    before = {p: p.stat().st_mtime_ns for p in run.folder.rglob("*") if p.is_file() and p.name != ".lock"}
    assert set(trainer.train(run)) == {"accuracy", "macro_f1", "loss", "weights_step"}
    assert before == {p: p.stat().st_mtime_ns for p in run.folder.rglob("*") if p.is_file() and p.name != ".lock"}


def test_another_recipe_in_the_same_folder_is_refused(recipe_file: Path, tmp_path: Path) -> None:
    runs.create(config.load(recipe_file), tmp_path / "run")
    with pytest.raises(RecipeError, match=r"holds a run of another recipe: optim\.lr, seed differ"):
        runs.create(config.load(recipe_file, ["seed=3", "optim.lr=0.5"]), tmp_path / "run")
    runs.create(config.load(recipe_file, ["data.workers=4"]), tmp_path / "run")  # the same run, whatever the threads


def test_a_folder_of_other_files_is_refused(recipe_file: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(RecipeError, match=r"not empty and no run folder: it holds thesis\.tex"):
        runs.create(config.load(recipe_file), tmp_path / "mine")


def test_only_what_changes_no_bit_may_change_on_the_way(recipe_file: Path, tmp_path: Path) -> None:
    runs.create(config.load(recipe_file), tmp_path / "run")
    with pytest.raises(RecipeError, match=r"optim\.lr cannot change in a run that has begun"):
        runs.open_run(tmp_path / "run", ["optim.lr=1"])
    assert runs.open_run(tmp_path / "run", ["data.workers=5"]).recipe.data.workers == 5


def test_runs_are_numbered(recipe_file: Path, tmp_path: Path) -> None:
    loaded = config.load(recipe_file, [f"run.folder={tmp_path / 'all'}"])
    assert [runs.create(loaded).folder.name for _ in range(3)] == ["tiny-1", "tiny-2", "tiny-3"]
    named = config.load(recipe_file, [f"run.folder={tmp_path / 'all'}", "run.name=mine"])
    assert runs.create(named).folder.name == "mine-1"


HOLDER = """
import sys, time
from pathlib import Path
from nyala.recipes.folder import lock
with lock.hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_processes_in_one_run_folder(recipe_file: Path, tmp_path: Path) -> None:
    run = runs.create(config.load(recipe_file), tmp_path / "run")
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(run.folder)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match="another process is writing to"):
            trainer.train(run)
        other.kill()
    with lock.hold(run.folder):  # the lock dies with its holder
        pass


def test_other_data_under_a_run_is_refused(recipe_file: Path, tmp_path: Path, tiny_data: Path) -> None:
    import shutil

    data = tmp_path / "data"
    shutil.copytree(tiny_data, data)
    run = runs.create(config.load(recipe_file, [f"data.name={data}"]), tmp_path / "run")
    trainer.train(run, stop_after=5)
    (data / "red" / "00.png").write_bytes((data / "blue" / "00.png").read_bytes())
    with pytest.raises(IntegrityError, match=r"the data of .* changed since the run began: train"):
        trainer.train(run)


def test_a_recipe_that_was_edited_under_a_run_is_refused(recipe_file: Path, tmp_path: Path) -> None:
    run = runs.create(config.load(recipe_file), tmp_path / "run")
    trainer.train(run, stop_after=5)
    path = run.folder / runs.RECIPE
    path.write_text(path.read_text().replace("lr = 0.01", "lr = 0.02"))
    with pytest.raises(IntegrityError, match=r"the recipe of .* changed since the run began: sha256.*bring the old recipe back"):
        trainer.train(runs.open_run(run.folder))


SMALL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
from nyala.recipes import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_full_disk_is_one_message_and_exit_code_1(recipe_file: Path, tmp_path: Path) -> None:
    """A limit on the size of files makes the first checkpoint fail as a full disk would; afterwards the run goes on."""
    argv = [sys.executable, "-c", SMALL_DISK, "run", str(recipe_file), "--folder", str(tmp_path / "full"), "--quiet"]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    said = [line for line in result.stderr.splitlines() if not line.startswith("compiled kernels cannot be kept")]
    assert len(said) == 1 and said[0].startswith("nyala run: could not write") and "Remedy" in said[0]
    assert not list((tmp_path / "full" / "checkpoints").glob("step-*"))
    assert not list((tmp_path / "full").rglob(".nyala-tmp-*"))
    trainer.train(runs.open_run(tmp_path / "full"))


def test_a_folder_that_cannot_be_made_is_the_worlds_fault(recipe_file: Path) -> None:
    from nyala.recipes import cli

    assert cli.main(["run", str(recipe_file), "--folder", "/proc/nyala/run", "--quiet"]) == 1


def test_a_run_remembers_where_each_value_came_from(
    recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from nyala.recipes import cli

    runs.create(config.load(recipe_file, ["optim.lr=0.5"]), tmp_path / "run")
    loaded = runs.open_run(tmp_path / "run", ["data.workers=3"]).loaded
    origins = {path: loaded.origin(path) for path in ("optim.lr", "seed", "data.workers", "optim.eps", "train.checkpoint.every")}
    assert origins == {
        "optim.lr": "override",
        "seed": "tiny.toml:2",
        "data.workers": "override",
        "optim.eps": "default",
        "train.checkpoint.every": "tiny.toml:20",
    }
    assert cli.main(["show", str(tmp_path / "run")]) == 0
    assert "lr = 0.5  # override" in capsys.readouterr().out
