"""What every picture architecture promises, tried on each: channels, sizes, features by name, a new head, groups, memory."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import ArgumentError, ModuleError
from nyala.hub import registry

GOLDENS = Path(__file__).parents[2] / "goldens" / "vision"
NAMES = sorted(path.parent.name for path in GOLDENS.glob("*/config.json"))
BESIDE = {  # models that take more than a picture: the argument, and what the golden calls it
    "clip": {"input_ids": "input_ids", "attention_mask": "attention_mask"},
    "siglip": {"input_ids": "input_ids"},
    "sam": {"input_points": "points", "input_labels": "labels"},
}
HEADLESS = {"clip": ModuleError, "siglip": ModuleError, "depth_anything": ArgumentError}


def config_of(name: str, channels: int | None = None) -> dict[str, Any]:
    """The golden's, with another number of channels in either layout."""
    config = copy.deepcopy(json.loads((GOLDENS / name / "config.json").read_text()))
    if channels is None:
        return config
    if "architecture" in config:
        config.setdefault("model_args", {})["in_chans"] = channels
    elif config["model_type"] == "unet":
        config["in_channels"] = channels
    else:
        for place in (config, config.get("vision_config"), config.get("backbone_config")):
            if place is not None:
                place["num_channels"] = channels
    return config


def build(name: str, channels: int | None = None) -> Any:
    config = config_of(name, channels)
    nyala.manual_seed(3)
    return registry.get(registry.architecture_of(config)).build(config).eval()


def given(name: str, channels: int | None = None, more: int = 0) -> tuple[list[nyala.Tensor], dict[str, nyala.Tensor]]:
    """What the model is called with: a picture of the golden's shape in float32, with other channels, or ``more`` times as wide
    again; and by their names the golden's texts or points beside it."""
    golden = checkpoint.load_file(GOLDENS / name / "goldens.safetensors")
    shape = list(golden["input" if "input" in golden else "pixel_values"].shape)
    shape[1] = channels or shape[1]
    shape[-1] += shape[-1] * more
    picture = nyala.tensor(np.random.default_rng(1).normal(size=shape).astype(np.float32))
    beside = {argument: nyala.tensor(golden[key]) for argument, key in BESIDE.get(name, {}).items()}
    return ([], {"pixel_values": picture, **beside}) if beside else ([picture], {})


def run(model: Any, name: str, channels: int | None = None, more: int = 0) -> list[nyala.Tensor]:
    """Every tensor in what the model makes of ``given``."""
    pictures, beside = given(name, channels, more)
    return numbers(model(*pictures, **beside))


def numbers(out: Any) -> list[nyala.Tensor]:
    """Every tensor in a model's result."""
    if isinstance(out, nyala.Tensor):
        return [out]
    inner = out if isinstance(out, (list, tuple)) else list(vars(out).values()) if hasattr(out, "__dict__") else []
    return [tensor for value in inner for tensor in numbers(value)]


def test_every_picture_architecture_is_tried() -> None:
    known = {path for key, path in registry.ARCHITECTURES.items() if path.startswith("vision.") and key}
    tried = {registry.import_path(registry.architecture_of(config_of(name))).removeprefix("nyala.") for name in NAMES}
    assert known == tried


@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_channels(name: str) -> None:
    model = build(name, 5)
    stems = [n for n, p in model.named_parameters() if p.ndim >= 4 and p.shape[1] == 5 and "pos_embed" not in n]
    assert stems, "no layer takes five channels"
    with nyala.no_grad():
        found, usual = run(model, name, 5), run(build(name), name)
    assert [t.shape for t in found] == [t.shape for t in usual] and all(np.isfinite(t.numpy()).all() for t in found)
    again = registry.get(registry.architecture_of(config_of(name)))
    same = again.build(again.export_config(model))
    assert {k: v.shape for k, v in same.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}


@pytest.mark.parametrize("name", NAMES)
def test_other_sizes_of_pictures(name: str) -> None:
    model = build(name)
    with nyala.no_grad():
        found = run(model, name, more=1)
    assert found and all(np.isfinite(t.numpy()).all() for t in found)


@pytest.mark.parametrize("name", NAMES)
def test_features_by_the_name_of_a_layer(name: str) -> None:
    model, (pictures, beside) = build(name), given(name)
    layers = [n for n, module in model.named_modules() if n and not list(module.children()) and list(module.parameters())]
    with nyala.no_grad():
        plain = run(model, name)
        result, found = model.forward_intermediates(*pictures, names=layers[:1], **beside)
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(plain, numbers(result), strict=True))
    assert list(found) == layers[:1] and numbers(found[layers[0]])


@pytest.mark.parametrize("name", NAMES)
def test_a_new_head(name: str) -> None:
    model = build(name)
    refused = next((kind for start, kind in HEADLESS.items() if name.startswith(start) and "classifier" not in name), None)
    if refused:
        with pytest.raises(refused):
            model.reset_head(7)
        return
    before = {n: p for n, p in model.named_parameters() if n not in model.head_names()}
    model.reset_head(7)
    named = dict(model.named_parameters())
    assert any({7, 8} & set(named[h].shape) for h in model.head_names())  # 8: and nothing
    assert all(named[n] is p for n, p in before.items() if n in named)
    with nyala.no_grad():
        shapes = [t.shape for t in run(model, name)]
    assert any(7 in shape or 8 in shape for shape in shapes)


@pytest.mark.parametrize("name", NAMES)
def test_groups_hold_every_parameter_once_and_decay_towards_the_stem(name: str) -> None:
    model = build(name)
    named = dict(model.named_parameters())
    groups = model.param_groups(weight_decay=0.1, layer_decay=0.5, lr=1.0)
    members = [id(p) for group in groups for p in group["params"]]
    assert len(members) == len(set(members)) and set(members) == {id(p) for p in named.values()}
    deepest = max(model.layer_of(n) for n in named)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert min(model.layer_of(n) for n in named) == 0 and deepest >= 2
    assert all(rates[id(p)] == pytest.approx(0.5 ** (deepest - model.layer_of(n))) for n, p in named.items())


@pytest.mark.parametrize("name", NAMES)
def test_checkpointing_gives_the_same_gradients(name: str) -> None:
    def gradients(model: Any) -> dict[str, np.ndarray]:
        sum(t.square().sum() for t in run(model, name) if t.requires_grad).backward()
        return {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}

    plain, saving = build(name).train(), build(name).train()
    saving.enable_checkpointing()
    nyala.manual_seed(5)
    one = gradients(plain)
    nyala.manual_seed(5)
    other = gradients(saving)
    assert set(one) == set(other) and len(one) > 4
    if name.startswith("detr"):  # every layer of its decoder adds to the memory's gradient, here in another order
        largest = max(np.abs(g).max() for g in one.values())
        assert max(np.abs(one[n] - other[n]).max() for n in one) < 1e-6 * largest
    else:
        assert all(np.array_equal(one[n], other[n]) for n in one)
