"""Image architectures: parity with timm and transformers on tiny random models, and what every architecture must offer."""

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

GOLDENS = Path(__file__).parents[1] / "goldens" / "vision"
TINY = (
    "resnet_basic", "resnet_bottleneck", "efficientnet_lite",
    "convnext", "convnextv2", "convnext_transformers", "convnextv2_transformers",
    "efficientnet", "efficientnet_tf", "efficientnetv2", "efficientnetv2_b", "mobilenetv2", "mobilenetv3", "mobilenetv3_tf",
    "mobilenetv4", "resnext", "wide_resnet", "resnet_transformers", "resnet_transformers_basic", "resnet_transformers_1x1",
    "vgg", "vgg_bn", "densenet", "regnetx", "regnety", "regnety_transformers", "regnetx_transformers",
)  # fmt: skip
FULL = {"resnet18": 11_689_512, "resnet50": 25_557_032, "tf_efficientnet_lite0": 4_652_008}


def relative(actual: Any, expected: np.ndarray) -> float:
    """Largest difference, over the largest value."""
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))


def cotangent(shape: tuple[int, ...]) -> nyala.Tensor:
    """The weights of the outputs whose gradients were frozen; see tests/tools/make_goldens_vision.py."""
    index = np.arange(int(np.prod(shape)), dtype=np.float64)
    return nyala.tensor(np.cos(0.7 * index + 0.3).reshape(shape).astype(np.float32))


@pytest.fixture(params=TINY)
def golden(request: pytest.FixtureRequest) -> tuple[Any, dict[str, np.ndarray]]:
    """A tiny model with the reference's weights, and what the reference computes with them."""
    folder = GOLDENS / request.param
    pipe = load(str(folder))
    return pipe.model, in_our_names(pipe.config, checkpoint.load_file(folder / "goldens.safetensors"))


