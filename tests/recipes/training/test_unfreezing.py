"""Gradual unfreezing: who learns when, with exact optimizer states and resumption."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.recipes.folder import metrics
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.language.schema import Layerwise
from nyala.recipes.proof import verify
from nyala.recipes.training import setup, trainer, unfreezing

STAGED = (
    'model.freeze=["*"]',
    'model.unfreeze=["@head"]',
    'train.unfreeze={type="stages", stages=[{step=4, patterns=["layer4"]}, {epoch=1, patterns=["layer3", "*.bn1"]}]}',
)
LAYERED = ("train.unfreeze.type=layers", "train.unfreeze.every_steps=3")


def learns(model: Any, step: int, starts: dict[str, int]) -> set[str]:
    unfreezing.apply(model, starts, step)
    return {n for n, p in model.named_parameters() if p.requires_grad}


def test_stages_begin_when_they_say(recipe_file: Path) -> None:
    made = setup.prepare(config.load(recipe_file, STAGED).recipe)
    assert made.steps_per_epoch == 6
    head = {"fc.weight", "fc.bias"}
    names = {n for n, _ in made.model.named_parameters()}
    fourth = {n for n in names if n.startswith("layer4.")}
    rest = {n for n in names if n.startswith("layer3.") or ".bn1." in n}
    assert learns(made.model, 0, made.starts) == learns(made.model, 3, made.starts) == head
    assert learns(made.model, 4, made.starts) == head | fourth
    assert learns(made.model, 6, made.starts) == head | fourth | rest
    assert "layer1.0.bn1.weight" in rest and "conv1.weight" not in made.starts
    optimized = {n for o in made.optimizers for g in o.param_groups for n in g["param_names"]}
    assert optimized == head | fourth | rest


def test_layers_begin_from_the_head_down(recipe_file: Path) -> None:
    made = setup.prepare(config.load(recipe_file, LAYERED).recipe)
    depth = made.model.layer_of
    firsts = {depth(name): first for name, first in made.starts.items()}
    ordered = [firsts[d] for d in sorted(firsts, reverse=True)]
    assert ordered == [3 * i for i in range(len(ordered))]
    assert learns(made.model, 0, made.starts) == {"fc.weight", "fc.bias"}
    assert learns(made.model, 1000, made.starts) == {n for n, _ in made.model.named_parameters()}


def test_several_layers_at_once_and_parts_of_an_epoch(recipe_file: Path) -> None:
    made = setup.prepare(config.load(recipe_file, [*LAYERED, "train.unfreeze.layers=2"]).recipe)
    assert sorted(set(made.starts.values())) == [0, 3, 6, 9][: len(set(made.starts.values()))]
    again = setup.prepare(config.load(recipe_file, ["train.unfreeze.type=layers", "train.unfreeze.every_epochs=0.5"]).recipe)
    assert sorted(set(again.starts.values()))[:3] == [0, 3, 6]


def test_what_model_freeze_names_stays_frozen(recipe_file: Path) -> None:
    made = setup.prepare(config.load(recipe_file, [*LAYERED, 'model.freeze=["layer1", "conv1"]']).recipe)
    assert not any(n.startswith(("layer1", "conv1")) for n in made.starts)
    assert not any(n.startswith(("layer1", "conv1")) for n in learns(made.model, 1000, made.starts))


def test_weights_move_only_once_they_learn(recipe_file: Path, tmp_path: Path) -> None:
    run = runs.create(config.load(recipe_file, [*STAGED, "train.checkpoint.every=4"]), tmp_path / "run")
    before = {n: t.numpy().copy() for n, t in setup.prepare(run.recipe).model.state_dict().items()}
    seen: dict[int, set[str]] = {}

    def look(training: Any) -> None:
        own = {n: p.detach().numpy() for n, p in training.setup.model.named_parameters()}
        seen[training.at.step] = {n for n, a in own.items() if not np.array_equal(a, before[n])}
        states = [o.named_state() for o in training.setup.optimizers]
        started = {key.rpartition(".")[0] for state in states for key in state}
        assert started == seen[training.at.step], "no numbers are kept for what has not begun to learn"

    trainer.train(run, before_update=look)
    assert seen[0] == set() and seen[4] == {"fc.weight", "fc.bias"}
    assert any(n.startswith("layer4.") for n in seen[5]) and not any(n.startswith("layer3.") for n in seen[6])
    assert any(n.startswith("layer3.") for n in seen[7]) and "conv1.weight" not in seen[11]
    told = [r for r in metrics.read(run.folder / runs.METRICS) if r["kind"] == "unfreeze"]
    assert [r["step"] for r in told] == [4, 6] and "layer4.0.conv1.weight" in told[0]["parameters"]


@pytest.mark.parametrize("stop", [3, 5, 7])
@pytest.mark.parametrize("given", [STAGED, LAYERED], ids=["stages", "layers"])
def test_resumed_it_is_the_same(
    trained: Callable[..., Any], recipe_file: Path, tmp_path: Path, given: tuple[str, ...], stop: int
) -> None:  # fmt: skip
    whole = trained("whole", *given)
    part = runs.create(config.load(recipe_file, given), tmp_path / "part")
    trainer.train(part, stop_after=stop)
    trainer.train(runs.open_run(part.folder))
    assert part.manifest()["outputs"] == whole.manifest()["outputs"]
    if stop == 5:
        assert verify.verify(whole.folder).equal


def test_with_an_adapter(trained: Callable[..., Any], recipe_file: Path) -> None:
    lora = ["model.adapter.type=lora", 'model.adapter.targets=["*.conv1"]']
    made = setup.prepare(config.load(recipe_file, [*lora, *LAYERED]).recipe)
    assert all(".lora_" in n or n.startswith("fc.") for n in made.starts)
    run = trained("run", *lora, *LAYERED, "train.unfreeze.every_steps=2")
    assert nyala.load(run.folder)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (['train.unfreeze={type="stages", stages=[{step=4, patterns=["layer4"]}]}'], "nothing is frozen"),
        (
            ['model.freeze=["*"]', 'model.unfreeze=["@head"]', 'train.unfreeze={type="stages", stages=[{patterns=["layer4"]}]}'],
            "needs one of epoch and step",
        ),
        (
            ['model.freeze=["layer1"]', 'train.unfreeze={type="stages", stages=[{step=4, patterns=["layer4"]}]}'],
            "what 'layer4' fits learns already",
        ),
        (
            ['model.freeze=["layer1"]', 'train.unfreeze={type="stages", stages=[{step=4, patterns=["layre1"]}]}'],
            "nothing is called 'layre1'",
        ),
        (['model.freeze=["*"]', 'model.unfreeze=["@head"]', *LAYERED], "only one layer learns"),
    ],
)
def test_what_makes_no_sense_is_told(recipe_file: Path, given: list[str], message: str) -> None:
    with pytest.raises(nyala.errors.NyalaError, match=message):
        setup.prepare(config.load(recipe_file, given).recipe)


def test_what_never_begins_is_told(recipe_file: Path) -> None:
    made = setup.prepare(config.load(recipe_file, ["train.unfreeze.type=layers", "train.unfreeze.every_epochs=1"]).recipe)
    assert any("never learn: the run has 12 steps" in note for note in made.notes)
    assert unfreezing.never({"a": 0, "b": 3}, 4) == []


def test_no_schedule_changes_nothing(recipe_file: Path) -> None:
    made = setup.prepare(config.load(recipe_file).recipe)
    assert made.starts == {} and unfreezing.apply(made.model, {}, 5) == []
    assert Layerwise().layers == 1
