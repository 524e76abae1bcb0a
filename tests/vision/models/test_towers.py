"""Models with a tower for pictures and one for texts: parity with transformers on tiny random models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import ArgumentError, DataError, IndexRangeError, ShapeError
from nyala.hub import registry
from nyala.hub.files import folder_files
from nyala.hub.load import read_weights

GOLDENS = Path(__file__).parents[2] / "goldens" / "vision"
PAIRS = ("clip", "siglip")
TINY = (*PAIRS, *(f"{name}_classifier" for name in PAIRS))


def relative(actual: Any, expected: np.ndarray) -> float:
    """Largest difference, over the largest value."""
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))


def made(name: str, **overrides: Any) -> Any:
    """The tiny model with transformers' weights."""
    config = json.loads((GOLDENS / name / "config.json").read_text())
    module = registry.get(registry.architecture_of(config))
    model = module.build(config, **overrides)
    read_weights(model, module, folder_files(GOLDENS / name), model.head_names() if overrides else ())
    return model.eval()


def inputs(frozen: dict[str, np.ndarray], odd: bool = False) -> dict[str, Any]:
    """What the model takes."""
    given = {k: nyala.from_numpy(np.array(frozen[k])) for k in ("input_ids", "attention_mask") if k in frozen}
    return {"pixel_values": nyala.from_numpy(np.array(frozen["odd_pixel_values" if odd else "pixel_values"])), **given}


def run(model: Any, given: dict[str, Any]) -> Any:
    """The logits, a row a picture."""
    out = model(**given) if "input_ids" in given else model(given["pixel_values"])
    return getattr(out, "logits_per_image", out)


@pytest.fixture(params=TINY)
def golden(request: pytest.FixtureRequest) -> tuple[Any, dict[str, np.ndarray]]:
    return made(request.param), checkpoint.load_file(GOLDENS / request.param / "goldens.safetensors")


