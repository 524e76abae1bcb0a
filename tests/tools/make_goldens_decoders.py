"""Goldens of transformers' decoders, and of the gguf package's blocks: ``python make_goldens_decoders.py [NAME...]``.

``tests/goldens/text/NAME/`` as in ``make_goldens_text.py``, for the NAMEs in CONFIGS; some are saved as bfloat16, some in shards:

    input_ids, attention_mask       (N, T) int64; rows are padded on the left
    logits                          eval mode, at every place that is no padding; 0 elsewhere
    plain.logits                    the same ids without a mask
    classifier.logits               (N, 3) of a sequence classifier on the same layers, score.weight[i] = cos(i), row-major;
                                    its rows are padded on the right: the ids of input_ids up to the number of ones in the mask
    grad.PARAMETER                  gradients of sum(plain.logits[i] * cos(0.7 * i + 0.3))

``tests/goldens/text/gemma3_pictures/``: Gemma 3 with a tower for pictures, input_ids and logits of texts alone.

``tests/goldens/gguf.safetensors``: ``KIND.raw``, blocks of random bytes, and ``KIND.values``, what they stand for.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision where it is installed
from gguf import GGMLQuantizationType, dequantize
from golden_recorder import GOLDENS, cotangent, narrow
from make_goldens_text import TEXT, save
from torch import nn
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForSequenceClassification,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
)

SIZES = {
    "vocab_size": 53, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 64,
}  # fmt: skip
SHARED = {"num_key_value_heads": 2, "head_dim": 8}
STRETCHED = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0, "original_max_position_embeddings": 16}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 500.0, "factor": 4.0}
LONG = {
    "rope_type": "longrope", "rope_theta": 500.0, "short_factor": [1.0, 1.1, 1.2, 1.5], "long_factor": [1.0, 2.0, 5.0, 8.0],
    "original_max_position_embeddings": 6,
}  # fmt: skip
LINEAR = {"rope_type": "linear", "rope_theta": 500.0, "factor": 4.0}
CONFIGS = {
    "llama": {"model_type": "llama", **SIZES, **SHARED, "rms_norm_eps": 1e-5, "tie_word_embeddings": False},
    "llama_3": {
        "model_type": "llama", **SIZES, "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True,
        "rope_parameters": STRETCHED,
    },
    "llama_dynamic": {
        "model_type": "llama", **SIZES, **SHARED, "num_hidden_layers": 1, "max_position_embeddings": 5,
        "rope_parameters": DYNAMIC,
    },
    "llama_longrope": {"model_type": "llama", **SIZES, **SHARED, "num_hidden_layers": 1, "rope_parameters": LONG},
    "qwen2_yarn": {"model_type": "qwen2", **SIZES, "num_hidden_layers": 1, "num_key_value_heads": 2, "rope_parameters": YARN},
    "qwen2": {"model_type": "qwen2", **SIZES, "num_key_value_heads": 2, "tie_word_embeddings": True, "pad_token_id": 0},
    "qwen2_sliding": {
        "model_type": "qwen2", **SIZES, "num_key_value_heads": 4, "use_sliding_window": True, "sliding_window": 3,
        "max_window_layers": 1,
    },
    "qwen3": {"model_type": "qwen3", **SIZES, **SHARED, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
    "gpt2": {"model_type": "gpt2", "vocab_size": 53, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "gemma3": {
        "model_type": "gemma3_text", **SIZES, **SHARED, "num_hidden_layers": 3, "sliding_window": 4, "query_pre_attn_scalar": 12,
        "sliding_window_pattern": 3, "final_logit_softcapping": 2.0,
        "rope_parameters": {
            "full_attention": LINEAR, "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
        },
    },
    "gpt_neox": {
        "model_type": "gpt_neox", **SIZES,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.67},
    },
    "gpt_neox_serial": {
        "model_type": "gpt_neox", **SIZES, "use_parallel_residual": False, "attention_bias": False, "rotary_pct": 0.34,
    },
}  # fmt: skip
NARROW = ("llama_3", "qwen2")
SHARDED = ("qwen3", "gpt2")
BLOCKS = {"Q4_0": 18, "Q4_1": 20, "Q8_0": 34, "Q4_K": 144, "Q6_K": 210}
HALVES = {"Q4_0": (0,), "Q4_1": (0, 2), "Q8_0": (0,), "Q4_K": (0, 2), "Q6_K": (208,)}


def randomise(model: nn.Module) -> None:
    """Norms near 1 or, where the reference adds 1, near 0; all else wide enough to matter."""
    generator = torch.Generator().manual_seed(11)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 and name.endswith("weight"):
            parameter.data += torch.empty_like(parameter).uniform_(-0.5, 0.5, generator=generator)
        else:
            parameter.data.normal_(0, 0.3, generator=generator)


def write(name: str) -> None:
    config = CONFIG_MAPPING[CONFIGS[name]["model_type"]](**{k: v for k, v in CONFIGS[name].items() if k != "model_type"})
    kind = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    model = kind._from_config(config, attn_implementation="eager").eval()
    randomise(model)
    size = {"max_shard_size": "20KB"} if name in SHARDED else {}
    (model.bfloat16() if name in NARROW else model).save_pretrained(TEXT / name, **size)
    for file in (TEXT / name).glob("*.safetensors"):
        file.chmod(0o644)
    # read again: the angles of a converted model are those of the narrow numbers
    read = lambda: kind.from_pretrained(TEXT / name, dtype=torch.float64, attn_implementation="eager").eval()  # noqa: E731
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, 53, (3, 9), generator=generator)
    mask = (torch.arange(9) >= 9 - torch.tensor([9, 6, 2])[:, None]).long()
    masked = torch.zeros(3, 9, 53, dtype=torch.float64)
    with torch.no_grad():
        for row in range(3):  # each alone: the reference gives NaN for left padding in float64
            first = int(9 - mask[row].sum())
            masked[row, first:] = read()(input_ids=ids[row : row + 1, first:]).logits[0]
    model = read()  # anew, as dynamic angles are those of the longest text that a model has seen
    plain = model(input_ids=ids).logits
    goldens = {"input_ids": ids, "attention_mask": mask, "logits": narrow(masked), "plain.logits": narrow(plain)}
    named = dict(model.named_parameters())
    found = torch.autograd.grad((plain * cotangent(plain.shape)).sum(), list(named.values()))
    goldens |= {f"grad.{key}": narrow(g) for key, g in zip(named, found, strict=True)}
    goldens["classifier.logits"] = narrow(classified(name, ids, mask.sum(1)))
    save(goldens, TEXT / name / "goldens.safetensors")


def classified(name: str, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    model = AutoModelForSequenceClassification.from_pretrained(
        TEXT / name, dtype=torch.float64, attn_implementation="eager", num_labels=3
    ).eval()
    model.score.weight.data = torch.cos(torch.arange(3 * 24, dtype=torch.float64)).reshape(3, 24)
    with torch.no_grad():
        return torch.cat([model(input_ids=ids[i : i + 1, :n]).logits for i, n in enumerate(lengths.tolist())])


def pictures() -> None:
    tower = {
        "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 28,
        "patch_size": 14, "vision_use_head": False,
    }  # fmt: skip
    text = {k: v for k, v in CONFIGS["gemma3"].items() if k not in ("model_type", "final_logit_softcapping")}
    config = Gemma3Config(text_config=text, vision_config=tower, mm_tokens_per_image=4, image_token_index=50)
    model = Gemma3ForConditionalGeneration._from_config(config, attn_implementation="eager").eval()
    randomise(model)
    folder = TEXT / "gemma3_pictures"
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    ids = torch.randint(3, 50, (2, 9), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        logits = model.double()(input_ids=ids).logits
    save({"input_ids": ids, "plain.logits": narrow(logits)}, folder / "goldens.safetensors")


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
    for each in sys.argv[1:] or [*CONFIGS, "gemma3_pictures"]:
        pictures() if each == "gemma3_pictures" else write(each)
    if not sys.argv[1:]:
        blocks()
