"""Goldens of the models that give every pixel a class: tiny random ones of transformers, and U-Nets of MONAI.

Gradients and buffers have the names of the published files. ``grad.input`` belongs to the picture.

``python tests/tools/make_goldens_segmenters.py [NAME ...]`` makes all, or those named. ``--check FOLDER`` reads what nyala
exported to ``FOLDER/NAME`` with the original library: no key may be missing or unexpected, and the logits must be the goldens'.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
import torchvision_shim  # noqa: F401 - must come before transformers, which may import torchvision
import transformers
from golden_recorder import cotangent, narrow
from make_goldens_convnets import Logits, everything, steadily
from make_goldens_vision import VISION, picture, save
from monai.inferers import sliding_window_inference
from monai.losses import DiceLoss, FocalLoss
from monai.networks.nets import UNet
from safetensors.torch import load_file
from torch import nn
from torchvision.ops import sigmoid_focal_loss

STAGES = {"depths": [1, 2, 1, 1], "hidden_sizes": [8, 8, 12, 16]}
SEGFORMER = {**STAGES, "num_attention_heads": [1, 2, 2, 4], "sr_ratios": [4, 2, 2, 1], "mlp_ratios": [2, 2, 2, 2]}
STILL = {"decoder_hidden_size": 12, "classifier_dropout_prob": 0.0, "drop_path_rate": 0.0}
TRANSFORMERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "segformer": ("Segformer", "ForSemanticSegmentation", {**SEGFORMER, **STILL, "num_labels": 5}),
    "upernet": (
        "UperNet",
        "ForSemanticSegmentation",
        {
            "backbone_config": transformers.ConvNextConfig(
                **{**STAGES, "layer_scale_init_value": 1.0}, out_features=["stage1", "stage2", "stage3", "stage4"]
            ),
            "hidden_size": 8,
            "pool_scales": [2, 3],
            "auxiliary_in_channels": 12,
            "auxiliary_channels": 6,
            "num_labels": 5,
        },
    ),
    "segformer_classifier": ("Segformer", "ForImageClassification", {**SEGFORMER, **STILL, "num_labels": 5}),
}

RESIDUAL = {"channels": [4, 6, 8], "strides": [2, 2], "num_res_units": 2}
MONAI: dict[str, dict[str, Any]] = {
    "unet": {"spatial_dims": 2, "in_channels": 3, "out_channels": 5, **RESIDUAL},
    "unet_plain": {
        "spatial_dims": 2, "in_channels": 1, "out_channels": 3, "channels": [4, 6], "strides": [2],
        "act": ["leakyrelu", {"negative_slope": 0.1}],
        "norm": ["group", {"num_groups": 2}], "adn_ordering": "ADN",
    },
    "unet_volumes": {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, **RESIDUAL, "norm": "batch", "act": "PRELU"},
}  # fmt: skip


def made(kind: str, head: str, settings: dict[str, Any]) -> nn.Module:
    return getattr(transformers, kind + head)(getattr(transformers, f"{kind}Config")(**settings))


def published(model: nn.Module, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Values by the names of parameters or buffers, under the names that transformers writes into its files."""
    kept = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    for name, tensor in model.state_dict().items():
        tensor.copy_(values[name]) if name in values else tensor.fill_(-7)
    with tempfile.TemporaryDirectory() as written:
        if hasattr(model, "save_pretrained"):
            model.save_pretrained(written)
            found = load_file(Path(written) / "model.safetensors")
        else:
            found = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(kept)
    return {name: narrow(value) for name, value in found.items() if not (value == -7).all()}