def in_our_names(config: dict[str, Any], frozen: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Goldens whose gradients and buffers have our names: each stands behind "grad.", "train.grad." or "train.state."."""
    keys = registry.get(registry.architecture_of(config)).key_map(config, [])
    found = {}
    for prefix in ("grad.", "train.grad.", "train.state."):
        named = {k.removeprefix(prefix): v for k, v in frozen.items() if k.startswith(prefix)}
        found |= {prefix + k: v for k, v in keys.to_ours(named).items()}
    return {k: v for k, v in frozen.items() if not k.startswith(("grad.", "train.grad.", "train.state."))} | found


def test_logits_and_features_equal_timm(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, frozen = golden
    with nyala.no_grad():
        assert relative(model(nyala.from_numpy(frozen["input"])), frozen["logits"]) < 1e-5
        assert relative(model.forward_features(nyala.from_numpy(frozen["input"])), frozen["features"]) < 1e-5
        assert relative(model(nyala.from_numpy(frozen["odd_input"])), frozen["odd_logits"]) < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_gradients_equal_timm(golden: tuple[Any, dict[str, np.ndarray]], mode: str, dtype: str) -> None:
    model, frozen = golden
    model.train(mode == "train").to(dtype=dtype)
    prefix = "train." if mode == "train" and "train.logits" in frozen else ""  # without batch statistics both are one
    x = nyala.tensor(frozen["input"], dtype=dtype, requires_grad=True)
    logits = model(x)
    # Batch statistics over the 16 values of the last stages amplify rounding: torch's own float32 is 0.8e-5 from its float64.
    slack = 3 if (mode, dtype) == ("train", "float32") else 1
    assert relative(logits.detach(), frozen[f"{prefix}logits"]) < 1e-5 * slack
    (logits * cotangent(logits.shape).to(dtype)).sum().backward()
    parameters = {"input": x, **dict(model.named_parameters())}
    names = [k for k in frozen if k.startswith(f"{prefix}grad.")]
    assert len(names) > 20
    largest = max(np.abs(frozen[name]).max() for name in names)
    for name in names:
        expected = frozen[name]
        grad = parameters[name.removeprefix(f"{prefix}grad.")].grad
        # a bias in front of a batch norm has no influence: its gradient is rounding noise in both
        assert relative(grad, expected) < 1e-4 * slack or np.abs(np.asarray(grad) - expected).max() < 1e-6 * largest, name
    if mode == "train":
        buffers = dict(model.named_buffers())
        for name in (k for k in frozen if k.startswith("train.state.")):
            assert relative(buffers[name.removeprefix("train.state.")], frozen[name]) < 1e-5, name


@pytest.mark.parametrize("name", FULL)
def test_the_full_model_has_exactly_timms_tensors(name: str) -> None:
    expected = {k: tuple(s) for k, s in json.loads((GOLDENS / "keys.json").read_text())[name].items()}
    config = {"architecture": name, "num_classes": 1000}
    module = registry.get(f"timm:{name}")
    model = module.build(config)
    ours = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    published = module.key_map(config, list(expected)).to_published({k: np.empty(s, np.bool_) for k, s in ours.items()})
    assert {k: v.shape for k, v in published.items()} == expected
    assert model.num_parameters() == FULL[name]


PUBLISHED = [
    ("resnet34", 21_797_672),
    ("resnet101", 44_549_160),
    ("resnet152", 60_192_808),
    ("resnext50_32x4d", 25_028_904),
    ("resnext101_32x8d", 88_791_336),
    ("wide_resnet50_2", 68_883_240),
    ("vgg11", 132_863_336),
    ("vgg16_bn", 138_365_992),
    ("densenet121", 7_978_856),
    ("densenet161", 28_681_000),
    ("regnetx_002", 2_684_792),
    ("regnety_032", 19_436_338),
    ("convnext_atto", 3_695_520),
    ("convnextv2_atto", 3_708_400),
    ("mobilenetv2_100", 3_504_872),
    ("mobilenetv3_small_100", 2_542_856),
    ("mobilenetv3_large_100", 5_483_032),
    ("mobilenetv4_conv_small", 3_774_024),
    ("efficientnet_b0", 5_288_548),
    ("tf_efficientnetv2_b0", 7_139_704),
]


@pytest.mark.parametrize(("name", "count"), PUBLISHED)
def test_full_models_have_their_published_size(name: str, count: int) -> None:
    with nyala.nn.init.skip_random():
        model = registry.get(f"timm:{name}").build({"architecture": name})
    assert model.num_parameters() == count


def test_the_other_librarys_names_map_one_to_one() -> None:
    names = json.loads((GOLDENS.parent / "real" / "lite0_names.json").read_text())
    from nyala.vision.models import efficientnet

    keys = efficientnet.key_map({"architecture": "tf_efficientnet_lite0"}, list(names))
    numbered = {theirs: np.array(i) for i, theirs in enumerate(names)}
    assert {k: int(v) for k, v in keys.to_ours(numbered).items()} == {ours: i for i, ours in enumerate(names.values())}
    assert {k: int(v) for k, v in keys.to_published(keys.to_ours(numbered)).items()} == {k: int(v) for k, v in numbered.items()}


@pytest.mark.parametrize("name", TINY)
def test_export_describes_the_same_model(name: str) -> None:
    config = json.loads((GOLDENS / name / "config.json").read_text())
    module = registry.get(registry.architecture_of(config))
    model = module.build(config)
    again = module.build(module.export_config(model))
    assert again.config == model.config
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}


def test_every_parameter_gets_a_gradient(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, frozen = golden
    model.train()
    model.reset_head(42)
    out = model(nyala.from_numpy(frozen["input"]))
    assert out.shape == (4, 42)
    out.square().sum().backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None or not np.abs(p.grad.numpy()).sum() > 0]
    assert missing == []


def test_checkpointing_changes_no_gradient(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, frozen = golden
    model.train()
    state = {k: v.numpy().copy() for k, v in model.state_dict().items()}

    def gradients() -> dict[str, np.ndarray]:
        model.load_state_dict(state)
        model.zero_grad()
        model(nyala.from_numpy(frozen["input"])).square().sum().backward()
        return {n: p.grad.numpy() for n, p in model.named_parameters()}

    plain = gradients()
    model.enable_checkpointing()
    again = gradients()
    assert all(np.array_equal(plain[n], again[n]) for n in plain)


def test_a_batch_gives_each_pictures_own_result(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, frozen = golden
    with nyala.no_grad():
        together = model(nyala.from_numpy(frozen["input"])).numpy()
        alone = np.concatenate([model(nyala.from_numpy(frozen["input"][i : i + 1])).numpy() for i in range(4)])
    assert relative(alone, together) < 1e-5


def test_layers_count_up_from_the_stem(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, _ = golden
    depths = [model.layer_of(n) for n, _ in model.named_parameters()]
    assert depths == sorted(depths) and depths[0] == 0
    groups = model.param_groups(weight_decay=0.1, layer_decay=0.5, lr=1.0)
    assert max(g["lr"] for g in groups) == 1.0 and min(g["lr"] for g in groups) == pytest.approx(0.5 ** depths[-1])
    assert all(g["weight_decay"] == 0 for g in groups for p in g["params"] if p.ndim < 2)


def test_intermediate_features_by_name(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, frozen = golden
    name = next(
        n
        for n in ("layer2", "blocks.2", "stages.1", "features.2", "features.denseblock2", "s2")
        if n in dict(model.named_modules())
    )
    with nyala.no_grad():
        _, found = model.forward_intermediates(nyala.from_numpy(frozen["input"]), names=[name])
    assert found[name].ndim == 4


def test_wrong_channels_name_the_place(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, _ = golden
    with pytest.raises(ShapeError, match=r"at (conv1|conv_stem|stem.0|stem.conv|features.0|features.conv0) \("):
        model(nyala.zeros(1, 4, 32, 32))
    with pytest.raises(ShapeError, match=r"at (conv1|conv_stem|stem.0|stem.conv|features.0|features.conv0) \("):
        model(nyala.zeros(3, 32))


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"architecture": "resnet18", "model_args": {"layer": [1, 1]}}, "did you mean 'layers'"),
        ({"architecture": "resnet18", "model_args": {"global_pool": "max"}}, "global_pool='avg' is the only kind"),
        ({"architecture": "resnet81"}, "did you mean 'resnet18'"),
    ],
)
def test_bad_configurations(config: dict[str, Any], text: str) -> None:
    from nyala.vision.models import resnet

    with pytest.raises(NyalaError, match=text):
        resnet.build(config)


@pytest.mark.parametrize("name", ["convnext_tinier", "mobilenetv3_small_99", "efficientnetv2_xs"])
def test_unknown_sizes_lead_to_the_nearest(name: str) -> None:
    with pytest.raises(NyalaError, match=f"is called '{name}'.*did you mean"):
        registry.get(f"timm:{name}").build({"architecture": name})


def test_a_head_is_added_to_what_was_published_without() -> None:
    config = json.loads((GOLDENS / "convnext_transformers" / "config.json").read_text())
    bare = {**config, "architectures": ["ConvNextModel"]}
    module = registry.get("transformers:convnext")
    assert module.build(bare).config.num_classes == 0
    assert module.build(bare, num_labels=7).config.num_classes == 7
    names = module.key_map(bare, []).to_published(dict.fromkeys(["stem.0.weight", "head.norm.bias"], np.zeros(1)))
    assert list(names) == ["embeddings.patch_embeddings.weight", "layernorm.bias"]
