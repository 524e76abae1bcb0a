"""Goldens of transformers' Llama, and of the gguf package's blocks.

``tests/goldens/text/NAME/`` as in ``make_goldens_text.py``, for NAME in ``llama`` (keys and values shared by heads, a head of its
own) and ``llama_3`` (tied, stretched angles, biases, bfloat16 weights):

    input_ids, attention_mask       (N, T) int64; rows are padded on the left
    logits                          eval mode, at every place that is no padding; 0 elsewhere
    plain.logits                    the same ids without a mask
    grad.PARAMETER                  gradients of sum(plain.logits[i] * cos(0.7 * i + 0.3))

``tests/goldens/gguf.safetensors``: ``KIND.raw``, blocks of random bytes, and ``KIND.values``, what they stand for.
"""

from __future__ import annotations

import numpy as np
import torch
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision where it is installed
from gguf import GGMLQuantizationType, dequantize
from golden_recorder import GOLDENS, cotangent, narrow
from make_goldens_text import TEXT, randomise, save
from transformers import LlamaConfig, LlamaForCausalLM

SIZES = {"vocab_size": 53, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4}
STRETCHED = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
CONFIGS = {
    "llama": {"num_key_value_heads": 2, "head_dim": 8, "rms_norm_eps": 1e-5, "tie_word_embeddings": False},
    "llama_3": {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True, "rope_parameters": STRETCHED},
}
BLOCKS = {"Q4_0": 18, "Q4_1": 20, "Q8_0": 34, "Q4_K": 144, "Q6_K": 210}
HALVES = {"Q4_0": (0,), "Q4_1": (0, 2), "Q8_0": (0,), "Q4_K": (0, 2), "Q6_K": (208,)}


def tiny(name: str) -> None:
    model = LlamaForCausalLM(
        LlamaConfig(**SIZES, **CONFIGS[name], max_position_embeddings=64, attn_implementation="eager")
    ).eval()
    randomise(model)
    (model.bfloat16() if name == "llama_3" else model).save_pretrained(TEXT / name)
    (TEXT / name / "model.safetensors").chmod(0o644)
    # read again: the angles of a converted model are those of the narrow numbers
    model = LlamaForCausalLM.from_pretrained(TEXT / name, dtype=torch.float64, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, 53, (3, 9), generator=generator)
    mask = (torch.arange(9) >= 9 - torch.tensor([9, 6, 2])[:, None]).long()
    masked = torch.zeros(3, 9, SIZES["vocab_size"], dtype=torch.float64)
    with torch.no_grad():
        for row in range(3):  # each alone: the reference gives NaN for left padding in float64
            first = int(9 - mask[row].sum())
            masked[row, first:] = model(input_ids=ids[row : row + 1, first:], position_ids=torch.arange(first, 9)[None]).logits[0]
    plain = model(input_ids=ids).logits
    goldens = {"input_ids": ids, "attention_mask": mask, "logits": narrow(masked), "plain.logits": narrow(plain)}
    named = dict(model.named_parameters())
    found = torch.autograd.grad((plain * cotangent(plain.shape)).sum(), list(named.values()))
    goldens |= {f"grad.{key}": narrow(g) for key, g in zip(named, found, strict=True)}
    save(goldens, TEXT / name / "goldens.safetensors")


def blocks() -> None:
    found = {}
    for name, size in BLOCKS.items():
        random = np.random.default_rng(size)
        raw = random.integers(0, 256, (6, size), dtype=np.uint8)
        for place in HALVES[name]:
            raw[:, place : place + 2] = random.normal(0, 0.1, (6, 1)).astype("<f2").view(np.uint8)
        values = dequantize(raw, GGMLQuantizationType[name])
        found |= {f"{name}.raw": torch.from_numpy(raw), f"{name}.values": torch.from_numpy(np.ascontiguousarray(values))}
    save(found, GOLDENS / "gguf.safetensors")


if __name__ == "__main__":
    for each in CONFIGS:
        tiny(each)
    blocks()
