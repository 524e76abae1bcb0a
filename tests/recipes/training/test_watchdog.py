"""The watchdog: what it stops at, what it lets pass, and that a resumed run is stopped at the same step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala.errors import NumericError, RecipeError
from nyala.recipes import cli
from nyala.recipes.folder import metrics
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.language.schema import Watchdog
from nyala.recipes.training import divergence, setup, steps, trainer
from nyala.recipes.training.watchdog import DivergenceError, Watch


def seen(losses: list[float], norms: list[float] | None = None, **rule: Any) -> Watch:
    watch = Watch(Watchdog(**{"window": 4, "patience": 1, **rule}))
    for loss, norm in zip(losses, norms or [1.0] * len(losses), strict=True):
        watch.add(loss, norm)
    return watch


def test_a_loss_above_its_multiple_of_the_lowest_median_is_an_explosion() -> None:
    watch = seen([2.0, 1.0, 1.0, 1.0, 1.5, 1.5, 1.5])  # medians of four: 1, 1, 1.25, 1.5
    assert watch.look(10.0, 1.0) == ""
    assert watch.look(10.1, 1.0) == "the loss is 10.1, more than 10 times 1, its lowest running median so far"


def test_a_loss_that_doubles_again_and_again_is_an_explosion_though_its_median_follows() -> None:
    watch, loss, step = seen([2.0] * 10, window=20), 2.0, 0
    while not watch.look(loss, 1.0) and step < 50:
        watch.add(loss, 1.0)
        loss, step = loss * 1.15, step + 1
    assert loss < 25


def test_from_the_second_step_on_there_is_something_to_compare_with() -> None:
    assert seen([]).look(1e9, 1e9) == ""
    assert seen([2.3]).look(1e9, 1e9) != ""


def test_a_loss_below_that_of_the_first_step_is_none() -> None:
    assert seen([2.0, *[1e-4] * 8]).look(1.9, 1.0) == ""
    assert seen([2.0, *[1e-4] * 8]).look(2.1, 1.0) != ""


def test_one_hard_batch_is_no_explosion() -> None:
    watch = seen([1.0] * 4, patience=3)
    assert [watch.look(20.0, 1.0) or watch.add(20.0, 1.0) for _ in range(2)] == [None, None]
    assert watch.look(20.0, 1.0).endswith("for 3 steps in a row")
    watch.add(0.9, 1.0)
    assert watch.look(20.0, 1.0) == "" and list(watch.losses) == [1.0, 1.0, 1.0, 0.9]


def test_gradients_are_watched_where_asked_for() -> None:
    assert seen([1.0] * 4, [0.2] * 4).look(1.0, 1e6) == ""
    found = seen([1.0] * 4, [0.2] * 4, grad_norm=100.0).look(1.0, 21.0)
    assert found == "the gradient's norm is 21, more than 100 times 0.2, its median over the last 4 steps"
    assert seen([1.0] * 4, [0.0] * 4, grad_norm=100.0).look(1.0, 21.0) == ""  # nothing to be a multiple of


def test_without_a_rule_nothing_is_watched() -> None:
    watch = Watch(None)
    watch.add(1.0, 1.0)
    assert watch.look(1e30, 1e30) == ""


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.watchdog={loss=1.0}"], r"train\.watchdog\.loss: 1\.0 is out of range \(must be above 1\)"),
        (["train.watchdog={window=1}"], r"train\.watchdog\.window: 1 is out of range \(must be at least 2\)"),
        (["train.watchdog={patience=0}"], r"train\.watchdog\.patience: 0 is out of range \(must be at least 1\)"),
        (["train.watchdog={los=3}"], r"train\.watchdog\.los: unknown key \(did you mean 'loss'\?\)"),
        (["train.watchdog=true"], r"train\.watchdog: expected a table"),
    ],
)
def test_bad_rules_are_refused_with_their_key(recipe_file: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        config.load(recipe_file, overrides)


# ---- in a run -----------------------------------------------------------------------------------------------------

RULE = "train.watchdog={window=4, patience=2, loss=3.0}"
STEADY = ["schedule.type=constant", "optim.lr=1e-6", "train.epochs=3", "data.augment=[]", RULE]


@pytest.fixture
def jolted(monkeypatch: pytest.MonkeyPatch) -> None:
    """From step 9 on the loss that the run sees is five times what it is."""
    real = steps.gradients

    def gradients(attempt: Any, scaler: Any = None) -> tuple[float, int]:
        loss, right = real(attempt, scaler)
        return (loss * 5 if attempt.key[1] >= 8 else loss), right

    monkeypatch.setattr(steps, "gradients", gradients)


@pytest.mark.usefixtures("jolted")
def test_a_run_stops_before_the_exploding_step_and_keeps_what_was_good(recipe_file: Path, tmp_path: Path) -> None:
    run = runs.create(config.load(recipe_file, STEADY), tmp_path / "run")
    with pytest.raises(DivergenceError, match=r"the loss is .* more than 3 times .*; step 10 was not made") as caught:
        trainer.train(run)
    assert "the newest checkpoint, step-00000008, is from before" in str(caught.value)
    assert "the highest losses are of samples" in str(caught.value) and "the largest gradient is of" in str(caught.value)
    assert max(r["step"] for r in metrics.read(run.folder / runs.METRICS)) == 9
    assert (run.folder / "checkpoints" / "step-00000008").is_dir() and not run.finished
    record = json.loads((run.folder / divergence.STOPPED).read_text())
    assert record["step"] == 10 and record["checkpoint"] == "step-00000008" and len(record["samples"]) == 5
    source = setup.prepare(run.recipe).source.train
    for sample in record["samples"]:
        assert sample["input"] == str(source.inputs[sample["index"]]) and sample["label"] == source.labels[sample["index"]]


@pytest.mark.usefixtures("jolted")
def test_no_checkpoint_is_written_while_the_loss_is_wild(recipe_file: Path, tmp_path: Path) -> None:
    run = runs.create(config.load(recipe_file, [*STEADY, "train.checkpoint.every=1"]), tmp_path / "run")
    with pytest.raises(DivergenceError, match="step 10 was not made"):
        trainer.train(run)
    assert sorted(p.name for p in (run.folder / "checkpoints").glob("step-*")) == ["step-00000007", "step-00000008"]


@pytest.mark.usefixtures("jolted")
@pytest.mark.parametrize("stop", [3, 8, 9])
def test_a_resumed_run_is_stopped_at_the_same_step_with_the_same_words(recipe_file: Path, tmp_path: Path, stop: int) -> None:
    """What the watch has seen is read back from the metrics."""
    loaded = config.load(recipe_file, STEADY)
    said = []
    for name, stops in {"whole": [], "stopped": [stop]}.items():
        run = runs.create(loaded, tmp_path / name)
        for step in stops:
            trainer.train(run, stop_after=step)
            assert not run.finished
        with pytest.raises(DivergenceError) as caught:
            trainer.train(run)
        said.append((str(caught.value), (run.folder / runs.METRICS).read_bytes()))
    assert said[0] == said[1]


def test_a_watched_run_that_behaves_has_the_bits_of_an_unwatched_one(recipe_file: Path, tmp_path: Path) -> None:
    weights = []
    for name, more in {"with": ["train.watchdog={window=3, grad_norm=50.0}"], "without": []}.items():
        run = runs.create(config.load(recipe_file, more), tmp_path / name)
        trainer.train(run)
        weights.append((run.folder / runs.MODEL / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


@pytest.mark.usefixtures("jolted")
def test_once_it_goes_well_no_word_of_the_stop_is_left(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs.create(config.load(recipe_file, STEADY), tmp_path / "run")
    with pytest.raises(DivergenceError):
        trainer.train(run)
    monkeypatch.undo()
    trainer.train(run)
    assert run.finished and not (run.folder / divergence.STOPPED).exists()


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_weights_that_are_not_finite_are_never_saved_or_evaluated(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient of step 4 is finite and its update is not: the checkpoint that is due then is not written."""
    real = steps.update

    def update(model: Any, *args: Any) -> Any:
        outcome = real(model, *args)
        if args[4][1] == 3:
            model.layer2[0].conv1.weight.array[0, 0, 0, 0] = np.inf
        return outcome

    monkeypatch.setattr(steps, "update", update)
    run = runs.create(config.load(recipe_file, ["train.checkpoint.every=2"]), tmp_path / "run")
    with pytest.raises(NumericError, match=r"after step 4 the weights layer2\.0\.conv1\.weight are not finite") as caught:
        trainer.train(run)
    assert isinstance(caught.value, DivergenceError) and caught.value.module == "layer2.0.conv1"
    assert [p.name for p in (run.folder / "checkpoints").glob("step-*")] == ["step-00000002"]


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_the_command_line_says_it_in_one_message_with_exit_code_2(
    recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = ["optim.type=sgd", "optim.lr=1e20", "schedule.type=constant"]
    assert cli.main(["run", str(recipe_file), *wild, "--folder", str(tmp_path / "run"), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert "in step" in said and "Remedy: start a new run with another recipe" in said and "optim.lr" in said
    assert "Traceback" not in said
