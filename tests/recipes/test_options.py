"""Options of training against what they are defined as, in plain NumPy; together; and proved by ``nyala verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.errors import ModuleError, RecipeError
from nyala.recipes.data import batches, mixing
from nyala.recipes.data.batches import Batch
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.proof import verify
from nyala.recipes.training import freezing, setup, steps, trainer

RNG = np.random.default_rng(2)


def prepared(recipe_file: Path, *overrides: str) -> tuple[Any, Any]:
    recipe = config.load(recipe_file, overrides).recipe
    return recipe, setup.prepare(recipe)


# ---- the loss: PyTorch's definition -------------------------------------------------------------------------------


def reference(logits: np.ndarray, targets: np.ndarray, weights: np.ndarray, smoothing: float) -> np.ndarray:
    """Each sample's loss by torch.nn.CrossEntropyLoss's documentation, in float64."""
    logp = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    if targets.ndim == 2:
        shares = targets * (1 - smoothing) + smoothing / logits.shape[1]
        return -(weights * shares * logp).sum(1)
    own = -(weights[targets] * logp[np.arange(len(targets)), targets])
    return (1 - smoothing) * own - smoothing / logits.shape[1] * (weights * logp).sum(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weights", ["[0.5, 4.0, 1.0]", "{green=2.5}", "balanced"])
@pytest.mark.parametrize("shares", [False, True])
def test_class_weights_and_smoothing_are_pytorchs(recipe_file: Path, smoothing: float, weights: str, shares: bool) -> None:
    _, made = prepared(recipe_file, f"train.class_weights={weights}", f"train.label_smoothing={smoothing}")
    counts = np.bincount(made.source.train.labels)
    numbers = {"[0.5, 4.0, 1.0]": [0.5, 4.0, 1.0], "{green=2.5}": [1.0, 2.5, 1.0]}.get(weights, counts.sum() / (3 * counts))
    logits = RNG.normal(size=(6, 3)).astype(np.float32)
    labels = np.array([0, 1, 2, 2, 1, 0])
    targets = RNG.dirichlet([1, 1, 1], 6).astype(np.float32) if shares else labels
    each = reference(logits.astype(np.float64), targets.astype(np.float64) if shares else labels, np.array(numbers), smoothing)
    found = made.objective.loss(nyala.tensor(logits), nyala.tensor(targets), "none").numpy()
    np.testing.assert_allclose(found, each, rtol=1e-5)
    mean = made.objective.loss(nyala.tensor(logits), nyala.tensor(targets)).item() / made.objective.count(nyala.tensor(targets))
    divisor = 6 if shares else np.array(numbers)[labels].sum()
    assert mean == pytest.approx(each.sum() / divisor, rel=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("[1, 2]", r"train\.class_weights has 2 numbers and there are 3 classes: they count for blue, green, red, in this order"),
        ("{gren=2}", r"train\.class_weights: no class is called 'gren'\. Remedy: did you mean 'green'"),
        ("[1, -2, 1]", r"train\.class_weights\[1\]: -2 is out of range \(must be at least 0\)"),
        ("{red='x'}", r"train\.class_weights\.red: expected a number, got the string 'x'"),
        ("[0, 0, 0]", r"train\.class_weights: no class has a weight above 0"),
        ("balance", r"train\.class_weights: 'balance' is none of balanced \(did you mean 'balanced'\?\)"),
        ("2.0", r"train\.class_weights: expected 'balanced' or a list or a table, got the number 2\.0"),
    ],
)
def test_bad_class_weights_are_refused_with_their_key(recipe_file: Path, given: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        prepared(recipe_file, f"train.class_weights={given}")


# ---- blending -----------------------------------------------------------------------------------------------------


def pictures(count: int) -> list[Batch]:
    images = RNG.normal(size=(count, 3, 8, 8)).astype(np.float32)
    labels = np.arange(count) % 3
    return [Batch(nyala.tensor(images), labels, np.arange(count))]


def cut(parts: list[Batch], size: int) -> list[Batch]:
    (part,) = parts
    places = range(0, len(part), size)
    x = part.inputs.numpy()
    return [Batch(nyala.tensor(x[i : i + size]), part.labels[i : i + size], part.indices[i : i + size]) for i in places]


@pytest.mark.parametrize(
    "overrides", [["train.mixup=0.4"], ["train.cutmix=1.0"], ["train.mixup=0.4", "train.cutmix=1.0"]], ids=str
)
def test_blending_does_not_depend_on_how_an_update_is_cut(recipe_file: Path, overrides: list[str]) -> None:
    recipe = config.load(recipe_file, overrides).recipe.train
    whole = pictures(7)
    for step in range(6):
        ((x, t),) = mixing.mixed(whole, recipe, 3, (1, step))
        pieces = mixing.mixed(cut(whole, 2), recipe, 3, (1, step))
        assert [len(p) for p, _ in pieces] == [2, 2, 2, 1]
        assert np.concatenate([p.numpy() for p, _ in pieces]).tobytes() == x.numpy().tobytes()
        assert np.concatenate([p.numpy() for _, p in pieces]).tobytes() == t.numpy().tobytes()


def test_with_both_on_each_update_draws_one(recipe_file: Path) -> None:
    both = config.load(recipe_file, ["train.mixup=1.0", "train.cutmix=1.0"]).recipe.train
    alone = [config.load(recipe_file, [f"train.{name}=1.0"]).recipe.train for name in ("mixup", "cutmix")]
    parts, counts = pictures(6), [0, 0]
    for step in range(200):
        found = mixing.mixed(parts, both, 3, (0, step))[0][0].numpy().tobytes()
        same = [mixing.mixed(parts, one, 3, (0, step))[0][0].numpy().tobytes() == found for one in alone]
        assert any(same)
        counts[same.index(True)] += 1
    assert min(counts) > 70


def test_a_share_that_could_hardly_be_drawn_is_refused(recipe_file: Path) -> None:
    with pytest.raises(RecipeError, match=r"train\.mixup: is so small that next to nothing is blended \(set it to 0, or"):
        config.load(recipe_file, ["train.mixup=1e-9"])
    config.load(recipe_file, ["train.mixup=0.01", "train.cutmix=0"])


# ---- averages of the weights --------------------------------------------------------------------------------------


def test_the_average_is_its_definition_and_is_what_is_evaluated(recipe_file: Path, tmp_path: Path) -> None:
    """timm's and TensorFlow's: the decay rises as (1 + n) / (10 + n) up to its value; whole numbers are copied."""
    recipe, made = prepared(recipe_file, "train.ema=0.6", "schedule.type=constant")
    mean = {n: t.numpy().astype(np.float64) for n, t in made.model.state_dict().items()}
    for step, part in enumerate(batches.for_training(made.source.train, made.task, recipe, 0, 0)):
        freezing.train_mode(made.model)
        steps.update(made.model, made.optimizers, [part], recipe.train, made.objective, (0, step))
        made.ema.update()
        decay = min(0.6, (2 + step) / (11 + step))
        for name, t in made.model.state_dict().items():
            new = t.numpy().astype(np.float64)
            mean[name] = new if t.dtype.kind == "i" else decay * mean[name] + (1 - decay) * new
    for name, value in made.final_arrays().items():
        np.testing.assert_allclose(value, mean[name], rtol=2e-5, atol=1e-6, err_msg=name)

    run = runs.create(config.load(recipe_file, ["train.ema=0.9", "train.best.use=last"]), tmp_path / "run")
    trainer.train(run)
    from nyala import checkpoint

    saved = checkpoint.load_file(sorted((run.folder / "checkpoints").glob("step-*"))[-1] / "state.safetensors")
    published = checkpoint.load_file(run.folder / runs.MODEL / "model.safetensors")
    for name, value in published.items():
        assert np.array_equal(value, saved[f"ema.{name}"]), name
    assert any(not np.array_equal(saved[f"model.{n}"], saved[f"ema.{n}"]) for n in published)


# ---- checkpointing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "overrides"),
    [
        ("recipe_file", ["model.dropout={drop_rate=0.3}"]),
        ("text_recipe_file", ["model.dropout={hidden_dropout_prob=0.2}"]),
        ("text_recipe_file", ["model.adapter={type='lora', rank=2, dropout=0.1}"]),
        ("text_recipe_file", ["train.unfreeze={type='layers', every_epochs=0.5}"]),
    ],
)
def test_checkpointing_changes_no_bit_of_a_run(
    recipe: str, overrides: list[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Batch norms count each batch once, and dropout draws the same numbers in the second pass."""
    files = []
    for on in ("true", "false"):
        loaded = config.load(request.getfixturevalue(recipe), [f"train.checkpointing={on}", "train.epochs=2", *overrides])
        run = runs.create(loaded, tmp_path / on)
        trainer.train(run)
        lines = [r for r in (run.folder / runs.METRICS).read_text().splitlines() if '"kind":"step"' in r]
        files.append((lines, (run.folder / runs.MODEL / "model.safetensors").read_bytes()))
    assert files[0] == files[1] and len(files[0][0]) > 5