def gradients(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """The logits, and the gradients of the picture and of the parameters."""
    x = x.clone().requires_grad_()
    logits = result(model, x)
    used = {name: p for name, p in model.named_parameters() if not name.startswith("auxiliary_head.")}
    first, *others = torch.autograd.grad((logits * cotangent(logits.shape)).sum(), [x, *used.values()])
    return logits, first, dict(zip(used, others, strict=True))


def goldens(model: nn.Module, x: torch.Tensor, odd: torch.Tensor) -> dict[str, torch.Tensor]:
    model = model.double().eval()
    found = {"input": x, "odd_input": odd}
    with torch.no_grad():
        found["odd_logits"] = narrow(result(model, odd.double()))
    normalised = any(
        isinstance(m, nn.modules.batchnorm._BatchNorm | nn.modules.instancenorm._InstanceNorm) for m in model.modules()
    )
    for prefix in ("", "train.") if normalised else ("",):  # without such norms both modes are one
        module = model.train(bool(prefix))
        before = {name: value.clone() for name, value in module.named_buffers()}
        logits, first, others = gradients(module, x.double())
        found |= {f"{prefix}logits": narrow(logits), f"{prefix}grad.input": narrow(first)}
        found |= {f"{prefix}grad.{name}": value for name, value in published(model, others).items()}
        after = dict(module.named_buffers())
        moved = {n: v.clone() for n, v in after.items() if v.is_floating_point() and not torch.equal(v, before[n])}
        found |= {f"{prefix}state.{name}": value for name, value in published(model, moved).items()}
    return found


def from_transformers(name: str, kind: str, head: str, settings: dict[str, Any]) -> None:
    folder = VISION / name
    model = made(kind, head, settings)
    unused = getattr(model, "auxiliary_head", None)  # of the logits
    if unused is not None:
        everything(unused, 7)
        model.auxiliary_head = None
    steadily(Logits(model))
    if unused is not None:
        model.auxiliary_head = unused
    model.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    save(goldens(model, picture(2, 3, 48, 64, seed=1), picture(1, 3, 75, 53, seed=2)), folder / "goldens.safetensors")


def result(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    out = model(x)
    return out if isinstance(out, torch.Tensor) else out.logits


def from_monai(name: str, settings: dict[str, Any]) -> None:
    folder = VISION / name
    folder.mkdir(parents=True, exist_ok=True)
    model = UNet(**settings)
    everything(model, 7)
    (folder / "config.json").write_text(json.dumps({"model_type": "unet", **settings}, indent=2) + "\n")
    save(model.state_dict(), folder / "model.safetensors", {"format": "pt"})
    shape, odd = ((16, 24), (8, 40)) if settings["spatial_dims"] == 2 else ((8, 8, 12), (4, 16, 8))
    channels = settings["in_channels"]
    save(goldens(model, picture(2, channels, *shape, seed=1), picture(1, channels, *odd, seed=2)), folder / "goldens.safetensors")


DICE: dict[str, dict[str, Any]] = {
    "plain": {},
    "foreground": {"include_background": False, "batch": True},
    "squared": {"squared_pred": True, "reduction": "none", "smooth_nr": 1.0, "smooth_dr": 2.0},
    "jaccard": {"jaccard": True, "reduction": "sum"},
    "ignoring": {"ignore_index": 255},
}


def losses() -> None:
    """Dice as MONAI has it, and torchvision's focal loss: values and gradients of small inputs."""
    scores, one = picture(2, 4, 5, 6, seed=1).double(), picture(2, 1, 5, 6, seed=2).double()
    generator = torch.Generator().manual_seed(3)
    target, binary = (torch.randint(0, k, (2, 5, 6), generator=generator) for k in (4, 2))
    voided = target.clone()
    voided[:, 1, 2:4] = 255
    found = {"scores": scores, "one": one, "target": target, "binary": binary, "voided": voided}

    def record(name: str, loss: Any, x: torch.Tensor) -> None:
        x = x.clone().requires_grad_()
        value = loss(x)
        found[name] = value.reshape(value.shape or (1,)).detach()
        found[f"{name}.grad"] = torch.autograd.grad((value * cotangent(value.shape)).sum(), x)[0]

    for name, settings in DICE.items():
        truth = (voided if name == "ignoring" else target)[:, None]
        record(
            f"dice.{name}", lambda x, s=settings, t=truth: DiceLoss(to_onehot_y=True, softmax=True, **s)(x, t).squeeze(), scores
        )
    record("dice.binary", lambda x: DiceLoss(sigmoid=True)(x, binary[:, None]), one)
    record("focal.sigmoid", lambda x: sigmoid_focal_loss(x, binary[:, None].double()), one)
    record("focal.unweighted", lambda x: sigmoid_focal_loss(x, binary[:, None].double(), -1, 1.5, "mean"), one)
    weight = torch.tensor([0.5, 1.0, 2.0, 3.0]).double()
    plain = FocalLoss(to_onehot_y=True, use_softmax=True, gamma=1.5, reduction="none")
    record("focal.classes", lambda x: plain(x, target[:, None]).sum(1), scores)
    record("focal.weighted", lambda x: (plain(x, target[:, None]) * weight.reshape(1, 4, 1, 1)).sum(1), scores)
    save(found, VISION / "losses.safetensors")


WINDOWS: dict[str, dict[str, Any]] = {
    "plain": {"overlap": 0.25},
    "gaussian": {"overlap": 0.5, "mode": "gaussian"},
    "apart": {"overlap": 0.0, "mode": "gaussian", "sigma_scale": 0.25},
}


def windows() -> None:
    """MONAI's sliding window over a volume that is larger than the window in one axis, and smaller in another."""
    model = UNet(**MONAI["unet_volumes"])
    model.load_state_dict(load_file(VISION / "unet_volumes" / "model.safetensors"))
    x = picture(1, 1, 6, 19, 13, seed=4)
    found = {"input": x[0]}
    with torch.no_grad():
        for name, settings in WINDOWS.items():
            out = sliding_window_inference(x.double(), (8, 8, 8), 3, model.double().eval(), **settings)
            found[name] = narrow(out[0])
    save(found, VISION / "windows.safetensors")


def read_back(exported: Path) -> nn.Module:
    """What nyala wrote, read with the original library."""
    if exported.name in MONAI:
        config = json.loads((exported / "config.json").read_text())
        labels, kinds = ("id2label", "label2id"), ("model_type", "architectures")
        model = UNet(out_channels=len(config["id2label"]), **{k: v for k, v in config.items() if k not in (*labels, *kinds)})
        model.load_state_dict(load_file(exported / "model.safetensors"), strict=True)
        return model
    kind, head, _ = TRANSFORMERS[exported.name]
    reader = getattr(transformers, kind + head)
    model, report = reader.from_pretrained(exported, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"], (exported, report)
    return model


def check(folder: Path) -> None:
    for exported in sorted(folder.iterdir()):
        model = read_back(exported)
        frozen = load_file(VISION / exported.name / "goldens.safetensors")
        with torch.no_grad():
            logits = result(model.double().eval(), frozen["input"].double())
        torch.testing.assert_close(narrow(logits), frozen["logits"], rtol=1e-5, atol=1e-5)
        print(f"{exported.name}: read, and the same logits")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[*TRANSFORMERS, *MONAI, "losses", "windows"])
    parser.add_argument("--check", type=Path)
    args = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    if args.check:
        check(args.check)
        return
    for name in args.names:
        if name == "losses":
            losses()
        elif name == "windows":
            windows()
        elif name in MONAI:
            from_monai(name, MONAI[name])
        else:
            from_transformers(name, *TRANSFORMERS[name])


if __name__ == "__main__":
    main()
