"""Vision transformers: parity with timm and transformers on tiny random models, and what they offer besides."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import ArgumentError, NyalaError, ShapeError
from nyala.hub import registry
from nyala.hub.load import load

GOLDENS = Path(__file__).parents[1] / "goldens" / "vision"
TIMM = (
    "vit", "vit_avg", "deit_distilled", "deit3", "dinov2_timm", "dinov2_reg4_timm", "swin", "dinov3_timm", "dinov3_timm_gated",
    "beit_timm", "beitv2_shared",
)  # fmt: skip
TRANSFORMERS = (
    "vit_transformers", "vit_pooler", "deit_teacher", "dinov2", "dinov2_swiglu", "dinov2_classifier", "dinov2_registers",
    "dinov2_registers_classifier", "swin_transformers", "swin_bare", "dinov3", "dinov3_gated", "beit", "beit_bare",
)  # fmt: skip
NAMES = (*TIMM, *TRANSFORMERS)
FULL = json.loads((GOLDENS / "vit_keys.json").read_text())


def relative(actual: Any, expected: np.ndarray) -> float:
    """Largest difference, over the largest value."""
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))


def read(name: str) -> tuple[Any, dict[str, np.ndarray], dict[str, Any]]:
    """A tiny model, what its library computes with it, and its config."""
    pipe = load(str(GOLDENS / name))
    return pipe.model, checkpoint.load_file(GOLDENS / name / "goldens.safetensors"), pipe.config


@pytest.mark.parametrize("name", NAMES)
def test_results_equal_the_librarys(name: str) -> None:
    model, frozen, _ = read(name)
    with nyala.no_grad():
        features = model.forward_features(nyala.from_numpy(frozen["input"])).numpy()
        assert relative(features.reshape(frozen["features"].shape), frozen["features"]) < 1e-5  # Swin's places lie in a row
        assert relative(model(nyala.from_numpy(frozen["input"])), frozen["logits"]) < 1e-5
        assert relative(model(nyala.from_numpy(frozen["odd_input"])), frozen["odd_logits"]) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_the_librarys(name: str) -> None:
    model, frozen, config = read(name)
    logits = model(nyala.from_numpy(frozen["input"]))
    weights = np.cos(0.7 * np.arange(logits.numel()) + 0.3).reshape(logits.shape).astype(np.float32)
    (logits * nyala.tensor(weights)).sum().backward()
    module = registry.get(registry.architecture_of(config))
    published = {k.removeprefix("grad."): v for k, v in frozen.items() if k.startswith("grad.")}
    expected = module.key_map(config, list(published)).to_ours(published)
    found = {n: p.grad for n, p in model.named_parameters() if n != "mask_token"}
    assert set(found) == set(expected)
    largest = max(np.abs(v).max() for v in expected.values())
    for key, value in expected.items():  # of the keys' biases the true gradient is zero
        assert relative(found[key], value) < 1e-4 or np.abs(found[key].numpy() - value).max() < 1e-6 * largest, key


@pytest.mark.parametrize("name", NAMES)
def test_the_key_map_is_a_bijection(name: str) -> None:
    model, _, config = read(name)
    module = registry.get(registry.architecture_of(config))
    published = checkpoint.load_file(GOLDENS / name / "model.safetensors")
    ours = {k: v.numpy() for k, v in model.state_dict().items()}
    again = module.key_map(module.export_config(model), list(ours)).to_published(ours)
    assert set(again) == set(published)
    assert all(np.array_equal(again[k], published[k]) for k in published)


@pytest.mark.parametrize("name", NAMES)
def test_export_describes_the_same_model(name: str) -> None:
    model, _, config = read(name)
    module = registry.get(registry.architecture_of(config))
    assert module.build(module.export_config(model)).config == model.config


@pytest.mark.parametrize("name", FULL)
def test_the_full_model_has_exactly_timms_tensors(name: str) -> None:
    config = {"architecture": name, "num_classes": 0 if "dinov" in name else 1000}
    module = registry.get(f"timm:{name}")
    with nyala.nn.init.skip_random():  # of the giant two layers, to spare memory
        model = module.build(config, **({"depth": 2} if "giant" in name else {}))
    kept = {k: tuple(s) for k, s in FULL[name].items() if "giant" not in name or not re.match(r"blocks\.(?![01]\.)", k)}
    ours = {k: np.empty(v.shape, np.bool_) for k, v in model.state_dict().items()}
    assert {k: v.shape for k, v in module.key_map(config, list(kept)).to_published(ours).items()} == kept


@pytest.mark.parametrize(
    "name", ["vit", "deit_distilled", "dinov2_registers", "vit_pooler", "swin", "swin_bare", "dinov3", "beit_bare"]
)
def test_a_new_head_trains(name: str) -> None:
    model, frozen, _ = read(name)
    model.reset_head(7)
    out = model.train()(nyala.from_numpy(frozen["input"]))
    assert out.shape == (2, 7)
    out.square().sum().backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None or not np.abs(p.grad.numpy()).sum() > 0]
    assert missing == (["mask_token"] if getattr(model.config, "mask_token", False) else [])


@pytest.mark.parametrize(
    "name", ["vit_transformers", "vit_pooler", "dinov2", "deit3", "swin", "swin_bare", "dinov3", "beit_timm", "beit_bare"]
)
def test_loading_with_new_classes(name: str) -> None:
    pipe = load(str(GOLDENS / name), num_classes=3)
    assert pipe.model(nyala.zeros(1, 3, 32, 32)).shape == (1, 3)


def test_other_channels() -> None:
    model = registry.get("timm:vit_tiny_patch16_224").build(
        {"architecture": "vit_tiny_patch16_224", "num_classes": 4}, in_chans=1, img_size=32, depth=1
    )
    assert model(nyala.zeros(1, 1, 32, 32)).shape == (1, 4)


@pytest.mark.parametrize("name", ["dinov2_reg4_timm", "swin", "dinov3_timm", "beit_timm", "beitv2_shared"])
def test_checkpointing_changes_no_gradient(name: str) -> None:
    model, frozen, _ = read(name)

    def gradients() -> dict[str, np.ndarray]:
        model.zero_grad()
        model.train()(nyala.from_numpy(frozen["input"])).square().sum().backward()
        return {n: p.grad.numpy() for n, p in model.named_parameters()}

    plain = gradients()
    model.enable_checkpointing()
    again = gradients()
    assert all(np.array_equal(plain[n], again[n]) for n in plain)


@pytest.mark.parametrize(("name", "without"), [("dinov2", "dinov2_timm"), ("dinov3", "dinov3_timm"), ("beit_bare", "beit")])
def test_hidden_patches_are_replaced(name: str, without: str) -> None:
    model, frozen, _ = read(name)
    x = nyala.from_numpy(frozen["input"])
    hide = nyala.tensor(np.arange(16)[None] < 4)
    with nyala.no_grad():
        changed = x.numpy().copy()
        changed[:, :, :8, :] = 9  # the first row of patches
        assert np.array_equal(
            model.forward_features(x, hide).numpy(), model.forward_features(nyala.from_numpy(changed), hide).numpy()
        )
        assert relative(model.forward_features(x, hide), frozen["features"]) > 1e-2
    with pytest.raises(ArgumentError, match="no mask token"):
        read(without)[0].forward_features(x, hide)


def test_dinov3_moves_its_positions_while_training() -> None:
    model, frozen, _ = read("dinov3")
    x = nyala.from_numpy(frozen["input"])

    def said(seed: int) -> np.ndarray:
        nyala.manual_seed(seed)
        with nyala.no_grad():
            return model.train()(x).numpy()

    assert np.array_equal(said(1), said(1)) and not np.array_equal(said(1), said(2))
    assert relative(said(1), frozen["logits"]) > 1e-4  # the published settings stretch the picture by up to 2
    down, across = 3, 5
    places = model.eval()._centres(down, across)
    assert places[0].tolist() == pytest.approx([-1 + 1 / down, -1 + 1 / across]) and places[7].tolist() == [0, 0]


def test_layers_count_up_and_features_have_names() -> None:
    model, frozen, _ = read("vit")
    assert [model.layer_of(n) for n in ("cls_token", "patch_embed.proj.weight", "blocks.1.norm1.bias", "head.bias")] == [
        0,
        0,
        2,
        3,
    ]
    groups = model.param_groups(weight_decay=0.1, layer_decay=0.5, lr=1.0)
    assert min(g["lr"] for g in groups) == pytest.approx(0.5**3)
    with nyala.no_grad():
        _, found = model.forward_intermediates(nyala.from_numpy(frozen["input"]), names=["blocks.0"])
    assert found["blocks.0"].shape == (2, 17, 16)


def test_wrong_pictures_are_told() -> None:
    model, _, _ = read("vit")
    with pytest.raises(ShapeError, match="one patch has 8 x 8"):
        model(nyala.zeros(1, 3, 4, 32))
    with pytest.raises(ShapeError):
        model(nyala.zeros(1, 1, 32, 32))


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"architecture": "vit_bse_patch16_224"}, "did you mean 'vit_base_patch16_224'"),
        ({"architecture": "vit_base_patch16_224", "model_args": {"dept": 1}}, "did you mean 'depth'"),
        ({"architecture": "vit_base_patch16_224", "global_pool": "map"}, "global_pool='map'"),
        ({"model_type": "vit", "architectures": ["ViTForMaskedImageModeling"]}, "ViTForMaskedImageModeling"),
        ({"model_type": "vit", "patch_size": [16, 8]}, "patches are squares"),
        ({"architecture": "swin_tinny_patch4_window7_224"}, "did you mean 'swin_tiny_patch4_window7_224'"),
        ({"model_type": "swin", "use_absolute_embeddings": True}, "use_absolute_embeddings=True"),
        ({"model_type": "swin", "architectures": ["SwinBackbone"]}, "SwinBackbone"),
        ({"architecture": "beit_bas_patch16_224"}, "did you mean 'beit_base_patch16_224'"),
        ({"model_type": "beit", "architectures": ["BeitForMaskedImageModeling"]}, "BeitForMaskedImageModeling"),
        ({"model_type": "beit", "image_size": [224, 192]}, "the side of a square"),
        ({"architecture": "vit_smal_patch16_dinov3"}, "did you mean 'vit_small_patch16_dinov3'"),
        ({"model_type": "dinov3_vit", "patch_size": [16, 8]}, "only squares are built"),
        ({"model_type": "dinov3_vit", "hidden_size": 30, "num_attention_heads": 3}, "a multiple of four wide"),
    ],
)
def test_bad_configurations(config: dict[str, Any], text: str) -> None:
    with pytest.raises(NyalaError, match=text):
        registry.get(registry.architecture_of(config)).build(config)


def test_swins_layers_count_up() -> None:
    model, _, _ = read("swin")
    depths = [model.layer_of(n) for n, _ in model.named_parameters()]
    assert depths == sorted(depths) and set(depths) == {0, 1, 2, 3, 4, 5}


def test_a_backbone_out_of_an_onnx_file_has_its_positions_joined() -> None:
    from nyala.vision.models import vit

    config = json.loads((GOLDENS / "dinov2" / "config.json").read_text())
    published = checkpoint.load_file(GOLDENS / "dinov2" / "model.safetensors")
    table = published["embeddings.position_embeddings"]
    exported = {f"backbone.{k}": v for k, v in published.items() if k != "embeddings.position_embeddings"}
    exported |= {"onnx::Concat_3": table[:, :1], "onnx::Reshape_4": table[:, 1:], "decoder.conv.weight": table}
    ours = vit.key_map(config, list(exported)).to_ours(exported)
    assert set(ours) == set(vit.build(config).state_dict())
    assert np.array_equal(ours["pos_embed"], table)
