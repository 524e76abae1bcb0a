"""Goldens of transformers' speech encoders: wav2vec 2.0, HuBERT, WavLM.

``tests/goldens/audio/NAME``: a tiny random model as ``save_pretrained`` writes it, and ``goldens.safetensors`` with
``input_values`` (2, samples), ``attention_mask`` where the model takes one, ``logits``, ``embeddings`` or ``last_hidden_state``
in float64 rounded to float32, and ``grad.PARAMETER``, gradients of sum(out[i] * cos(0.7 * i + 0.3)) of the first of them.

``tests/goldens/audio/waves.safetensors``: ``wave.0``, ``wave.1``, and ``input_values`` and ``attention_mask`` of both by
``Wav2Vec2FeatureExtractor``.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision where it is installed
import transformers
from golden_recorder import GOLDENS, cotangent, narrow
from make_goldens_text import save
from torch import nn

AUDIO = GOLDENS / "audio"
BASE = {
    "vocab_size": 11, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20,
    "conv_dim": (8, 12, 12), "conv_stride": (5, 2, 2), "conv_kernel": (10, 3, 2), "num_conv_pos_embeddings": 6,
    "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
LARGE = {**BASE, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True, "num_conv_pos_embeddings": 5}
CLASSIFIER = {"num_labels": 5, "classifier_proj_size": 6}
TDNN = {"tdnn_dim": (8, 9, 10), "tdnn_kernel": (3, 2, 1), "tdnn_dilation": (1, 2, 1), "xvector_output_dim": 7, "num_labels": 5}
# Name -> (class, configuration, whether there is a mask).
MODELS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "wav2vec2": ("Wav2Vec2Model", BASE, False),
    "wav2vec2_ctc": ("Wav2Vec2ForCTC", BASE, False),
    "wav2vec2_ctc_large": ("Wav2Vec2ForCTC", {**LARGE, "adapter_attn_dim": 3, "mask_time_prob": 0.0}, True),
    "wav2vec2_classifier": ("Wav2Vec2ForSequenceClassification", {**BASE, **CLASSIFIER, "use_weighted_layer_sum": True}, True),
    "wav2vec2_frames": ("Wav2Vec2ForAudioFrameClassification", {**LARGE, **CLASSIFIER}, True),
    "wav2vec2_xvector": ("Wav2Vec2ForXVector", {**BASE, **TDNN}, True),
    "wav2vec2_adapter": (
        "Wav2Vec2Model",
        {**LARGE, "add_adapter": True, "num_adapter_layers": 2, "output_hidden_size": 10},
        True,
    ),
    "wav2vec2_adapter_ctc": ("Wav2Vec2ForCTC", {**BASE, "add_adapter": True, "num_adapter_layers": 1}, False),
    "hubert": ("HubertModel", {**BASE, "feat_proj_layer_norm": False, "conv_pos_batch_norm": True}, True),
    "hubert_ctc": ("HubertForCTC", LARGE, True),
    "hubert_classifier": ("HubertForSequenceClassification", {**BASE, **CLASSIFIER}, False),
    "wavlm": ("WavLMModel", {**BASE, "num_buckets": 8, "max_bucket_distance": 20}, True),
    "wavlm_ctc": ("WavLMForCTC", {**LARGE, "num_buckets": 8, "max_bucket_distance": 20}, False),
    "wavlm_adapter": (
        "WavLMModel",
        {**BASE, "num_buckets": 8, "max_bucket_distance": 20, "add_adapter": True, "num_adapter_layers": 1, "adapter_stride": 3},
        False,
    ),
    "wavlm_xvector": ("WavLMForXVector", {**BASE, **TDNN, "num_buckets": 8, "max_bucket_distance": 20}, False),
}


def randomise(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(11)
    for name, parameter in model.named_parameters():
        if (parameter.ndim == 1 and "norm" in name and name.endswith("weight")) or name.endswith("original0"):
            parameter.data.uniform_(0.5, 1.5, generator=generator)
        else:
            parameter.data.normal_(0, 0.3, generator=generator)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.3, generator=generator)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5, generator=generator)


def tiny(name: str) -> None:
    kind, sizes, masked = MODELS[name]
    made = getattr(transformers, kind)
    model = made(made.config_class(**sizes, attn_implementation="eager")).eval()
    randomise(model)
    model.save_pretrained(AUDIO / name)
    (AUDIO / name / "model.safetensors").chmod(0o644)
    model = model.double()
    values = torch.randn((2, 330), generator=torch.Generator().manual_seed(3))
    inputs = {"input_values": values.double()}
    if masked:
        mask = torch.ones(2, 330, dtype=torch.long)
        mask[1, 250:] = 0
        values[1, 250:] = 0
        inputs = {"input_values": values.double(), "attention_mask": mask}
    result = model(**inputs)
    kept = {key: result[key] for key in ("logits", "embeddings", "last_hidden_state") if key in result}
    main = next(iter(kept.values()))
    named = dict(model.named_parameters())
    found = torch.autograd.grad((main * cotangent(main.shape)).sum(), list(named.values()), allow_unused=True)
    goldens = {"input_values": values, **{key: narrow(value) for key, value in kept.items()}}
    goldens |= {f"grad.{key}": narrow(g) for key, g in zip(named, found, strict=True) if g is not None}
    if masked:
        goldens["attention_mask"] = inputs["attention_mask"]
    save(goldens, AUDIO / name / "goldens.safetensors")


def prepared() -> None:
    """``waves.safetensors``: two sounds as ``Wav2Vec2FeatureExtractor`` makes them ready."""
    generator = torch.Generator().manual_seed(7)
    sounds = [0.2 * torch.randn(n, generator=generator) + 0.1 for n in (700, 450)]
    made = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=True)
    batch = made([s.numpy() for s in sounds], padding=True, return_tensors="pt", sampling_rate=16_000)
    goldens = {f"wave.{i}": s for i, s in enumerate(sounds)}
    save(goldens | {k: v.clone() for k, v in batch.items()}, AUDIO / "waves.safetensors")


if __name__ == "__main__":
    for each in sys.argv[1:] or MODELS:
        tiny(each)
    prepared()
