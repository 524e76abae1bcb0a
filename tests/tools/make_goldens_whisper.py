"""Goldens of transformers' Whisper, and of SciPy's resampling.

``tests/goldens/audio/NAME/`` for NAME in ``whisper`` and ``whisper_bare``: a tiny random model as ``save_pretrained`` writes it, and
``goldens.safetensors``:

    input_features      (N, bands, frames); decoder_input_ids (N, T)
    encoder             the encoder's vectors, (N, S, D)
    logits              (N, T, vocabulary), of ``whisper_bare`` last_hidden_state, (N, T, D)
    grad.PARAMETER      gradients of sum(out[i] * cos(0.7 * i + 0.3)), out the one above

``tests/goldens/audio/resample.safetensors``: ``wave``, and ``ORIG.NEW`` by ``scipy.signal.resample_poly`` with its default filter.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision where it is installed
from golden_recorder import GOLDENS, cotangent, narrow
from make_goldens_text import save
from scipy.signal import resample_poly
from torch import nn
from transformers import WhisperConfig, WhisperForConditionalGeneration, WhisperModel

AUDIO = GOLDENS / "audio"
SIZES = {
    "vocab_size": 53, "num_mel_bins": 6, "d_model": 24, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 3,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 40, "decoder_ffn_dim": 36, "max_source_positions": 10,
    "max_target_positions": 16, "pad_token_id": 50, "bos_token_id": 50, "eos_token_id": 50, "decoder_start_token_id": 51,
}  # fmt: skip
CLASSES = {"whisper": WhisperForConditionalGeneration, "whisper_bare": WhisperModel}
RATES = [(8_000, 16_000), (44_100, 16_000), (48_000, 16_000), (16_000, 22_050), (16_000, 7_001)]


def randomise(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(11)
    for name, parameter in model.named_parameters():
        if "norm" in name and name.endswith("weight"):
            parameter.data.uniform_(0.5, 1.5, generator=generator)
        elif "encoder.embed_positions" not in name:  # these are fixed
            parameter.data.normal_(0, 0.3, generator=generator)


def tiny(name: str) -> None:
    scale = {"scale_embedding": True} if name == "whisper_bare" else {}  # the reference does nothing with it
    model = CLASSES[name](WhisperConfig(**SIZES, **scale, attn_implementation="eager")).eval()
    randomise(model)
    model.save_pretrained(AUDIO / name)
    (AUDIO / name / "model.safetensors").chmod(0o644)
    model = model.double()
    generator = torch.Generator().manual_seed(3)
    features = torch.randn((2, SIZES["num_mel_bins"], 20), generator=generator)
    ids = torch.randint(0, 50, (2, 7), generator=generator)
    result = model(input_features=features.double(), decoder_input_ids=ids)
    main = "logits" if name == "whisper" else "last_hidden_state"
    goldens = {"input_features": features, "decoder_input_ids": ids, main: narrow(result[main])}
    goldens["encoder"] = narrow(result.encoder_last_hidden_state)
    named = {key: p for key, p in model.named_parameters() if p.requires_grad}
    found = torch.autograd.grad((result[main] * cotangent(result[main].shape)).sum(), list(named.values()))
    goldens |= {f"grad.{key}": narrow(g) for key, g in zip(named, found, strict=True)}
    save(goldens, AUDIO / name / "goldens.safetensors")


def resampled() -> None:
    time = np.arange(2_000)
    wave = 0.5 * np.sin(2 * math.pi * (0.01 + 1e-4 * time) * time) + 0.1 * np.random.default_rng(5).standard_normal(2_000)
    goldens = {"wave": torch.from_numpy(wave).float()}
    for orig, new in RATES:
        common = math.gcd(orig, new)
        found = resample_poly(goldens["wave"].double().numpy(), new // common, orig // common)
        goldens[f"{orig}.{new}"] = torch.from_numpy(found).float()
    save(goldens, AUDIO / "resample.safetensors")


if __name__ == "__main__":
    AUDIO.mkdir(exist_ok=True)
    for each in CLASSES:
        tiny(each)
    resampled()
