"""DETR and YOLOS: parity with transformers on tiny random models, and what they offer besides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import NyalaError, ShapeError
from nyala.hub import registry
from nyala.hub.load import load

GOLDENS = Path(__file__).parents[2] / "goldens" / "vision"
NAMES = ("detr", "detr_learned", "yolos", "yolos_first")
FULL = json.loads((GOLDENS / "detector_keys.json").read_text())


def relative(actual: Any, expected: np.ndarray) -> float:
    """Largest difference, over the largest value."""
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))


def read(name: str) -> tuple[Any, dict[str, np.ndarray], dict[str, Any]]:
    """A tiny model, what transformers computes with it, and its config."""
    pipe = load(str(GOLDENS / name))
    return pipe.model, checkpoint.load_file(GOLDENS / name / "goldens.safetensors"), pipe.config


def answers(model: Any, frozen: dict[str, np.ndarray], dtype: str = "float32") -> Any:
    masks = [nyala.from_numpy(frozen["mask"])] if "mask" in frozen else []
    return model(nyala.tensor(frozen["input"], dtype=dtype), *masks)


def weighted(output: Any) -> nyala.Tensor:
    """The number whose gradients were frozen."""
    total = nyala.zeros((), dtype=output.logits.dtype)
    for y in (output.logits, output.pred_boxes):
        weights = np.cos(0.7 * np.arange(y.numel()) + 0.3).reshape(y.shape).astype(y.dtype)
        total = total + (y * nyala.tensor(weights)).sum()
    return total


@pytest.mark.parametrize("name", NAMES)
def test_answers_equal_the_librarys(name: str) -> None:
    model, frozen, _ = read(name)
    with nyala.no_grad():
        found, odd = answers(model, frozen), model(nyala.from_numpy(frozen["odd_input"]))
    assert relative(found.logits, frozen["logits"]) < 1e-5
    assert relative(found.pred_boxes, frozen["boxes"]) < 1e-5
    assert relative(odd.logits, frozen["odd_logits"]) < 1e-5
    assert relative(odd.pred_boxes, frozen["odd_boxes"]) < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_the_librarys(name: str, dtype: str) -> None:
    model, frozen, config = read(name)
    weighted(answers(model.to(dtype=dtype), frozen, dtype)).backward()
    module = registry.get(registry.architecture_of(config))
    published = {k.removeprefix("grad."): v for k, v in frozen.items() if k.startswith("grad.")}
    expected = module.key_map(config, list(published)).to_ours(published)
    found = {n: p.grad for n, p in model.named_parameters()}
    assert set(found) == set(expected)
    largest = max(np.abs(v).max() for v in expected.values())
    # of the keys' biases the true gradient is zero; between answers that are nearly alike, gradients cancel down to rounding
    noise = (1e-6 if dtype == "float32" else 1e-12) * largest
    for key, value in expected.items():
        assert relative(found[key], value) < 1e-4 or np.abs(found[key].numpy() - value).max() < noise, key


@pytest.mark.parametrize("name", NAMES)
def test_the_key_map_is_a_bijection(name: str) -> None:
    model, _, config = read(name)
    module = registry.get(registry.architecture_of(config))
    published = checkpoint.load_file(GOLDENS / name / "model.safetensors")
    ours = {k: v.numpy() for k, v in model.state_dict().items()}
    again = module.key_map(module.export_config(model), list(ours)).to_published(ours)
    assert set(again) == set(published)
    assert all(np.array_equal(again[k], published[k]) for k in published)
    assert module.build(module.export_config(model)).config == model.config


@pytest.mark.parametrize("name", FULL)
def test_the_full_model_has_exactly_transformers_tensors(name: str) -> None:
    config, expected = FULL[name]["config"], {k: tuple(s) for k, s in FULL[name]["shapes"].items()}
    module = registry.get(registry.architecture_of(config))
    with nyala.nn.init.skip_random():
        model = module.build(config)
    ours = {k: np.broadcast_to(np.bool_(False), v.shape) for k, v in model.state_dict().items()}
    published = module.key_map(config, list(expected)).to_published(ours)
    assert {k: v.shape for k, v in published.items()} == expected
    assert module.build(module.export_config(model), **_small(config)).config == module.build(config, **_small(config)).config


def _small(config: dict[str, Any]) -> dict[str, int]:
    return {"encoder_layers": 1, "decoder_layers": 1} if config["model_type"] == "detr" else {"num_hidden_layers": 2}


@pytest.mark.parametrize("name", NAMES)
def test_a_new_head_trains(name: str) -> None:
    model, frozen, _ = read(name)
    boxes = {n: p.detach().numpy().copy() for n, p in model.named_parameters() if n.startswith("bbox_predictor")}
    model.reset_head(7)
    out = answers(model.train(), frozen)
    assert out.logits.shape == (2, 5, 8) and model.config.num_labels == 7
    assert all(np.array_equal(model.get_parameter(n).detach().numpy(), v) for n, v in boxes.items())
    (out.logits.square().sum() + out.pred_boxes.square().sum()).backward()
    unmoved = [n for n, p in model.named_parameters() if not np.abs(p.grad.numpy()).sum() > 0]
    assert unmoved == (["model.decoder.layers.0.self_attn.v_proj.weight"] if "detr" in name else [])  # queries start at 0


@pytest.mark.parametrize("name", NAMES)
def test_loading_with_new_classes(name: str) -> None:
    pipe = load(str(GOLDENS / name), num_classes=2)
    assert pipe.model(nyala.zeros(1, 3, 32, 48)).logits.shape == (1, 5, 3)
    module = registry.get(registry.architecture_of(pipe.config))
    assert module.build(module.export_config(pipe.model)).config == pipe.model.config


@pytest.mark.parametrize("name", ["detr", "yolos"])
def test_checkpointing_changes_no_gradient(name: str) -> None:
    model, frozen, _ = read(name)

    def gradients() -> dict[str, np.ndarray]:
        model.zero_grad()
        weighted(answers(model.train(), frozen)).backward()
        return {n: p.grad.numpy() for n, p in model.named_parameters()}

    plain = gradients()
    model.enable_checkpointing()
    again = gradients()
    # the queries are used twice in each layer of DETR's decoder: with checkpoints their gradient is summed layer by layer
    slack = 1e-6 * max(np.abs(g).max() for g in plain.values()) if name == "detr" else 0.0
    assert all(np.abs(plain[n] - again[n]).max() <= slack for n in plain)


@pytest.mark.parametrize("name", NAMES)
def test_layers_count_up_and_features_have_names(name: str) -> None:
    model, frozen, _ = read(name)
    depths = {n: model.layer_of(n) for n, _ in model.named_parameters()}
    heads = {depths[n] for n in depths if n.startswith(("class_labels", "bbox_"))}
    assert min(depths.values()) == 0 and heads == {max(depths.values())}
    assert set(depths.values()) == set(range(max(depths.values()) + 1))
    layer = "model.decoder.layers.0" if name.startswith("detr") else "vit.encoder.layer.0"
    with nyala.no_grad():
        _, found = model.forward_intermediates(nyala.from_numpy(frozen["input"]), names=[layer])
    assert found[layer].ndim == 3


@pytest.mark.parametrize("name", ["detr", "yolos"])
def test_earlier_layers_answer_while_training_where_they_are_trained(name: str) -> None:
    config = json.loads((GOLDENS / name / "config.json").read_text())
    model = registry.get(registry.architecture_of(config)).build({**config, "auxiliary_loss": True})
    x = nyala.zeros(1, 3, 32, 48)
    layers = 2 if name == "detr" else 3
    assert len(model.train()(x).auxiliary_outputs) == layers - 1
    assert model.eval()(x).auxiliary_outputs == ()


def test_what_fills_up_a_batch_changes_nothing() -> None:
    model, frozen, _ = read("detr")
    alone = frozen["input"][:1, :, :32, :32]
    filled, mask = np.full((1, 3, 48, 64), 9, np.float32), np.zeros((1, 48, 64), np.float32)
    filled[..., :32, :32], mask[..., :32, :32] = alone, 1
    filled[..., 32:, :] = filled[..., :, 32:] = 0
    with nyala.no_grad():
        together = model(nyala.from_numpy(filled), nyala.from_numpy(mask))
        loud = model.model.encode(nyala.from_numpy(filled), nyala.from_numpy(mask))[2]
    assert loud.shape == (1, 1, 1, 12) and loud.numpy().sum() == 4
    assert np.isfinite(together.logits.numpy()).all()


def test_dilation_keeps_the_resolution() -> None:
    config = FULL["detr"]["config"]
    from nyala.vision.models.detr import Config, DetrModel

    backbone = {**config["backbone_config"], "backbone": "resnet18", "output_stride": 16}
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "d_model": 16}
    made = Config.from_dict({**config, "backbone_config": backbone}, **sizes)
    assert made.dilation and Config.from_dict(made.to_dict()) == made
    with nyala.no_grad():
        places, _, _ = DetrModel(made).eval().encode(nyala.zeros(1, 3, 64, 64), None)
    assert places.shape == (1, 16, 16)


def test_other_channels_and_a_smaller_backbone() -> None:
    config = {**FULL["detr"]["config"]}
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "num_queries": 3, "num_channels": 1}
    module = registry.get("transformers:detr")
    model = module.build(config, **sizes, backbone_layers=[1, 1], backbone_channels=[8, 8], backbone_stem_channels=8)
    assert model(nyala.zeros(1, 1, 32, 32)).logits.shape == (1, 3, 92)
    again = module.build(module.export_config(model))
    assert again.config == model.config and set(again.state_dict()) == set(model.state_dict())


@pytest.mark.parametrize(
    ("config", "overrides", "text"),
    [
        ({"model_type": "detr", "architectures": ["DetrForSegmentation"]}, {}, "DetrForSegmentation"),
        ({"model_type": "detr"}, {"encoder_layer": 1}, "did you mean 'encoder_layers'"),
        ({"model_type": "detr", "d_model": 30}, {}, "d_model 30"),
        ({"model_type": "detr", "position_embedding_type": "none"}, {}, "position_embedding_type='none'"),
        ({"model_type": "detr", "use_timm_backbone": False, "backbone": "microsoft/swin-tiny"}, {}, "microsoft/swin-tiny"),
        ({"model_type": "detr", "backbone_config": {"model_type": "swin"}}, {}, "backbone 'swin'"),
        ({"model_type": "detr"}, {"backbone_layers": [1, 1]}, "2 stages with 4 widths"),
        ({"model_type": "yolos", "patch_size": [16, 8]}, {}, "patches are squares"),
        ({"model_type": "yolos", "image_size": [8, 8]}, {}, "patches of 16"),
        ({"model_type": "yolos", "hidden_act": "relut"}, {}, "relut"),
    ],
)
def test_bad_configurations(config: dict[str, Any], overrides: dict[str, Any], text: str) -> None:
    with pytest.raises(NyalaError, match=text):
        registry.get(registry.architecture_of(config)).build(config, **overrides)


def test_wrong_pictures_are_told() -> None:
    model, _, _ = read("yolos")
    with pytest.raises(ShapeError, match="one patch has 8 x 8"):
        model(nyala.zeros(1, 3, 4, 32))
    detr, _, _ = read("detr")
    with pytest.raises(ShapeError, match="pixel_mask"):
        detr(nyala.zeros(1, 3, 32, 32), nyala.ones(2, 32, 32))
