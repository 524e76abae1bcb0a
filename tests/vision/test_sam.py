"""SAM: parity with transformers on a tiny random model, and masks of what points and boxes show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import ArgumentError, NyalaError, ShapeError
from nyala.hub import registry
from nyala.hub.load import load
from nyala.testing import assert_contracts

FOLDER = Path(__file__).parents[1] / "goldens" / "vision" / "sam"
PROMPTS = {"points": "input_points", "labels": "input_labels", "boxes": "input_boxes", "masks": "input_masks"}
CASES = {
    "points": ("points", "labels"), "boxes": ("boxes",), "both": ("points", "labels", "boxes"), "masks": ("masks",),
    "single": ("points", "labels"), "all": ("points", "labels", "boxes", "masks"),
}  # fmt: skip


def relative(actual: Any, expected: np.ndarray) -> float:
    """Largest difference, over the largest value."""
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))


@pytest.fixture
def frozen() -> dict[str, np.ndarray]:
    return checkpoint.load_file(FOLDER / "goldens.safetensors")


@pytest.fixture
def model() -> Any:
    return load(str(FOLDER)).model


def prompts(frozen: dict[str, np.ndarray], case: str) -> dict[str, Any]:
    """The arguments of a case."""
    given = {PROMPTS[name]: nyala.from_numpy(np.array(frozen[name])) for name in CASES[case]}
    return {**given, "multimask_output": case != "single"}


@pytest.mark.parametrize("case", CASES)
def test_masks_equal_transformers(case: str, model: Any, frozen: dict[str, np.ndarray]) -> None:
    with nyala.no_grad():
        features = model.forward_features(nyala.from_numpy(frozen["input"]))
        assert relative(features, frozen["embeddings"]) < 1e-5
        out = model(image_embeddings=features, **prompts(frozen, case))
    assert out.pred_masks.shape == frozen[f"{case}.masks"].shape
    assert relative(out.pred_masks, frozen[f"{case}.masks"]) < 1e-5
    assert relative(out.iou_scores, frozen[f"{case}.iou"]) < 1e-5


def waves(shape: tuple[int, ...], k: int) -> nyala.Tensor:
    return nyala.tensor(np.cos(0.7 * np.arange(int(np.prod(shape))) + 0.3 + k).reshape(shape).astype(np.float32))


def test_gradients_equal_transformers(model: Any, frozen: dict[str, np.ndarray]) -> None:
    out = model(nyala.from_numpy(frozen["input"]), **prompts(frozen, "all"))
    goal = (out.pred_masks * waves(out.pred_masks.shape, 0)).sum() + (out.iou_scores * waves(out.iou_scores.shape, 1)).sum()
    goal.backward()
    expected = {k.removeprefix("grad."): v for k, v in frozen.items() if k.startswith("grad.")}
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert set(found) == set(expected) == {n for n, _ in model.named_parameters()} - {"prompt_encoder.no_mask_embed.weight"}
    largest = max(np.abs(v).max() for v in expected.values())
    for key, value in expected.items():
        assert relative(found[key], value) < 1e-4 or np.abs(found[key].numpy() - value).max() < 1e-6 * largest, key


def test_the_key_map_is_a_bijection(model: Any) -> None:
    module = registry.get("transformers:sam")
    published = checkpoint.load_file(FOLDER / "model.safetensors")
    ours = {k: v.numpy() for k, v in model.state_dict().items()}
    again = module.key_map(module.export_config(model), list(ours)).to_published(ours)
    assert set(again) == set(published)
    assert all(np.array_equal(again[k], published[k]) for k in published)
    assert module.build(module.export_config(model)).config == model.config
    table = published["shared_image_embedding.positional_embedding"]  # older files hold it twice
    older = module.key_map({}, []).to_ours({**published, "prompt_encoder.shared_embedding.positional_embedding": table})
    assert set(older) == set(ours)


def test_what_sam_shares_with_all_models(model: Any, frozen: dict[str, np.ndarray]) -> None:
    x, asked = nyala.from_numpy(frozen["input"]), prompts(frozen, "points")
    groups = model.param_groups(layer_decay=0.5, lr=1.0)
    assert max(g["lr"] for g in groups) == 1 and min(g["lr"] for g in groups) == pytest.approx(0.5**4)
    _, found = model.forward_intermediates(x, names=["vision_encoder.layers.1", "mask_decoder.transformer"], **asked)
    assert found["vision_encoder.layers.1"].shape == (2, 5, 5, 16)
    model.zero_grad()
    model.train()(x, **asked).pred_masks.square().sum().backward()
    plain = {n: p.grad.numpy().copy() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.enable_checkpointing()(x, **asked).pred_masks.square().sum().backward()
    assert all(np.array_equal(model.get_parameter(n).grad.numpy(), g) for n, g in plain.items())
    model.reset_head(5)
    assert model(x, **asked).pred_masks.shape == (2, 3, 5, 20, 20) and model.config.mask_decoder_config.num_multimask_outputs == 5
    small = registry.get("transformers:sam").build(load(str(FOLDER)).config, num_channels=1)
    assert small(nyala.zeros(1, 1, 80, 80), input_boxes=nyala.ones(1, 1, 4)).pred_masks.shape == (1, 1, 3, 20, 20)


def test_pictures_of_another_size_keep_their_places(model: Any) -> None:
    with nyala.no_grad():
        out = model(nyala.ones(1, 3, 48, 112), input_points=nyala.tensor([[[[100.0, 20.0]]]]))
    assert out.pred_masks.shape == (1, 1, 3, 12, 28)
    with pytest.raises(ShapeError, match="patches have 16 x 16"):
        model(nyala.ones(1, 3, 48, 50), input_points=nyala.ones(1, 1, 1, 2))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "pixel_values or image_embeddings"),
        ({"image_embeddings": nyala.zeros(1, 16, 5, 5), "input_points": nyala.ones(1, 4, 2)}, "input_points of shape"),
        ({"image_embeddings": nyala.zeros(1, 16, 5, 5), "input_boxes": nyala.ones(2, 1, 4)}, "input_boxes of shape"),
        ({"image_embeddings": nyala.zeros(1, 16, 5, 5), "input_masks": nyala.ones(1, 1, 9, 9)}, "input_masks of shape"),
    ],
)
def test_prompts_of_wrong_shapes(model: Any, given: dict[str, Any], text: str) -> None:
    with pytest.raises((ArgumentError, ShapeError), match=text):
        model(**given)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"vision_config": 3}, "vision_config in the config.json is"),
        ({"vision_config": {"output_channels": 8}}, "output_channels 8, hidden_size 256 of prompts"),
        ({"vision_config": {"num_hidden_layers": 4}}, "of 4 layers"),
        ({"mask_decoder_config": {"num_attention_heads": 7}}, "num_attention_heads does not divide"),
    ],
)
def test_bad_configurations(config: dict[str, Any], text: str) -> None:
    with pytest.raises(NyalaError, match=text):
        registry.get("transformers:sam").build({"model_type": "sam", **config})
    with pytest.raises(ArgumentError, match="it has no classes"):
        load(str(FOLDER), num_classes=3)


def test_sam_keeps_the_contracts_of_models(model: Any, frozen: dict[str, np.ndarray]) -> None:
    """All but that of gradients: what embeds masks has none without a mask."""
    names = {"pixel_values": "input", "input_points": "points", "input_boxes": "boxes"}
    given = {ours: nyala.from_numpy(np.array(frozen[theirs])) for ours, theirs in names.items()}
    assert_contracts(model, given, only=["evaluation", "training", "accumulation", "batch", "saving", "checkpointing", "lora"])
