"""Runs that learn to guess hidden words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.errors import DataError, RecipeError
from nyala.recipes.data import batches, datasets
from nyala.recipes.folder import metrics
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.training import setup, trainer
from nyala.recipes.training.objectives import HiddenTokens
from nyala.text.pipelines.tagging import NO_TAG


@pytest.fixture
def recipe(tmp_path: Path, tiny_bert: Path) -> Path:
    """A recipe over a corpus whose words follow from each other."""
    pairs = ["the sun is warm", "a grief is cold", "it was kind and bright", "rain of dark and harsh on the grief"]
    (tmp_path / "moods.txt").write_text("\n\n".join(pairs[i % 4] for i in range(120)))
    path = tmp_path / "masked.toml"
    path.write_text(
        f"""schema = 1
[data]
name = "moods.txt"
masked = {{ probability = 0.25, pack = false }}
batch_size = 8
eval_batch_size = 16
workers = 0
[model]
name = "{tiny_bert}"
max_length = 16
dropout = {{ hidden_dropout_prob = 0.0, attention_probs_dropout_prob = 0.0 }}
[optim]
type = "adamw"
lr = 0.01
[train]
epochs = 10
best = {{ metric = "loss" }}
checkpoint = {{ every = 30 }}
"""
    )
    return path


def test_it_learns_stops_goes_on_and_fills(recipe: Path, tmp_path: Path) -> None:
    loaded = config.load(recipe)
    whole, stopped = runs.create(loaded, tmp_path / "whole"), runs.create(loaded, tmp_path / "stopped")
    scores = trainer.train(whole)
    assert scores["accuracy"] > 0.6 and scores["perplexity"] < 4
    trainer.train(stopped, stop_after=20)
    trainer.train(stopped)
    for name in ("metrics.jsonl", "predictions.jsonl", "model/model.safetensors", "model/config.json"):
        assert (whole.folder / name).read_bytes() == (stopped.folder / name).read_bytes(), name
    pipe = nyala.load(str(whole.folder))
    assert type(pipe).__name__ == "FillMask"
    assert pipe("rain of dark and [MASK] on the grief").fills[0][0].word == "harsh"
    judged = nyala.evaluate(str(whole.folder))
    assert judged.assessment.found["loss"].value == pytest.approx(scores["loss"], rel=1e-5), "judged on its own test part"
    assert nyala.evaluate(str(whole.folder), recipe.parent / "moods.txt").assessment.found["accuracy"].value > 0.6
    again = [r for r in metrics.read(whole.folder / runs.METRICS) if r["kind"] == "step"]
    assert again[-1]["loss"] < again[0]["loss"] / 2


def test_a_head_that_was_published_is_kept(recipe: Path, tmp_path: Path) -> None:
    first = runs.create(config.load(recipe, ["train.epochs=none", "train.steps=2"]), tmp_path / "first")
    trainer.train(first)
    made = setup.prepare(config.load(recipe, [f"model.name={first.folder}"]).recipe)
    saved = nyala.load(str(first.folder)).model.state_dict()
    assert all(np.array_equal(t.numpy(), saved[n].numpy()) for n, t in made.model.state_dict().items())


def test_what_is_hidden_changes_with_the_epoch_and_not_in_evaluation(recipe: Path) -> None:
    made = setup.prepare(config.load(recipe).recipe)
    loaded = config.load(recipe).recipe

    def hidden(epoch: int) -> list[np.ndarray]:
        found = batches.for_training(made.source.train, made.task, loaded, epoch, 0)
        return [row for batch in found for row in batch.labels[np.argsort(batch.indices)]]

    def evaluated(size: int) -> Any:
        recipe_ = config.load(recipe, [f"data.eval_batch_size={size}"]).recipe
        return made.objective.evaluate(made.model, batches.for_evaluation(made.source.test, made.task, recipe_)).record()

    assert all(np.array_equal(a, b) for a, b in zip(hidden(0), hidden(0), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(hidden(0), hidden(1), strict=True))
    assert evaluated(3) == pytest.approx(evaluated(16), rel=1e-5)


def test_the_loss_counts_hidden_tokens(recipe: Path) -> None:
    made = setup.prepare(config.load(recipe).recipe)
    batch = next(iter(batches.for_evaluation(made.source.test, made.task, config.load(recipe).recipe)))
    targets = nyala.from_numpy(batch.labels)
    outputs = made.objective.outputs(made.model.eval(), batch.inputs)
    told = batch.labels != NO_TAG
    assert outputs.shape[0] == told.sum() == made.objective.count(targets) == made.objective.answers(batch.labels)
    each = made.objective.loss(outputs, targets, "none").detach().numpy()
    given = {k: v for k, v in batch.inputs.items() if k != "places"}
    logits = made.model(**given).detach().numpy().astype(np.float64)
    shares = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    rows, columns = np.nonzero(told)
    expected = np.zeros(len(each))
    np.add.at(expected, rows, -shares[rows, columns, batch.labels[told]])
    assert each == pytest.approx(expected, rel=1e-4)
    assert made.objective.loss(outputs, targets).item() == pytest.approx(expected.sum(), rel=1e-4)
    assert made.objective.correct(outputs, batch.labels) == (shares[rows, columns].argmax(-1) == batch.labels[told]).sum()


def test_each_text_can_be_a_sample_of_its_own(recipe: Path) -> None:
    made = setup.prepare(config.load(recipe, ["data.masked.pack=false"]).recipe)
    lengths = {len(made.source.train.inputs[i]) for i in range(len(made.source.train))}
    assert len(lengths) > 1 and len(made.source.train) + len(made.source.validation) + len(made.source.test) == 120
    batch = next(iter(batches.for_evaluation(made.source.test, made.task, config.load(recipe).recipe)))
    assert set(np.unique(batch.inputs["attention_mask"].numpy())) == {0, 1}
    assert np.isfinite(made.objective.evaluate(made.model, [batch]).record()["loss"])


def test_accumulated_batches_are_one_batch(recipe: Path, tmp_path: Path) -> None:
    weights = []
    for i, (size, times) in enumerate(((8, 1), (2, 4))):
        given = [f"data.batch_size={size}", f"train.accumulate={times}", "train.epochs=none", "train.steps=3", "optim.type=sgd"]
        run = runs.create(config.load(recipe, [*given, "optim.lr=0.1"]), tmp_path / str(i))
        trainer.train(run)
        weights.append(nyala.checkpoint.load_file(run.folder / "model" / "model.safetensors"))
    assert all(np.allclose(weights[0][n], weights[1][n], rtol=1e-4, atol=1e-5) for n in weights[0])


def test_texts_with_classes_serve_too(text_recipe_file: Path) -> None:
    source = datasets.load(config.load(text_recipe_file, ["data.masked={}", "data.augment=[]"]).recipe.data, 0)
    assert source.kind == "masked" and not source.labels and not source.train.labels.any()


@pytest.mark.parametrize(
    ("overrides", "kind", "text"),
    [
        (["data.name=mail-subjects"], RecipeError, "data.masked: mail-subjects holds no plain texts"),
        (
            ["data.limit_test=1", "data.masked.pack=true"],
            DataError,
            r"the test part has 1 text\(s\), together shorter",
        ),
        (["train.label_smoothing=0.1"], RecipeError, "texts with hidden tokens have no classes"),
        (["train.best.metric=f1"], RecipeError, "texts with hidden tokens have accuracy, loss, not f1"),
        (["data.sampling=balanced"], RecipeError, "texts with hidden tokens have no classes to balance"),
        (["data.masked.probability=1.5"], RecipeError, "data.masked.probability: 1.5 is out of range"),
        (["data.masked.chance=0.5"], RecipeError, "data.masked.chance: unknown key"),
    ],
)
def test_what_makes_no_sense(recipe: Path, overrides: list[str], kind: Any, text: str) -> None:
    with pytest.raises(kind, match=text):
        setup.prepare(config.load(recipe, overrides).recipe)


def test_a_decoder_hides_nothing(recipe: Path, tiny_llama: Path) -> None:
    with pytest.raises(RecipeError, match=r"model.name: llama cannot guess hidden words.*choose an encoder"):
        setup.prepare(config.load(recipe, [f"model.name={tiny_llama}"]).recipe)


def test_the_objective_is_named_by_its_scores() -> None:
    assert HiddenTokens.metrics == ("accuracy",) and HiddenTokens().classes == 0
