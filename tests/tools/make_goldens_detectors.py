"""Goldens of detectors, by transformers: models, losses, matching, and preprocessing.

``tests/goldens/vision/NAME/`` holds a tiny random model as transformers writes it and ``goldens.safetensors``:

    input, mask          two pictures in one batch; the mask is 0 where the second one has ended (DETR alone)
    odd_input            one of another size
    logits, boxes, odd_logits, odd_boxes
    grad.PARAMETER       gradients of the sums of both results, each weighted by cos(0.7 * i + 0.3), under the names of the file

``detection.safetensors``: answers and objects, the matching, the losses and their gradients; ``detector_pictures.safetensors``:
pictures, what the processors on Pillow make of them, and what the tiny models find in one; ``detector_keys.json``: names and
shapes of full-size models.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision
import transformers
from golden_recorder import GOLDENS, cotangent, narrow
from make_goldens_vits import picture, save
from PIL import Image
from safetensors.torch import load_file
from scipy.optimize import linear_sum_assignment
from torch import nn
from transformers.loss.loss_for_object_detection import ForObjectDetectionLoss
from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

VISION = GOLDENS / "vision"
_SHARED = {"num_labels": 4, "use_timm_backbone": False}
_DETR = {
    "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "num_queries": 5, "dropout": 0.0, **_SHARED,
}  # fmt: skip
_RESNET = {"model_type": "resnet", "embedding_size": 8, "depths": [1, 1, 2], "out_features": ["stage3"]}
_BASIC = {**_RESNET, "layer_type": "basic", "hidden_sizes": [8, 8, 16]}
_YOLOS = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32, "image_size": [32, 48],
    "patch_size": 8, "num_detection_tokens": 5, "num_labels": 4,
}  # fmt: skip
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "detr": ("Detr", {**_DETR, "backbone_config": {**_RESNET, "layer_type": "bottleneck", "hidden_sizes": [16, 16, 32]}}),
    "detr_learned": ("Detr", {**_DETR, "backbone_config": _BASIC, "position_embedding_type": "learned"}),
    "yolos": ("Yolos", _YOLOS),
    "yolos_first": ("Yolos", {**_YOLOS, "use_mid_position_embeddings": False, "qkv_bias": False}),
}
_TIMM = {"backbone_config": {"model_type": "timm_backbone", "backbone": "resnet50", "out_indices": [1, 2, 3, 4]}}
FULL: dict[str, tuple[str, dict[str, Any]]] = {
    "detr": ("Detr", {**_TIMM, "num_labels": 91}),
    "detr_no_timm": (
        "Detr",
        {"use_timm_backbone": False, "backbone_config": {"model_type": "resnet", "out_features": ["stage4"]}, "num_labels": 91},
    ),
    "yolos": ("Yolos", {"num_labels": 91}),
}


def made(kind: str, settings: dict[str, Any]) -> nn.Module:
    config = getattr(transformers, f"{kind}Config")(**settings)
    return getattr(transformers, f"{kind}ForObjectDetection")(config).eval()


def randomise(model: nn.Module) -> None:
    """Every parameter, and every number of the frozen norms, gets a value far from what an initialiser would choose."""
    generator = torch.Generator().manual_seed(11)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        size = 0.3 if value.ndim < 2 or "token" in name or "position" in name else 1.5 / value[0].numel() ** 0.5
        value.data.normal_(0, size, generator=generator)
        if name.endswith("running_var"):
            value.data.abs_().add_(0.5)
        elif value.ndim == 1 and "norm" in name and name.endswith("weight"):
            value.data.add_(1)


def written(model: nn.Module, folder: Path) -> None:
    model.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)


def one_model(name: str, kind: str, settings: dict[str, Any]) -> None:
    folder = VISION / name
    model = made(kind, settings)
    randomise(model)
    written(model, folder)
    model = model.double()
    x, odd = picture(2, 3, 48, 64, seed=1), picture(1, 3, 56, 41 if kind == "Detr" else 72, seed=2)
    mask = torch.ones(2, 48, 64)
    mask[1, 30:], mask[1, :, 50:] = 0, 0
    given = {"pixel_mask": mask} if kind == "Detr" else {}
    out = model(x.double(), **given)
    total = sum((y * cotangent(y.shape)).sum() for y in (out.logits, out.pred_boxes))
    named = dict(model.named_parameters())
    found = dict(zip(named, torch.autograd.grad(total, list(named.values()), allow_unused=True), strict=True))
    with torch.no_grad():
        other = model(odd.double())
        for n, p in named.items():
            p.data = torch.zeros_like(p) if found[n] is None else found[n]
    with tempfile.TemporaryDirectory() as lent:  # transformers writes names that are not those of its modules
        model.save_pretrained(lent)
        gradients = load_file(Path(lent) / "model.safetensors")
    moving = ("running_mean", "running_var", "normalization.weight", "normalization.bias")
    kept = {f"grad.{n}": narrow(g) for n, g in gradients.items() if not n.endswith(moving)}
    goldens = {"logits": out.logits, "boxes": out.pred_boxes, "odd_logits": other.logits, "odd_boxes": other.pred_boxes}
    masks = {"mask": mask} if given else {}
    save(
        {"input": x, "odd_input": odd, **masks, **{k: narrow(v) for k, v in goldens.items()}, **kept},
        folder / "goldens.safetensors",
    )


def losses() -> None:
    """Three pictures with 3, 0 and 8 objects; the answers of two layers."""
    torch.set_default_dtype(torch.float64)
    generator = torch.Generator().manual_seed(5)
    counts, queries, classes = (3, 0, 8), 9, 4
    labels = [
        {
            "class_labels": torch.randint(classes, (n,), generator=generator),
            "boxes": torch.rand(n, 4, generator=generator) * 0.4 + 0.2,
        }
        for n in counts
    ]
    answers = []
    for _ in range(2):
        logits = torch.randn(3, queries, classes + 1, generator=generator)
        boxes = torch.rand(3, queries, 4, generator=generator) * 0.5 + 0.2
        answers.append((logits.requires_grad_(), boxes.requires_grad_()))
    config = transformers.DetrConfig(num_labels=classes, auxiliary_loss=True, decoder_layers=2)
    stacked = [torch.stack([a[i] for a in answers]) for i in range(2)]
    (logits, boxes) = answers[1]
    total, parts, _ = ForObjectDetectionLoss(logits, labels, torch.device("cpu"), boxes, config, *stacked)
    leaves = [t for pair in answers for t in pair]
    found = torch.autograd.grad(total, leaves)
    names = [f"{layer}.{what}" for layer in (0, 1) for what in ("logits", "boxes")]
    saved = dict(zip(names, leaves, strict=True)) | {f"grad.{n}": g for n, g in zip(names, found, strict=True)}
    saved |= {f"objects.{i}.{k}": v for i, one in enumerate(labels) for k, v in one.items()}
    saved |= {f"loss.{k}": torch.as_tensor(v) for k, v in parts.items()} | {"loss": total}
    for i, (rows, columns) in enumerate(((7, 3), (4, 4), (3, 6), (30, 12))):
        cost = torch.randn(rows, columns, generator=generator)
        chosen = linear_sum_assignment(cost)
        saved |= {f"cost.{i}": cost} | {f"cost.{i}.{k}": torch.as_tensor(v) for k, v in zip("rc", chosen, strict=True)}
    save(saved, VISION / "detection.safetensors")
    torch.set_default_dtype(torch.float32)


PROCESSORS = {"detr": DetrImageProcessorPil, "yolos": YolosImageProcessorPil}
SMALL = {"detr": {"shortest_edge": 40, "longest_edge": 66}, "yolos": {"shortest_edge": 48, "longest_edge": 80}}
SIDES = ((50, 70), (70, 50), (40, 52), (30, 90), (64, 48))  # of pictures, down and across


def pictures() -> None:
    """What the processors make of smooth noise, the sizes they choose for many pictures, and what is found in one."""
    generator = torch.Generator().manual_seed(9)
    saved: dict[str, torch.Tensor] = {}
    images = []
    for i, sides in enumerate(SIDES):
        coarse = torch.rand(1, 3, 9, 9, generator=generator)
        fine = nn.functional.interpolate(coarse, size=sides, mode="bilinear")[0] * 200
        image = (fine + 55 * torch.rand(3, *sides, generator=generator)).byte().permute(1, 2, 0).contiguous()
        images.append(Image.fromarray(image.numpy()))
        saved[f"picture.{i}"] = image
    sides = torch.randint(60, 3000, (150, 2), generator=generator)
    sides[:8] = torch.tensor([[800, 600], [600, 800], [800, 1333], [1333, 800], [1000, 800], [480, 640], [427, 640], [800, 2000]])
    saved["sides"] = sides
    for name, kind in PROCESSORS.items():
        small, usual = kind(size=SMALL[name]), kind()
        for i, image in enumerate(images):
            raw = small([image], do_rescale=False, do_normalize=False, do_pad=False, return_tensors="np")["pixel_values"][0]
            saved[f"{name}.raw.{i}"] = torch.as_tensor(raw).byte()
        if name == "detr":
            batch = small(images[:2], return_tensors="np")
            saved |= {"batch": torch.as_tensor(batch["pixel_values"]), "mask": torch.as_tensor(batch["pixel_mask"]).byte()}
        resized = [usual.resize(np.zeros((3, *s), np.uint8), usual.size).shape[-2:] for s in sides.tolist()]
        saved[f"{name}.sides"] = torch.tensor(resized)
        model = getattr(transformers, f"{name.capitalize()}ForObjectDetection").from_pretrained(VISION / name).eval()
        with torch.no_grad():
            out = model(torch.as_tensor(small([images[0]], return_tensors="np")["pixel_values"]))
        told = small.post_process_object_detection(out, threshold=0.01, target_sizes=[images[0].size[::-1]])[0]
        saved |= {f"{name}.{k}": v for k, v in told.items()}
    save(saved, VISION / "detector_pictures.safetensors")


def write_keys() -> None:
    shapes: dict[str, Any] = {}
    for name, (kind, settings) in FULL.items():
        with tempfile.TemporaryDirectory() as lent:
            model = made(kind, settings)
            model.save_pretrained(lent)
            config = json.loads((Path(lent) / "config.json").read_text())
            tensors = {k: list(v.shape) for k, v in load_file(Path(lent) / "model.safetensors").items()}
        shapes[name] = {"config": config, "shapes": tensors}
    lines = (f"{json.dumps(name)}: {json.dumps(keys)}" for name, keys in shapes.items())
    (VISION / "detector_keys.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    torch.use_deterministic_algorithms(True)
    wanted = sys.argv[1:]
    for name, described in MODELS.items():
        if not wanted or name in wanted:
            one_model(name, *described)
    for name, make in (("losses", losses), ("pictures", pictures), ("keys", write_keys)):
        if not wanted or name in wanted:
            make()


if __name__ == "__main__":
    main()
