"""Goldens of transformers' CLAP, of its front end, and of the way from a sound and labels to scores.

``tests/goldens/audio/clap``, ``clap_fused``: a tiny random model as ``save_pretrained`` writes it, and ``goldens.safetensors``
with ``input_features`` (N, pictures, frames, bands), ``is_longer`` (of the fused one), ``input_ids``, ``attention_mask``;
``logits`` (a row a sound), ``audio_embeds``, ``text_embeds``, and ``grad.PARAMETER``, gradients of
sum(logits[i] * cos(0.7 * i + 0.3)).

Both also have the files of a tiny tokenizer and of a feature extractor, and ``use.safetensors``: sounds (``sound.K`` at 8 kHz,
two seconds are heard), what the extractor makes of them (``prepared.K``; four alike as one; the crops of longer ones are the
middle of those that it chooses from, as ours are), ``caption_ids`` and ``caption_mask`` of the sentences of ``LABELS``, and
``scores``, their logits, a row a sound.
"""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision where it is installed
from golden_recorder import GOLDENS, cotangent, narrow
from make_goldens_text import save
from tokenizers import pre_tokenizers
from torch import nn
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizer

AUDIO = GOLDENS / "audio"
RATE, SECONDS = 8_000, 2
TEXTS = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 300,
    "max_position_embeddings": 42, "type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
}  # fmt: skip
SOUNDS: dict[str, Any] = {
    "clap": {
        "num_mel_bins": 16, "spec_size": 64, "window_size": 4, "depths": [2, 2, 2], "num_attention_heads": [1, 2, 4],
        "patch_embeds_hidden_size": 8, "hidden_size": 32, "patch_size": 4, "patch_stride": [4, 4],
    },
    "clap_fused": {
        "num_mel_bins": 64, "spec_size": 128, "window_size": 4, "depths": [2, 2], "num_attention_heads": [1, 2],
        "patch_embeds_hidden_size": 8, "hidden_size": 16, "patch_size": 8, "patch_stride": [8, 8], "enable_fusion": True,
    },
}  # fmt: skip
EXTRACTOR = {"sampling_rate": RATE, "max_length_s": SECONDS, "hop_length": 80, "fft_window_size": 1024, "frequency_max": 4_000}
LABELS = ["a dog", "rain on a roof", "the sound of an old church bell that is rung twice in the morning"]
_IDS = [[0, 30, 7, 9, 2, 1, 1], [0, 41, 2, 1, 1, 1, 1], [0, 5, 99, 18, 200, 299, 2]]


def randomise(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(17)
    for name, parameter in model.named_parameters():
        if ("norm" in name.lower() or "_att.1" in name or "_att.2" in name) and parameter.ndim == 1 and name.endswith("weight"):
            parameter.data.uniform_(0.5, 1.5, generator=generator)
        elif not name.startswith("logit_scale"):
            parameter.data.normal_(0, 0.2, generator=generator)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.data.normal_(-20.0 if name.endswith("batch_norm.running_mean") else 0.0, 3.0, generator=generator)
        if name.endswith("running_var"):
            buffer.data.uniform_(0.5, 200.0 if name.endswith("batch_norm.running_var") else 1.5, generator=generator)


def tiny(name: str) -> ClapModel:
    model = ClapModel(ClapConfig(text_config=TEXTS, audio_config=SOUNDS[name], projection_dim=12)).eval()
    randomise(model)
    model.save_pretrained(AUDIO / name)
    (AUDIO / name / "model.safetensors").chmod(0o644)
    model = model.double()
    fused, bands = name == "clap_fused", SOUNDS[name]["num_mel_bins"]
    values = torch.randn((3, 4 if fused else 1, 201, bands), generator=torch.Generator().manual_seed(3)) * 12 - 20
    goldens = {"input_features": values, "input_ids": torch.tensor(_IDS)}
    goldens["attention_mask"] = (goldens["input_ids"] != 1).long()
    if fused:
        goldens["is_longer"] = torch.tensor([[True], [False], [True]])
    given = {k: v.double() if v.dtype == torch.float32 else v for k, v in goldens.items()}
    result = model(**given)
    named = dict(model.named_parameters())
    logits = result.logits_per_audio
    found = torch.autograd.grad((logits * cotangent(logits.shape)).sum(), list(named.values()), allow_unused=True)
    goldens["logits"] = narrow(logits)
    goldens |= {key: narrow(result[key]) for key in ("audio_embeds", "text_embeds")}
    goldens |= {f"grad.{key}": narrow(g) for key, g in zip(named, found, strict=True) if g is not None}
    save(goldens, AUDIO / name / "goldens.safetensors")
    return model


def sounds() -> list[np.ndarray]:
    """Shorter than is heard, just as long, so little longer that it is one picture still, and longer."""
    random = np.random.default_rng(5)
    found = []
    for length in (3_000, SECONDS * RATE, SECONDS * RATE + 50, 5 * RATE + 17):
        time = np.arange(length) / RATE
        tone = np.sin(2 * np.pi * (200 + 300 * time) * time) * (0.6 + 0.4 * np.sin(9 * time))
        found.append((0.4 * tone + 0.02 * random.standard_normal(length)).astype(np.float32))
    return found


def use(name: str, model: ClapModel) -> None:
    folder = AUDIO / name
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "a"), ("o", "f"), ("Ġ", "of"), ("i", "n"), ("t", "h"), ("th", "e"), ("Ġ", "the")]
    words = ["<s>", "<pad>", "</s>", "<unk>", *letters, *("".join(pair) for pair in merges)]
    words += [f"<extra {i}>" for i in range(299 - len(words))] + ["<mask>"]
    tokenizer = RobertaTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=merges, model_max_length=40)
    tokenizer.save_pretrained(folder)
    fused = name == "clap_fused"
    extractor = ClapFeatureExtractor(
        feature_size=SOUNDS[name]["num_mel_bins"], truncation="fusion" if fused else "rand_trunc", **EXTRACTOR
    )
    extractor.save_pretrained(folder)
    goldens, prepared = {}, []
    middle = {"choice": lambda places: places[len(places) // 2], "randint": lambda low, high: (high - 1 - low) // 2}
    for k, sound in enumerate(sounds()):
        with patch.multiple(np.random, **middle):
            made = extractor(sound.astype(np.float64), sampling_rate=RATE, return_tensors="pt")
        prepared.append(made)
        pictures = made["input_features"][0].float()
        kept = pictures if len(pictures) == 1 or k == 3 else pictures[:1].clone()  # the four of a short sound are one
        assert len(kept) == len(pictures) or (pictures == pictures[0]).all()
        goldens |= {f"sound.{k}": torch.from_numpy(sound), f"prepared.{k}": kept}
    texts = tokenizer([f"This is a sound of {label}." for label in LABELS], padding=True, truncation=True, return_tensors="pt")
    goldens |= {"caption_ids": texts["input_ids"], "caption_mask": texts["attention_mask"]}
    with torch.no_grad():
        rows = [
            model(**texts, input_features=p["input_features"].double(), is_longer=p["is_longer"]).logits_per_audio
            for p in prepared
        ]
    goldens["scores"] = narrow(torch.cat(rows))
    save(goldens, folder / "use.safetensors")


if __name__ == "__main__":
    for each in SOUNDS:
        use(each, tiny(each))
