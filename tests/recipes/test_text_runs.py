"""A whole run on text: a tiny BERT with dropout, whose every draw is keyed, so a stopped run ends the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nyala.errors import DataError, IndexRangeError, RecipeError
from nyala.recipes.data import tasks
from nyala.recipes.folder import metrics
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.training import setup, trainer


@pytest.fixture
def recipe(text_recipe_file: Path) -> Path:
    return text_recipe_file


def test_it_learns_stops_goes_on_and_loads(recipe: Path, tmp_path: Path) -> None:
    import nyala

    loaded = config.load(recipe)
    assert loaded.recipe.data.name == str(tmp_path / "moods.jsonl")
    whole, stopped = runs.create(loaded, tmp_path / "whole"), runs.create(loaded, tmp_path / "stopped")
    scores = trainer.train(whole)
    assert scores["accuracy"] >= 0.8
    trainer.train(stopped, stop_after=6)
    trainer.train(stopped)
    for name in ("metrics.jsonl", "predictions.jsonl", "model/model.safetensors", "model/config.json"):
        assert (whole.folder / name).read_bytes() == (stopped.folder / name).read_bytes(), name
    pipeline = nyala.load(str(whole.folder))
    assert pipeline.preprocess.max_length == 12
    assert [p.label for p in pipeline(["sun joy warm", "the rain is cold and dark"])] == ["good", "bad"]
    assert "<blockquote>" in (whole.folder / "report.html").read_text()


def test_dropout_differs_from_step_to_step_and_rates_can_be_set(recipe: Path, tmp_path: Path) -> None:
    overrides = ["train.steps=3", "train.epochs=none"]
    none = ["model.dropout={hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0}"]
    losses = {}
    for name, more in {"with": [], "again": [], "without": none}.items():
        run = runs.create(config.load(recipe, [*overrides, *more]), tmp_path / name)
        trainer.train(run)
        losses[name] = [r["loss"] for r in metrics.read(run.folder / "metrics.jsonl") if r["kind"] == "step"]
    assert losses["with"] == losses["again"] != losses["without"]


def test_a_model_for_other_data_and_options_for_pictures_are_refused(recipe: Path, tiny_model: Path) -> None:
    with pytest.raises(RecipeError, match="is for vision and the data are texts"):
        setup.prepare(config.load(recipe, [f"model.name={tiny_model}"]).recipe)
    with pytest.raises(RecipeError, match=r"(?s)train.mixup: texts cannot be blended.*model.image_size: the data are texts"):
        setup.prepare(config.load(recipe, ["train.mixup=0.2", "model.image_size=32"]).recipe)
    with pytest.raises(RecipeError, match=r"model.max_length is 500: .* has 24 positions"):
        setup.prepare(config.load(recipe, ["model.max_length=500"]).recipe)


def test_a_token_outside_the_vocabulary_names_its_sample() -> None:
    ids = np.array([[2, 5, 3], [2, 31, 3]])
    with pytest.raises(IndexRangeError, match=r"sample 17 has token id 31 at position 1 and the vocabulary has 30"):
        tasks.check_tokens(ids, 30, np.array([4, 17]))
    tasks.check_tokens(ids, 32, np.array([4, 17]))


def test_a_head_that_is_kept_must_fit(recipe: Path) -> None:
    with pytest.raises(RecipeError, match=r"model.new_head is false, but .* tells 0 classes apart and the data have 2"):
        setup.prepare(config.load(recipe, ["model.new_head=false"]).recipe)


def test_an_empty_validation_part_is_said(recipe: Path) -> None:
    with pytest.raises(DataError, match=r"the validation part of .* is empty"):
        setup.prepare(config.load(recipe, ["data.validation_fraction=0.005"]).recipe)
