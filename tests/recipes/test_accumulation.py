"""Four batches of two make the update of one batch of eight, to float32's rounding, whatever weighs or blends the samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala.recipes import progress
from nyala.recipes.data import batches
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.training import freezing, setup, steps, trainer

# Batch norms see one batch at a time, so they are frozen here; dropout draws by the place in the batch, so it is off.
FROZEN = ["model.freeze=['*']", "model.unfreeze=['@head', 'layer4.0.conv2']", "data.augment=[]"]
NO_DROPOUT = ["model.dropout={hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0}", "data.augment=[]"]
CUTS = [["data.batch_size=2", "train.accumulate=4"], ["data.batch_size=4", "train.accumulate=2"]]
OPTIONS = {
    "plain": [],
    "smoothing": ["train.label_smoothing=0.1"],
    "weights": ["train.class_weights=[0.5, 4.0, 1.0]"],
    "balanced": ["train.class_weights=balanced", "data.sampling=balanced", "train.label_smoothing=0.2"],
    "mixup": ["train.mixup=0.4"],
    "everything": ["train.mixup=0.4", "train.cutmix=1.0", "train.label_smoothing=0.1", "train.class_weights=[0.5, 4.0, 1.0]"],
}


def updates(recipe_file: Path, overrides: list[str], cut: list[str]) -> tuple[dict[str, np.ndarray], list[Any], list[list[int]]]:
    """The weights after one epoch by plain descent, the outcomes, and the samples of each update."""
    plain = ["optim={type='sgd', momentum=0.0, lr=0.1}", "schedule.type=constant", "train.epochs=1", *overrides, *cut]
    recipe = config.load(recipe_file, plain).recipe
    made = setup.prepare(recipe)
    group: list[batches.Batch] = []
    groups = [group]
    for batch in batches.for_training(made.source.train, made.task, recipe, 0, 0):
        if len(groups[-1]) == recipe.train.accumulate:
            groups.append([])
        groups[-1].append(batch)
    freezing.train_mode(made.model)
    found = [
        steps.update(made.model, made.optimizers, parts, recipe.train, made.objective, (recipe.seed, i))
        for i, parts in enumerate(groups)
    ]
    samples = [[int(i) for part in parts for i in part.indices] for parts in groups]
    return {n: np.array(t.numpy()) for n, t in made.model.state_dict().items()}, found, samples


def compare(one: tuple[Any, ...], four: tuple[Any, ...]) -> None:
    assert one[2] == four[2]  # the same samples, in the same order
    assert [o.samples for o in one[1]] == [o.samples for o in four[1]] and one[1][-1].samples % 8
    assert [o.loss for o in one[1]] == pytest.approx([o.loss for o in four[1]], rel=2e-6)
    assert [o.grad_norm for o in one[1]] == pytest.approx([o.grad_norm for o in four[1]], rel=2e-5)
    for name, value in one[0].items():
        np.testing.assert_allclose(value, four[0][name], rtol=2e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize(
    "cut", [["data.batch_size=2", "train.accumulate=4"], ["data.batch_size=4", "train.accumulate=2"]], ids=str
)
@pytest.mark.parametrize("option", OPTIONS)
def test_pictures(recipe_file: Path, option: str, cut: list[str]) -> None:
    """The last update has 3 samples: it divides by what it has."""
    chosen = [*FROZEN, *OPTIONS[option]]
    compare(updates(recipe_file, chosen, ["data.batch_size=8"]), updates(recipe_file, chosen, cut))


@pytest.mark.parametrize(
    "options",
    [[], ["train.label_smoothing=0.1", "train.class_weights={good=3.0}"], ["data.sampling=balanced", "train.checkpointing=true"]],
    ids=str,
)
def test_texts_of_any_length(text_recipe_file: Path, options: list[str]) -> None:
    """A small batch is padded to its own longest text, a large one to the longest of all."""
    chosen = [*NO_DROPOUT, *options, "data.limit_train=51"]
    one = updates(text_recipe_file, chosen, ["data.batch_size=8", "train.accumulate=1"])
    four = updates(text_recipe_file, chosen, ["data.batch_size=2", "train.accumulate=4"])
    compare(one, four)


def test_dividing_by_batches_would_not_do(recipe_file: Path) -> None:
    """The mean of the batches' own means is another loss where the weights of their samples differ: the test can tell."""
    chosen = [*FROZEN, *OPTIONS["weights"]]
    recipe = config.load(recipe_file, [*chosen, "data.batch_size=2", "train.accumulate=4"]).recipe
    made = setup.prepare(recipe)
    parts = list(batches.for_training(made.source.train, made.task, recipe, 0, 0))[:4]
    freezing.train_mode(made.model)
    means = []
    for part in parts:
        found = steps.update(made.model, [], [part], recipe.train, made.objective, (0, 0))
        means.append(found.loss)
    exact = steps.update(made.model, [], parts, recipe.train, made.objective, (0, 0)).loss
    assert abs(np.mean(means) - exact) > 1e-3


def test_an_update_in_which_no_sample_counts_changes_nothing(recipe_file: Path) -> None:
    weights = ["train.class_weights={blue=0.0, green=0.0, red=1.0}"]
    recipe = config.load(recipe_file, [*FROZEN, *weights, "optim={type='sgd', momentum=0.0}"]).recipe
    made = setup.prepare(recipe)
    part = next(p for p in batches.for_evaluation(made.source.train, made.task, recipe) if not (p.labels == 2).any())
    before = made.model.state_dict()["fc.weight"].numpy().copy()
    freezing.train_mode(made.model)
    found = steps.update(made.model, made.optimizers, [part], recipe.train, made.objective, (0, 0))
    assert found.loss == found.grad_norm == 0.0
    np.testing.assert_array_equal(before, made.model.state_dict()["fc.weight"].numpy())


def test_batch_norms_that_learn_are_named_at_the_start(recipe_file: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    show = progress.Progress()
    show.note = notes.append  # type: ignore[method-assign]
    cut = ["data.batch_size=2", "train.accumulate=4"]
    trainer.train(runs.create(config.load(recipe_file, cut), tmp_path / "run"), show, stop_after=1)
    assert any("batch norms learn" in note and "2 samples at a time, not 8" in note for note in notes)
    assert setup.prepare(config.load(recipe_file, [*cut, *FROZEN]).recipe).notes == []
    assert setup.prepare(config.load(recipe_file).recipe).notes == []
