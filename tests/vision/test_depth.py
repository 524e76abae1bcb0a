"""Depth Anything: parity with transformers on tiny random models, and depth maps of pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import ArgumentError, DataError, NyalaError
from nyala.hub import registry
from nyala.hub.load import load
from nyala.testing import assert_contracts
from nyala.vision.depth import DepthMap, DepthMaps, DepthPreprocess

GOLDENS = Path(__file__).parents[1] / "goldens" / "vision"
NAMES = ("depth_anything", "depth_anything_metric")


def relative(actual: Any, expected: np.ndarray) -> float:
    """Largest difference, over the largest value."""
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))


def read(name: str) -> tuple[Any, dict[str, np.ndarray], dict[str, Any]]:
    """A tiny model, what transformers computes with it, and its config."""
    pipe = load(str(GOLDENS / name))
    return pipe.model, checkpoint.load_file(GOLDENS / name / "goldens.safetensors"), pipe.config


@pytest.mark.parametrize("name", NAMES)
def test_depths_equal_transformers(name: str) -> None:
    model, frozen, _ = read(name)
    with nyala.no_grad():
        assert relative(model(nyala.from_numpy(frozen["input"])), frozen["logits"]) < 1e-5
        assert relative(model(nyala.from_numpy(frozen["odd_input"])), frozen["odd_logits"]) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_transformers(name: str) -> None:
    model, frozen, config = read(name)
    depth = model(nyala.from_numpy(frozen["input"]))
    weights = np.cos(0.7 * np.arange(depth.numel()) + 0.3).reshape(depth.shape).astype(np.float32)
    (depth * nyala.tensor(weights)).sum().backward()
    published = {k.removeprefix("grad."): v for k, v in frozen.items() if k.startswith("grad.")}
    expected = registry.get("transformers:depth_anything").key_map(config, list(published)).to_ours(published)
    found = {n: p.grad for n, p in model.named_parameters() if n != "backbone.mask_token"}
    assert set(found) == set(expected)
    largest = max(np.abs(v).max() for v in expected.values())
    for key, value in expected.items():  # nothing is fused with the first map: half of that layer is never used
        if found[key] is None:
            assert key.startswith("neck.fusion_stage.layers.0.residual_layer1.") and not value.any(), key
        else:
            assert relative(found[key], value) < 1e-4 or np.abs(found[key].numpy() - value).max() < 1e-6 * largest, key


@pytest.mark.parametrize("name", NAMES)
def test_the_key_map_is_a_bijection(name: str) -> None:
    model, _, _ = read(name)
    module = registry.get("transformers:depth_anything")
    published = checkpoint.load_file(GOLDENS / name / "model.safetensors")
    ours = {k: v.numpy() for k, v in model.state_dict().items()}
    again = module.key_map(module.export_config(model), list(ours)).to_published(ours)
    assert set(again) == set(published)
    assert all(np.array_equal(again[k], published[k]) for k in published)
    assert module.build(module.export_config(model)).config == model.config


@pytest.mark.parametrize("case", ["wide", "high", "square"])
def test_pictures_are_prepared_as_transformers_does(case: str) -> None:
    prepare = load(str(GOLDENS / "depth_anything")).preprocess
    frozen = checkpoint.load_file(GOLDENS / "depth_anything" / "processor.safetensors")
    image = np.array(frozen[f"{case}.picture"])
    assert np.array_equal(prepare.crop(image), frozen[f"{case}.pixels"])
    assert relative(prepare(image)[0], frozen[f"{case}.prepared"]) < 1e-6


def test_what_the_processors_file_may_not_say() -> None:
    for said, text in (
        ({"do_pad": True}, "do_pad=True"),
        ({"ensure_multiple_of": 0}, "ensure_multiple_of=0"),
        ({"size": {"shortest_edge": 20}}, "many sizes"),
        ({"do_normalize": False}, "do_normalize is false"),
    ):
        with pytest.raises(DataError, match=text):
            DepthPreprocess.from_processor(said)


def test_a_picture_gets_the_depth_of_each_of_its_pixels(tmp_path: Path) -> None:
    pipe = load(str(GOLDENS / "depth_anything_metric"))
    image = np.random.default_rng(0).integers(0, 256, (37, 90, 3), np.uint8)
    found = pipe(image)
    assert found.depth.shape == (37, 90) and found.metric and found.nearness.min() == 0 and found.nearness.max() == 1
    assert found.nearness[np.unravel_index(found.depth.argmin(), found.depth.shape)] == 1
    several = pipe([image, image[:, :50]])
    assert np.array_equal(several[0].depth, found.depth) and several[1].depth.shape == (37, 50)
    assert " m at " in repr(several) and json.loads(json.dumps(several.to_dict()))[1]["metric"]
    several.save(tmp_path / "depth.png")
    assert (tmp_path / "depth.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_other_dtypes_see_alike(dtype: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (56, 56, 3), np.uint8)
    expected, found = (load(str(GOLDENS / "depth_anything"), dtype=d)(image).depth for d in (None, dtype))
    assert found.dtype == np.float32 and relative(found, expected) < (0.1 if dtype == "bfloat16" else 1e-4)


def test_larger_is_nearer_without_metres() -> None:
    flat, sloped = DepthMap(np.full((2, 2), 3.0, np.float32)), DepthMap(np.array([[0.0, 4.0]], np.float32))
    assert not flat.nearness.any() and sloped.nearness.tolist() == [[0, 1]]
    assert "4 at 1, 0" in repr(DepthMaps([sloped], ["a.png"]))


def test_the_drawing_is_dark_where_it_is_far() -> None:
    slope = np.linspace(0, 1, 40, dtype=np.float32)[None].repeat(30, 0)
    grey = np.full((30, 40, 3), 128, np.uint8)
    sheet = np.asarray(DepthMaps([DepthMap(slope)], [grey]).draw())
    factor = 480 // 40
    depth = sheet[12 : 12 + 30 * factor, 24 + 40 * factor : 24 + 80 * factor].astype(int).sum(-1)
    assert depth.shape == (360, 480) and (np.diff(depth[0]) >= 0).all() and depth[0, -1] - depth[0, 0] > 600


def test_pictures_that_cannot_be_used() -> None:
    pipe = load(str(GOLDENS / "depth_anything"))
    with pytest.raises(DataError, match="too thin"):
        pipe(np.zeros((3, 900, 3), np.uint8))
    with pytest.raises(DataError, match="no picture"):
        pipe([])
    with pytest.raises(ArgumentError, match="estimates no depth"):
        load(str(GOLDENS / "vit"), task="depth-estimation")


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"backbone": "facebook/dinov2-small"}, "backbone='facebook/dinov2-small'"),
        ({"backbone_config": {"model_type": "swin"}}, "model_type 'swin'"),
        ({"depth_estimation_type": "stereo"}, "depth_estimation_type='stereo'"),
        ({"neck_hidden_sizes": [4, 4]}, "4 layers, 4 reassemble_factors and 2 neck_hidden_sizes"),
        ({"reassemble_hidden_size": 20}, "not the backbone's 384"),
    ],
)
def test_bad_configurations(config: dict[str, Any], text: str) -> None:
    with pytest.raises(NyalaError, match=text):
        registry.get("transformers:depth_anything").build({"model_type": "depth_anything", **config})


def test_what_depth_anything_shares_with_all_models() -> None:
    model, frozen, config = read("depth_anything")
    x = nyala.from_numpy(frozen["input"])
    with nyala.no_grad():
        _, found = model.forward_intermediates(x, names=["neck.convs.3", "head.conv1"])
    assert found["neck.convs.3"].shape == (2, 8, 2, 2) and found["head.conv1"].shape == (2, 4, 32, 24)
    groups = model.param_groups(layer_decay=0.5, lr=1.0)
    assert max(g["lr"] for g in groups) == 1 and min(g["lr"] for g in groups) == pytest.approx(0.5**6)
    model.train()(x).square().sum().backward()
    plain = {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.enable_checkpointing()(x).square().sum().backward()
    differ = {n: relative(model.get_parameter(n).grad, g) for n, g in plain.items()}
    assert not any(differ.values()), differ
    before = model.head.conv3.weight.detach().numpy().copy()
    model.reset_head(1)
    assert not np.array_equal(before, model.head.conv3.weight.detach().numpy())
    with pytest.raises(ArgumentError, match="for 3 classes"):
        model.reset_head(3)
    infrared = registry.get("transformers:depth_anything").build(config, num_channels=1)
    assert infrared(nyala.zeros(1, 1, 28, 28)).shape == (1, 28, 28)
    with pytest.raises(ArgumentError, match="it has no classes"):
        load(str(GOLDENS / "depth_anything"), num_classes=3)


def test_depth_anything_keeps_the_contracts_of_models() -> None:
    """All but that of gradients: the first fusion has nothing to fuse with, and no patch is hidden."""
    model, frozen, _ = read("depth_anything")
    kept = ["evaluation", "training", "accumulation", "batch", "saving", "checkpointing", "lora"]
    assert_contracts(model, nyala.from_numpy(frozen["input"]), only=kept)
