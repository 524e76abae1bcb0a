"""Adapters in runs: what learns, what is saved, resume and verify."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.core.nn import lora
from nyala.errors import RecipeError
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.proof import verify
from nyala.recipes.training import adapters, setup, trainer

LORA = (
    "model.adapter.type=lora",
    'model.adapter.targets=["layer1.*.conv1", "layer4.*.conv*"]',
    "model.adapter.rank=2",
    "model.adapter.dropout=0.1",
)


def picture(tiny_data: Path) -> Path:
    return next(tiny_data.rglob("*.png"))


def test_only_adapter_and_head_learn(recipe_file: Path) -> None:
    made = setup.prepare(config.load(recipe_file, LORA).recipe)
    learning = {n for n, p in made.model.named_parameters() if p.requires_grad}
    assert {n for n in learning if ".lora_" not in n} == {"fc.weight", "fc.bias"}
    assert {n.partition(".lora_")[0] for n in learning if ".lora_" in n} == {
        "layer1.0.conv1", "layer4.0.conv1", "layer4.0.conv2",
    }  # fmt: skip
    optimized = {n for o in made.optimizers for g in o.param_groups for n in g["param_names"]}
    assert optimized == learning


def test_what_is_named_learns_too(recipe_file: Path) -> None:
    made = setup.prepare(config.load(recipe_file, [*LORA, 'model.unfreeze=["layer2.0.bn1"]', 'model.freeze=["@head"]']).recipe)
    learning = {n for n, p in made.model.named_parameters() if p.requires_grad and ".lora_" not in n}
    assert learning == {"layer2.0.bn1.weight", "layer2.0.bn1.bias"}


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_the_result_is_an_adapter_and_a_merged_model(trained: Callable[..., Any], tiny_data: Path, kind: str) -> None:
    run = trained("run", *LORA, f"model.adapter.type={kind}")
    assert sorted(p.name for p in (run.folder / "adapter").iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors", "config.json",
    ]  # fmt: skip
    written = json.loads((run.folder / "adapter" / "adapter_config.json").read_text())
    assert written["use_dora"] is (kind == "dora") and written["modules_to_save"] == ["fc"]
    assert written["base_model_name_or_path"] == run.recipe.model.name
    tensors = checkpoint.load_file(run.folder / "adapter" / "adapter_model.safetensors")
    assert "base_model.model.layer1.0.conv1.lora_A.weight" in tensors and "base_model.model.fc.weight" in tensors
    assert {"adapter/adapter_model.safetensors", "model/model.safetensors"} <= run.manifest()["outputs"].keys()
    whole, alone = nyala.load(run.folder), nyala.load(run.folder / "adapter")
    assert not any(".lora_" in n for n in whole.model.state_dict())
    one, other = (np.array(p(picture(tiny_data)).scores) for p in (whole, alone))
    assert np.array_equal(one, other) and whole(picture(tiny_data)).labels == alone(picture(tiny_data)).labels
    base = nyala.load(run.recipe.model.name).model.state_dict()
    merged = whole.model.state_dict()
    changed = {n for n in base if base[n].shape != merged[n].shape or not np.array_equal(base[n].numpy(), merged[n].numpy())}
    assert {"layer1.0.conv1.weight", "layer4.0.conv2.weight"} <= changed
    assert changed <= {"layer1.0.conv1.weight", "layer4.0.conv1.weight", "layer4.0.conv2.weight", "fc.weight", "fc.bias"}


def test_the_adapter_alone(trained: Callable[..., Any], tiny_data: Path) -> None:
    merged, alone = trained("merged", *LORA), trained("alone", *LORA, "model.adapter.merge=false")
    assert not (alone.folder / "model" / "model.safetensors").exists()
    one, other = (nyala.load(run.folder)(picture(tiny_data)) for run in (merged, alone))
    assert one.labels == other.labels and np.allclose(one.scores, other.scores, atol=1e-6)


def test_a_run_goes_on_from_an_adapter(trained: Callable[..., Any]) -> None:
    first = trained("first", *LORA, "model.adapter.merge=false")
    second = trained("second", *LORA, f"model.name={first.folder}", "train.epochs=1")
    assert nyala.load(second.folder).model.num_parameters() == nyala.load(first.folder).model.num_parameters()


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_resumed_and_repeated_it_is_the_same(trained: Callable[..., Any], recipe_file: Path, tmp_path: Path, kind: str) -> None:
    given = [*LORA, f"model.adapter.type={kind}", "train.ema=0.9"]
    whole = trained("whole", *given)
    part = runs.create(config.load(recipe_file, given), tmp_path / "part")
    trainer.train(part, stop_after=7)
    again = runs.open_run(part.folder)
    trainer.train(again)
    assert again.manifest()["outputs"] == whole.manifest()["outputs"]
    assert verify.verify(whole.folder).equal


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["model.adapter.type=lora", 'model.adapter.targets=["query"]'], r"model\.adapter: targets 'query' fits no layer.*layer"),
        (["model.adapter.type=lora"], "'all-linear' fits no layer.*no Linear but its head"),
        (["model.adapter.type=loar"], "unknown type 'loar'.*did you mean 'lora'"),
        ([*LORA, "model.random_init=true"], "the weights are random"),
        ([*LORA, "model.adapter.rank=0"], "must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_told(recipe_file: Path, given: list[str], message: str) -> None:
    with pytest.raises(nyala.errors.NyalaError, match=f"(?s){message}"):
        setup.prepare(config.load(recipe_file, given).recipe)


def test_an_adapter_without_its_base(trained: Callable[..., Any], tmp_path: Path) -> None:
    run = trained("run", *LORA)
    folder = tmp_path / "moved"
    shutil.copytree(run.folder / "adapter", folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": str(tmp_path / "gone")}))
    with pytest.raises(nyala.errors.UnknownNameError, match="there is no folder"):
        nyala.load(folder)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": None}))
    with pytest.raises(nyala.errors.CheckpointError, match="names no base model"):
        nyala.load(folder)


def test_layers_that_are_published_in_parts_are_stored_so(tmp_path: Path) -> None:
    model = Path(__file__).parents[2] / "goldens" / "vision" / "dinov2"  # its qkv is stored as query, key and value
    small = ["data.limit_train=8", "data.limit_test=4", f"model.name={model}", "model.image_size=32", "data.workers=0"]
    shape = ["model.adapter.targets=none", "train.epochs=1", "data.validation_fraction=0", "train.best.use=last"]
    run = runs.create(config.load("vision/fashion-dinov2-lora", [*small, *shape]), tmp_path / "run")
    trainer.train(run)
    stored = nyala.checkpoint.load_file(run.folder / "adapter" / "adapter_model.safetensors")
    assert sum("attention.query.lora_B" in name for name in stored) == 2 and not any("qkv" in name for name in stored)
    merged, adapted = nyala.load(run.folder).model.state_dict(), nyala.load(run.folder / "adapter").model.state_dict()
    assert all(np.allclose(merged[name].numpy(), adapted[name].numpy(), atol=1e-6) for name in merged)


def test_layers_that_cannot_be_stored_are_told_before_training() -> None:
    adapter = lora.attach(nyala.nn.Sequential(nyala.nn.Linear(2, 2), nyala.nn.Linear(2, 2)), targets=["0"])
    with pytest.raises(RecipeError, match=r"0 can have no adapter: .*choose among 1"):
        adapters._storable(adapter, ["1"])
