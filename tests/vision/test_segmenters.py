"""Models that give every pixel a class: parity with the libraries they come from, and what all of them offer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint, nn
from nyala.errors import CheckpointError, NyalaError, ShapeError
from nyala.hub import registry
from nyala.hub.load import load

GOLDENS = Path(__file__).parents[1] / "goldens" / "vision"
PIXELS = ("segformer", "upernet", "unet", "unet_plain", "unet_volumes")
CONVNEXT = {"model_type": "convnext", "out_features": ["stage1", "stage2", "stage3", "stage4"]}
TINY = (*PIXELS, "segformer_classifier")


def relative(actual: Any, expected: np.ndarray) -> float:
    """Largest difference, over the largest value."""
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))


def cotangent(shape: tuple[int, ...], dtype: str) -> nyala.Tensor:
    """The weights of the outputs whose gradients were frozen."""
    return nyala.tensor(np.cos(0.7 * np.arange(int(np.prod(shape))) + 0.3).reshape(shape).astype(dtype))


class Golden:
    """A tiny model with the reference's weights, and what the reference computes with them, under our names."""

    def __init__(self, name: str) -> None:
        self.pipe = load(str(GOLDENS / name))
        self.model: Any = self.pipe.model
        self.frozen = checkpoint.load_file(GOLDENS / name / "goldens.safetensors")
        self.module: Any = registry.get(registry.architecture_of(self.pipe.config))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.frozen[name]

    def under(self, prefix: str) -> dict[str, np.ndarray]:
        """Frozen values of parameters or buffers by our names."""
        named = {k.removeprefix(prefix): v for k, v in self.frozen.items() if k.startswith(prefix) and k != f"{prefix}input"}
        return dict(self.module.key_map(self.module.export_config(self.model), list(named)).to_ours(named))


@pytest.fixture(params=TINY)
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


