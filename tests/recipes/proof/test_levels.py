"""Levels of verification, on machines that are really different: kernels compiled for another processor round in other places."""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala.errors import NyalaError, RecipeError, ReproducibilityError
from nyala.recipes import cli
from nyala.recipes.folder import metrics
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.proof import bounds, compare, hashing, levels
from nyala.recipes.proof.against import against
from nyala.recipes.proof.verify import verify
from nyala.recipes.training import trainer

Trained = Callable[..., runs.Run]

# As on a processor without AVX: vectors of 128 bits and no fused multiply-add.
OTHER_MACHINE = {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": "", "OPENBLAS_CORETYPE": "Nehalem"}


def on_another_machine(recipe: Path, folder: Path, *overrides: str) -> Path:
    argv = [sys.executable, "-m", "nyala.recipes", "run", str(recipe), "--folder", str(folder), "--quiet", *overrides]
    made = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **OTHER_MACHINE}, check=False)
    assert made.returncode == 0, made.stderr
    return folder


def edit_manifest(run: Path, **changes: Any) -> None:
    path = run / runs.MANIFEST
    whole = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in whole.items() if value is not None}))


def as_of_the_first_release(run: Path) -> None:
    """Takes out of a run folder what the first release did not write."""
    path = run / runs.METRICS
    kept = [{k: v for k, v in record.items() if k != "chain"} for record in metrics.read(path)]
    path.write_bytes(b"".join(metrics.encode(record) for record in kept))
    old = json.loads((run / runs.MANIFEST).read_text())
    new = ("numpy_config", "blas_core", "device", "kernel_target", "vector_bits", "libc")
    environment = {k: v for k, v in old["environment"].items() if k not in new}
    outputs = {**old["outputs"], runs.METRICS: hashing.of_file(path)}
    kept_keys = {k: v for k, v in old.items() if k not in ("genesis", "proof")}
    changes = {"format": 1, "code": {"version": "0.1.0", "sha256": "0" * 64}, "environment": environment, "outputs": outputs}
    (run / runs.MANIFEST).write_text(json.dumps(kept_keys | changes))
    (run / "data.sha256").unlink()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the other processor is an older one of this family")
def test_another_processor_is_bounded_and_says_by_how_much_and_why(recipe_file: Path, trained: Trained, tmp_path: Path) -> None:
    there = on_another_machine(recipe_file, tmp_path / "there")
    here = trained("here")
    if compare.first(there / runs.METRICS, here.folder / runs.METRICS) is None:
        pytest.skip("this processor rounds as the other does")
    result = verify(there)
    assert not result.equal and (result.level, result.wanted, result.holds) == ("bounded", "bounded", True)
    assert any("vector_bits" in note or "kernel_target" in note for note in result.notes)
    assert result.first.startswith("step ") and result.bound is not None and result.bound.holds
    assert 0 < result.bound.worst_loss < 0.1 and result.bound.weights is not None and result.bound.weights_bound is not None
    assert 0 < result.bound.weights <= result.bound.weights_bound <= bounds.CAP
    assert "64 times what moving each weight by its last bit" in str(result)
    strict = verify(there, level="bitwise")
    assert not strict.holds and strict.level == "none" and strict.bound is None
    side = against(there, here.folder)
    assert (side.level, side.holds) == ("statistical", True) and "--level bounded" in str(side)
    measured = against(there, here.folder, level="bounded")
    assert measured.level == "bounded" and measured.bound is not None and measured.bound.worst_loss == result.bound.worst_loss


