"""Goldens of vision transformers, by timm and transformers.

``tests/goldens/vision/NAME/`` holds a tiny random model as its library writes it (``config.json``, ``model.safetensors``) and
``goldens.safetensors``:

    input, odd_input     pictures; the odd one has another size than the position vectors are for
    logits, odd_logits   eval mode: the class logits, or the pooled features of a model without classes
    features             the tokens before pooling, of input
    grad.PARAMETER       gradients of sum(logits[i] * cos(0.7 * i + 0.3)), under the names of the file

``vit_keys.json``: names and shapes of full-size state dicts, with the config.json that belongs to them.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torchvision_shim  # noqa: F401 - must come before timm, which imports torchvision
import transformers
from golden_recorder import GOLDENS, cotangent, narrow
from safetensors.torch import load_file, save_file
from timm import create_model
from torch import nn

VISION = GOLDENS / "vision"
_SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
TIMM: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("vit_base_patch16_224", _SMALL),
    "vit_avg": ("vit_base_patch16_224", {**_SMALL, "global_pool": "avg", "qkv_bias": False}),
    "deit_distilled": ("deit_tiny_distilled_patch16_224", _SMALL),
    "deit3": ("deit3_small_patch16_224", _SMALL),
    "dinov2_timm": ("vit_small_patch14_dinov2", _SMALL),
    "dinov2_reg4_timm": ("vit_small_patch14_reg4_dinov2", _SMALL),
}
_SWIN = {"img_size": 32, "patch_size": 2, "embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2), "window_size": 5}
_DINOV3 = {"patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
TIMM["dinov3_timm"] = ("vit_small_patch16_dinov3", {**_DINOV3, "img_size": 32})
TIMM["dinov3_timm_gated"] = ("vit_small_plus_patch16_dinov3_qkvb", {**_DINOV3, "img_size": 32, "mlp_ratio": 2})
TIMM["beit_timm"] = ("beit_base_patch16_224", _SMALL)
TIMM["beitv2_shared"] = (
    "beitv2_large_patch16_224",
    {
        **_SMALL, "global_pool": "token", "use_rel_pos_bias": False, "use_shared_rel_pos_bias": True, "use_abs_pos_emb": True,
        "qkv_bias": False,
    },
)  # fmt: skip
TIMM["swin"] = ("swin_tiny_patch4_window7_224", {**_SWIN, "drop_path_rate": 0.0})
_TINY = {
    "image_size": 32, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
}  # fmt: skip
_SWIN_TINY = {
    "image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [2, 2], "num_heads": [1, 2], "window_size": 5,
    "drop_path_rate": 0.0,
}  # fmt: skip
TRANSFORMERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "vit_transformers": ("ViTConfig", "ViTForImageClassification", {**_TINY, "intermediate_size": 32, "num_labels": 5}),
    "vit_pooler": ("ViTConfig", "ViTModel", {**_TINY, "intermediate_size": 32}),
    "deit_teacher": (
        "DeiTConfig",
        "DeiTForImageClassificationWithTeacher",
        {**_TINY, "intermediate_size": 32, "num_labels": 5},
    ),
    "dinov2": ("Dinov2Config", "Dinov2Model", _TINY),
    "dinov2_swiglu": ("Dinov2Config", "Dinov2Model", {**_TINY, "use_swiglu_ffn": True}),
    "dinov2_classifier": ("Dinov2Config", "Dinov2ForImageClassification", {**_TINY, "num_labels": 5}),
    "dinov2_registers": ("Dinov2WithRegistersConfig", "Dinov2WithRegistersModel", _TINY),
    "dinov2_registers_classifier": (
        "Dinov2WithRegistersConfig",
        "Dinov2WithRegistersForImageClassification",
        {**_TINY, "num_labels": 5},
    ),
}
_DINOV3_TINY = {**_TINY, "intermediate_size": 32, "num_register_tokens": 3}
TRANSFORMERS["dinov3"] = ("DINOv3ViTConfig", "DINOv3ViTModel", _DINOV3_TINY)
TRANSFORMERS["dinov3_gated"] = (
    "DINOv3ViTConfig",
    "DINOv3ViTModel",
    {**_DINOV3_TINY, "use_gated_mlp": True, "hidden_act": "silu", "key_bias": True, "mlp_bias": False, "num_register_tokens": 1},
)
_BEIT = {**_TINY, "intermediate_size": 32, "drop_path_rate": 0.0}
TRANSFORMERS["beit"] = (
    "BeitConfig",
    "BeitForImageClassification",
    {**_BEIT, "use_relative_position_bias": True, "num_labels": 5},
)
TRANSFORMERS["beit_bare"] = (
    "BeitConfig",
    "BeitModel",
    {
        **_BEIT, "use_shared_relative_position_bias": True, "use_absolute_position_embeddings": True, "use_mask_token": True,
        "use_mean_pooling": False,
    },
)  # fmt: skip
TRANSFORMERS["swin_transformers"] = ("SwinConfig", "SwinForImageClassification", {**_SWIN_TINY, "num_labels": 5})
TRANSFORMERS["swin_bare"] = ("SwinConfig", "SwinModel", _SWIN_TINY)
FULL = (
    "swin_base_patch4_window12_384",
    "vit_base_patch16_224",
    "deit3_small_patch16_224",
    "vit_small_patch14_dinov2",
    "vit_giant_patch14_dinov2",
    "vit_small_plus_patch16_dinov3",
    "vit_base_patch16_dinov3_qkvb",
    "beit_base_patch16_224",
    "beitv2_large_patch16_224",
)


def randomise(model: nn.Module) -> None:
    """Every parameter gets values far from what an initialiser would choose."""
    generator = torch.Generator().manual_seed(11)
    for name, parameter in model.named_parameters():
        size = 0.3 if parameter.ndim < 2 or "token" in name or "pos" in name else 1.5 / parameter[0].numel() ** 0.5
        parameter.data.normal_(0, size, generator=generator)
        if parameter.ndim == 1 and (("norm" in name and name.endswith("weight")) or "gamma" in name or "lambda" in name):
            parameter.data.add_(1)


def picture(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def save(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    save_file({key: value.detach().contiguous().clone() for key, value in tensors.items()}, path, metadata)
    path.chmod(0o644)
    print(f"{path.relative_to(GOLDENS)}: {path.stat().st_size / 1e3:.0f} kB")


def by_timm(name: str, architecture: str, arguments: dict[str, Any]) -> None:
    folder = VISION / name
    folder.mkdir(parents=True, exist_ok=True)
    classes = 0 if name.startswith("dino") else 5
    fixed = architecture.startswith(("swin", "beit"))  # made for one size at a time
    model = create_model(architecture, num_classes=classes, **({} if fixed else {"dynamic_img_size": True}), **arguments)
    randomise(model)
    config = {"architecture": architecture, "num_classes": classes, "num_features": 16, "model_args": arguments}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save(model.state_dict(), folder / "model.safetensors", {"format": "pt"})
    model = model.double().eval()
    x, odd = picture(2, 3, 32, 32, seed=1), picture(1, 3, 40, 24, seed=2)
    logits = model(x.double())
    named = dict(model.named_parameters())
    found = torch.autograd.grad((logits * cotangent(logits.shape)).sum(), list(named.values()))
    with torch.no_grad():
        goldens = {"features": model.forward_features(x.double()), "logits": logits}
        if fixed:
            windows = {"window_size": arguments["window_size"]} if "window_size" in arguments else {}
            model.set_input_size(tuple(odd.shape[2:]), **windows)
        goldens["odd_logits"] = model(odd.double())
    kept = {f"grad.{n}": narrow(g) for n, g in zip(named, found, strict=True)}
    save({"input": x, "odd_input": odd, **{k: narrow(v) for k, v in goldens.items()}, **kept}, folder / "goldens.safetensors")


def result(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    resampled = {"interpolate_pos_encoding": True} if model.config.model_type in ("vit", "deit") else {}
    out = model(x, **resampled)
    return out.logits if hasattr(out, "logits") else out.pooler_output


def by_transformers(name: str, config_class: str, model_class: str, settings: dict[str, Any]) -> None:
    folder = VISION / name
    model = getattr(transformers, model_class)(getattr(transformers, config_class)(**settings)).eval()
    randomise(model)
    model.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    model = model.double()
    x, odd = picture(2, 3, 32, 32, seed=1), picture(1, 3, 43, 26, seed=2)
    logits = result(model, x.double())
    goldens = {"logits": logits}
    used = {n: p for n, p in model.named_parameters() if "mask_token" not in n}
    found = dict(zip(used, torch.autograd.grad((logits * cotangent(logits.shape)).sum(), list(used.values())), strict=True))
    with torch.no_grad():
        goldens["odd_logits"] = result(model, odd.double())

        whole = model if model_class.endswith("Model") else model.base_model
        goldens["features"] = whole(x.double()).last_hidden_state
        for n, p in model.named_parameters():
            p.data = found[n] if n in found else torch.zeros_like(p)
    with tempfile.TemporaryDirectory() as written:  # transformers writes names that are not those of its modules
        model.save_pretrained(written)
        gradients = load_file(Path(written) / "model.safetensors")
    kept = {f"grad.{n}": narrow(g) for n, g in gradients.items() if "mask_token" not in n}
    save({"input": x, "odd_input": odd, **{k: narrow(v) for k, v in goldens.items()}, **kept}, folder / "goldens.safetensors")


def write_keys() -> None:
    shapes = {}
    with torch.device("meta"):
        for name in FULL:
            model = create_model(name, num_classes=0 if "dinov" in name else 1000)
            shapes[name] = {key: list(value.shape) for key, value in model.state_dict().items()}
    lines = (f"{json.dumps(name)}: {json.dumps(keys)}" for name, keys in shapes.items())
    (VISION / "vit_keys.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    torch.use_deterministic_algorithms(True)
    wanted = sys.argv[1:]
    for name, arguments in ((n, a) for n, a in TIMM.items() if not wanted or n in wanted):
        by_timm(name, *arguments)
    for name, described in ((n, a) for n, a in TRANSFORMERS.items() if not wanted or n in wanted):
        by_transformers(name, *described)
    write_keys()


if __name__ == "__main__":
    main()
