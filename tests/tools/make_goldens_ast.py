"""Goldens of transformers' AST and of its front end.

``tests/goldens/audio/ast``, ``ast_bare``: a tiny random model as ``save_pretrained`` writes it, and ``goldens.safetensors`` with
``input_values`` (N, frames, bands), ``logits`` or ``last_hidden_state``, and ``grad.PARAMETER``, gradients of
sum(out[i] * cos(0.7 * i + 0.3)).

``tests/goldens/audio/kaldi.safetensors``: ``wave``, and its ``fbank.BANDS`` by ``ASTFeatureExtractor`` without normalisation.
"""

from __future__ import annotations

import numpy as np
import torch
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision where it is installed
from golden_recorder import GOLDENS, cotangent, narrow
from make_goldens_audio import waves
from make_goldens_text import save
from torch import nn
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification, ASTModel

AUDIO = GOLDENS / "audio"
CLASSES = {"ast": ASTForAudioClassification, "ast_bare": ASTModel}
SIZES = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "patch_size": 4,
    "frequency_stride": 3, "time_stride": 2, "max_length": 14, "num_mel_bins": 10,
}  # fmt: skip


# What transformers calls parameters in memory, and in files.
IN_FILES = {
    ".attention.q_proj.": ".attention.attention.query.", ".attention.k_proj.": ".attention.attention.key.",
    ".attention.v_proj.": ".attention.attention.value.", ".attention.o_proj.": ".attention.output.dense.",
    ".mlp.fc1.": ".intermediate.dense.", ".mlp.fc2.": ".output.dense.", "layers.": "encoder.layer.",
}  # fmt: skip


def published(name: str) -> str:
    for ours, theirs in IN_FILES.items():
        name = name.replace(ours, theirs)
    return name


def randomise(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(11)
    for name, parameter in model.named_parameters():
        if "layernorm" in name and name.endswith("weight"):
            parameter.data.uniform_(0.5, 1.5, generator=generator)
        else:
            parameter.data.normal_(0, 0.3, generator=generator)


def tiny(name: str) -> None:
    model = CLASSES[name](ASTConfig(**SIZES, num_labels=5, attn_implementation="eager")).eval()
    randomise(model)
    model.save_pretrained(AUDIO / name)
    (AUDIO / name / "model.safetensors").chmod(0o644)
    model = model.double()
    values = torch.randn((2, 14, 10), generator=torch.Generator().manual_seed(3))
    result = model(input_values=values.double())
    main = "logits" if name == "ast" else "last_hidden_state"
    named = dict(model.named_parameters())
    found = torch.autograd.grad((result[main] * cotangent(result[main].shape)).sum(), list(named.values()))
    goldens = {"input_values": values, main: narrow(result[main])}
    goldens |= {f"grad.{published(key)}": narrow(g) for key, g in zip(named, found, strict=True)}
    save(goldens, AUDIO / name / "goldens.safetensors")


def fbank() -> None:
    wave = waves()
    goldens = {"wave": torch.from_numpy(wave)}
    for bands in (40, 128):
        extractor = ASTFeatureExtractor(num_mel_bins=bands)
        rows = [extractor._extract_fbank_features(w, max_length=58) for w in wave]
        goldens[f"fbank.{bands}"] = torch.from_numpy(np.stack(rows)).float()
    save(goldens, AUDIO / "kaldi.safetensors")


if __name__ == "__main__":
    AUDIO.mkdir(exist_ok=True)
    for each in CLASSES:
        tiny(each)
    fbank()