def test_a_run_of_the_first_release_verifies_and_goes_on(trained: Trained, recipe_file: Path, tmp_path: Path) -> None:
    run = trained("run")
    as_of_the_first_release(run.folder)
    result = verify(run.folder)
    assert result.equal and result.level == "bitwise" and result.proof == "" and result.compared[runs.METRICS]
    half = runs.create(config.load(recipe_file), tmp_path / "half")
    trainer.train(half, stop_after=9)
    for path in (half.folder / "checkpoints").glob("*/state.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({k: v for k, v in record.items() if k not in ("record_sha256", "metrics_sha256")}))
    old = json.loads((half.folder / runs.MANIFEST).read_text())
    (half.folder / runs.MANIFEST).write_text(json.dumps({k: v for k, v in old.items() if k != "genesis"} | {"format": 1}))
    trainer.train(runs.open_run(half.folder))
    weights = "model/model.safetensors"
    assert (half.folder / weights).read_bytes() == (run.folder / weights).read_bytes()


def test_a_recipe_that_differs_on_the_same_machine_reaches_nothing(trained: Trained) -> None:
    """What passes for another processor must not let a changed loss pass."""
    run = trained("run")
    path = run.folder / runs.METRICS
    lines = list(metrics.read(path))
    lines[4]["loss"] *= 1.01
    path.write_bytes(b"".join(metrics.encode(record) for record in lines))
    edit_manifest(run.folder, outputs={**run.manifest()["outputs"], runs.METRICS: hashing.of_file(path)}, proof=None)
    result = verify(run.folder, level="bounded")
    assert result.level == "statistical" and not result.holds and result.bound is not None and not result.bound.holds
    assert "nothing known explains it" in result.why[0] and result.why[1].startswith("bounded: losses differ by")
    assert "beyond the bound at step" in result.why[1]


def test_a_changed_metric_is_placed_by_the_chain(trained: Trained) -> None:
    run = trained("run")
    path = run.folder / runs.METRICS
    path.write_bytes(path.read_bytes().replace(b'"step":5,"epoch":0,"loss":0', b'"step":5,"epoch":0,"loss":1', 1))
    result = verify(run.folder)
    assert result.level == "none" and not result.holds
    assert result.first.startswith("step 5 (step) differs first: loss 1")
    assert result.first.endswith("a record of step 4 to 6 is not what it was when it was written")


@pytest.mark.parametrize("key", ["proof", "genesis"])
def test_a_changed_proof_does_not_follow_from_the_metrics(trained: Trained, key: str) -> None:
    run = trained("run", "train.epochs=none", "train.steps=4")
    edit_manifest(run.folder, **{key: "0" * 64})
    result = verify(run.folder)
    assert not result.holds and "manifest.json changed after the run: its proof does not follow from the metrics" in str(result)


def test_another_seed_is_statistical(trained: Trained) -> None:
    run = trained("run", "train.best.metric=loss")
    result = verify(run.folder, seed=12)
    assert result.wanted == "statistical" and "another seed, 11 -> 12" in result.notes
    assert result.score is not None and result.score.metric == "loss"
    low, high = result.score.recorded.low, result.score.recorded.high
    assert result.holds == (low <= result.score.repeated <= high) and low < result.score.recorded.value < high
    with pytest.raises(RecipeError, match="bitwise cannot hold with another seed"):
        verify(run.folder, seed=12, level="bitwise")
    with pytest.raises(RecipeError, match="statistical needs the whole run"):
        verify(run.folder, steps=3, level="statistical")


@pytest.mark.parametrize("metric", ["accuracy", "loss", "macro_f1"])
def test_intervals_of_final_scores(trained: Trained, metric: str) -> None:
    run = trained("run")
    same = levels.score(run.folder, run.folder, metric)
    assert same is not None and same.holds and same.recorded.low <= same.repeated <= same.recorded.high
    assert levels.score(run.folder, run.folder, "no such score") is None


def test_scores_that_are_no_classifiers_have_the_interval_that_was_written(tmp_path: Path) -> None:
    for name, value in (("one", 0.5), ("two", 0.55), ("far", 0.7)):
        (tmp_path / name).mkdir()
        (tmp_path / name / runs.METRICS).write_bytes(metrics.encode({"kind": "final", "step": 3, "f1": value}))
        (tmp_path / name / runs.PREDICTIONS).write_text('{"index":0,"tags":["O"]}\n')
    (tmp_path / "one" / "scores.json").write_text('{"scores": {"f1": {"value": 0.5, "low": 0.4, "high": 0.6}}}')
    near, far = (levels.score(tmp_path / "one", tmp_path / name, "f1") for name in ("two", "far"))
    assert near is not None and near.holds and far is not None and not far.holds
    assert str(near) == "final f1 0.5000 -> 0.5500, within its 95 % interval (0.4000 to 0.6000)"
    assert levels.score(tmp_path / "two", tmp_path / "one", "f1") is None  # nothing was written beside it
    (tmp_path / "one" / "scores.json").write_text("{")
    assert levels.score(tmp_path / "one", tmp_path / "two", "f1") is None


def test_bounds_follow_what_the_last_bits_do() -> None:
    again, nudged = np.array([2.0, 1.0, 1.0]), np.array([2.0, 1.0 + 1e-6, 1.0])
    allowed = bounds.bounds(again, nudged)
    assert allowed[0] == pytest.approx(bounds.FACTOR * 2.0 * 2**-23) and allowed[1] == allowed[2] == pytest.approx(64e-6)
    assert bounds.judge(again, again + np.array([0, 6e-5, 0]), allowed).holds
    beyond = bounds.judge(again, again + np.array([0, 7e-5, 9e-5]), allowed)
    assert not beyond.holds and beyond.step == 2 and beyond.worst_loss == pytest.approx(9e-5)
    assert not bounds.judge(again, again, allowed, 0.02, 0.01).holds and bounds.judge(again, again, allowed, 0.01, 0.02).holds
    wild = bounds.bounds(again, again + 1.0)
    assert wild.max() == pytest.approx(bounds.CAP * again.mean()) and bounds.beyond_cap(again, again + np.array([0, 0, 0.2])) == 3


def test_the_expected_level_follows_from_the_manifests(trained: Trained) -> None:
    old = trained("run").manifest()
    other = {**old, "environment": {**old["environment"], "kernel_target": "other"}}
    newer = {**old, "code": {"version": "9", "sha256": "1" * 64}}
    assert levels.expected(old, old) == ("bitwise", ())
    assert levels.expected(old, other)[0] == "bounded" and "kernel_target" in levels.expected(old, other)[1][0]
    assert levels.expected(old, newer)[0] == levels.expected(old, {**old, "seeds": {"seed": 1}})[0] == "statistical"


def test_two_runs_side_by_side(trained: Trained, recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two, other = trained("one"), trained("two"), trained("other", "optim.lr=0.02")
    assert against(one.folder, two.folder).equal
    half = runs.create(config.load(recipe_file), tmp_path / "half")
    with pytest.raises(ReproducibilityError, match="has made no step yet"):
        against(one.folder, half.folder)
    trainer.train(half, stop_after=7)
    part = against(one.folder, half.folder)
    assert part.equal and part.steps == 7
    assert cli.main(["verify", str(one.folder), "--against", str(other.folder), "--level", "bitwise", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["holds"] is False and told["first"].startswith("step 1 (step) differs first: ")
    assert "another recipe, optim.lr" in told["notes"]
    (two.folder / runs.PREDICTIONS).write_text("")
    assert "two/predictions.jsonl changed after the run" in against(one.folder, two.folder).first


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 0),
        (["--level", "bitwise"], 0),
        (["--steps", "3", "--level", "bounded"], 0),
        (["--steps", "3", "--level", "statistical"], 2),
        (["--seed", "1", "--level", "bounded"], 2),
        (["--against", "x", "--steps", "3"], 2),
        (["optim.lr=1"], 2),
        (["data.workers=2"], 0),
    ],
)
def test_exit_codes(trained: Trained, options: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained("run", "train.epochs=none", "train.steps=4")
    assert cli.main(["verify", str(run.folder), *options, "--quiet"]) == code
    said = capsys.readouterr()
    assert ("level    bitwise" in said.out) if code == 0 else ("Remedy" in said.err)


@pytest.mark.parametrize("name", ["metrics.jsonl", "manifest.json", "predictions.jsonl", "recipe.resolved.toml"])
def test_mutated_files_are_differences_or_clear_errors(trained: Trained, tmp_path: Path, name: str) -> None:
    """Bits flipped, bytes lost, doubled or put in: never another exception than nyala's own."""
    whole = trained("run", "train.epochs=none", "train.steps=4").folder
    hurt = tmp_path / "hurt"
    shutil.copytree(whole, hurt)
    good, draw, refused = (whole / name).read_bytes(), random.Random(4), 0
    for _ in range(60):
        content, at = bytearray(good), draw.randrange(len(good))
        match draw.randrange(4):
            case 0:
                content[at] ^= 1 << draw.randrange(8)
            case 1:
                del content[at : at + draw.randint(1, 40)]
            case 2:
                content[at:at] = content[max(0, at - 9) : at]
            case _:
                content[at:at] = b'"7}{'[: draw.randint(1, 4)]
        (hurt / name).write_bytes(content)
        try:
            result = against(hurt, whole)
        except NyalaError:
            refused += 1
            continue
        assert name == "recipe.resolved.toml" or name == "manifest.json" or not result.equal or content == good
    assert refused or name == "predictions.jsonl"