def test_logits_equal_transformers(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, frozen = golden
    with nyala.no_grad():
        assert relative(run(model, inputs(frozen)), frozen["logits"]) < 1e-5
        assert relative(run(model, inputs(frozen, odd=True)), frozen["odd_logits"]) < 1e-5


@pytest.mark.parametrize("name", PAIRS)
def test_vectors_equal_transformers(name: str) -> None:
    model, frozen = made(name), checkpoint.load_file(GOLDENS / name / "goldens.safetensors")
    with nyala.no_grad():
        out = model(**inputs(frozen))
        features = model.get_image_features(nyala.from_numpy(np.array(frozen["pixel_values"]))).numpy()
    assert relative(out.image_embeds, frozen["image_embeds"]) < 1e-5
    assert relative(out.text_embeds, frozen["text_embeds"]) < 1e-5
    assert relative(features / np.linalg.norm(features, axis=1, keepdims=True), frozen["image_embeds"]) < 1e-5
    assert np.array_equal(out.logits_per_text.numpy(), out.logits_per_image.numpy().T)


def test_gradients_equal_transformers(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, frozen = golden
    logits = run(model, inputs(frozen))
    index = np.arange(logits.numel(), dtype=np.float64)
    (logits * nyala.tensor(np.cos(0.7 * index + 0.3).reshape(logits.shape).astype(np.float32))).sum().backward()
    parameters = dict(model.named_parameters())
    names = [k for k in frozen if k.startswith("grad.")]
    assert {n.removeprefix("grad.") for n in names} == {n for n, p in parameters.items() if p.grad is not None}
    largest = max(np.abs(frozen[n]).max() for n in names)
    for name in names:
        grad = parameters[name.removeprefix("grad.")].grad
        # the biases of keys have no influence: their gradients are rounding noise in both
        assert relative(grad, frozen[name]) < 1e-4 or np.abs(np.asarray(grad) - frozen[name]).max() < 1e-6 * largest, name


@pytest.mark.parametrize("name", TINY)
def test_names_are_a_bijection_and_export_describes_the_same_model(name: str) -> None:
    config = json.loads((GOLDENS / name / "config.json").read_text())
    module, model = registry.get(registry.architecture_of(config)), made(name)
    published = checkpoint.load_file(GOLDENS / name / "model.safetensors")
    ours = {k: v.numpy() for k, v in model.state_dict().items()}
    keys = module.key_map(config, list(published))
    keys.check_bijection(list(ours), [v.shape for v in ours.values()])
    back = keys.to_published(ours)
    assert back.keys() == published.keys() and all(np.array_equal(back[k], published[k]) for k in back)
    exported = module.export_config(model)
    assert module.build(exported).config == model.config
    for part in ("vision_config", "text_config"):
        assert exported[part].items() <= config[part].items()


@pytest.mark.parametrize("name", PAIRS)
def test_a_new_classifier_reads_the_tower_for_pictures_out_of_both(name: str) -> None:
    model = made(name, num_labels=7)
    pictures = nyala.from_numpy(np.array(checkpoint.load_file(GOLDENS / name / "goldens.safetensors")["pixel_values"]))
    assert model(pictures).shape == (4, 7)
    assert relative(model.forward_features(pictures).detach(), made(name).forward_features(pictures).detach().numpy()) == 0
    model.reset_head(3)
    assert model(pictures).shape == (4, 3) and model.config.num_labels == 3
    scales = {n: g["lr_scale"] for g in model.param_groups(layer_decay=0.5) for n in g["param_names"]}
    assert scales["classifier.weight"] == 1.0
    assert scales["vision_model.encoder.layers.1.mlp.fc1.weight"] == 0.5
    assert scales["vision_model.embeddings.patch_embedding.weight"] == 0.125
    _, found = model.forward_intermediates(pictures, names=["vision_model.encoder.layers.0"])
    assert found["vision_model.encoder.layers.0"].shape == model.forward_features(pictures).shape


def test_checkpointing_changes_no_gradient(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, frozen = golden

    def gradients() -> dict[str, np.ndarray]:
        model.zero_grad()
        run(model, inputs(frozen)).square().sum().backward()
        return {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}

    plain = gradients()
    model.enable_checkpointing()
    again = gradients()
    assert plain.keys() == again.keys() and all(np.array_equal(plain[n], again[n]) for n in plain)


def test_any_number_of_channels() -> None:
    config = json.loads((GOLDENS / "clip" / "config.json").read_text())
    model = registry.get("transformers:clip").build(config, vision_config={"num_channels": 5})
    assert model.get_image_features(nyala.zeros(1, 5, 16, 16)).shape == (1, 12)


def test_wrong_input_is_named() -> None:
    model = made("clip")
    with pytest.raises(ShapeError, match="pixel_values of shape"):
        model.get_image_features(nyala.zeros(1, 1, 16, 16))
    with pytest.raises(ShapeError, match="input_ids of shape"):
        model.get_text_features(nyala.tensor([[1] * 17]))
    with pytest.raises(IndexRangeError, match="token id 540"):
        model.get_text_features(nyala.tensor([[1, 540]]))


def test_wrong_configurations_are_named() -> None:
    build = registry.get("transformers:clip").build
    with pytest.raises(DataError, match="vision_config"):
        build({"vision_config": [1]})
    with pytest.raises(ArgumentError, match="no multiple"):
        build({"text_config": {"hidden_size": 10, "num_attention_heads": 3}})
    with pytest.raises(ArgumentError, match="no option 'depth'"):
        build({}, depth=3)
    with pytest.raises(DataError, match="CLIPTextModel"):
        build({"architectures": ["CLIPTextModel"]})


def test_old_files_describe_each_tower_twice() -> None:
    part = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = registry.get("transformers:clip").build({"text_config": {"hidden_size": 6}, "text_config_dict": part}).config
    assert (config.text_config.hidden_size, config.text_config.num_hidden_layers) == (8, 1)