def test_blocks_are_computed_twice_with_checkpointing_and_once_without(recipe_file: Path) -> None:
    for on, times in (("true", 2), ("false", 1)):
        recipe, made = prepared(recipe_file, f"train.checkpointing={on}")
        calls: list[int] = []
        made.model.layer2[0].conv1.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        freezing.train_mode(made.model)
        part = next(iter(batches.for_training(made.source.train, made.task, recipe, 0, 0)))
        steps.update(made.model, made.optimizers, [part], recipe.train, made.objective, (0, 0))
        assert len(calls) == times


def test_a_model_without_blocks_refuses_checkpointing(recipe_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nyala.vision.models.resnet import ResNet

    def none(*_: Any) -> None:
        raise ModuleError("ResNet has no blocks to checkpoint", fix="-")

    monkeypatch.setattr(ResNet, "enable_checkpointing", none)
    with pytest.raises(RecipeError, match=r"train\.checkpointing: .* cannot do it: ResNet has no blocks"):
        prepared(recipe_file, "train.checkpointing=true")


# ---- proof --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides",
    [
        ["data.sampling=balanced", "train.class_weights=balanced", "train.checkpointing=true", "train.ema=0.9"],
        ["data.folds=4", "data.fold=1", "train.mixup=0.3", "train.cutmix=0.5", "train.accumulate=2", "train.label_smoothing=0.1"],
        ["train.watchdog={window=3, loss=50.0}", "optim.layer_decay=0.8", "train.early_stop={patience=1}", "train.eval_every=2"],
    ],
    ids=lambda o: o[0],
)
def test_runs_with_these_options_verify(recipe_file: Path, tmp_path: Path, overrides: list[str]) -> None:
    run = runs.create(config.load(recipe_file, overrides), tmp_path / "run")
    trainer.train(run)
    result = verify.verify(run.folder)
    assert result.equal, str(result)


def test_texts_with_everything_on_stop_and_go_on(text_recipe_file: Path, tmp_path: Path) -> None:
    options = [
        *("data.sampling=balanced", "train.class_weights={good=2.0}", "train.label_smoothing=0.1", "train.checkpointing=true"),
        *("train.ema=0.9", "optim.layer_decay=0.9", "train.watchdog={window=2, loss=50.0}", "train.clip_norm=1.0"),
    ]
    loaded = config.load(text_recipe_file, options)
    whole, stopped = runs.create(loaded, tmp_path / "whole"), runs.create(loaded, tmp_path / "stopped")
    trainer.train(whole)
    for step in (3, 7):
        trainer.train(stopped, stop_after=step)
    trainer.train(runs.open_run(stopped.folder, ["data.workers=3"]))
    for name in ("metrics.jsonl", "predictions.jsonl", "model/model.safetensors"):
        assert (whole.folder / name).read_bytes() == (stopped.folder / name).read_bytes(), name
