"""Goldens of the convolutional networks beside ResNet and EfficientNet-Lite: as ``make_goldens_vision.py`` has them.

Those in transformers' layout (``config.json`` has a ``model_type``) hold ``last_hidden_state`` as ``features``; their gradients
and buffers have transformers' names.

``python tests/tools/make_goldens_convnets.py [NAME ...]`` makes all, or those named. ``--check FOLDER`` reads what nyala
exported to ``FOLDER/NAME`` with the original library: no key may be missing or unexpected, and the logits must be the goldens'.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import torch
import torchvision_shim  # noqa: F401 - must come before timm, which imports torchvision
import transformers
from golden_recorder import narrow
from make_goldens_vision import VISION, gradients, picture, randomise, save, tiny_goldens
from safetensors.torch import load_file
from timm import create_model
from timm.layers import ClassifierHead
from timm.models import efficientnet, mobilenetv3, vgg
from torch import nn

SHOWN = 1_500  # elements: gradients of larger parameters are left out
DATA = {
    "input_size": [3, 48, 48],
    "interpolation": "bicubic",
    "crop_pct": 0.875,
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.25, 0.3],
}
SLIM: dict[str, Any] = {"depths": [1, 2, 1, 1], "dims": [8, 12, 16, 24]}
NARROW: dict[str, Any] = {"channel_multiplier": 0.05}
LINE: dict[str, Any] = {"depth": 6, "w0": 8, "wa": 6.0, "wm": 1.7, "group_size": 4, "stem_width": 8}
VGG: dict[str, Any] = {"depths": [2, 2, 2, 2], "channels": [6, 8, 12, 8], "head_hidden_size": 16, "mlp_ratio": 1.5}
THIN: dict[str, Any] = {"layers": [1, 2, 1, 1], "channels": [4, 4, 8, 8]}
TIMM: dict[str, dict[str, Any]] = {
    "convnext": {"architecture": "convnext_tiny", "model_args": {**SLIM, "ls_init_value": 1.0}},
    "convnextv2": {"architecture": "convnextv2_atto", "model_args": SLIM},
    "efficientnet": {"architecture": "efficientnet_b0", "model_args": {**NARROW, "depth_multiplier": 0.5}},
    "efficientnet_tf": {"architecture": "tf_efficientnet_b1", "model_args": {**NARROW, "depth_multiplier": 0.4}},
    "efficientnetv2": {"architecture": "tf_efficientnetv2_s", "model_args": {**NARROW, "depth_multiplier": 0.1}},
    "efficientnetv2_b": {"architecture": "tf_efficientnetv2_b0", "model_args": {**NARROW, "depth_multiplier": 0.3}},
    "mobilenetv2": {"architecture": "mobilenetv2_100", "model_args": {**NARROW, "depth_multiplier": 0.3}},
    "mobilenetv3": {"architecture": "mobilenetv3_small_100", "model_args": NARROW},
    "mobilenetv3_tf": {"architecture": "tf_mobilenetv3_large_100", "model_args": {**NARROW, "depth_multiplier": 0.5}},
    "mobilenetv4": {"architecture": "mobilenetv4_conv_small", "model_args": NARROW},
    "resnext": {"architecture": "resnext50_32x4d", "model_args": {**THIN, "cardinality": 4, "base_width": 16}},
    "wide_resnet": {"architecture": "wide_resnet50_2", "model_args": THIN},
    "vgg": {"architecture": "vgg11", "model_args": VGG},
    "vgg_bn": {"architecture": "vgg13_bn", "model_args": VGG},
    "densenet": {"architecture": "densenet121", "model_args": {"growth_rate": 4, "block_config": [1, 2, 3, 1], "bn_size": 2}},
    "regnetx": {"architecture": "regnetx_002", "model_args": LINE},
    "regnety": {"architecture": "regnety_008_tv", "model_args": {**LINE, "group_size": 12, "se_ratio": 0.5}},
}


def small_vgg(
    architecture: str,  # noqa: ARG001 - called as timm's builders are
    num_classes: int,
    depths: list[int],
    channels: list[int],
    head_hidden_size: int,
    mlp_ratio: float,
    **norm: Any,
) -> nn.Module:
    """timm's VGG with other widths, which it has written down in its code."""
    layers = [c for count, width in zip(depths, channels, strict=True) for c in [*[width] * count, "M"]]
    model = vgg.VGG(layers, num_classes=num_classes, **norm)
    model.pre_logits = vgg.ConvMlp(channels[-1], head_hidden_size, 7, mlp_ratio, drop_rate=0.0)
    model.head = ClassifierHead(head_hidden_size, num_classes, pool_type="avg")
    return model


