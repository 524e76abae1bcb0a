"""Goldens of transformers' CLIP and SigLIP.

``tests/goldens/vision/clip``, ``clip_classifier``, ``siglip``, ``siglip_classifier``: a tiny random model as ``save_pretrained``
writes it, and ``goldens.safetensors`` with ``pixel_values``, ``odd_pixel_values`` (another size, interpolated positions),
``input_ids``, ``attention_mask``; ``logits``, ``odd_logits`` (of models with texts: a row a picture), and ``grad.PARAMETER``,
gradients of sum(logits[i] * cos(0.7 * i + 0.3)); of models with texts also ``image_embeds``, ``text_embeds``.
"""

from __future__ import annotations

from typing import Any

import torch
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision where it is installed
from golden_recorder import GOLDENS, cotangent, narrow
from make_goldens_text import save
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPForImageClassification,
    CLIPModel,
    SiglipConfig,
    SiglipForImageClassification,
    SiglipModel,
)

VISION = GOLDENS / "vision"
_PART = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3}
_PICTURES = {**_PART, "image_size": 16, "patch_size": 4}
_TEXTS = {**_PART, "hidden_size": 16, "num_attention_heads": 2, "vocab_size": 30, "max_position_embeddings": 9}
CLIP = {
    "vision_config": _PICTURES,
    "text_config": {**_TEXTS, "bos_token_id": 28, "eos_token_id": 29, "pad_token_id": 29},
    "projection_dim": 12,
}
SIGLIP = {"vision_config": _PICTURES, "text_config": {**_TEXTS, "projection_size": 24, "pad_token_id": 1}}
TINY: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "clip": (CLIPModel, CLIPConfig, CLIP),
    "clip_classifier": (CLIPForImageClassification, CLIPConfig, CLIP),
    "siglip": (SiglipModel, SiglipConfig, SIGLIP),
    "siglip_classifier": (SiglipForImageClassification, SiglipConfig, SIGLIP),
}
_IDS = [[28, 3, 7, 29, 29, 29], [28, 11, 2, 9, 4, 29], [28, 5, 29, 29, 29, 29]]
_MASK = [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]


def randomise(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(13)
    for name, parameter in model.named_parameters():
        if "norm" in name and name.endswith("weight"):
            parameter.data.uniform_(0.5, 1.5, generator=generator)
        elif name != "logit_scale":
            parameter.data.normal_(0, 0.3, generator=generator)


def tiny(name: str) -> None:
    kind, configuration, sizes = TINY[name]
    classifies = name.endswith("classifier")
    labels = {"num_labels": 5} if classifies else {}
    model = kind(configuration(**sizes, **labels)).eval()
    randomise(model)
    model.save_pretrained(VISION / name)
    (VISION / name / "model.safetensors").chmod(0o644)
    model = model.double()
    generator = torch.Generator().manual_seed(3)
    plain, odd = (torch.randn(shape, generator=generator) for shape in ((4, 3, 16, 16), (2, 3, 21, 30)))
    goldens = {"pixel_values": plain, "odd_pixel_values": odd}
    given: dict[str, torch.Tensor] = {}
    if not classifies:
        given["input_ids"] = torch.tensor(_IDS)
        if name == "clip":
            given["attention_mask"] = torch.tensor(_MASK)
        goldens |= given
    result = model(pixel_values=plain.double(), **given)
    main = "logits" if classifies else "logits_per_image"
    named = dict(model.named_parameters())
    found = torch.autograd.grad(
        (result[main] * cotangent(result[main].shape)).sum(), list(named.values()), allow_unused=True, retain_graph=True
    )
    goldens["logits"] = narrow(result[main])
    goldens |= {f"grad.{key}": narrow(g) for key, g in zip(named, found, strict=True) if g is not None}
    if not classifies:
        goldens |= {key: narrow(result[key]) for key in ("image_embeds", "text_embeds")}
    with torch.no_grad():
        goldens["odd_logits"] = narrow(model(pixel_values=odd.double(), interpolate_pos_encoding=True, **given)[main])
    save(goldens, VISION / name / "goldens.safetensors")


if __name__ == "__main__":
    for each in TINY:
        tiny(each)
