"""What a run will need: measured on a tiny recipe, and the arithmetic on made-up measurements."""

from __future__ import annotations

import json
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import nyala
import pytest
from nyala.recipes import cli
from nyala.recipes.language import config
from nyala.recipes.language.schema import Recipe
from nyala.recipes.plan import memory, plan
from nyala.recipes.plan.estimate import estimate

FOUND: dict[str, Any] = {
    "start": 50,
    "loading": 300,
    "load_seconds": 2.0,
    "parameters": 30,
    "trainable": 20,
    "weights": 120,
    "gradients": 80,
    "optimizer": 160,
    "average": 0,
    "train": 100,
    "validation": 10,
    "test": 20,
    "steps_per_epoch": 7,
    "total_steps": 14,
    "notes": [],
    "live": 250,
    "peaks": {"2": 640, "4": 680},
    "timed": {"2": 0.3, "4": 0.5},
    "worked": {"2": 0.4, "4": 0.7},
    "longest": 9,
    "eval_seconds": 0.01,
    "save_seconds": 1.0,
    "checkpoint": 280,
    "training": 700,
    "sequence": 700,
}


def recipe(**data: Any) -> Recipe:
    tree = {"schema": 1, "data": {"name": "d", "batch_size": 16, **data}, "model": {"name": "m"}, "train": {"epochs": 2}}
    return msgspec.convert(tree, Recipe)


def test_lines_go_on_to_the_recipes_batch() -> None:
    found = estimate(recipe(), FOUND, 0)
    assert found.activations == 16 * 20
    # what everything took at 4, and 20 for each further sample, above what is held from the start; and 7 % for pieces
    assert found.peak == round(50 + (700 + 12 * 20 - 50) * 1.07)
    assert found.step == pytest.approx(0.5 + 12 * 0.1) and found.worked == pytest.approx(0.7 + 12 * 0.15)
    assert found.total == pytest.approx(14 * found.step + 2 * (10 * 0.01 + 1.0) + 2.0 + 20 * 0.01)
    assert found.epoch == pytest.approx(7 * found.step + 10 * 0.01 + 1.0)
    assert found.rest + found.weights + found.gradients + found.optimizer + found.activations == found.peak
    assert found.fits and found.suggestions() == [] and found.measured_up_to == 4
    assert found.disk == 2 * 280 + 2 * 120


def test_a_batch_that_was_measured_needs_no_line() -> None:
    found = estimate(recipe(batch_size=4), FOUND, 0)
    assert found.peak == round(50 + 650 * 1.07) and found.step == 0.5


def test_evaluating_may_need_most() -> None:
    found = estimate(recipe(), {**FOUND, "sequence": 950}, 0)
    assert found.peak == 1013 and found.when == "evaluating or saving"  # and training 1002
    texts = estimate(recipe(), {**FOUND, "sequence": 950}, 900).suggestions()
    assert any("data.eval_batch_size" in text for text in texts) and not any("smaller model" in text for text in texts)


def test_loading_may_need_most() -> None:
    found = estimate(recipe(batch_size=4), {**FOUND, "loading": 900}, 1000)
    assert found.peak == 900 and found.when == "loading"


def test_what_does_not_fit_gets_a_smaller_batch() -> None:
    found = estimate(recipe(), FOUND, 950)
    assert not found.fits and found.largest_batch == 9  # 1002 - 7 * 21.4 is less than 90 % of 950
    assert any(text.startswith("data.batch_size=8 train.accumulate=2") for text in found.suggestions())
    assert any("train.accumulate=6" in text for text in replace(found, accumulate=3).suggestions())
    for peak, word in ((800, "which fits"), (960, "still too much")):
        texts = replace(found, checkpointed=peak).suggestions()
        assert any(text.startswith("train.checkpointing=true") and word in text for text in texts)


def test_what_can_never_fit_is_told() -> None:
    found = estimate(recipe(), FOUND, 400)
    assert found.largest_batch == 0
    assert any("model.adapter.type=lora" in text for text in found.suggestions())
    assert any("even one sample" in text for text in found.suggestions())


def test_peaks_are_seen() -> None:
    if not memory.forget_most():
        pytest.skip("this system does not count peaks anew")
    before = memory.held()
    assert memory.peak_of(lambda: np.ones(8_000_000)) > before + 60_000_000
    assert memory.forget_most() and memory.most() < before + 40_000_000
    assert memory.available() > 0


def test_the_limit_of_a_container(tmp_path: Path) -> None:
    assert memory._free_of_container(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert memory._free_of_container(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory._free_of_container(tmp_path) == 600


def test_a_tiny_run(recipe_file: Path) -> None:
    loaded = config.load(recipe_file)
    found = plan(loaded, seconds=20)
    count = nyala.load(loaded.recipe.model.name, num_classes=3).model.num_parameters()
    assert found.parameters == found.trainable == count
    assert found.gradients == 4 * count and found.optimizer > 8 * count
    assert found.batch_size == found.measured_up_to == 8 and found.steps_per_epoch == 6 and found.total_steps == 12
    assert found.peak > found.start > 0 and found.step > 0 and found.total > found.epoch > 6 * found.step


def test_frozen_and_adapted_runs_need_less(recipe_file: Path) -> None:
    found = plan(config.load(recipe_file, ['model.freeze=["*"]', 'model.unfreeze=["@head"]', "data.batch_size=2"]), seconds=2)
    assert found.trainable == 8 * 3 + 3 and found.gradients == 4 * found.trainable
    adapted = plan(config.load(recipe_file, ["model.adapter.type=lora", 'model.adapter.targets=["*.conv1"]']), seconds=2)
    assert found.trainable < adapted.trainable < adapted.parameters


def test_what_would_stop_the_run_stops_the_plan(recipe_file: Path) -> None:
    with pytest.raises(nyala.errors.RecipeError, match="fits no layer"):
        plan(config.load(recipe_file, ["model.adapter.type=lora", 'model.adapter.targets=["query"]']))


def test_a_killed_measurement_is_told(recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nkill -9 $$\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(fake))
    with pytest.raises(nyala.errors.StorageError, match=r"killed by signal 9.*memory runs out"):
        plan(config.load(recipe_file))


def test_on_the_command_line(recipe_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", str(recipe_file), "--seconds", "1", "--quiet"]) == 0
    shown = capsys.readouterr().out
    for part in ("weights", "gradients", "optimizer", "activations", "memory at most", "one epoch", "whole run", "disk"):
        assert part in shown
    assert cli.main(["plan", str(recipe_file), "--seconds", "1", "--quiet", "--memory", "60MB", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["fits"] is False and answer["suggestions"] and answer["room"] == 60_000_000
    assert cli.main(["plan", str(recipe_file), "--seconds", "0"]) == 2
    assert "--seconds 0" in capsys.readouterr().err
