"""The trainer: it learns, it repeats itself, and options do what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala import checkpoint
from nyala.errors import DataError, GradError, NumericError, RecipeError
from nyala.recipes.data import batches
from nyala.recipes.folder import metrics
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.training import freezing, setup, steps, trainer

Trained = Callable[..., runs.Run]


def records(run: runs.Run, kind: str) -> list[dict[str, Any]]:
    return [r for r in metrics.read(run.folder / runs.METRICS) if r["kind"] == kind]


def weights(run: runs.Run) -> bytes:
    return (run.folder / runs.MODEL / "model.safetensors").read_bytes()


def same(a: runs.Run, b: runs.Run) -> bool:
    return weights(a) == weights(b) and all(
        (a.folder / n).read_bytes() == (b.folder / n).read_bytes() for n in (runs.METRICS, runs.PREDICTIONS)
    )


def test_it_learns_and_writes_everything(trained: Trained) -> None:
    run = trained("run", "train.epochs=8")
    steps_made, evals = records(run, "step"), records(run, "eval")
    assert [r["step"] for r in steps_made] == list(range(1, len(steps_made) + 1))
    assert steps_made[-1]["loss"] < steps_made[0]["loss"] / 2
    assert [r["epoch"] for r in evals] == list(range(8))
    (final,) = records(run, "final")
    assert final["accuracy"] >= 0.75 and final["samples"] == 12
    present = {p.name for p in run.folder.iterdir()}
    wanted = {
        "recipe.resolved.toml",
        "manifest.json",
        "metrics.jsonl",
        "timings.jsonl",
        "predictions.jsonl",
        "report.html",
        "model",
    }
    assert wanted <= present
    assert "seconds" not in (run.folder / "metrics.jsonl").read_text()
    assert "<svg" in (run.folder / "report.html").read_text()


def test_the_best_weights_are_the_ones_published(trained: Trained) -> None:
    run = trained("run", "train.epochs=6")
    evals = records(run, "eval")
    best = max(evals, key=lambda r: r["accuracy"])
    assert records(run, "final")[0]["weights_step"] == best["step"]
    last = trained("last", "train.epochs=6", "train.best.use=last")
    assert records(last, "final")[0]["weights_step"] == evals[-1]["step"]


def test_the_same_recipe_gives_the_same_bytes_with_any_number_of_threads(trained: Trained) -> None:
    first = trained("a")
    assert same(first, trained("b", "data.workers=3"))
    assert weights(first) != weights(trained("c", "seed=12"))


def test_the_result_loads_by_its_folder_and_predicts_as_evaluated(trained: Trained, tiny_data: Path) -> None:
    import nyala

    run = trained("run", "train.epochs=4")
    pipeline = nyala.load(str(run.folder))
    source = setup.prepare(run.recipe).source
    recorded = [json.loads(line) for line in (run.folder / runs.PREDICTIONS).read_text().splitlines()]
    found = pipeline([str(p) for p in source.test.inputs])
    assert [p.label for p in found] == [sorted(d.name for d in tiny_data.iterdir())[r["predicted"]] for r in recorded]
    assert [p.score for p in found] == pytest.approx([r["probability"] for r in recorded], rel=1e-4)


def test_accumulating_four_batches_of_two_is_one_batch_of_eight(recipe_file: Path) -> None:
    """The same samples, the same update: how they are cut does not matter. Batch norms are frozen, for they look at a batch."""
    frozen = [
        "model.freeze=['*']",
        "model.unfreeze=['fc', 'layer4.0.conv2']",
        "optim.type=sgd",
        "data.augment=[]",
        "train.label_smoothing=0.1",
    ]
    results = []
    for cut in (["data.batch_size=8"], ["data.batch_size=2", "train.accumulate=4"]):
        recipe = config.load(recipe_file, [*frozen, *cut, "train.epochs=none", "train.steps=3"]).recipe
        made = setup.prepare(recipe)
        training = trainer.Training.__new__(trainer.Training)
        training.setup, training.run, training.at = made, type("R", (), {"recipe": recipe})(), trainer.Counters()
        groups = list(trainer.updates(training))
        freezing.train_mode(made.model)
        outcomes = [
            steps.update(made.model, made.optimizers, g, recipe.train, made.objective, (0, i)) for i, g in enumerate(groups)
        ]
        assert sum(o.samples for o in outcomes) == len(made.source.train)
        results.append(({n: t.numpy() for n, t in made.model.state_dict().items()}, [o.loss for o in outcomes]))
    (one, one_losses), (four, four_losses) = results
    assert one_losses == pytest.approx(four_losses, rel=1e-5)
    for name in one:
        np.testing.assert_allclose(one[name], four[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_frozen_weights_and_statistics_stay_bit_for_bit(trained: Trained, tiny_model: Path) -> None:
    run = trained("run", "model.freeze=['*']", "model.unfreeze=['@head', 'layer4']")
    before = checkpoint.load_file(tiny_model / "model.safetensors")
    after = checkpoint.load_file(run.folder / "model" / "model.safetensors")
    changed = {
        n.partition(".")[0] for n in before if before[n].shape != after[n].shape or not np.array_equal(before[n], after[n])
    }
    assert changed == {"fc", "layer4"}


def test_a_frozen_prefix_records_no_graph(recipe_file: Path) -> None:
    made = setup.prepare(config.load(recipe_file, ["model.freeze=['*']", "model.unfreeze=['@head']"]).recipe)
    features = made.model.forward_features(made.task.collate([made.task.prepare(made.source.train.inputs[0])], np.array([0])))
    assert features.grad_fn is None and not features.requires_grad


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["model.freeze=['lyer1']"], RecipeError, "nothing is called 'lyer1'.*did you mean 'layer1'"),
        (["model.freeze=['*']"], RecipeError, "leaves nothing to train"),
        (["optim.lr_scale={stem=2}"], RecipeError, "optim.lr_scale: nothing is called 'stem'"),
        (["model.num_classes=2"], RecipeError, "model.num_classes is 2"),
        (
            ["model.max_length=16", "data.augment=[{type='word_dropout'}]"],
            RecipeError,
            "(?s)word_dropout is not for pictures.*max_length",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_the_first_step(
    recipe_file: Path, overrides: list[str], error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        setup.prepare(config.load(recipe_file, overrides).recipe)


def test_a_trainable_parameter_without_a_gradient_is_an_error(recipe_file: Path) -> None:
    from nyala import nn

    made = setup.prepare(config.load(recipe_file).recipe)
    made.model.add_module("idle", nn.Linear(2, 2))
    recipe = config.load(recipe_file).recipe
    batch = next(iter(batches.for_evaluation(made.source.train, made.task, recipe)))
    with pytest.raises(GradError, match=r"no gradient reaches idle\.weight, idle\.bias"):
        steps.update(made.model, made.optimizers, [batch], recipe.train, made.objective, (0, 0))


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_a_loss_that_is_no_number_stops_with_the_step_and_its_samples(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(
        NumericError, match=r"the (loss|gradient's norm) is (nan|inf|-inf) in step \d+, samples \d+, \d+.*of the training part"
    ):
        trained("run", "optim.type=sgd", "optim.lr=1e20", "schedule.type=constant", "train.epochs=20")
    assert not runs.open_run(tmp_path / "run").finished


@pytest.mark.parametrize(
    "overrides",
    [
        ["optim.type=sgd"],
        ["optim.type=adam"],
        ["optim.type=lion"],
        ["optim.type=lamb"],
        ["optim.type=adafactor"],
        ["optim.type=muon"],
        ["train.ema=0.9", "train.clip_norm=0.5"],
        ["train.mixup=0.4", "train.label_smoothing=0.1"],
        ["train.cutmix=1.0", "data.augment=[{type='random_resized_crop'}, {type='random_erasing', p=1.0}]"],
        ["schedule={type='plateau', patience=0, factor=0.5}", "train.early_stop={patience=2}"],
        ["optim.layer_decay=0.7", "optim.lr_scale={'@head'=3.0}", "train.accumulate=2"],
        ["schedule={type='one_cycle'}", "model.dropout={drop_rate=0.3}", "model.image_size=24"],
        ["data.sampling=balanced", "train.class_weights=balanced", "data.workers=2"],
        ["train.class_weights={red=3.0}", "train.accumulate=3", "train.label_smoothing=0.2", "optim.layer_decay=0.8"],
        ["train.checkpointing=true", "train.ema=0.9", "model.dropout={drop_rate=0.3}"],
        ["train.mixup=0.4", "train.cutmix=1.0", "train.class_weights=[1, 2, 3]", "train.accumulate=2", "train.ema=0.5"],
        ["train.watchdog={window=2, loss=50.0, grad_norm=1000.0}", "train.early_stop={patience=1}", "train.eval_every=2"],
        ["data.folds=3", "data.fold=2", "data.sampling=balanced", "train.mixup=0.2", "train.clip_norm=1.0"],
    ],
    ids=lambda o: o[0],
)
def test_every_option_runs_and_repeats_itself_after_a_stop(recipe_file: Path, tmp_path: Path, overrides: list[str]) -> None:
    """Each is run whole, and again with a stop behind step 5 (one step after a checkpoint): the same bytes."""
    loaded = config.load(recipe_file, overrides)
    whole, stopped = runs.create(loaded, tmp_path / "whole"), runs.create(loaded, tmp_path / "stopped")
    trainer.train(whole)
    trainer.train(stopped, stop_after=5)
    assert not stopped.finished
    trainer.train(stopped)
    assert same(whole, stopped)


def test_early_stopping_ends_the_run(trained: Trained) -> None:
    run = trained("run", "train.epochs=30", "optim.lr=1e-9", "train.early_stop={patience=2}")
    assert len(records(run, "eval")) == 3 and records(run, "final")


def test_the_plateau_rule_lowers_the_rate(trained: Trained) -> None:
    run = trained(
        "run", "train.epochs=4", "optim.lr=1e-9", "schedule={type='plateau', patience=0, factor=0.5, metric='accuracy'}"
    )
    rates = sorted({r["lr"] for r in records(run, "step")}, reverse=True)
    assert rates[:2] == [1e-9, 5e-10]


def test_layer_decay_and_scales_set_the_groups_rates(recipe_file: Path) -> None:
    made = setup.prepare(
        config.load(recipe_file, ["optim.layer_decay=0.5", "optim.lr_scale={'@head'=4.0}", "optim.weight_decay=0.1"]).recipe
    )
    rates = {id(p): g["lr"] for o in made.optimizers for g in o.param_groups for p in g["params"]}
    decays = {id(p): g["weight_decay"] for o in made.optimizers for g in o.param_groups for p in g["params"]}
    named = dict(made.model.named_parameters())
    assert rates[id(named["fc.weight"])] == pytest.approx(0.04)
    assert rates[id(named["layer4.0.conv1.weight"])] == pytest.approx(0.005)
    assert rates[id(named["conv1.weight"])] == pytest.approx(0.01 * 0.5**5)
    assert decays[id(named["fc.weight"])] == 0.1 and decays[id(named["fc.bias"])] == decays[id(named["bn1.weight"])] == 0


def test_labels_outside_the_head_are_caught_before_the_first_step(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(DataError, match=r"x\.jsonl: no column tells that it is the label"):
        trained("run", f"data.name={tmp_path / 'x.jsonl'}", "data.augment=[]")
