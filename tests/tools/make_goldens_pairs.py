"""Goldens of transformers' CLIP and SigLIP.

``tests/goldens/vision/clip``, ``clip_classifier``, ``siglip``, ``siglip_classifier``: a tiny random model as ``save_pretrained``
writes it, and ``goldens.safetensors`` with ``pixel_values``, ``odd_pixel_values`` (another size, interpolated positions),
``input_ids``, ``attention_mask``; ``logits``, ``odd_logits`` (of models with texts: a row a picture), and ``grad.PARAMETER``,
gradients of sum(logits[i] * cos(0.7 * i + 0.3)); of models with texts also ``image_embeds``, ``text_embeds``.

``clip`` also has a tiny tokenizer and an image processor as transformers writes them, and ``use.safetensors``: pictures
(``picture.K``, uint8 HWC), what the processor on Pillow makes of them (``prepared.K``; ``squashed.K`` with sides scaled each for
itself), ``caption_ids`` and ``caption_mask`` of ``captions.json``'s texts, and ``logits``, a row a picture, of its labels.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision where it is installed
from golden_recorder import GOLDENS, cotangent, narrow
from make_goldens_text import save
from make_goldens_vision import painting
from PIL import Image
from tokenizers import pre_tokenizers
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPForImageClassification,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    SiglipConfig,
    SiglipForImageClassification,
    SiglipModel,
)

VISION = GOLDENS / "vision"
_PART = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3}
_PICTURES = {**_PART, "image_size": 16, "patch_size": 4}
_TEXTS = {**_PART, "hidden_size": 16, "num_attention_heads": 2, "vocab_size": 30, "max_position_embeddings": 9}
_MERGES = (
    *("a p", "h o", "o t", "p ho", "pho t", "phot o</w>", "o f</w>", "c a", "ca t</w>"),
    *("d o", "do g</w>", "r e", "re d</w>", "i n", "l e", "' s</w>", "1 2"),
)
_ENDS = {"bos_token_id": 538, "eos_token_id": 539, "pad_token_id": 539}
CAPTIONS = [
    "a photo of a cat.", "A PHOTO of\n a  Dog!", "", "the dog's red hat, it's 12 o'clock", "çé déjà vu 🐈 猫",
    "one two three four five six seven eight nine ten", "<|endoftext|> of a cat", "\u00a0wide\tspace",
]  # fmt: skip
LABELS = ["cat", "dog", "red hat"]
CLIP = {
    "vision_config": _PICTURES,
    "text_config": {**_TEXTS, "vocab_size": 540, "max_position_embeddings": 16, **_ENDS},
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
        ids = torch.tensor(_IDS)
        given["input_ids"] = torch.where(ids > 27, ids + 510, ids) if name == "clip" else ids
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


def use() -> None:
    """A tokenizer of all bytes and a few merges; then pictures and texts through the whole of transformers' pipeline."""
    folder = VISION / "clip"
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [tuple(pair.split(" ")) for pair in _MERGES]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    words += [f"<extra {i}>" for i in range(538 - len(words))]
    vocabulary = {word: i for i, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=16)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    processor = CLIPImageProcessorPil(size={"shortest_edge": 19}, crop_size={"height": 16, "width": 16})
    processor.save_pretrained(folder)
    squash = CLIPImageProcessorPil(size={"height": 16, "width": 12}, do_center_crop=False, resample=2)
    encoded = tokenizer(CAPTIONS, padding=True, truncation=True, return_tensors="pt")
    goldens = {"caption_ids": encoded["input_ids"], "caption_mask": encoded["attention_mask"]}
    pictures = [painting(height, width, k) for k, (height, width) in enumerate([(61, 83), (97, 64), (19, 30), (23, 24)])]
    prepared = []
    for k, pixels in enumerate(pictures):
        image = Image.fromarray(pixels)
        prepared.append(torch.from_numpy(np.stack(processor(image)["pixel_values"])))
        goldens |= {f"picture.{k}": torch.from_numpy(pixels), f"prepared.{k}": prepared[-1][0]}
        goldens[f"squashed.{k}"] = torch.from_numpy(np.stack(squash(image)["pixel_values"]))[0]
    texts = tokenizer([f"a photo of a {label}." for label in LABELS], padding=True, return_tensors="pt")
    model = CLIPModel.from_pretrained(folder).double().eval()
    with torch.no_grad():
        goldens["logits"] = narrow(model(pixel_values=torch.cat(prepared).double(), **texts).logits_per_image)
    save(goldens, folder / "use.safetensors")
    (folder / "captions.json").write_text(
        json.dumps({"captions": CAPTIONS, "labels": LABELS}, ensure_ascii=False, indent=1) + "\n"
    )


if __name__ == "__main__":
    for each in TINY:
        tiny(each)
    use()