# Families whose public constructors fix the multipliers: what builds them, and what the constructor adds besides.
TENSORFLOW = {"bn_eps": 1e-3, "pad_type": "same"}
BUILDERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "efficientnet_b0": (efficientnet._gen_efficientnet, {}),
    "tf_efficientnet_b1": (efficientnet._gen_efficientnet, TENSORFLOW),
    "tf_efficientnetv2_s": (efficientnet._gen_efficientnetv2_s, TENSORFLOW),
    "tf_efficientnetv2_b0": (efficientnet._gen_efficientnetv2_base, TENSORFLOW),
    "mobilenetv2_100": (efficientnet._gen_mobilenet_v2, {}),
    "mobilenetv3_small_100": (mobilenetv3._gen_mobilenet_v3, {}),
    "tf_mobilenetv3_large_100": (mobilenetv3._gen_mobilenet_v3, TENSORFLOW),
    "mobilenetv4_conv_small": (mobilenetv3._gen_mobilenet_v4, {}),
    "vgg11": (small_vgg, {}),
    "vgg13_bn": (small_vgg, {"norm_layer": nn.BatchNorm2d}),
}
HIDDEN = {"depths": [1, 2, 1, 1], "hidden_sizes": [8, 12, 16, 24]}
TRANSFORMERS: dict[str, tuple[str, dict[str, Any]]] = {
    "convnext_transformers": ("ConvNext", {**HIDDEN, "layer_scale_init_value": 1.0}),
    "convnextv2_transformers": ("ConvNextV2", HIDDEN),
    "resnet_transformers": ("ResNet", {"depths": [1, 2, 1, 1], "hidden_sizes": [16, 16, 32, 32], "embedding_size": 8}),
    "resnet_transformers_basic": (
        "ResNet",
        {**HIDDEN, "layer_type": "basic", "embedding_size": 8, "downsample_in_first_stage": True},
    ),
    "regnety_transformers": (
        "RegNet",
        {"depths": [1, 2, 1], "hidden_sizes": [16, 16, 24], "embedding_size": 16, "groups_width": 8},
    ),
    "regnetx_transformers": (
        "RegNet",
        {"depths": [1, 2], "hidden_sizes": [12, 20], "embedding_size": 8, "groups_width": 4, "layer_type": "x"},
    ),
    "resnet_transformers_1x1": (
        "ResNet",
        {"depths": [1, 1], "hidden_sizes": [16, 32], "embedding_size": 8, "downsample_in_bottleneck": True},
    ),
}


class Logits(nn.Module):
    """A model of transformers as timm's are called."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x).logits

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.model.base_model(x).last_hidden_state


def everything(model: nn.Module, seed: int) -> None:
    """As ``randomise``, and the parameters of all other kinds of modules."""
    randomise(model, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    for module in model.modules():
        if not isinstance(module, (nn.BatchNorm2d, nn.Conv2d, nn.Linear)):
            for name, value in module.named_parameters(recurse=False):
                if name.endswith("bias"):
                    value.data.normal_(0, 0.3, generator=generator)
                else:
                    value.data.uniform_(0.5, 1.5, generator=generator)


def steadily(model: nn.Module) -> None:
    """Values with which no activation lies so near to a kink that rounding moves it to the other side: one that crosses over
    changes all gradients before it, and would say nothing of who computed them."""
    x, noise = picture(4, 3, 48, 48, seed=1).double(), picture(4, 3, 48, 48, seed=3).double()
    for seed in range(7, 100):
        everything(model, seed)
        kept = copy.deepcopy(model).double().train()
        _, plain = gradients(kept, x)
        moved = [gradients(kept, x + size * noise)[1] for size in (2e-6, -2e-6, 4e-6, -4e-6)]
        largest = max(value.abs().max() for value in plain.values())
        alive = all(value.any() for value in plain.values())  # no layer whose ReLUs are all zero
        if alive and all((other[name] - value).abs().max() < 3e-4 * largest for other in moved for name, value in plain.items()):
            return
    raise SystemExit("no steady values: make the model shallower")


def built(architecture: str, model_args: dict[str, Any]) -> nn.Module:
    if architecture in BUILDERS:
        builder, added = BUILDERS[architecture]
        return builder(architecture, num_classes=10, **added, **model_args)
    return create_model(architecture, num_classes=10, **model_args)


def from_timm(name: str, architecture: str, model_args: dict[str, Any]) -> None:
    folder = VISION / name
    folder.mkdir(parents=True, exist_ok=True)
    model = built(architecture, model_args)
    steadily(model)
    config = {"architecture": architecture, "num_classes": 10, "model_args": model_args}
    config["pretrained_cfg"] = {**DATA, "num_classes": 10}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save(model.state_dict(), folder / "model.safetensors", {"format": "pt"})
    save(tiny_goldens(model, SHOWN), folder / "goldens.safetensors")


def from_transformers(name: str, kind: str, arguments: dict[str, Any]) -> None:
    folder = VISION / name
    config = getattr(transformers, f"{kind}Config")(num_labels=10, **arguments)
    model = getattr(transformers, f"{kind}ForImageClassification")(config)
    steadily(Logits(model))
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    goldens = tiny_goldens(Logits(model), SHOWN)
    save({key.replace(".model.", "."): value for key, value in goldens.items()}, folder / "goldens.safetensors")


def check(folder: Path) -> None:
    for exported in sorted(folder.iterdir()):
        config = json.loads((exported / "config.json").read_text())
        if "model_type" in config:
            kind = TRANSFORMERS[exported.name][0]
            model, report = getattr(transformers, f"{kind}ForImageClassification").from_pretrained(
                exported, output_loading_info=True
            )
            assert not report["missing_keys"] and not report["unexpected_keys"], (exported, report)
            model = Logits(model)
        else:
            model = built(config["architecture"], TIMM[exported.name]["model_args"])
            model.load_state_dict(load_file(exported / "model.safetensors"), strict=True)
        frozen = load_file(VISION / exported.name / "goldens.safetensors")
        logits, _ = gradients(model.double().eval(), frozen["input"].double())
        torch.testing.assert_close(narrow(logits), frozen["logits"], rtol=1e-5, atol=1e-5)
        print(f"{exported.name}: read, and the same logits")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[*TIMM, *TRANSFORMERS])
    parser.add_argument("--check", type=Path)
    args = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    if args.check:
        check(args.check)
        return
    for name in args.names:
        if name in TIMM:
            from_timm(name, **TIMM[name])
        else:
            from_transformers(name, *TRANSFORMERS[name])


if __name__ == "__main__":
    main()
