"""Folds: stratified, drawn by the seed, each sample tested once; and the command that runs them all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from nyala.errors import DataError, RecipeError
from nyala.recipes import cli
from nyala.recipes.data import datasets, folds
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.proof import verify
from nyala.recipes.training import crossval

skewed = np.array([0] * 31 + [1] * 9 + [2] * 5)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_sizes_and_classes_differ_by_one_at_most(count: int) -> None:
    found = folds.assign(skewed, count, seed=3)
    table = np.array([np.bincount(found[skewed == k], minlength=count) for k in range(3)])
    assert np.ptp(table, axis=1).max() <= 1 and np.ptp(table.sum(0)) <= 1
    assert found.shape == skewed.shape and set(found) == set(range(count))


def test_folds_are_a_function_of_the_seed() -> None:
    assert (folds.assign(skewed, 5, 3) == folds.assign(skewed, 5, 3)).all()
    assert (folds.assign(skewed, 5, 3) != folds.assign(skewed, 5, 4)).any()


def test_each_sample_is_tested_in_one_fold_and_in_no_other_part(recipe_file: Path) -> None:
    tested: list[str] = []
    for i in range(4):
        recipe = config.load(recipe_file, ["data.folds=4", f"data.fold={i}"]).recipe
        source = datasets.load(recipe.data, recipe.seed)
        parts = [{str(p) for p in part.inputs} for part in (source.train, source.validation, source.test)]
        assert len(set.union(*parts)) == sum(map(len, parts)) == 60
        assert np.bincount(source.test.labels).tolist() == [5, 5, 5]
        tested += sorted(parts[2])
    assert len(tested) == len(set(tested)) == 60


def test_too_few_samples_for_the_folds() -> None:
    with pytest.raises(DataError, match=r"3 samples cannot be cut into 5 folds"):
        folds.assign(np.array([0, 1, 1]), 5, 0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.fold=1"], r"data\.fold: there are no folds"),
        (["data.folds=3", "data.fold=3"], r"data\.fold: there are 3 folds, 0 to 2"),
        (["data.folds=1"], r"data\.folds: 1 is out of range \(must be at least 2\)"),
    ],
)
def test_bad_folds_are_refused_with_their_key(recipe_file: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        config.load(recipe_file, overrides)


def test_a_class_too_small_for_the_folds_is_named(recipe_file: Path) -> None:
    from nyala.recipes.training import setup

    notes = setup.prepare(config.load(recipe_file, ["data.folds=25"]).recipe).notes
    assert len(notes) == 1 and "fewer samples than folds" in notes[0] and "blue, green, red" in notes[0]


def test_all_folds_run_resume_and_verify(recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    group = tmp_path / "group"
    argv = ["run", str(recipe_file), "--folds", "data.folds=2", "train.epochs=1", "--folder", str(group), "--quiet", "--json"]
    assert cli.main(argv) == 0
    said = json.loads(capsys.readouterr().out)
    scores = [f["accuracy"] for f in said["folds"]]
    assert said["mean"]["accuracy"] == pytest.approx(np.mean(scores))
    assert said["deviation"]["accuracy"] == pytest.approx(np.std(scores, ddof=1))
    assert json.loads((group / "folds.json").read_text())["folds"] == said["folds"]
    assert verify.verify(group / "fold-1").equal
    assert cli.main(["verify", str(group), "--steps", "2", "--quiet", "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert checked["holds"] and len(checked["folds"]) == 2

    # Half of it is lost: resume finishes the rest, and comes to the same.
    import shutil

    weights = (group / "fold-1" / "model" / "model.safetensors").read_bytes()
    recipe = (group / "fold-1" / runs.RECIPE).read_bytes()
    shutil.rmtree(group / "fold-1")
    (group / "fold-1").mkdir()
    (group / "fold-1" / runs.RECIPE).write_bytes(recipe)
    assert cli.main(["resume", str(group), "--quiet"]) == 0
    assert (group / "fold-1" / "model" / "model.safetensors").read_bytes() == weights
    assert f"{np.mean(scores):.4f} ± {np.std(scores, ddof=1):.4f}" in capsys.readouterr().out


def test_folds_without_their_number_are_refused(recipe_file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["run", str(recipe_file), "--folds", "--folder", str(tmp_path / "g")]) == 2
    assert "data.folds is not set" in capsys.readouterr().err
    assert not (tmp_path / "g").exists()


def test_a_cross_validation_that_cannot_begin_leaves_no_folder(recipe_file: Path, tmp_path: Path) -> None:
    group = crossval.create(recipe_file, ["data.folds=2", "model.freeze=['nothing']"], tmp_path / "group")
    with pytest.raises(RecipeError, match="nothing is called"):
        crossval.carry_out(group)
    assert not group.exists()
