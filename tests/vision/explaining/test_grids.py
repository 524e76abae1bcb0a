"""Where models look: against what follows from the definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.core.ops.attention import watch_attention
from nyala.errors import ArgumentError
from nyala.hub.load import load
from nyala.vision.explaining import grids

GOLDENS = Path(__file__).parents[2] / "goldens" / "vision"


def picture(height: int = 32, width: int = 32) -> nyala.Tensor:
    return nyala.tensor(np.random.default_rng(3).standard_normal((1, 3, height, width)).astype(np.float32))


def model(name: str) -> Any:
    return load(str(GOLDENS / name)).model


def test_behind_average_pooling_grad_cam_is_the_classifiers_weights_on_the_map() -> None:
    resnet, x = model("resnet_basic"), picture(64, 96)
    grid, number, score = grids.grad_cam(resnet, x, 3)
    with nyala.no_grad():
        features = resnet.forward_features(x).numpy()[0]
        expected = np.maximum(np.einsum("c,chw->hw", resnet.fc.weight.detach().numpy()[3], features), 0)
        said = resnet(x).softmax(-1).numpy()[0]
    assert grid.shape == (2, 3) and number == 3 and score == pytest.approx(said[3], rel=1e-5)
    assert np.abs(grid - expected / expected.max()).max() < 1e-5
    assert grids.grad_cam(resnet, x)[1] == said.argmax()


def test_grad_cam_of_a_named_layer() -> None:
    resnet, x = model("resnet_basic"), picture(64, 64)
    grid, *_ = grids.grad_cam(resnet, x, 0, "layer2")
    assert grid.shape == (8, 8) and grid.max() == 1 and grid.min() >= 0
    with pytest.raises(ArgumentError, match="no map of the picture"):
        grids.grad_cam(resnet, x, 0, "fc")
    with pytest.raises(ArgumentError, match="fits 2 layers"):
        grids.grad_cam(resnet, x, 0, "layer2.*")
    with pytest.raises(ArgumentError, match="classes 0 to 9"):
        grids.grad_cam(resnet, x, 10)


@pytest.mark.parametrize("name", ["vit", "deit_distilled", "swin", "dinov2_classifier"])
def test_grad_cam_of_transformers_lies_on_their_patches(name: str) -> None:
    found = model(name)
    classes = [grids.grad_cam(found, picture(32, 48), number)[0] for number in range(5)]
    assert {grid.shape for grid in classes} == {(8, 12) if name == "swin" else (4, 6)}
    assert len({grid.tobytes() for grid in classes}) > 2


def test_nothing_may_speak_for_a_class() -> None:
    resnet = model("resnet_basic")
    with nyala.no_grad():
        resnet.fc.weight[2] = -1.0
    assert not grids.grad_cam(resnet, picture(), 2)[0].any()


@pytest.mark.parametrize(("name", "before"), [("vit", 1), ("deit_distilled", 2), ("dinov2_reg4_timm", 5), ("dinov3", 4)])
def test_attention_is_what_the_last_layer_looks_at(name: str, before: int) -> None:
    found, x = model(name), picture(24, 32)
    last = found.blocks[len(found.blocks) - 1]
    inputs: list[nyala.Tensor] = []
    handle = last.norm1.register_forward_hook(lambda _m, _a, out: inputs.append(out))
    grid = grids.attention(found, x)
    handle.remove()
    heads, width = found.config.num_heads, found.config.embed_dim
    with nyala.no_grad():
        if name == "dinov3":
            places = found.places(inputs[0], 3, 4)
            parts = [layer(inputs[0]) for layer in (last.attn.q, last.attn.k)]
        else:
            parts = list(last.attn.qkv(inputs[0]).split(width, -1)[:2])
        q, k = (p.reshape(-1, heads, width // heads).permute(1, 0, 2).numpy().astype(np.float64) for p in parts)
    if name == "dinov3":
        q, k = (turned(t, *places) for t in (q, k))
    scores = np.einsum("hd,htd->ht", q[:, 0], k) / np.sqrt(width // heads)
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    expected = weights.mean(0)[before:].reshape(3, 4)
    assert np.abs(grid - (expected - expected.min()) / np.ptp(expected)).max() < 1e-4


def turned(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    a, b = np.split(x, 2, -1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def test_a_mean_over_patches_is_read_where_the_head_reads_one() -> None:
    found, x = model("vit_avg"), picture()
    with nyala.no_grad(), watch_attention() as seen:
        found.forward_features(x)
    expected = seen[-1][0].mean(0)[1:, 1:].mean(0).reshape(4, 4)
    assert np.abs(grids.attention(found, x) - (expected - expected.min()) / np.ptp(expected)).max() < 1e-5


def test_rollout_goes_through_all_layers() -> None:
    generator = np.random.default_rng(0)
    layers = [generator.dirichlet(np.ones(5), (2, 5)) for _ in range(3)]
    found = grids.rollout(layers)
    step = [(layer.mean(0) + np.eye(5)) / 2 for layer in layers]
    assert np.allclose(found, step[2] @ step[1] @ step[0]) and np.allclose(found.sum(-1), 1)
    vit = model("vit")
    assert not np.array_equal(grids.attention(vit, picture(), rolled=True), grids.attention(vit, picture()))


@pytest.mark.parametrize(("name", "text"), [("swin", "computed in windows"), ("resnet_basic", "has no patches")])
def test_models_without_attention_over_the_picture(name: str, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        grids.attention(model(name), picture())


def test_components_are_the_axes_of_most_variance() -> None:
    generator = np.random.default_rng(1)
    axes = np.linalg.qr(generator.standard_normal((6, 6)))[0][:, :3]
    placed = generator.uniform(-1, 1, (60, 3)) * [9.0, 3.0, 1.0]
    maps = (placed @ axes.T).astype(np.float32).reshape(2, 5, 6, 6)
    first, second = grids.components(list(maps))
    assert first.shape == (5, 6, 3) and first.min() == 0 and max(first.max(), second.max()) == 1
    found = np.concatenate([first.reshape(30, 3), second.reshape(30, 3)])
    for axis in range(3):
        inside = (found[:, axis] > 0) & (found[:, axis] < 1)
        assert abs(np.corrcoef(found[inside, axis], placed[inside, axis])[0, 1]) > 0.99
    assert np.array_equal(grids.components(list(maps))[1], second)
    with pytest.raises(ArgumentError, match="three components need three"):
        grids.components([maps[0][..., :2]])


@pytest.mark.parametrize(
    ("name", "method"), [("resnet_basic", "grad-cam"), ("vit", "grad-cam"), ("dinov2", "attention"), ("swin_bare", "components")]
)
def test_the_usual_method(name: str, method: str) -> None:
    assert grids.usual_method(model(name)) == method
