"""Adapters of a fused layer, stored as those of the layers that it is published as."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint, nn
from nyala.core.nn import lora
from nyala.errors import CheckpointError
from nyala.hub import adapters, registry

DINO = Path(__file__).parents[1] / "goldens" / "vision" / "dinov2"
QUERY, KEY, VALUE = (f"base_model.model.encoder.layer.0.attention.attention.{name}" for name in ("query", "key", "value"))


def model() -> Any:
    config = json.loads((DINO / "config.json").read_text())
    nyala.manual_seed(1)
    return registry.get(registry.architecture_of(config)).build(config).eval()


def named(made: Any) -> dict[str, Any]:
    architecture = registry.get("transformers:dinov2")
    return {"names": adapters.published_paths(made, architecture), "parts": adapters.published_parts(made, architecture)}


def result(made: Any) -> np.ndarray:
    x = checkpoint.load_file(DINO / "goldens.safetensors")["input"].astype(np.float32)
    with nyala.no_grad():
        return made.forward_features(nyala.tensor(x)).numpy()


def learnt(**options: Any) -> tuple[Any, Any]:
    """A model with an adapter that changes much."""
    made = model()
    adapter = lora.attach(made, 2, 8.0, ["qkv", "fc1"], seed=3, **options)
    for name, tensor in adapter.state_dict().items():
        if "lora_B" in name:
            tensor.array[...] = np.random.default_rng(len(name)).normal(size=tensor.shape) / 4
    return made, adapter


@pytest.mark.parametrize("options", [{}, {"dora": True}, {"rslora": True}], ids=["lora", "dora", "rslora"])
def test_what_was_divided_is_joined_to_the_bit(options: dict[str, Any], tmp_path: Path) -> None:
    made, adapter = learnt(**options)
    adapter.save(tmp_path, **named(made))
    stored = checkpoint.load_file(tmp_path / "adapter_model.safetensors")
    assert not any("qkv" in name for name in stored)
    assert np.array_equal(stored[f"{QUERY}.lora_A.weight"], stored[f"{VALUE}.lora_A.weight"])
    target = json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"]
    assert "encoder.layer.0.attention.attention.key" in target
    other = model()
    again = lora.load(other, tmp_path, **named(other))
    assert again.state_dict().keys() == adapter.state_dict().keys()
    for name, tensor in adapter.state_dict().items():
        assert np.array_equal(tensor.numpy(), again.state_dict()[name].numpy()), name
    assert np.array_equal(result(other), result(made)) and not np.allclose(result(made), result(model()), atol=1e-2)


@pytest.mark.parametrize("rslora", [False, True])
def test_parts_that_learnt_apart_and_parts_that_did_not(rslora: bool, tmp_path: Path) -> None:
    """As PEFT leaves it with ``target_modules=["query", "value"]``."""
    made, adapter = learnt(rslora=rslora)
    adapter.save(tmp_path, **named(made))
    path, rng = tmp_path / "adapter_model.safetensors", np.random.default_rng(0)
    stored = {k: v.copy() for k, v in checkpoint.load_file(path).items() if k.startswith((f"{QUERY}.", f"{VALUE}."))}
    stored[f"{VALUE}.lora_A.weight"] = rng.normal(size=(2, 16)).astype(np.float32)
    checkpoint.save_file(stored, path)
    other = model()
    expected = other.get_parameter("blocks.0.attn.qkv.weight").detach().numpy().copy()
    for rows, name in ((slice(0, 16), QUERY), (slice(32, 48), VALUE)):
        expected[rows] += 8 / (2**0.5 if rslora else 2) * stored[f"{name}.lora_B.weight"] @ stored[f"{name}.lora_A.weight"]
    loaded = lora.load(other, tmp_path, **named(other)).merge()
    assert np.allclose(other.get_parameter("blocks.0.attn.qkv.weight").detach().numpy(), expected, atol=1e-6)
    loaded.unmerge().save(tmp_path / "again", **named(other))
    third = model()
    lora.load(third, tmp_path / "again", **named(third)).merge()
    assert np.allclose(third.get_parameter("blocks.0.attn.qkv.weight").detach().numpy(), expected, atol=1e-6)


def test_what_cannot_be_joined(tmp_path: Path) -> None:
    made, adapter = learnt(dora=True)
    adapter.save(tmp_path, **named(made))
    path = tmp_path / "adapter_model.safetensors"
    stored = {k: v.copy() for k, v in checkpoint.load_file(path).items()}
    checkpoint.save_file({k: v for k, v in stored.items() if not k.startswith(f"{KEY}.")}, path)
    other = model()
    with pytest.raises(CheckpointError, match=r"query, .*value have lengths of their own \(DoRA\)"):
        lora.load(other, tmp_path, **named(other))
    checkpoint.save_file({**stored, f"{KEY}.lora_B.weight": np.zeros((9, 2), np.float32)}, path)
    with pytest.raises(CheckpointError, match=r"key has 16 rows, its adapter \(9, 2\)"):
        lora.load(other, tmp_path, **named(other))
    assert isinstance(other.get_submodule("blocks.0.attn.qkv"), nn.Linear)


def test_layers_that_are_published_whole_have_no_parts() -> None:
    config = json.loads((DINO.parent / "vit" / "config.json").read_text())
    module = registry.get(registry.architecture_of(config))
    made = module.build(config)
    assert adapters.published_parts(made, module) == {} and "blocks.0.attn.qkv" in adapters.published_paths(made, module)
