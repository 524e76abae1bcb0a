"""Where something was first not finite: the module, the samples and the direction are named, and nothing is left changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.recipes.data import batches
from nyala.recipes.language import config
from nyala.recipes.training import freezing, setup, steps
from nyala.recipes.training.watchdog import DivergenceError

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")


@pytest.fixture
def prepared(recipe_file: Path) -> tuple[Any, Any, list[batches.Batch]]:
    """The tiny network with frozen batch norms (so that samples do not touch each other), and two batches."""
    frozen = ["model.freeze=['*']", "model.unfreeze=['@head', 'layer4.0.conv2']", "data.augment=[]", "train.accumulate=2"]
    recipe = config.load(recipe_file, frozen).recipe
    made = setup.prepare(recipe)
    freezing.train_mode(made.model)
    return made, recipe, list(batches.for_training(made.source.train, made.task, recipe, 0, 0))[:2]


def fail(prepared: tuple[Any, Any, list[batches.Batch]]) -> DivergenceError:
    made, recipe, parts = prepared
    before = {n: t.numpy().tobytes() for n, t in made.model.state_dict().items()}
    with pytest.raises(DivergenceError) as caught:
        steps.update(made.model, made.optimizers, parts, recipe.train, made.objective, (3, 6))
    assert before == {n: t.numpy().tobytes() for n, t in made.model.state_dict().items()}
    assert all(p.grad is None or not p.grad.numpy().any() for p in made.model.parameters())
    assert not any(m._hooks is not None and any(m._hooks.by_kind.values()) for m in made.model.modules())
    return caught.value


def poison(module: Any, test: Any) -> None:
    """Makes the module's output NaN for the rows that ``test(inputs)`` picks."""
    real = module.forward

    def forward(x: Any, *args: Any, **kwargs: Any) -> Any:
        out = real(x, *args, **kwargs)
        rows = np.asarray(test(out.detach().numpy()), bool).reshape(-1, *[1] * (out.ndim - 1))
        return nyala.where(nyala.from_numpy(np.broadcast_to(rows, out.shape).copy()), float("nan"), out)

    module.forward = forward


def test_the_first_module_and_the_samples_at_fault_are_named(prepared: Any) -> None:
    made, _, parts = prepared
    marked = made.model.layer2[0].bn1
    calls: list[int] = []

    def second_batch_row_5(out: np.ndarray) -> np.ndarray:
        calls.append(1)
        return np.arange(len(out)) == (5 if len(calls) % 2 == 0 else -1)

    poison(marked, second_batch_row_5)
    error = fail(prepared)
    assert error.module == "layer2.0.bn1" and error.samples == [int(parts[1].indices[5])] and error.step == 7
    assert f"the loss is nan in step 7, sample {error.samples[0]} of the training part" in str(error)
    assert "layer2.0.bn1 (BatchNorm2d) is the first module whose output is not finite" in str(error)


def test_inputs_that_are_not_finite_are_told_from_modules(prepared: Any) -> None:
    _, _, parts = prepared
    parts[0].inputs.array[2, 1, 3, 3] = np.inf
    parts[0].inputs.array[6, 0, 0, 0] = np.nan
    error = fail(prepared)
    assert error.module == "" and error.samples == [int(parts[0].indices[i]) for i in (2, 6)]
    assert "their inputs are not finite already" in str(error)


def test_weights_that_were_bad_before_clear_the_samples(prepared: Any) -> None:
    prepared[0].model.layer3[0].conv1.weight.array[0, 0, 0, 0] = np.nan
    error = fail(prepared)
    assert error.module == "layer3.0.conv1" and len(error.samples) == 8
    assert "the weights layer3.0.conv1.weight are not finite since the last update" in str(error)


def test_a_gradient_that_is_not_finite_is_followed_back_to_its_module(prepared: Any) -> None:
    made, _, parts = prepared
    where = made.model.layer4[0].bn2
    real = where.forward

    def forward(x: Any, *args: Any, **kwargs: Any) -> Any:
        """The values of its input and, on the way back, an infinite slope for the third sample."""
        shape = (-1, *[1] * (x.ndim - 1))
        hot = nyala.from_numpy((np.arange(len(x)) == 2).astype(np.float32)).reshape(shape)
        zero = (x - x.detach()) * hot
        return real(x, *args, **kwargs) + nyala.sqrt(zero)  # sqrt(0): value 0, slope infinite

    where.forward = forward
    error = fail(prepared)
    assert "the gradient's norm is" in str(error) and error.module == "layer4.0.conv2"
    assert "on the way back the gradient of the output of layer4.0.conv2 (Conv2d) is the first that is not finite" in str(error)
    assert int(parts[0].indices[2]) in error.samples


def test_running_statistics_are_put_back(recipe_file: Path) -> None:
    recipe = config.load(recipe_file, ["data.augment=[]"]).recipe
    made = setup.prepare(recipe)
    freezing.train_mode(made.model)
    part = next(iter(batches.for_training(made.source.train, made.task, recipe, 0, 0)))
    poison(made.model.fc, lambda out: np.arange(len(out)) == 1)
    with pytest.raises(DivergenceError) as caught:
        steps.update(made.model, made.optimizers, [part], recipe.train, made.objective, (0, 0))
    assert caught.value.module == "fc" and caught.value.samples == [int(part.indices[1])]
    counted = [int(b.numpy()) for n, b in made.model.named_buffers() if n.endswith("num_batches_tracked")]
    assert set(counted) == {counted[0]}


def test_texts_and_dropout_are_replayed_to_the_same_draws(text_recipe_file: Path) -> None:
    recipe = config.load(text_recipe_file, ["train.accumulate=2"]).recipe
    made = setup.prepare(recipe)
    freezing.train_mode(made.model)
    parts = list(batches.for_training(made.source.train, made.task, recipe, 0, 0))[:2]
    outputs: list[bytes] = []
    made.model.register_forward_hook(lambda _, __, out: outputs.append(getattr(out, "logits", out).detach().numpy().tobytes()))
    layer = next(m for n, m in made.model.named_modules() if n.endswith("layer.1.output.LayerNorm"))
    calls: list[int] = []

    def last(out: np.ndarray) -> np.ndarray:
        calls.append(1)
        return np.arange(len(out)) == (3 if len(calls) % 2 == 0 else -1)

    poison(layer, last)
    with pytest.raises(DivergenceError, match=r"layer\.1\.output\.LayerNorm .* is the first module") as caught:
        steps.update(made.model, made.optimizers, parts, recipe.train, made.objective, (0, 4))
    assert caught.value.samples == [int(parts[1].indices[3])]
    assert len(outputs) == 4 and outputs[:2] == outputs[2:] and outputs[0] != outputs[1]