@pytest.fixture(params=PIXELS)
def pixels(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


def test_logits_equal_the_reference(golden: Golden) -> None:
    with nyala.no_grad():
        assert relative(golden.model(nyala.from_numpy(golden["input"])), golden["logits"]) < 1e-5
        assert relative(golden.model(nyala.from_numpy(golden["odd_input"])), golden["odd_logits"]) < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_gradients_equal_the_reference(golden: Golden, mode: str, dtype: str) -> None:
    model = golden.model.train(mode == "train").to(dtype=dtype)
    prefix = "train." if mode == "train" and "train.logits" in golden.frozen else ""  # without batch norms both are one
    x = nyala.tensor(golden["input"], dtype=dtype, requires_grad=True)
    logits = model(x)
    slack = 3 if (mode, dtype) == ("train", "float32") else 1  # batch statistics amplify rounding
    assert relative(logits.detach(), golden[f"{prefix}logits"]) < 1e-5 * slack
    (logits * cotangent(logits.shape, dtype)).sum().backward()
    expected = golden.under(f"{prefix}grad.")
    parameters = dict(model.named_parameters())
    assert set(expected) == {n for n in parameters if not n.startswith("auxiliary_head.")}
    largest = max(np.abs(value).max() for value in expected.values())
    for name, value in [("input", golden[f"{prefix}grad.input"]), *expected.items()]:
        grad = np.asarray(x.grad if name == "input" else parameters[name].grad)
        # a bias that a norm takes away has no influence: its gradient is rounding noise in both
        assert relative(grad, value) < 1e-4 * slack or np.abs(grad - value).max() < 1e-6 * largest, name
    if prefix:
        buffers = dict(model.named_buffers())
        for name, value in golden.under("train.state.").items():
            if name.startswith("auxiliary_head."):  # transformers runs it for nothing
                continue
            assert relative(buffers[name], value) < 1e-5, name


def test_names_map_one_to_one(golden: Golden) -> None:
    state = golden.model.state_dict()
    config = golden.module.export_config(golden.model)
    keys = golden.module.key_map(config, [])
    keys.check_bijection(state, [tuple(v.shape) for v in state.values()])
    published = checkpoint.load_file(next(GOLDENS.joinpath(Path(golden.pipe.files.origin).name).glob("*model.safetensors")))
    written = keys.to_published({k: v.numpy() for k, v in state.items()})
    assert {k: v.shape for k, v in written.items()} == {k: v.shape for k, v in published.items()}


def test_export_describes_the_same_model(golden: Golden) -> None:
    again = golden.module.build(golden.module.export_config(golden.model))
    assert type(again) is type(golden.model) and again.config == golden.model.config


def test_checkpointing_changes_no_gradient(golden: Golden) -> None:
    model = golden.model.train()
    state = {k: v.numpy().copy() for k, v in model.state_dict().items()}

    def gradients() -> dict[str, np.ndarray]:
        model.load_state_dict(state)
        model.zero_grad()
        model(nyala.from_numpy(golden["input"])).square().sum().backward()
        return {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}

    plain = gradients()
    model.enable_checkpointing()
    again = gradients()
    assert len(plain) > 8 and all(np.array_equal(plain[n], again[n]) for n in plain)


def test_every_parameter_learns(pixels: Golden) -> None:
    pixels.model.train().forward_training(nyala.from_numpy(pixels["input"])).square().sum().backward()
    assert all(p.grad is not None for p in pixels.model.parameters())


def test_a_new_head_leaves_the_rest(pixels: Golden) -> None:
    before = {n: p.detach().numpy().copy() for n, p in pixels.model.named_parameters()}
    pixels.model.reset_head(3)
    after = dict(pixels.model.named_parameters())
    assert pixels.model.config.num_classes == 3
    assert pixels.model(nyala.from_numpy(pixels["input"])).shape[1] == 3
    changed = {n for n in before if not np.array_equal(before[n], after[n].detach().numpy())}
    assert changed and changed <= set(pixels.model.head_names())
    assert all("classifier" in n or n.startswith("model.") for n in changed)
    with pytest.raises(NyalaError, match="every pixel has a class"):
        pixels.model.reset_head(0)


def test_depth_grows_from_the_picture_to_the_classes(golden: Golden) -> None:
    model = golden.model
    depth = {n: model.layer_of(n) for n, _ in model.named_parameters()}
    last = max(depth.values())
    assert min(depth.values()) == 0 and set(depth.values()) == set(range(last + 1))
    assert all(depth[n] == last for n in model.head_names())
    assert all(g["lr"] > 0 for g in model.param_groups(layer_decay=0.5, lr=1.0))


def test_other_numbers_of_channels(pixels: Golden) -> None:
    c = pixels.module.export_config(pixels.model)
    name = "num_channels" if "num_channels" in c else "in_channels" if "in_channels" in c else "backbone_config"
    given = {**c, name: {**c[name], "num_channels": 2} if isinstance(c[name], dict) else 2}
    x = np.zeros((1, 2, *pixels["input"].shape[2:]), np.float32)
    assert pixels.module.build(given).eval()(nyala.from_numpy(x)).shape[0] == 1


def test_an_encoder_becomes_the_base_of_a_segmenter() -> None:
    folder = str(GOLDENS / "segformer_classifier")
    pipe: Any = load(folder, task="image-segmentation", num_classes=3)
    encoder = load(folder).model.state_dict()
    found = pipe.model.state_dict()
    assert all(np.array_equal(v.numpy(), found[n].numpy()) for n, v in encoder.items() if n.startswith("stages."))
    assert len(pipe.labels) == 3 and any(n.startswith("decode_head.linear_c") for n in pipe.model.head_names())
    with pytest.raises(CheckpointError, match=r"decode_head"):
        load(folder, task="image-segmentation")


def test_features_by_name(pixels: Golden) -> None:
    name = next(n for n, m in pixels.model.named_modules() if isinstance(m, nn.Conv2d | nn.Conv3d))
    with nyala.no_grad():
        _, found = pixels.model.forward_intermediates(nyala.from_numpy(pixels["input"]), names=[name])
    assert found[name].ndim == pixels["input"].ndim


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"model_type": "segformer", "depths": [1, 1]}, "stages of unequal number"),
        ({"model_type": "segformer", "hidden_act": "relu"}, "have gelu"),
        ({"model_type": "upernet", "backbone_config": {"model_type": "swin"}}, "is built over ConvNeXt"),
        ({"model_type": "upernet", "backbone_config": {"model_type": "convnext"}}, "reads several stages"),
        ({"model_type": "unet", "chanels": [4, 8]}, "did you mean 'channels'"),
        ({"model_type": "unet", "channels": [4, 8]}, "one stride less than channels"),
        ({"model_type": "unet", "spatial_dims": 4}, "spatial_dims=4"),
        ({"model_type": "unet", "act": "swish"}, "use one of prelu"),
        ({"model_type": "unet", "norm": ["layer", {}]}, "use one of instance"),
        ({"model_type": "unet", "adn_ordering": "NNA"}, "order the letters"),
    ],
)
def test_bad_configurations(config: dict[str, Any], text: str) -> None:
    with pytest.raises(NyalaError, match=text):
        registry.get(registry.architecture_of(config)).build(config)


def test_sizes_that_do_not_come_up_again() -> None:
    from nyala.vision.models import unet

    model = unet.UNet(unet.Config(channels=(4, 6, 8), strides=(2, 2)))
    with pytest.raises(ShapeError, match=r"multiples of 4 x 4, here 20 x 24"):
        model(nyala.zeros(1, 3, 18, 24))
    with pytest.raises(ShapeError, match=r"takes \(N, C, H, W\)"):
        model(nyala.zeros(1, 3, 8, 8, 8))


def test_a_bundles_own_words_build_the_same() -> None:
    from nyala.vision.models import unet

    network = {"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [16, 32, 64, 128, 256],
               "strides": [2, 2, 2, 2], "num_res_units": 2, "norm": "batch"}  # fmt: skip
    with nn.init.skip_random():
        assert unet.build({"model_type": "unet", **network}).num_parameters() == 4_808_917


@pytest.mark.parametrize(
    ("config", "count"),
    [
        ({"model_type": "segformer", "architectures": ["SegformerForSemanticSegmentation"], "num_labels": 150}, 3_752_694),
        ({"model_type": "upernet", "num_labels": 150, "backbone_config": CONVNEXT}, 60_242_636),
    ],
)  # fmt: skip
def test_full_models_have_their_published_size(config: dict[str, Any], count: int) -> None:
    with nn.init.skip_random():
        assert registry.get(registry.architecture_of(config)).build(config).num_parameters() == count
